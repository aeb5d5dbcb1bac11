"""The command line: parses arguments, calls what does the work, prints what came of it. Nothing is decided here."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from typing import Annotated

import typer
from typer.core import TyperGroup

from gaelp_assets.cli import (
    catalog,
    check,
    config,
    corrections,
    dead_letter,
    deploy,
    export,
    gateway,
    query,
    render,
    serve,
    session,
    stream,
)
from gaelp_assets.cli.exits import EXIT_PROBLEM, EXIT_REJECTED, EXIT_TRY_AGAIN
from gaelp_assets.cli.importing import import_
from gaelp_assets.cli.loading import load_pending
from gaelp_assets.cli.opening import open_for_work
from gaelp_assets.cli.report import report
from gaelp_assets.cli.session import current_settings
from gaelp_assets.cli.stream import LISTEN
from gaelp_assets.errors import GaelpError

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="The data platform of GAELP.",
)


@cache
def command_tree() -> TyperGroup:
    """All commands. `app` would make them again each time that it is called, from the signatures of a hundred functions."""
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    return root


def main() -> None:
    """Runs the command line; a user's mistake ends with its problems on stderr and no traceback."""
    render.show_notices()
    started = time.monotonic()
    root = command_tree()
    command = session.command_words(root, sys.argv[1:])
    code: int | str | None = EXIT_PROBLEM
    try:
        root(prog_name="gaelp")
    except GaelpError as error:
        render.print_problems(error.problems)
        with suppress(GaelpError):  # it may be the settings that are wrong
            session.current_settings()
            session.log_problems(error.problems)
        code = EXIT_PROBLEM if error.permanent else EXIT_TRY_AGAIN
        sys.exit(code)
    except SystemExit as end:
        code = end.code
        raise
    except BaseException as error:
        session.log_defect(command, error)
        raise
    finally:
        session.log_end(command, code, time.monotonic() - started)
        session.stop_logs()


def _print_version(wanted: bool) -> None:
    if wanted:
        render.print_line(f"gaelp {version('gaelp-assets')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """The data platform of GAELP."""


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="where Dagster's UI listens")] = 3000,
    host: Annotated[str, typer.Option(help="the address that it listens on")] = "127.0.0.1",
    size: Annotated[str, typer.Option(help="of the demo: default or quick")] = "default",
    demo: Annotated[bool, typer.Option(help="train the demo's agents while the UI runs")] = True,
    stream: Annotated[
        bool,
        typer.Option("--stream", help="run a receiver too; the demo then pushes what its agents learn now"),
    ] = False,
) -> None:
    """Start Dagster's UI and daemon, with sensors on, while the demo's agents train.

    Exit codes: 0 it was stopped; 1 something failed, the port is taken, or one runs in this home already, whose address is told.
    """
    from gaelp_assets.cli.dev import run_dev

    platform = open_for_work(make=True)
    gaelp = [sys.executable, "-m", "gaelp_assets.cli.main"]
    children = {"the receiver": [*gaelp, "stream"]} if stream else {}
    if demo:
        how = ["--push", f"http://{LISTEN}"] if stream else ["--produce-only", "--size", size]
        children["the demo"] = [*gaelp, "demo", *how]
    raise typer.Exit(
        run_dev(
            platform.settings,
            port=port,
            host=host,
            children=children,
            on_ready=lambda url: render.print_line(f"Dagster's UI: {url} (Ctrl-C stops everything)"),
            on_stop=lambda names: render.print_line(f"waiting for the end of {', '.join(names)} ..."),
        )
    )


@app.command()
def demo(
    size: Annotated[str, typer.Option(help="default or quick")] = "default",
    days: Annotated[int, typer.Option(min=1, help="simulated days of training, up to yesterday")] = 5,
    produce_only: Annotated[
        bool, typer.Option("--produce-only", help="leave the loading to running sensors")
    ] = False,
    push: Annotated[
        str, typer.Option(metavar="URL", help="train now, and push what is recorded to the receiver there")
    ] = "",
    minutes: Annotated[int, typer.Option(min=1, help="that such a training takes")] = 10,
) -> None:
    """Train real agents, load what they produce, refresh the views, and print what is now where."""
    if push:
        from gaelp_assets.demo.live import train

        current_settings()
        with render.progress() as show:
            episodes = train(
                push,
                seconds=60 * minutes,
                on_progress=lambda what, done, of: show(f"training {what}: {done} of {of} episodes"),
            )
        render.print_line(f"{episodes:,} episodes pushed to {push}")
        return
    from gaelp_assets.demo.deliver import deliver

    platform = open_for_work(make=True)
    with render.progress() as show:
        reports = deliver(
            platform.settings,
            platform.gateway,
            size=size,
            days=days,
            on_progress=lambda p: show(f"training {p.date} {p.done}/{p.total}: {p.label}"),
        )
        for day in reports:
            render.print_line(f"{day.date}: {day.rows:,} rows in {day.files} files delivered")
    if not produce_only:
        code = load_pending(platform)
        render.print_summary(platform)
        # Among what is delivered are lines to be rejected: here they are no surprise.
        raise typer.Exit(0 if code == EXIT_REJECTED else code)


@app.command()
def ingest(
    wait: Annotated[
        bool,
        typer.Option(
            "--wait", help="wait for others that are loading, such as gaelp dev, and load what they leave"
        ),
    ] = False,
) -> None:
    """Load everything that is pending, once, and refresh what is derived from it.

    Views with problems are named and left out.

    Exit codes: 0 all is loaded; 1 a run failed; 3 all ran, but lines were rejected, files were set aside, or files wait whose dates
    are not taken; 75 others are loading, who are named, or the gateway or the warehouse is out of reach: try again.
    """
    raise typer.Exit(load_pending(open_for_work(), wait=wait))


app.command()(deploy.deploy)
app.command()(query.status)
app.command()(check.check)
app.command()(query.query)
app.command("import")(import_)
app.command()(report)
app.command()(corrections.revise)
app.command()(corrections.withdraw)
app.command()(config.config)
app.add_typer(catalog.app, name="catalog")
app.add_typer(export.app, name="export")
app.add_typer(gateway.app, name="gateway")
app.add_typer(serve.app, name="serve")
app.add_typer(stream.app, name="stream")
app.add_typer(dead_letter.app, name="dead-letter")


if __name__ == "__main__":
    main()
