"""Loaded tables as assets: one factory. A run appends what is pending for its slices, or rebuilds them.

Two asset checks in the same step say what is open of the table, before anything is reported as materialized (see `rejections`). The load
itself is `ingest.load`; checks of what a table holds apart from a load are in `assets.checks`.
"""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
import datetime as dt
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

import dagster as dg

from gaelp_assets.assets.evaluations import overtaken, report
from gaelp_assets.assets.metadata import (
    Metadata,
    definition_metadata,
    describe,
    failure,
    load_metadata,
)
from gaelp_assets.assets.partition_metadata import add_partition_metadata
from gaelp_assets.assets.partitions import (
    GATEWAY,
    asset_key,
    empty_selection,
    op_name,
    partitions_def,
)
from gaelp_assets.assets.rejections import CHECKS, check_result, report_set_aside, verdicts
from gaelp_assets.assets.steps import Results, asset_step
from gaelp_assets.catalog import WHOLE, Relation, Slice
from gaelp_assets.catalog.model import AssetCheckName
from gaelp_assets.catalog.slices import parse_partition_key
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.ranges import PartitionRange
from resources.platform import PlatformResource

if TYPE_CHECKING:
    import polars as pl

    from gaelp_assets.ingest.report import SliceReport
    from gaelp_assets.platform import Platform
    from gaelp_assets.warehouse.parameters import Parameters

BACKFILL_TAG: Final = "dagster/backfill"


class LoadConfig(dg.Config):
    """How a run loads."""

    rebuild: bool = False
    """Replace the slices by all of their files, sent and pending; a backfill always does."""
    accept_loss: bool = False
    """Let a rebuild lose rows whose lines are no rows any more by the table's definition: they go to the dead letter, with the reasons."""


@cache
def _load_config() -> dict[str, dg.Field]:
    """The fields of `LoadConfig`: for a `config` argument, Dagster would read the class again for each table."""
    return LoadConfig.to_fields_dict()


def freshness_policy(relation: Relation) -> dg.FreshnessPolicy | None:
    """Stale after the catalogue's `freshness_hours`; None without them."""
    if relation.freshness_hours is None:
        return None
    return dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(hours=relation.freshness_hours))


def table_asset(relation: Relation, engine: str, first_date: dt.date) -> dg.AssetsDefinition:
    """The asset of a loaded table, with its checks `accounting` and `rejected_rows`."""
    key = asset_key(relation)

    def load(context: dg.AssetExecutionContext, platform: PlatformResource) -> Results:
        config = LoadConfig(**context.op_execution_context.op_config)
        rebuild = config.rebuild or BACKFILL_TAG in context.run.tags
        slices = _slices(context)
        opened = platform.open()
        check_head_room(opened, relation, slices, rebuild=rebuild)
        loads = _Loads(opened, relation)
        loads.load(slices, run_id=context.run.run_id, rebuild=rebuild, accept_loss=config.accept_loss)
        results = loads.checks()
        yield from results
        if loads.set_aside:
            loads.tell_of_files(context.instance)
        if loads.problems:
            for slice_, metadata in loads.published.items():
                context.log_event(
                    dg.AssetMaterialization(key, partition=slice_.partition_key, metadata=metadata)
                )
        elif slices == [WHOLE]:
            yield dg.MaterializeResult(asset_key=key, metadata=loads.published[WHOLE])
        else:
            add_partition_metadata(context, key, loads.published)
            yield dg.MaterializeResult(asset_key=key)
        # Dagster goes on here once it has recorded the materialization.
        checks = [dg.AssetCheckKey(key, name) for name in CHECKS]
        if results and overtaken(context.instance, context.run.run_id, checks):
            report(context.instance, loads.checks())
        if loads.problems:
            raise loads.failure()

    return asset_step(
        op_name(relation),
        dg.AssetSpec(
            key,
            deps=[GATEWAY],
            metadata=definition_metadata(relation),
            partitions_def=partitions_def(relation, first_date),
            freshness_policy=freshness_policy(relation),
            **describe(relation, engine),
        ),
        load,
        checks=[
            dg.AssetCheckSpec(
                AssetCheckName.ACCOUNTING.value,
                asset=key,
                blocking=True,
                description="Every line of every file, sorted from raw/ or loaded into its slice, has one fate: "
                "lines = loaded + duplicate + rejected + superseded + withdrawn.",
            ),
            dg.AssetCheckSpec(
                AssetCheckName.REJECTED_ROWS.value,
                asset=key,
                description="No rejected line is open, neither replayed nor acknowledged, and no file is set aside: "
                "of all slices, whichever run it was.",
            ),
        ],
        config=_load_config(),
    )


def _slices(context: dg.AssetExecutionContext) -> list[Slice]:
    if context.assets_def.partitions_def is None:
        return [WHOLE]
    keys = context.partition_keys
    if not keys:
        # Dagster itself would end such a run with success.
        raise empty_selection("the selected range")
    return [parse_partition_key(key) for key in keys]


