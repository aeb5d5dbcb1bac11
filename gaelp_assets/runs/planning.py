"""What should run next, as pure functions of the queue and of what has run before. Nothing here does I/O or knows Dagster's instance.

A *slot* is what one planned run at a time may be about: the dates and environments of a month (`2026-11|*`), the dates of a month of what
is sliced by date alone (`2026-11`), what is not sliced (`whole`), or the gateway. A run key names the slot's previous run
(compare-and-swap): of two planners that saw the same history, Dagster starts one run.

Starting a process costs more than loading many usual slices, so a run takes all neighbouring environments and dates that wait for
the same assets: a rectangle of Dagster's partitions, of which every one has work.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import takewhile
from typing import Final, TypeVar

import dagster as dg

from gaelp_assets.assets.partitions import (
    ENVIRONMENTS,
    GATEWAY,
    RANGE_END_TAG,
    RANGE_START_TAG,
    asset_key,
    partition_set,
)
from gaelp_assets.catalog import Catalog, Slice
from gaelp_assets.catalog.derivation import slice_sources

T = TypeVar("T")
# Dagster's own job over all assets. A sensor whose target is a selection of assets with different partitions would keep the whole
# code location from loading.
ASSET_JOB: Final = "__ASSET_JOB"
SLOT_TAG: Final = "gaelp/slot"
REASON_TAG: Final = "gaelp/reason"
RUNS_PER_TICK: Final = 50
SLICES_PER_RUN: Final = 500
"""At most: what arrives while a run goes on waits for it, and nothing of it is on screen before its end."""
NO_COOLDOWN: Final = dt.timedelta(0)
FIRST_BACKOFF: Final = dt.timedelta(seconds=10)
LONGEST_BACKOFF: Final = dt.timedelta(minutes=10)
REMEMBERED_RUNS: Final = 50
"""Of a slot, the newest: seven failures in a row of the same work are the longest backoff."""
# Dead workers are found by the launcher's health check; this is for a worker that lives and hangs.
LONGEST_RUN_SECONDS: Final = 6 * 3600


class RunOutcome(Enum):
    """How far a run got."""

    IN_FLIGHT = "in flight"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Attempt:
    """What a run was about: assets, and the rectangle of slices between two corners."""

    assets: frozenset[dg.AssetKey]
    first: Slice
    last: Slice

    def covers(self, work: PendingWork, order: Mapping[str, int]) -> bool:
        """Whether the run was about that work; `order` has the places of the environments, as Dagster's ranges go by them."""
        first, place, last = (
            (_ordinal(s.date), order.get(s.environment or "", -1))
            for s in (self.first, work.slice, self.last)
        )
        between = first[0] <= place[0] <= last[0] and first[1] <= place[1] <= last[1]
        return between and work.asset in self.assets


@dataclass(frozen=True)
class PastRun:
    """A run of a slot: when it was created and, if it has ended, when (UTC)."""

    run_id: str
    outcome: RunOutcome
    created: dt.datetime
    ended: dt.datetime | None = None
    attempt: Attempt | None = None
    """What it was about; None where nobody knows, and it may have been all of its slot."""


@dataclass(frozen=True)
class PendingWork:
    """A slice of an asset with work to do, and since when; None if the age of the work is not known."""

    asset: dg.AssetKey
    slice: Slice
    since: dt.datetime | None = None
    reason: str = ""
    """Why there is work, for people."""

    @property
    def slot(self) -> str:
        """`2026-11|*`, `2026-11`, `whole`, or `gateway`.

        >>> PendingWork(dg.AssetKey(["training", "episodes"]), Slice(dt.date(2026, 11, 20), "CartPole-v1")).slot
        '2026-11|*'
        """
        if self.asset == GATEWAY:
            return "gateway"
        if self.slice.date is None:
            return "whole"
        return f"{self.slice.date:%Y-%m}" + ("|*" if self.slice.environment is not None else "")


