"""maquette watch: follow a run from another terminal."""

from __future__ import annotations

import time
from typing import Any

import click


@click.command("watch")
@click.argument("run", type=click.Path())
@click.option("--every", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Print the state and leave.")
def command(run: str, every: float, once: bool) -> None:
    """Follow the training of RUN: progress, losses, alarms."""
    from maquette.core.parse import characters_of
    from maquette.core.recipe import plain_train_section
    from maquette.core.run import open_run

    shown, told = -1, False
    while True:
        folder = open_run(run)  # it may be gone by now
        steps = plain_train_section(characters_of(folder.recipe_file)).get("steps")
        total, damaged = steps if isinstance(steps, int) and steps > 0 else None, list[str]()
        lines = [line for line in folder.recent(damaged.append) if "alarm" in line or "items_per_s" in line]
        for words in damaged if not told else ():
            click.echo(f"Note: {words}", err=True)
            told = True
        if lines and lines[-1]["step"] < shown:
            shown = -1  # the run was resumed, and goes again over what it had not saved
        for line in lines[-1:] if once else [line for line in lines if line["step"] > shown]:
            click.echo(describe(line, total))
        shown = max((line["step"] for line in lines), default=shown)
        if once or (total is not None and shown >= total):
            return
        time.sleep(every)


def describe(line: dict[str, Any], total: int | None) -> str:
    """A line of the log for people."""
    if "alarm" in line:
        return f"Alarm at step {line['step']:,}: {line['alarm']}. {line['saw']}. Try: {line['advice']}."
    from maquette.engine.log import headline

    found = f"step {line['step']:,}  {headline(line)}  {line['items_per_s']:,.0f} items/s"
    total = line.get("total", total)
    if not total or "seconds" not in line:
        return found
    left = max(total - line["step"], 0) * line["seconds"] / max(line["step"], 1)
    return f"{found}  {100 * line['step'] / total:.0f}% of {total:,} steps, {left:,.0f} s left"
