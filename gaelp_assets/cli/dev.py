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
from gaelp_assets.runs.holders import Held, holding
from gaelp_assets.settings import LOCATION, Settings

if TYPE_CHECKING:
    import dagster as dg

EVENT_BATCH_SIZE: Final = 1_000
TEMPLATE: Final = Path(__file__).parent / "dagster.yaml"
CHILDREN_NICE: Final = 10
GRACE_SECONDS: Final = 4
DAGSTER: Final = "Dagster with its runs"
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
    on_stop: Callable[[Sequence[str]], None] | None = None,
) -> int:
    """Runs Dagster's webserver and daemon, and the `children` (name -> command), until Ctrl-C or SIGTERM; the exit code.

    `on_ready` is called with the UI's address once it answers, `on_stop` with the names of what is waited for at the end, each time that
    it is less. A child that ends by itself with 0 is done; Dagster, or a child with another code, ends everything.

    Raises:
        GaelpError: another one runs in this home, or the port is taken.
    """
    try:
        with holding(dev_lock(settings), "gaelp dev", f"http://{host}:{port}"):
            return _run_alone(settings, port, host, children or {}, on_ready, on_stop)
    except Held as held:
        raise GaelpError(
            Problem(
                f"one runs in this home already: {held.words}",
                str(settings.home),
                remedy="Open its page, or stop it first; for a second one, name another home in GAELP_HOME.",
            )
        ) from None


def dev_lock(settings: Settings) -> Path:
    """The lock file that `gaelp dev` holds while it runs."""
    return settings.home / "dev.lock"


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment of what `gaelp dev` starts."""
    environment = {
        **os.environ,
        **settings.folders(),
        **dagster_environment(settings.dagster_home),
        "PYTHONSAFEPATH": "1",  # nor is what `python -m` starts to look where the user stands
    }
    if given := os.environ.get("PYTHONPATH"):
        # Dagster takes the first folder of the path for that of its script, and imports code without it. Its working directory comes back.
        environment["PYTHONPATH"] = os.pathsep.join([str(settings.dagster_home), given])
    return environment


def _run_alone(
    settings: Settings,
    port: int,
    host: str,
    children: Mapping[str, Sequence[str]],
    on_ready: Callable[[str], None] | None,
    on_stop: Callable[[Sequence[str]], None] | None,
) -> int:
    _require_free(host, port)
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    environment = child_environment(settings)
    serve = [
        sys.executable,
        "-m",
        "gaelp_assets.cli.services",
        str(write_workspace(settings)),
        host,
        str(port),
    ]
    commands = {DAGSTER: serve, **children}
    with _stop_signals() as stopped, _processes(commands, environment, on_stop) as running:
        dagster = running[DAGSTER]
        code = _watch(
            running,
            stopped,
            lambda: _answers(host, port),
            lambda: on_ready and on_ready(f"http://{host}:{port}"),
        )
    if dagster.returncode != 0:
        # It could not do so itself: nobody is to take the daemon for alive, and `gaelp ingest` can load at once what it left queued.
        with dagster_instance(settings) as instance:
            instance.wipe_daemon_heartbeats()
    return code


def _watch(
    running: dict[str, subprocess.Popen[bytes]],
    stopped: Callable[[], bool],
    answers: Callable[[], bool],
    on_ready: Callable[[], object],
) -> int:
    """Waits until it is stopped, or until something has ended that everything ends with; the exit code."""
    announced = False
    while not stopped():
        if not announced and answers():
            announced = True
            on_ready()
        for name, process in list(running.items()):
            code = process.poll()
            if code is None:
                continue
            if name == DAGSTER or code != 0:
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
    commands: Mapping[str, Sequence[str]],
    environment: Mapping[str, str],
    on_stop: Callable[[Sequence[str]], None] | None = None,
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Starts the commands, each in a process group of its own, and ends whatever is left of the groups afterwards.

    A group of its own: a Ctrl-C in the terminal reaches this process alone, which then stops the others in order.
    """
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        running = {}
        for name, command in commands.items():
            process = subprocess.Popen(  # noqa: S603 - the commands are our own
                list(command),
                env=dict(environment),
                start_new_session=True,
                preexec_fn=_default_signals if name == DAGSTER else _give_way,
            )
            started[name] = running[name] = process
        yield running
    finally:
        _stop(started, on_stop or (lambda _: None))


def _default_signals() -> None:
    # A background job of a shell inherits SIGINT as ignored, and Dagster handles SIGTERM as it would SIGINT: it could not be stopped.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _give_way() -> None:
    # To Dagster: a user who waits for a page, or for what is loaded, waits for Dagster.
    _default_signals()
    os.nice(CHILDREN_NICE)


def _stop(processes: Mapping[str, subprocess.Popen[bytes]], on_stop: Callable[[Sequence[str]], None]) -> None:
    """Asks all to end, then their groups, and ends after `GRACE_SECONDS` what has not."""
    for process in processes.values():
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    told: list[str] = []
    asked: set[str] = set()
    while waited_for := [name for name, process in processes.items() if _group_lives(process.pid)]:
        if waited_for != told:
            told = waited_for
            on_stop(told)
        for name in waited_for:
            # What the process itself started, and has left behind: code servers, and runs that are in flight.
            if processes[name].poll() is not None and name not in asked:
                asked.add(name)
                _signal_group(processes[name].pid, signal.SIGTERM)
        if time.monotonic() > deadline:
            for name in waited_for:
                _signal_group(processes[name].pid, signal.SIGKILL)
            break
        time.sleep(POLL_SECONDS)
    for process in processes.values():
        process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


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