@dataclass(frozen=True)
class PlannedRun:
    """A run to start: which assets, for which slices of a slot, under which run key."""

    slot: str
    slices: tuple[Slice, ...]
    """In the order of Dagster's partitions: one, or neighbouring dates, each with the same neighbours in the order of the environments."""
    assets: tuple[dg.AssetKey, ...]
    run_key: str
    reason: str = ""
    """Why, for people: a tag of the run."""

    @property
    def partition_key(self) -> str | None:
        """Dagster's partition key of a run about one slice; None for relations that are a single slice, and for a range."""
        return self.slices[0].partition_key if len(self.slices) == 1 else None

    @property
    def tags(self) -> dict[str, str]:
        """The slot, limits, and the two ends of a range."""
        tags = {
            SLOT_TAG: self.slot,
            "dagster/max_retries": "0",
            "dagster/max_runtime": str(LONGEST_RUN_SECONDS),
        }
        if self.reason:
            tags[REASON_TAG] = self.reason
        if len(self.slices) > 1:
            tags[RANGE_START_TAG] = self.slices[0].partition_key or ""
            tags[RANGE_END_TAG] = self.slices[-1].partition_key or ""
        return tags

    @property
    def title(self) -> str:
        """`2026-11-20|CartPole-v1`, `2026-11-20|Acrobot-v1 ... Taxi-v4`, `2026-11-01|Acrobot-v1 ... 2026-11-20|Taxi-v4`, `whole` or
        `gateway`, for people."""
        if len(self.slices) == 1:
            return self.partition_key or self.slot
        first, last = self.slices[0], self.slices[-1]
        return f"{first} ... {last.environment if first.date == last.date else last}"

    def request(self) -> dg.RunRequest:
        """The plan as Dagster takes it from a sensor."""
        return dg.RunRequest(
            run_key=self.run_key,
            partition_key=self.partition_key,
            asset_selection=list(self.assets),
            tags=self.tags,
            run_config=quiet("WARNING"),
        )


def quiet(level: str) -> dict[str, object]:
    """Run config: the console shows nothing below that level. The events of the run are kept all the same."""
    return {"loggers": {"console": {"config": {"log_level": level}}}}


@dataclass(frozen=True)
class RunPlan:
    """The runs to start, in order, and why other work waits (a text for each slot)."""

    runs: list[PlannedRun] = field(default_factory=list)
    waits: dict[str, str] = field(default_factory=dict)

    def __add__(self, other: RunPlan) -> RunPlan:
        """Both, for other slots each."""
        return RunPlan([*self.runs, *other.runs], {**self.waits, **other.waits})

    def new_environments(self) -> list[dg.AddDynamicPartitionsRequest]:
        """What makes the runs' environments known to Dagster; adding a known one changes nothing."""
        found = sorted({s.environment for run in self.runs for s in run.slices if s.environment is not None})
        return [ENVIRONMENTS.build_add_request(found)] if found else []

    def result(self) -> dg.SensorResult | dg.SkipReason:
        """The plan as a sensor's result, or why there is nothing to start."""
        if not self.runs:
            waits = "; ".join(f"{slot}: {why}" for slot, why in sorted(self.waits.items())[:20])
            return dg.SkipReason(waits or "Nothing to do.")
        return dg.SensorResult(
            run_requests=[run.request() for run in self.runs],
            dynamic_partitions_requests=self.new_environments(),
        )


Select = Callable[[Sequence[dg.AssetKey]], Sequence[dg.AssetKey]]
"""Adds to the assets of a slot with work those that should run with them."""


def previous_run_key(slot: str, history: Sequence[PastRun]) -> str:
    """The run key of the slot's next run."""
    return f"{slot}<-{history[0].run_id if history else 'none'}"


def backoff(failures: int) -> dt.timedelta:
    """How long work rests that failed so many times in a row: 10 s, doubled for each, at most 10 minutes.

    >>> [str(backoff(failures)) for failures in (0, 1, 2, 3, 20)]
    ['0:00:00', '0:00:10', '0:00:20', '0:00:40', '0:10:00']
    """
    if not failures:
        return dt.timedelta(0)
    return min(FIRST_BACKOFF * (1 << min(failures - 1, 16)), LONGEST_BACKOFF)


