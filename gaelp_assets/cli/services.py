"""Dagster's webserver and daemon in one process, with one code server for both: what `gaelp dev` starts.

Apart, each of them would import Dagster and load the code location for itself, and the daemon would load it again every minute. What the UI
reloads, the daemon has too.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import uvicorn
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._daemon.controller import DagsterDaemonController

CHECK_SECONDS: Final = 5.0
RELOAD_SECONDS: Final = 60.0
"""How often a code location is tried again that could not be loaded."""
CLOSING_SECONDS: Final = 1
"""How long open pages are waited for."""
LOG_LEVEL: Final = "error"


def serve(workspace: Path, host: str, port: int, parent: int, say: Callable[[str], None]) -> int:
    """Runs both until SIGTERM or SIGINT, or until the parent or one of the daemon's threads ends; the exit code.

    `DAGSTER_HOME` names the instance. `say` is told what is waited for.
    """
    say("importing Dagster")
    import uvicorn
    from dagster import DagsterInstance
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster._daemon.controller import DagsterDaemonController, create_daemons_from_instance
    from dagster._utils.log import configure_loggers
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.version import __version__

    from gaelp_assets.cli.dev import prepare_dagster_home
    from gaelp_assets.settings import load_settings

    say("opening Dagster's databases")
    prepare_dagster_home(load_settings())
    configure_loggers(log_level=LOG_LEVEL.upper())
    with DagsterInstance.get() as instance:
        say("loading the catalogue's assets")
        with WorkspaceProcessContext(
            instance,
            workspace_load_target=WorkspaceFileTarget([str(workspace)]),
            version=__version__,
            code_server_log_level=LOG_LEVEL,
        ) as context:
            config = uvicorn.Config(
                create_app_from_workspace_process_context(context),
                host=host,
                port=port,
                log_level="warning",
                timeout_graceful_shutdown=CLOSING_SECONDS,
            )
            end_runs = threading.Thread(target=instance.run_launcher.dispose)
            try:
                with DagsterDaemonController(context, create_daemons_from_instance(instance)) as controller:
                    try:
                        return _run(uvicorn.Server(config), controller, context, parent)
                    finally:
                        # While the daemon's threads end, which takes as long.
                        end_runs.start()
            finally:
                if end_runs.ident is not None:
                    end_runs.join()
                # So that nobody takes the daemon for alive: what it left queued can be loaded by `gaelp ingest` at once.
                instance.wipe_daemon_heartbeats()


def _run(
    server: uvicorn.Server, controller: DagsterDaemonController, context: WorkspaceProcessContext, parent: int
) -> int:
    """Serves until a signal, or until a thread of the daemon or the parent has ended."""
    broken: list[Exception] = []
    ended = threading.Event()

    def watch() -> None:
        reloaded = time.monotonic()
        while not ended.wait(CHECK_SECONDS):
            try:
                controller.check_daemon_threads()
                if os.getppid() != parent:
                    raise RuntimeError("the process that started this one is gone")
            except Exception as error:
                # Dagster raises `Exception` itself.
                broken.append(error)
                server.should_exit = True
                return
            with suppress(Exception):
                if _code_server_is_gone(context) or (
                    _is_not_loaded(context) and time.monotonic() > reloaded + RELOAD_SECONDS
                ):
                    reloaded = time.monotonic()
                    context.reload_workspace()

    threading.Thread(target=watch, daemon=True).start()
    try:
        server.run()
    finally:
        ended.set()
    for error in broken:
        print(error, file=sys.stderr)
    return 1 if broken or not server.started else 0


def _is_not_loaded(context: WorkspaceProcessContext) -> bool:
    return bool(context.create_request_context().code_location_errors())


def _code_server_is_gone(context: WorkspaceProcessContext) -> bool:
    """Whether a code server that was there does not answer any more."""
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._core.remote_representation.code_location import GrpcServerCodeLocation

    for location in context.create_request_context().code_locations:
        if isinstance(location, GrpcServerCodeLocation):
            try:
                location.client.ping("")
            except DagsterUserCodeUnreachableError:
                return True
    return False


def main() -> None:
    """What `python -m` runs: the arguments are the workspace's file, the host and the port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workspace", type=Path)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    asked = parser.parse_args()

    def interrupt(number: int, _: FrameType | None) -> None:
        # While it starts. The webserver takes signals itself, and then passes them on.
        if number not in received:
            received.append(number)
            raise KeyboardInterrupt

    parent = os.getppid()
    received: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        code = serve(
            asked.workspace, asked.host, asked.port, parent, lambda text: print(f"{text} ...", flush=True)
        )
    except KeyboardInterrupt:
        code = 0
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
