"""`gaelp stream`: parses, and runs the receiver."""

from __future__ import annotations

from typing import Annotated

import typer

from gaelp_assets.cli import render
from gaelp_assets.cli.keys import keys_commands
from gaelp_assets.cli.opening import open_for_work

LISTEN = "127.0.0.1:8600"
"""Where rows are pushed to if nothing else is said."""
app = typer.Typer(invoke_without_command=True)
app.add_typer(keys_commands("stream", sensitive=False), name="keys")


@app.callback()
def stream(
    context: typer.Context,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="where rows are pushed to; port 0 takes a free one")
    ] = LISTEN,
    push: Annotated[
        bool,
        typer.Option("--push/--no-push", help="take rows that are pushed, or only the catalogue's streams"),
    ] = True,
    megabytes: Annotated[int, typer.Option(min=1, help="of a body at most")] = 16,
    seconds: Annotated[
        float, typer.Option(min=0, help="that an answer waits for its rows to be loaded")
    ] = 30.0,
    requests: Annotated[int, typer.Option(min=1, help="of each key in a minute")] = 6_000,
) -> None:
    """Receive rows of running trainings, and load them in seconds.

    Rows are pushed as `POST /v1/rows/DATASET/TABLE`, a line of JSON each. Each body becomes a file of the gateway before it is answered,
    so that nothing is lost, however this command ends; sent again, it changes nothing.

    The streams that tables of the catalogue declare (Kafka, Pub/Sub) are read as well.

    Exit codes: 0 it was stopped; 1 it cannot begin; 75 the gateway is out of reach: try again.
    """
    if context.invoked_subcommand is not None:
        return
    from gaelp_assets.serve.keys import Keys
    from gaelp_assets.serve.server import run
    from gaelp_assets.stream.http import PushLimits, make_app
    from gaelp_assets.stream.service import DRAIN_SECONDS, ReceiverService

    host, port = _address(listen)
    platform = open_for_work(make=True)
    limits = PushLimits(megabytes=megabytes, seconds=seconds, requests=requests)
    keys = Keys(platform.settings.home, "stream")
    service = ReceiverService(platform)
    service.start()

    def say(url: str, asks_for_keys: bool) -> None:
        service.address = url
        _say(url, asks_for_keys)

    try:
        if push:
            run(
                lambda local: make_app(service.receiver, keys, limits, local=local),
                keys,
                host,
                port,
                say,
                last_seconds=3 * DRAIN_SECONDS,
            )
        else:
            render.print_line("Receiving the streams of the catalogue (Ctrl-C stops it)")
            service.wait()
    finally:
        if not service.close():
            render.print_notice("some rows are still to be loaded: they wait in the gateway")


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004, RUF100
        raise typer.BadParameter(f"{text!r}: expected HOST:PORT, such as 127.0.0.1:8600")
    return host.strip("[]") or "127.0.0.1", int(port)


def _say(url: str, asks_for_keys: bool) -> None:
    who = "with a key" if asks_for_keys else "without a key, from this machine alone"
    render.print_line(f"Receiving rows at {url}/v1/rows/DATASET/TABLE {who} (Ctrl-C stops it)")
