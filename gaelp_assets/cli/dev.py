"""Dagster's UI and daemon on one machine, and whatever else should run beside them: started together, stopped together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from filelock import FileLock

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.settings import LOCATION, Settings

if TYPE_CHECKING:
    import dagster as dg

EVENT_BATCH_SIZE: Final = 1_000
TEMPLATE: Final = Path(__file__).parent / "dagster.yaml"
GRACE_SECONDS: Final = 20
POLL_SECONDS: Final = 0.2


def write_workspace(settings: Settings) -> Path:
    """Writes what tells Dagster which code to load, at every start; the file.

    The working directory, where Dagster looks for modules first, is the instance's own: a folder `resources` or `sensors` where the user
    stands must not be taken for the platform's.
    """
    module = {
        "module_name": "gaelp_assets.definitions",
        "location_name": LOCATION,
        "working_directory": str(settings.dagster_home),
    }
    file = settings.dagster_home / "workspace.yaml"
    file.write_text(json.dumps({"load_from": [{"python_module": module}]}, indent=2) + "\n", encoding="utf-8")
    return file


def prepare_dagster_home(settings: Settings) -> Path:
    """The instance's folder, made if it is not there, with the template of `dagster.yaml` if it has none of its own.

    The databases in it are made here too, by one process alone: two that make them at once leave them unusable.
    """
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    made = home / ".made"
    with FileLock(home / ".lock"):
        if not (home / "dagster.yaml").exists():
            shutil.copyfile(TEMPLATE, home / "dagster.yaml")
        if not made.exists():
            import dagster as dg

            os.environ.update(dagster_environment(home))
            with dg.DagsterInstance.from_config(str(home)):
                made.touch()
    return home


def dagster_environment(home: Path) -> dict[str, str]:
    """What Dagster's processes need in their environment: where the instance is, that events are stored in batches, and patience."""
    return {
        "DAGSTER_HOME": str(home),
        "DAGSTER_EVENT_BATCH_SIZE": str(EVENT_BATCH_SIZE),
        # How long the daemon waits for the code server. After 60 s, the default, a busy machine fails runs that are about to start.
        "DAGSTER_GRPC_TIMEOUT_SECONDS": os.environ.get("DAGSTER_GRPC_TIMEOUT_SECONDS", "300"),
    }


def dagster_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance whose runs and events the UI shows, for work in this process; close it by using it as a context."""
    import dagster as dg

    home = prepare_dagster_home(settings)
    # Dagster looks for it there when it is asked for the instance again, as by its own subprocesses.
    os.environ.update(dagster_environment(home))
    return dg.DagsterInstance.get()


def run_dev(
    settings: Settings,
    *,
    port: int = 3000,
    host: str = "127.0.0.1",
    children: Mapping[str, Sequence[str]] | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> int:
    """Runs the webserver, the daemon and the `children` (name -> command) until Ctrl-C or SIGTERM; the exit code.

    `on_ready` is called with the UI's address once it answers. A child that ends by itself with 0 is done; the webserver, the daemon,
    or a child with another code ends everything.

    Raises:
        GaelpError: the port is taken.
    """
    _require_free(host, port)
    environment = {
        **os.environ,
        **settings.folders(),
        **dagster_environment(prepare_dagster_home(settings)),
        "PYTHONSAFEPATH": "1",  # nor is what `python -m` starts to look where the user stands
    }
    python, quiet = sys.executable, ["--code-server-log-level", "error"]
    workspace = ["--workspace", str(write_workspace(settings)), *quiet]
    services = {
        "webserver": [python, "-m", "dagster_webserver", *workspace, "--host", host, "--port", str(port),
                      "--dagster-log-level", "warning"],
        "daemon": [python, "-m", "dagster._daemon", "run", *workspace, "--log-level", "error"],
    }  # fmt: skip
    try:
        return _supervise(services, children or {}, environment, host, port, on_ready)
    finally:
        # So that nobody takes the daemon for alive: what it left queued can be loaded by `gaelp ingest` at once.
        with dagster_instance(settings) as instance:
            instance.wipe_daemon_heartbeats()


def _supervise(
    services: Mapping[str, Sequence[str]],
    children: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
    host: str,
    port: int,
    on_ready: Callable[[str], None] | None,
) -> int:
    with _stop_signals() as stopped, _processes({**services, **children}, environment) as running:
        announced = False
        while not stopped():
            if not announced and _answers(host, port):
                announced = True
                if on_ready is not None:
                    on_ready(f"http://{host}:{port}")
            for name, process in list(running.items()):
                code = process.poll()
                if code is None:
                    continue
                if name in services or code != 0:
                    print(f"{name} ended with exit code {code}: stopping everything", file=sys.stderr)
                    return code or 1
                del running[name]
            time.sleep(POLL_SECONDS)
    return 0


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Takes Ctrl-C and SIGTERM for as long as the block lasts, and tells whether one has come."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _processes(
    commands: Mapping[str, Sequence[str]], environment: Mapping[str, str]
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Starts the commands, each in a process group of its own, and ends whatever is left of the groups afterwards.

    A group of its own: a Ctrl-C in the terminal reaches this process alone, which then stops the others in order.
    """
    started: list[subprocess.Popen[bytes]] = []
    try:
        running = {}
        for name, command in commands.items():
            process = subprocess.Popen(  # noqa: S603 - the commands are our own
                list(command),
                env=dict(environment),
                start_new_session=True,
                preexec_fn=_default_signals,
            )
            started.append(process)
            running[name] = process
        yield running
    finally:
        _stop(started)


def _default_signals() -> None:
    # A background job of a shell inherits SIGINT as ignored, and Dagster handles SIGTERM as it would SIGINT: it could not be stopped.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        # What the process itself started: code servers, and runs that are in flight.
        try:
            os.killpg(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            continue
    for process in processes:
        while time.monotonic() < deadline and _group_lives(process.pid):
            time.sleep(POLL_SECONDS)
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        process.wait()


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise GaelpError(
                Problem(
                    f"port {port} of {host} cannot be used: {error.strerror}",
                    remedy=f"Stop what listens there, or choose another: gaelp dev --port {port + 1}",
                )
            ) from None


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
