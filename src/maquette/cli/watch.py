"""maquette watch: follow a run from another terminal."""

from __future__ import annotations

import time

import click


@click.command("watch")
@click.argument("run", type=click.Path())
@click.option("--every", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Print the state and leave.")
def command(run: str, every: float, once: bool) -> None:
    """Follow the training of RUN: progress, losses, alarms."""
    from maquette.core.recipe import plain_train_section
    from maquette.core.run import open_run

    folder = open_run(run)
    seen = 0
    while True:
        total = plain_train_section(folder.recipe_file.read_text(encoding="utf-8")).get("steps")
        lines = list(folder.log())
        for line in lines[seen:] if not once else lines[-1:]:
            if "alarm" in line:
                click.echo(f"Alarm at step {line['step']:,}: {line['alarm']}. {line['saw']}. Try: {line['advice']}.")
            elif "items" in line:
                losses = "  ".join(f"{k} {v:.3f}" for k, v in line.items() if k.endswith("/loss"))
                of = f" of {total:,}" if total else ""
                left = (total - line["step"]) * line["seconds"] / max(line["step"], 1) if total else 0
                rate = f"{line['items_per_s']:,.0f} items/s"
                click.echo(f"step {line['step']:,}{of}  {losses}  {rate}  {left:,.0f} s left")
        seen = len(lines)
        finished = bool(lines) and total is not None and lines[-1].get("step", 0) >= total
        if once or finished:
            return
        time.sleep(every)
