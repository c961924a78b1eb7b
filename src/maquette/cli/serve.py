"""maquette serve: the runs of a folder over HTTP."""

from __future__ import annotations

import click

HERE = "127.0.0.1"
LOOPBACK = (HERE, "localhost", "::1")


@click.command("serve")
@click.argument("runs", type=click.Path())
@click.option("--host", default=HERE, show_default=True, help="The address that it listens on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="... and its port.")
@click.option(
    "--api-key",
    envvar="MAQUETTE_API_KEY",
    default="",
    help="Who asks must know it. [default: none; needed with --host]",
)
@click.option("--memory", default="2GiB", show_default=True, help="Of weights that are kept loaded.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that answer.")
@click.option("--allow-host", multiple=True, help="A further name that the server is called by, as behind a proxy.")
@click.option("--origin", multiple=True, help="Pages of this origin may call it: https://example.org. [default: none]")
@click.option("--queue", type=click.IntRange(1), default=512, show_default=True, help="Items that may wait.")
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(1),
    default=120.0,
    show_default=True,
    help="Seconds a request may take.",
)
@click.option(
    "--most", "n", type=click.IntRange(1, 10_000), default=256, show_default=True, help="Items a request may ask for."
)
@click.option("--tokens", type=click.IntRange(1), default=4096, show_default=True, help="Tokens of an item, at most.")
@click.option("--upload", default="16MiB", show_default=True, help="Of what may be sent at once.")
@click.option("--log-prompts", is_flag=True, help="Write prompts into the access log.")
@click.option("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda or mps. [default: auto]")
def command(
    runs: str, host: str, port: int, api_key: str, memory: str, workers: int, allow_host: tuple[str, ...],
    origin: tuple[str, ...], queue: int, seconds: float, n: int, tokens: int, upload: str, log_prompts: bool,
    device: str,
) -> None:  # fmt: skip
    """Serve the RUNS of a folder over HTTP, shaped like OpenAI's API.

    \b
    maquette serve runs/         every run below it, on http://127.0.0.1:8000
    maquette serve runs/ --host 0.0.0.0 --allow-host NAME --api-key KEY
                                 for others, too, who call it http://NAME:8000
    """
    from maquette.cli.options import start
    from maquette.core.errors import UserError
    from maquette.core.files import expanded
    from maquette.core.hardware import device_named
    from maquette.core.sizes import as_bytes

    folder = expanded(runs)
    if not folder.is_dir():
        raise UserError(f"There is no folder '{runs}'.", "Name one that runs are in: maquette serve runs/")
    if host not in LOOPBACK and not api_key:
        raise UserError(
            f"With --host {host} others could use this server without a key.",
            "Give one: --api-key KEY, or MAQUETTE_API_KEY=KEY.",
        )
    start()
    device_named(device)
    try:
        from maquette.serve.start import serve
    except ModuleNotFoundError as error:
        raise UserError(
            f"The server needs {error.name}, which is not installed.", "Install it: pip install 'maquette[serve]'"
        ) from None
    from maquette.serve.settings import Settings

    names = (HERE, "localhost", "[::1]", host.lower(), *(name.lower() for name in allow_host))
    settings = Settings(
        folder=str(folder), spool="", memory=as_bytes(memory, "--memory"), device=device, api_key=api_key, hosts=names,
        origins=origin, log_prompts=log_prompts, workers=workers, n=n, tokens=tokens, queue=queue, seconds=seconds,
        upload=as_bytes(upload, "--upload"),
    )  # fmt: skip
    serve(host, port, settings)
