"""Dagster's default run launcher, and an answer to whether a run's worker still lives.

Without the answer, run monitoring never notices a killed worker: the run stays started, and so does its slice.
"""

from __future__ import annotations

from typing import Any, cast

from dagster import DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

TIMEOUT_SECONDS = 10


class HealthCheckedRunLauncher(DefaultRunLauncher):
    """Launches a run in a process of the code server, and asks the server whether that process is still there."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring may ask: it may."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Failed if the code server is gone, not found if it no longer knows the run, else running."""
        client = cast("Any", self)._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return CheckRunHealthResult(
                WorkerStatus.UNKNOWN, "The run does not say which code server executes it."
            )
        try:
            answer = deserialize_value(
                client.can_cancel_execution(
                    CanCancelExecutionRequest(run_id=run.run_id), timeout=TIMEOUT_SECONDS
                ),
                CanCancelExecutionResult,
            )
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.FAILED, "The code server that executed the run is gone.")
        if answer.can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "The code server has no process for the run.")
