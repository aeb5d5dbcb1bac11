"""Runs in forked processes: they end well, are seen to live and to be dead, and end with who launched them."""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import LaunchRunContext
from dagster._core.launcher.base import WorkerStatus

from gaelp_assets.cli.dev import dagster_instance
from gaelp_assets.settings import load_settings
from resources.forked_runs import PRELOADED, PROCESS_TAG, ForkedRunLauncher

Status = dg.DagsterRunStatus
HANGS_SECONDS = 90
"""How long a run may take before it counts as hanging: each takes seconds."""


@dg.op(config_schema={"until": str})
def wait_for_a_file(context: dg.OpExecutionContext) -> None:
    while not Path(context.op_config["until"]).exists():
        time.sleep(0.02)


@dg.job(executor_def=dg.in_process_executor)
def waiting() -> None:
    wait_for_a_file()


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    for name in ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "")
    with dagster_instance(load_settings({"GAELP_HOME": str(tmp_path / "home")})) as instance:
        assert isinstance(instance.run_launcher, ForkedRunLauncher)
        yield instance


def launch(instance: dg.DagsterInstance, until: Path) -> dg.DagsterRun:
    """A run that goes on until there is that file."""
    run = instance.create_run_for_job(
        waiting,
        run_config={"ops": {"wait_for_a_file": {"config": {"until": str(until)}}}},
        job_code_origin=dg.reconstructable(waiting).get_python_origin(),
        status=Status.STARTING,
    )
    instance.run_launcher.launch_run(LaunchRunContext(dagster_run=run, workspace=None))
    return run


def wait(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + HANGS_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"waited {HANGS_SECONDS} s for {what}"
        time.sleep(0.02)


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def health(instance: dg.DagsterInstance, run: dg.DagsterRun) -> WorkerStatus:
    return instance.run_launcher.check_run_worker_health(run).status


def process_id(instance: dg.DagsterInstance, run: dg.DagsterRun) -> int:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return int(found.tags[PROCESS_TAG])


def test_a_run_is_executed_in_a_process_of_its_own_and_leaves_no_lock(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run = launch(instance, tmp_path / "go")
    wait(lambda: status(instance, run) is Status.STARTED, "the run to start")
    assert process_id(instance, run) != os.getpid()
    assert health(instance, run) is WorkerStatus.RUNNING
    (tmp_path / "go").touch()
    wait(lambda: status(instance, run) is Status.SUCCESS, "the run to end")
    wait(lambda: health(instance, run) is WorkerStatus.NOT_FOUND, "its process to end")
    assert not list(Path(instance.root_directory, "workers").glob("*"))


def test_a_killed_run_is_known_to_be_dead_by_another_process_too(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run = launch(instance, tmp_path / "never")
    wait(lambda: status(instance, run) is Status.STARTED, "the run to start")
    with dg.DagsterInstance.from_ref(instance.get_ref()) as other:
        assert health(other, run) is WorkerStatus.RUNNING
        os.kill(process_id(instance, run), signal.SIGKILL)
        wait(lambda: health(other, run) is WorkerStatus.NOT_FOUND, "the lock of the killed run")
        wait(lambda: status(other, run) is Status.FAILURE, "the launcher to end the killed run")


def test_a_run_that_was_killed_before_it_began_does_not_hold_its_slice_until_the_start_times_out(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run = launch(instance, tmp_path / "never")
    launcher = instance.run_launcher
    assert isinstance(launcher, ForkedRunLauncher)
    for process in launcher.running():
        process.kill()
    wait(lambda: status(instance, run) is Status.FAILURE, "the launcher to end the killed run")


def test_a_run_is_terminated_by_a_process_that_has_not_launched_it(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run = launch(instance, tmp_path / "never")
    wait(lambda: status(instance, run) is Status.STARTED, "the run to start")
    with dg.DagsterInstance.from_ref(instance.get_ref()) as other:
        assert other.run_launcher.terminate(run.run_id)
        wait(lambda: status(other, run) is Status.CANCELED, "the run to be cancelled")
        assert not other.run_launcher.terminate(run.run_id)


def test_runs_end_with_who_launched_them(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run = launch(instance, tmp_path / "never")
    wait(lambda: status(instance, run) is Status.STARTED, "the run to start")
    instance.run_launcher.dispose()
    assert health(instance, run) is WorkerStatus.NOT_FOUND


def test_what_runs_are_forked_from_has_no_threads_of_its_own_and_none_of_the_platforms_code() -> None:
    """Threads are missing in what is forked, and code that is there already would not be that of the next run."""
    code = (
        f"import os, sys; [__import__(name) for name in {PRELOADED!r}];"
        "print(len(os.listdir('/proc/self/task')) if os.path.isdir('/proc/self/task') else 1, [name for name in sys.modules"
        " if name.split('.')[0] in {'gaelp_assets', 'pandas', 'polars', 'pyarrow', 'resources', 'sensors'}])"
    )
    # OpenBLAS has as many threads as this says, and makes them again after a fork.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "1 []"