def plan_runs(
    waiting: Sequence[PendingWork],
    history: Mapping[str, Sequence[PastRun]],
    select: Select,
    *,
    now: dt.datetime,
    first_date: dt.date,
    last_date: dt.date,
    environments: Sequence[str] = (),
    limit: int = RUNS_PER_TICK,
    cooldown: dt.timedelta = NO_COOLDOWN,
    slices: int = SLICES_PER_RUN,
) -> RunPlan:
    """One run for each slot with work that is neither in flight nor backing off: the oldest work first, work of one age in its order.

    Args:
        waiting: the work, in any order.
        history: each slot's runs, the newest first.
        select: adds to the assets of a slot with work those that should run with them.
        now: the moment (UTC) at which runs would start.
        first_date: the first date of which slices exist; work of earlier ones waits.
        last_date: the last such date.
        environments: those that Dagster knows, in its order.
        limit: how many slots may be in flight. A long queue stays in the gateway, where it is seen, and is not copied into runs.
        cooldown: how long a slot rests after a run that succeeded, so that more files are loaded by the next one.
        slices: how many slices a run may take.

    Returns:
        The runs to start, and for each slot that has to wait, why.
    """
    slots: dict[str, list[PendingWork]] = {}
    order = _order(environments, waiting)
    plan = RunPlan()
    for work in waiting:
        date = work.slice.date
        if date is None or first_date <= date <= last_date:
            slots.setdefault(work.slot, []).append(work)
        else:
            side = "before GAELP_FIRST_DATE" if date < first_date else "in the future"
            plan.waits[f"{date}"] = f"the date is {side} ({first_date} to {last_date} are taken)"
    in_flight = 0
    ready: list[tuple[str, Sequence[PendingWork]]] = []
    for slot, found in slots.items():
        past = history.get(slot, ())
        ready_work, resting = _rested(past, found, order, now)
        if past and past[0].outcome is RunOutcome.IN_FLIGHT:
            plan.waits[slot] = f"run {past[0].run_id[:8]} is in flight"
            in_flight += 1
        elif (
            cooldown and past and past[0].outcome is RunOutcome.SUCCEEDED and past[0].created + cooldown > now
        ):
            plan.waits[slot] = (
                f"load jobs are scarce today; next at {past[0].created + cooldown:%H:%M:%S} UTC"
            )
        elif ready_work:
            ready.append((slot, ready_work))
        else:
            failed, rested_at = resting
            plan.waits[slot] = f"run {failed[:8]} failed; next attempt at {rested_at:%H:%M:%S} UTC"
    ready.sort(key=lambda item: _since(item[1]))
    for number, (slot, ready_work) in enumerate(ready):
        if number < limit - in_flight:
            plan.runs.append(_planned(slot, ready_work, history.get(slot, ()), select, order, max(slices, 1)))
        else:
            plan.waits[slot] = (
                f"{limit} runs are in flight or about to start" if limit else "no load jobs are left today"
            )
    return plan


def _order(environments: Sequence[str], waiting: Sequence[PendingWork]) -> dict[str, int]:
    """The places of the environments in Dagster's order, which new ones join at the end, by name."""
    new = {work.slice.environment for work in waiting if work.slice.environment is not None} - set(
        environments
    )
    return {environment: place for place, environment in enumerate([*environments, *sorted(new)])}


