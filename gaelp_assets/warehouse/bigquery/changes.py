"""Makes, changes and drops the catalogue's tables and views in a project."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.bigquery.datasets import Datasets
from gaelp_assets.warehouse.bigquery.dialect import Names, quote
from gaelp_assets.warehouse.bigquery.errors import WriteConflict
from gaelp_assets.warehouse.bigquery.jobs import Jobs
from gaelp_assets.warehouse.bigquery.materialized_views import NativeViews
from gaelp_assets.warehouse.bigquery.rate_limit import RateLimiter
from gaelp_assets.warehouse.bigquery.resources import Resource
from gaelp_assets.warehouse.bigquery.retry import until_undisturbed
from gaelp_assets.warehouse.bigquery.schema import patch, renaming_statements, widening_statements
from gaelp_assets.warehouse.bigquery.tables import Tables
from gaelp_assets.warehouse.ledger import REFRESHES
from gaelp_assets.warehouse.refreshes import forget_statement
from gaelp_assets.warehouse.schema.model import (
    ObjectType,
    RelationPlan,
    SchemaScope,
    Status,
    recheck,
    refuse,
)

if TYPE_CHECKING:
    from google.cloud import bigquery

# tables.insert, for each user; https://cloud.google.com/bigquery/quotas#api_request_quotas
TABLES_PER_SECOND: Final = 10
# Of two that change one table at the same time, one looks at it again.
CHANGE_ROUNDS: Final = 8


class TableChanges:
    """Changes the tables that `Tables` looks at; `per_second` is how many are made in a second at most."""

    def __init__(
        self,
        jobs: Jobs,
        names: Names,
        tables: Tables,
        datasets: Datasets,
        views: NativeViews,
        *,
        per_second: int = TABLES_PER_SECOND,
    ) -> None:
        self._jobs = jobs
        self._names = names
        self._tables = tables
        self._datasets = datasets
        self._views = views
        self._pace = RateLimiter(per_second)

    def ensure(self, relations: Sequence[Relation]) -> None:
        """Brings these relations, in their order, as far as rows need it.

        Raises:
            GaelpError: a dataset is in another location, or rows cannot follow a change.
        """
        for dataset in dict.fromkeys(relation.dataset for relation in relations):
            self._datasets.make(dataset)
        plans = self._tables.diff(relations, SchemaScope.ROWS)
        refuse(plans)
        for planned in plans:
            if planned.status is not Status.UNCHANGED:
                self.apply(planned, SchemaScope.ROWS)

    def apply(self, planned: RelationPlan, scope: SchemaScope = SchemaScope.ALL) -> RelationPlan:
        """Carries out a plan for one relation; what was done.

        Raises:
            GaelpError: the plan has refusals, or has some by now, or BigQuery refuses the change.
        """

        def change() -> RelationPlan:
            new = planned.status is Status.CREATE
            table = None if new else self._tables.find(planned.relation)

            def find(relation: Relation) -> bigquery.Table | None:
                return table if relation is planned.relation else self._tables.find(relation)

            now = recheck(planned, self._tables.compare(planned.relation, scope, find))
            self._carry_out(now, table)
            return now

        problem = Problem(
            f"others changed it {CHANGE_ROUNDS} times in the meantime", planned.relation.id, "a turn"
        )
        return until_undisturbed(change, problem, rounds=CHANGE_ROUNDS, disturbed=changed_by_others)

    def drop(self, relation: Relation) -> None:
        """Removes the table or view; nothing happens if it is not there."""
        self._forget_refreshes(relation)
        self._jobs.call(
            f"drop {relation.id}",
            self._jobs.client.delete_table,
            self._names.table_id(relation),
            not_found_ok=True,
        )

    def _carry_out(self, planned: RelationPlan, table: bigquery.Table | None) -> None:
        relation = planned.relation
        if planned.status is Status.CREATE:
            self._forget_refreshes(relation)
            self._create(relation)
        elif planned.status is Status.REPLACE:
            if not planned.stored is planned.object_type is ObjectType.MATERIALIZED_VIEW:
                self.drop(relation)
            self._create(relation)
        else:
            assert table is not None
            for statement in renaming_statements(self._names.table_id(relation), planned.changes):
                self._jobs.query(statement, f"gaelp_alter_{_unique()}", f"rename a column of {relation.id}")
                table = self._tables.find(relation)
            if table is None:
                return
            for statement in widening_statements(
                self._names.table_id(relation), table.to_api_repr(), planned.changes
            ):
                self._jobs.query(statement, f"gaelp_alter_{_unique()}", f"widen {relation.id}")
                table = self._tables.find(relation)
            if table is not None:
                self._patch(
                    relation,
                    table,
                    patch(table.to_api_repr(), self._tables.wanted(relation), planned.changes),
                )

    def _create(self, relation: Relation) -> None:
        from google.cloud import bigquery

        self._pace.wait()
        keeping = self._views.keeping(relation)
        if keeping is not None:
            statement = self._views.statement(relation, keeping)
            self._jobs.query(statement, f"gaelp_view_{_unique()}", f"make {relation.id}")
            return
        self._jobs.call(
            f"make {relation.id}",
            self._jobs.client.create_table,
            bigquery.Table.from_api_repr(self._tables.wanted(relation)),
            exists_ok=True,
        )

    def _forget_refreshes(self, relation: Relation) -> None:
        """What is made again is empty, whatever was computed for it before."""
        dataset, _, name = REFRESHES.partition(".")
        refreshes = f"{self._names.dataset_id(dataset)}.{name}"
        if relation.is_derived and relation.is_stored and self._tables.get(refreshes) is not None:
            statement = forget_statement(relation, quote(refreshes))
            self._jobs.query(statement, f"gaelp_forget_{_unique()}", f"forget the refreshes of {relation.id}")

    def _patch(self, relation: Relation, table: bigquery.Table, parts: Resource) -> None:
        """Sends the changed parts under the etag that was read: who came in between is not overwritten."""
        from google.cloud import bigquery

        if not parts:
            return
        wanted = bigquery.Table.from_api_repr({**table.to_api_repr(), **parts})
        names = [_PROPERTIES[key] for key in parts]
        self._jobs.call(f"change {relation.id}", self._jobs.client.update_table, wanted, names)


_PROPERTIES: Final = {
    "description": "description",
    "labels": "labels",
    "view": "view_query",
    "clustering": "clustering_fields",
    "timePartitioning": "time_partitioning",
    "requirePartitionFilter": "require_partition_filter",
    "schema": "schema",
}


def changed_by_others(error: BaseException) -> bool:
    """Whether a change was refused because the table is not the one any more that it was planned for."""
    from google.api_core.exceptions import PreconditionFailed

    return isinstance(error, WriteConflict) or (
        isinstance(error, GaelpError) and isinstance(error.__cause__, PreconditionFailed)
    )


def _unique() -> str:
    return uuid.uuid4().hex
