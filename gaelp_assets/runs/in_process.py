"""Executes what the sensors would start, in this process and without a daemon: for `gaelp ingest` and the demo.

Nothing is decided here: plans come from `runs.plans`, as they do for the sensors.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import dagster as dg

from gaelp_assets.errors import Problem, TransientError
from gaelp_assets.runs.holders import Held, holding
from gaelp_assets.runs.orphans import IN_PROCESS_TAG, fail_orphans, process_lock
from gaelp_assets.runs.planning import ASSET_JOB, PlannedRun, RunPlan, quiet
from gaelp_assets.runs.plans import plan_loads, plan_refresh, plan_sort
from gaelp_assets.runs.reporting import report_writes

if TYPE_CHECKING:
    from dagster_shared.error import SerializableErrorInfo

    from gaelp_assets.platform import Platform

# A slot whose runs succeed and that still has the same files waiting is left alone after as many runs.
ATTEMPTS_PER_SLOT: Final = 3


@dataclass(frozen=True)
class RunResult:
    """A run that was executed: its slot, its assets, how it ended, and the rows that it loaded."""

    run_id: str
    slot: str
    assets: tuple[str, ...]
    success: bool
    seconds: float
    rows_loaded: int = 0
    failures: tuple[str, ...] = ()
    """Why steps failed, one text each."""
    failed_checks: tuple[str, ...] = ()
    """The asset checks that did not pass, as `dataset.name: check`."""


# The sensors hold the lock for a moment, whenever they look for runs of processes that are gone.
PATIENCE_SECONDS: Final = 2.0

MakePlan = Callable[["Platform", dg.DagsterInstance, dt.datetime], RunPlan]
STAGES: Final[tuple[tuple[str, MakePlan], ...]] = (
    ("sort", plan_sort),
    ("load", plan_loads),
    ("refresh", plan_refresh),
)
OnRunProgress = Callable[[str, int, int, "RunResult | None"], None]
"""Called before (with None) and after each run: its slot, its number, and how many runs are planned in this round."""


def run_pending(
    definitions: dg.Definitions,
    platform: Platform,
    instance: dg.DagsterInstance,
    on_progress: OnRunProgress | None = None,
    *,
    refresh_only: bool = False,
    on_wait: Callable[[str], None] | None = None,
) -> list[RunResult]:
    """Sorts, loads and refreshes until nothing is waiting, or nothing more can be done; the runs, in order.

    The runs are those that the sensors would start, on the same definitions, and stand in the same history. A slot whose run fails
    is not tried again in this call. Slots that a daemon is loading at the same time are left to it. Runs of an earlier process that
    was killed are ended first, so that their slots are free, and what they wrote and did not report is reported.

    Args:
        definitions: those of the platform's catalogue.
        platform: where the files wait, and where they are loaded.
        instance: Dagster's, which keeps the history of the runs.
        on_progress: called before and after each run.
        refresh_only: sorts and loads nothing.
        on_wait: called, again and again, with the process that is doing the same, for as long as it does. Without it nobody waits.

    Raises:
        TransientError: gateway or warehouse cannot be asked, or another process is doing the same.
    """
    try:
        with holding(
            process_lock(platform.settings), "gaelp ingest", on_wait=on_wait, patience=PATIENCE_SECONDS
        ):
            fail_orphans(instance, of_daemon=True)
            report_writes(platform, instance)
            rounds = _Rounds(definitions, platform, instance, on_progress)
            return list(rounds.run(STAGES[-1:] if refresh_only else STAGES))
    except Held as held:
        raise TransientError(
            Problem(
                f"another process is loading what is pending: {held.words}",
                str(platform.settings.home),
                remedy="Run it again when that has ended, or wait for it: gaelp ingest --wait",
            )
        ) from None


class _Rounds:
    def __init__(
        self,
        definitions: dg.Definitions,
        platform: Platform,
        instance: dg.DagsterInstance,
        on_progress: OnRunProgress | None,
    ) -> None:
        self._job = definitions.resolve_job_def(ASSET_JOB)
        self._platform = platform
        self._instance = instance
        self._on_progress = on_progress
        self._failed: set[tuple[str, str]] = set()
        self._attempts: dict[tuple[str, str, tuple[dg.AssetKey, ...]], int] = {}

    def run(self, stages: Sequence[tuple[str, MakePlan]]) -> Iterator[RunResult]:
        for stage, plan in stages:
            while planned := self._unfinished(stage, plan(self._platform, self._instance, _long_after())):
                for number, run in enumerate(planned, start=1):
                    yield self._execute(stage, run, number, len(planned))

    def _unfinished(self, stage: str, plan: RunPlan) -> list[PlannedRun]:
        return [
            run
            for run in plan.runs
            if (stage, run.title) not in self._failed
            and self._attempts.get((stage, run.title, run.assets), 0) < ATTEMPTS_PER_SLOT
        ]

    def _execute(self, stage: str, run: PlannedRun, number: int, count: int) -> RunResult:
        if self._on_progress is not None:
            self._on_progress(run.title, number, count, None)
        environments = [request.partition_keys for request in RunPlan([run]).new_environments()]
        for keys in environments:
            self._instance.add_dynamic_partitions("environments", list(keys))
        started = time.monotonic()
        executed = self._job.execute_in_process(
            instance=self._instance,
            asset_selection=list(run.assets),
            partition_key=run.partition_key,
            tags={**run.tags, **IN_PROCESS_TAG},
            run_config=quiet("CRITICAL"),
            raise_on_error=False,
        )
        result = _summary(run, executed, time.monotonic() - started)
        key = (stage, run.title, run.assets)
        self._attempts[key] = self._attempts.get(key, 0) + 1
        if not result.success:
            self._failed.add((stage, run.title))
        if self._on_progress is not None:
            self._on_progress(run.title, number, count, result)
        return result


def _long_after() -> dt.datetime:
    """A moment at which no slot rests any more: who asks for the work now does not want to wait for a failed run's backoff."""
    return dt.datetime.now(dt.UTC) + dt.timedelta(days=1)


def _root_cause(error: SerializableErrorInfo | None) -> str:
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else "no reason given"


def _summary(run: PlannedRun, executed: dg.ExecuteInProcessResult, seconds: float) -> RunResult:
    failures = []
    for event in executed.all_events:
        if event.is_step_failure:
            failed = event.step_failure_data
            user = failed.user_failure_data
            description = user.description if user is not None else None
            failures.append(f"{event.step_key}: {description or _root_cause(failed.error)}")
    rows = 0
    for event in executed.all_events:
        if event.is_step_materialization:
            value = event.step_materialization_data.materialization.metadata.get("rows loaded")
            rows += int(value.value or 0) if isinstance(value, dg.IntMetadataValue) else 0
    checks = tuple(
        f"{'.'.join(check.asset_key.path)}: {check.check_name}"
        for check in executed.get_asset_check_evaluations()
        if not check.passed
    )
    return RunResult(
        run_id=executed.run_id,
        slot=run.title,
        assets=tuple(".".join(key.path) for key in run.assets),
        success=executed.success,
        seconds=seconds,
        rows_loaded=rows,
        failures=tuple(failures),
        failed_checks=checks,
    )