def _planned(
    slot: str,
    found: Sequence[PendingWork],
    past: Sequence[PastRun],
    select: Select,
    order: Mapping[str, int],
    limit: int,
) -> PlannedRun:
    """A run for the slice that has waited longest, and for its neighbours that wait for the same assets."""
    oldest = min(found, key=lambda work: (_since([work]), work.slice.sort_key)).slice
    assets: dict[Slice, set[dg.AssetKey]] = {}
    for work in found:
        assets.setdefault(work.slice, set()).add(work.asset)
    alike: dict[dt.date | None, set[str | None]] = {}
    for slice_, waiting_for in assets.items():
        if waiting_for == assets[oldest]:
            alike.setdefault(slice_.date, set()).add(slice_.environment)
    same_day = {order.get(environment or "", 0): environment for environment in alike[oldest.date]}
    row = _neighbours(same_day, order.get(oldest.environment or "", 0), limit)
    whole_rows = {_ordinal(date): date for date, names in alike.items() if names.issuperset(row)}
    dates = _neighbours(whole_rows, _ordinal(oldest.date), limit // len(row))
    return PlannedRun(
        slot=slot,
        slices=tuple(Slice(date, environment) for date in dates for environment in row),
        assets=tuple(select(sorted(assets[oldest], key=str))),
        run_key=previous_run_key(slot, past),
        reason=", ".join(sorted({work.reason for work in found if work.reason})),
    )


def _ordinal(date: dt.date | None) -> int:
    return 0 if date is None else date.toordinal()


def _neighbours(found: Mapping[int, T], start: int, limit: int) -> list[T]:
    """What stands at the places around `start` without a gap, in order; at most so many.

    >>> _neighbours({1: "a", 3: "c", 4: "d", 5: "e"}, 4, 10)
    ['c', 'd', 'e']
    """
    first = last = start
    while last + 1 in found and last - first + 1 < limit:
        last += 1
    while first - 1 in found and last - first + 1 < limit:
        first -= 1
    return [found[place] for place in range(first, last + 1)]


def _since(found: Sequence[PendingWork]) -> dt.datetime:
    oldest = dt.datetime.min.replace(tzinfo=dt.UTC)
    return min((work.since or oldest for work in found), default=oldest)


def _rested(
    past: Sequence[PastRun], found: Sequence[PendingWork], order: Mapping[str, int], now: dt.datetime
) -> tuple[Sequence[PendingWork], tuple[str, dt.datetime]]:
    """That of a slot's work which may be tried now; of the rest, which run failed and when the first of it may be tried again.

    Work rests by its own failures. What no failed run was about does not pay for it, nor what came after the failure: a table that
    fails again and again must hold up neither its neighbours nor what comes later.
    """
    ready: list[PendingWork] = []
    resting: list[tuple[dt.datetime, str]] = []
    for work in found:
        failures = list(takewhile(lambda run: run.outcome is RunOutcome.FAILED, _about(past, work, order)))
        if not failures:
            ready.append(work)
            continue
        ended = failures[0].ended or failures[0].created
        rested_at = ended + backoff(len(failures))
        if rested_at <= now or (work.since is not None and work.since > ended):
            ready.append(work)
        else:
            resting.append((rested_at, failures[0].run_id))
    rested_at, failed = min(resting, default=(now, ""))
    return ready, (failed, rested_at)


def _about(past: Sequence[PastRun], work: PendingWork, order: Mapping[str, int]) -> Iterator[PastRun]:
    """The slot's newest runs that were about that work, the newest first."""
    return (run for run in past[:REMEMBERED_RUNS] if run.attempt is None or run.attempt.covers(work, order))


def with_derived(catalog: Catalog) -> Select:
    """Selects, beside a slot's tables, the derived relations that read them slice by slice in the same partition set.

    What is not sliced, such as a leaderboard, or made of other days too reads many slots: the refresh sensor sees to it.
    """
    reads = [
        (relation, {source.id for source in slice_sources(catalog, relation)})
        for relation in catalog.derived
        if partition_set(relation) != "whole" and relation.reads_slices is None
    ]

    def select(assets: Sequence[dg.AssetKey]) -> list[dg.AssetKey]:
        selected = list(assets)
        reached = {".".join(key.path) for key in assets}
        kinds = {partition_set(catalog[relation_id]) for relation_id in reached}
        for relation, sources in reads:
            if partition_set(relation) in kinds and relation.id not in reached and sources & reached:
                reached.add(relation.id)
                selected.append(asset_key(relation))
        return selected

    return select


def only_these(assets: Sequence[dg.AssetKey]) -> Sequence[dg.AssetKey]:
    """Selects a slot's assets alone."""
    return assets