def check_head_room(
    platform: "Platform", relation: Relation, slices: Sequence[Slice], *, rebuild: bool
) -> None:
    """Ends a run that does not fit into what is left of the warehouse's daily limits, before it writes anything.

    Raises:
        dg.Failure: it does not fit; the description says what would.
    """
    from gaelp_assets.warehouse.quotas import refusal, worth_asking

    limits = platform.warehouse.capabilities.limits
    if limits is None or not worth_asking(limits, slices, rebuild=rebuild):
        return
    room = platform.warehouse.quota_left()
    problem = refusal(relation.id, slices, room) if room is not None else None
    if problem is not None:
        raise failure(GaelpError(problem))


class _Loads:
    """The loads of a run's slices, and what is to be said of them."""

    def __init__(self, platform: "Platform", relation: Relation) -> None:
        from gaelp_assets.ingest.validate import Validators

        self._platform = platform
        self._validators = Validators.for_run(platform)
        self._relation = relation
        self.published: dict[Slice, Metadata] = {}
        self.problems: list[Problem] = []
        self.set_aside = False
        """Whether files were set aside."""
        self._permanent = True

    def load(self, slices: Sequence[Slice], *, run_id: str, rebuild: bool, accept_loss: bool) -> None:
        """Loads the slices. The problems of one are kept, so that the others are loaded all the same."""
        from gaelp_assets.ingest.load_slices import load_slices

        reports: dict[Slice, SliceReport] = {}
        for slice_, outcome in load_slices(
            self._platform,
            self._relation,
            slices,
            run_id=run_id,
            rebuild=rebuild,
            accept_loss=accept_loss,
            validators=self._validators,
        ):
            if isinstance(outcome, GaelpError):
                self._failed(outcome)
                continue
            self.set_aside = self.set_aside or bool(outcome.set_aside)
            if problems := self._problems(outcome):
                self.problems += problems
            else:
                reports[slice_] = outcome
        try:
            rows = row_counts(self._platform, self._relation, list(reports)) if reports else {}
        except GaelpError as error:
            self._failed(error)
            rows = {}
        self.published = {
            slice_: {**load_metadata(report, self._relation), **rows.get(slice_, {})}
            for slice_, report in reports.items()
        }

    def _failed(self, error: GaelpError) -> None:
        self.problems += [problem for problem in error.problems if problem not in self.problems]
        self._permanent = self._permanent and error.permanent

    def _problems(self, report: "SliceReport") -> list[Problem]:
        """Why a slice is not to be shown as loaded."""
        if report.files and len(report.set_aside) == len(report.files):
            return [
                Problem(problem.what, f"{file.file}, {problem.where}", problem.expected, problem.remedy)
                for file in report.set_aside
                for problem in file.problems
            ]
        if all(counts.balanced for counts in report.counts):
            return []
        return [
            Problem(
                "lines are unaccounted for",
                f"{self._relation.id}, {report.slice}",
                "lines = loaded + duplicate + rejected + superseded + withdrawn for every file",
            )
        ]

    def failure(self) -> dg.Failure:
        """What the run ends with, if there are problems."""
        error = GaelpError(*self.problems)
        error.permanent = self._permanent
        return failure(error)

    def tell_of_files(self, instance: dg.DagsterInstance) -> None:
        """Tells the gateway's check; a problem more, if it cannot be evaluated."""
        try:
            report_set_aside(instance, self._platform)
        except GaelpError as error:
            self._failed(error)

    def checks(self) -> list[dg.AssetCheckResult]:
        """The table's checks; none, and a problem more, if they cannot be evaluated."""
        try:
            return [
                check_result(self._relation, verdict) for verdict in verdicts(self._platform, self._relation)
            ]
        except GaelpError as error:
            self._failed(error)
            return []


def row_counts(platform: "Platform", relation: Relation, slices: Sequence[Slice]) -> dict[Slice, Metadata]:
    """The rows that each slice holds now, under the name by which Dagster plots them. Asked once for all slices."""
    if relation.partitioning is None or list(slices) == [WHOLE]:
        everything = PartitionRange(platform.settings.first_date, platform.last_date)
        condition, parameters = everything.condition(relation, "t")
        sql = f"SELECT COUNT(*) AS n FROM {relation.quoted_id} AS t WHERE {condition}"
        counted = _count_query(platform, relation, sql, parameters)
        return {slice_: {"dagster/row_count": int(counted["n"].item())} for slice_ in slices}
    dates = [slice_.date for slice_ in slices if slice_.date is not None]
    condition, parameters = PartitionRange(min(dates), max(dates)).condition(relation, "t")
    by = relation.partitioning
    keys = [f"t.`{by.date}`" if relation.field(by.date).type == "DATE" else f"DATE(t.`{by.date}`)"]
    keys += [f"t.`{by.environment}`"] if by.environment else []
    sql = (
        f"SELECT {', '.join(f'{key} AS key_{place}' for place, key in enumerate(keys))}, COUNT(*) AS n "
        f"FROM {relation.quoted_id} AS t WHERE {condition} GROUP BY {', '.join(keys)}"
    )
    counted = _count_query(platform, relation, sql, parameters)
    found = {Slice(*row[:-1]): int(row[-1]) for row in counted.iter_rows()}
    return {slice_: {"dagster/partition_row_count": found.get(slice_, 0)} for slice_ in slices}


def _count_query(
    platform: "Platform", relation: Relation, sql: str, parameters: "Parameters"
) -> "pl.DataFrame":
    labels = {"asset": relation.id, "purpose": "row_count"}
    return platform.warehouse.query(sql, parameters, labels=labels).frame
