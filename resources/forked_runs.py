"""Launches each run in a process that is forked from one which has imported Dagster already, and knows whether it still lives.

A process that starts from nothing spends most of a usual load's time on imports. What the runs are forked from has imported libraries
of others alone: the platform's own code and the catalogue are read by each run as they are then.

A run holds a lock on a file of its own for as long as its process lives, and no longer, however the process ends. Who gets the lock knows
that the run is dead. For runs of one machine, that end with the daemon which launched them; see `run_launcher` for those of a code server.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final

from dagster import DagsterRun
from dagster._core.instance import InstanceRef
from dagster._core.launcher import LaunchRunContext, RunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._serdes import ConfigurableClass, ConfigurableClassData, deserialize_value, serialize_value
from filelock import FileLock, Timeout

# Not what starts threads when it is imported, as Polars, pandas and PyArrow do: these threads are missing in what is forked. NumPy's
# OpenBLAS makes its own again.
PRELOADED: Final = (
    "dagster._cli.api",
    "duckdb",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "PIL.Image",
    "sqlglot.generators.duckdb",
)
PATIENCE_SECONDS: Final = 2.0
"""How long the end of the launcher waits for runs to tell Dagster that they were interrupted."""
PROCESS_TAG: Final = "gaelp/process"
_PROCESSES: Final = multiprocessing.get_context("forkserver")


class ForkedRunLauncher(RunLauncher, ConfigurableClass):
    """Launches a run in a process of its own, which ends with this one."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        self._processes: list[ForkServerProcess] = []
        self._lock = threading.Lock()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What `dagster.yaml` says of the launcher."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """There is nothing to configure."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> ForkedRunLauncher:
        """The launcher that `dagster.yaml` names."""
        del config_value
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Starts the run's process; it goes on by itself."""
        _PROCESSES.set_forkserver_preload(list(PRELOADED))
        run_id = context.dagster_run.run_id
        instance = serialize_value(self._instance.get_ref())
        process = _PROCESSES.Process(
            target=execute, args=(dict(os.environ), str(self._worker(run_id)), instance, run_id)
        )
        with self._lock:
            process.start()
            self._processes = [*filter(ForkServerProcess.is_alive, self._processes), process]
        threading.Thread(target=self._fail_if_dead, args=(process, run_id), daemon=True).start()

    def terminate(self, run_id: str) -> bool:
        """Interrupts the run's process, whichever process launched it; whether there was one."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        # A number is that of the run's process only for as long as this lives.
        if PROCESS_TAG not in run.tags or not _is_held(self._worker(run_id)):
            return False
        os.kill(int(run.tags[PROCESS_TAG]), signal.SIGINT)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring may ask: it may."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Running while the process lives, else not found."""
        if _is_held(self._worker(run.run_id)):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "The process of the run is gone.")

    def running(self) -> list[ForkServerProcess]:
        """The processes that this launcher has started and that live."""
        with self._lock:
            return [process for process in self._processes if process.is_alive()]

    def dispose(self) -> None:
        """Interrupts what this process has launched, and gives it a moment to say so to Dagster."""
        running = self.running()
        for process in running:
            process.terminate()
        deadline = time.monotonic() + PATIENCE_SECONDS
        for process in running:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    def _fail_if_dead(self, process: ForkServerProcess, run_id: str) -> None:
        """Waits for the process, and ends a run that it has left unfinished: at once, and also one that it has not begun."""
        process.join()
        run = self._instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            self._instance.report_run_failed(run, "The process of the run has ended before the run.")

    def _worker(self, run_id: str) -> Path:
        return Path(self._instance.root_directory, "workers", f"{run_id}.lock")


def execute(environment: Mapping[str, str], worker: str, instance_ref: str, run_id: str) -> None:
    """Executes a run in this process, in that environment and with its lock held."""
    os.environ.clear()
    os.environ.update(environment)
    from dagster import DagsterInstance
    from dagster._cli.api import _execute_run_command_body
    from dagster._utils.interrupts import capture_interrupts

    file = Path(worker)
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        capture_interrupts(),
        FileLock(file),
        DagsterInstance.from_ref(deserialize_value(instance_ref, InstanceRef)) as instance,
    ):
        instance.add_run_tags(run_id, {PROCESS_TAG: str(os.getpid())})
        _execute_run_command_body(run_id, instance, lambda _: None, set_exit_code_on_failure=False)


def _is_held(worker: Path) -> bool:
    """Whether a living process holds the lock. The file of one that is gone goes too."""
    if not worker.exists():
        return False
    lock = FileLock(worker)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    try:
        worker.unlink(missing_ok=True)
    finally:
        lock.release()
    return False
