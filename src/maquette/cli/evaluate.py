"""maquette evaluate: numbers with error bars, beside their floors."""

from __future__ import annotations

import click

from maquette.cli.options import device, fetch, start


@click.command("evaluate")
@click.argument("run", type=click.Path())
@click.option("--data", type=click.Path(), help="Other data, or another split. [default: the run's own held-out split]")
@click.option("--features", help="Network that distances are measured in. [default: the first that the kind has]")
@click.option("-n", "--samples", type=click.IntRange(min=1), help="Items to generate. [default: by the data's size]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@fetch
@device
@click.option("--json", "as_json", is_flag=True, help="Print the JSON that is also written to metrics.json.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def command(
    run: str, data: str | None, features: str | None, samples: int | None, seed: int, fetch: bool, device: str | None,
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Measure RUN on held-out data -> metrics.json, and a table."""
    start(quiet or as_json)
    from maquette import api
    from maquette.cli.tables import print_evaluation

    loaded = api.load(run, device or "auto")
    result = loaded.evaluate(data, features=features, samples=samples, seed=seed, fetch=fetch, quiet=quiet or as_json)
    if as_json:
        click.echo(result.model_dump_json(indent=2))
    elif not quiet:
        print_evaluation(result)
        if loaded.undertrained:
            click.echo(loaded.undertrained)
        click.echo(f"Written: {loaded.folder.metrics_file}")
