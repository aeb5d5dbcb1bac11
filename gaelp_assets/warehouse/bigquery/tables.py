"""Makes the catalogue's datasets, tables and views in a project, and lets those that exist follow the catalogue."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.warehouse.bigquery import errors
from gaelp_assets.warehouse.bigquery.dialect import STAGING, Names, quote
from gaelp_assets.warehouse.bigquery.errors import WriteConflict
from gaelp_assets.warehouse.bigquery.jobs import Jobs, pause
from gaelp_assets.warehouse.bigquery.materialization_rules import Materialization
from gaelp_assets.warehouse.bigquery.materialized_views import (
    NativeViews,
    needs_refresh,
    refresh_statement,
    survives,
)
from gaelp_assets.warehouse.bigquery.rate_limit import RateLimiter
from gaelp_assets.warehouse.bigquery.resources import Resource, dataset_resource, table_resource
from gaelp_assets.warehouse.bigquery.schema import form_of, patch, shape_of, widening_statements
from gaelp_assets.warehouse.protocol import REFRESHES
from gaelp_assets.warehouse.refreshes import forget_statement
from gaelp_assets.warehouse.schema.diff import diff
from gaelp_assets.warehouse.schema.model import (
    Dataset,
    ObjectType,
    Refusal,
    RelationPlan,
    SchemaScope,
    Status,
    recheck,
    refuse,
)

LOCKS: Final = "locks"
"""The dataset of the lock tables: one row each, for each relation that is written to."""

# tables.insert, for each user; https://cloud.google.com/bigquery/quotas#api_request_quotas
TABLES_PER_SECOND: Final = 10
# Of two that change one table at the same time, one looks at it again.
CHANGE_ROUNDS: Final = 8


class Tables:
    """The tables of one project and location; `per_second` is how many are made in a second at most."""

    def __init__(
        self,
        jobs: Jobs,
        names: Names,
        location: str,
        datasets: frozenset[str],
        views: NativeViews,
        *,
        per_second: int = TABLES_PER_SECOND,
    ) -> None:
        self._jobs = jobs
        self._names = names
        self._location = location
        self._datasets = datasets
        self._views = views
        self._pace = RateLimiter(per_second)
        self._lock = threading.Lock()
        self._ready: set[str] = set()

    def find(self, relation: Relation) -> Any:
        """Google's description of the relation's table or view; None if there is none."""
        return self._get(self._names.table_id(relation))

    def drop(self, relation: Relation) -> None:
        """Removes the table or view; nothing happens if it is not there."""
        self._forget_refreshes(relation)
        self._jobs.call(
            f"drop {relation.id}",
            self._jobs.client.delete_table,
            self._names.table_id(relation),
            not_found_ok=True,
        )

    def lock(self, relation: Relation) -> str:
        """The full name of the relation's lock table, which is made if it is missing."""
        name = f"{relation.dataset}__{relation.name}"
        table = f"{self._names.dataset_id(LOCKS)}.{name}"
        with self._lock:
            if table in self._ready:
                return table
        self.make_dataset(LOCKS)
        self.make_dataset(STAGING, staging=True)
        if self._get(table) is None:
            # One statement makes the table with its row, so that nobody ever sees it empty.
            self._jobs.query(
                f"CREATE TABLE IF NOT EXISTS {quote(table)} AS SELECT CAST('' AS STRING) AS holder",
                f"gaelp_lock_{_unique()}",
                f"make the lock table of {relation.id}",
            )
        with self._lock:
            self._ready.add(table)
        return table

    def keeps_itself(self, relation: Relation) -> bool:
        """Whether it is a materialized view of BigQuery's own."""
        return self._views.keeping(relation) is not None

    def refresh(self, relation: Relation) -> None:
        """Brings a materialized view of BigQuery's own up to its tables. An incremental one always is, and so is one that was refreshed
        after they last changed."""
        if self._views.keeping(relation) is not Materialization.MAX_STALENESS:
            return
        view = self.find(relation)
        if view is not None and needs_refresh(view.to_api_repr(), self._bases(relation)):
            statement = refresh_statement(self._names, relation)
            self._jobs.query(statement, f"gaelp_refresh_{_unique()}", f"refresh {relation.id}")

    def ensure(self, relations: Sequence[Relation]) -> None:
        """Brings these relations, in their order, as far as rows need it.

        Raises:
            GaelpError: a dataset is in another location, or rows cannot follow a change.
        """
        for dataset in dict.fromkeys(relation.dataset for relation in relations):
            self.make_dataset(dataset)
        plans = self.diff(relations, SchemaScope.ROWS)
        refuse(plans)
        for planned in plans:
            if planned.status is not Status.UNCHANGED:
                self.apply(planned, SchemaScope.ROWS)

    def object_type(self, relation: Relation) -> ObjectType:
        """What is made of the relation."""
        return form_of(self._wanted(relation))

    def survey(self, datasets: Sequence[str]) -> dict[str, Dataset]:
        """The datasets of these names, and what lies in each."""
        return {dataset: self._survey(dataset) for dataset in datasets}

    def diff(
        self, relations: Sequence[Relation], scope: SchemaScope = SchemaScope.ALL, jobs: int = 1
    ) -> list[RelationPlan]:
        """What brings each of these relations up to the catalogue, looked up by that many threads."""
        if jobs == 1 or len(relations) < 2:
            return [self._compare(relation, self.find(relation), scope) for relation in relations]
        with ThreadPoolExecutor(jobs, "compare") as pool:
            return list(
                pool.map(lambda relation: self._compare(relation, self.find(relation), scope), relations)
            )

    def make_dataset(self, dataset: str, *, staging: bool = False) -> None:
        """Makes a dataset; nothing happens if it is there.

        Raises:
            GaelpError: it is in another location.
        """
        dataset_id = self._names.dataset_id(dataset)
        with self._lock:
            if dataset_id in self._ready:
                return
        client = self._jobs.client
        live = self._jobs.call(f"look up the dataset {dataset_id}", client.get_dataset, dataset_id)
        if live is None:
            resource = dataset_resource(self._names, dataset, self._location, staging=staging)
            from google.cloud import bigquery

            live = self._jobs.call(
                f"make the dataset {dataset_id}",
                client.create_dataset,
                bigquery.Dataset.from_api_repr(resource),
                exists_ok=True,
            )
        refusal = self._elsewhere(dataset_id, live)
        if refusal is not None:
            raise GaelpError(refusal.problem)
        with self._lock:
            self._ready.add(dataset_id)

    def apply(self, planned: RelationPlan, scope: SchemaScope = SchemaScope.ALL) -> RelationPlan:
        """Carries out a plan for one relation; what was done.

        Raises:
            GaelpError: the plan has refusals, or has some by now, or BigQuery refuses the change.
        """
        for attempt in range(1, CHANGE_ROUNDS + 1):
            new = planned.status is Status.CREATE
            table = None if new else self.find(planned.relation)
            now = recheck(planned, self._compare(planned.relation, table, scope))
            try:
                self._carry_out(now, table)
            except WriteConflict:
                pause(attempt)
            except GaelpError as error:
                if not changed_meanwhile(error):
                    raise
                pause(attempt)
            else:
                return now
        raise TransientError(
            Problem(f"others changed it {CHANGE_ROUNDS} times meanwhile", planned.relation.id, "a turn")
        )

    def _survey(self, dataset: str) -> Dataset:
        dataset_id = self._names.dataset_id(dataset)
        client = self._jobs.client
        live = self._jobs.call(f"look up the dataset {dataset_id}", client.get_dataset, dataset_id)
        if live is None:
            return Dataset(dataset, exists=False)
        with errors.bigquery_errors(f"list {dataset_id}", dataset_id):
            tables = list(client.list_tables(live.reference, retry=self._jobs.retry))
        return Dataset(
            dataset,
            exists=True,
            relations={table.table_id: form_of({"type": table.table_type}) for table in tables},
            refusal=self._elsewhere(dataset_id, live),
        )

    def _elsewhere(self, dataset_id: str, live: Any) -> Refusal | None:
        """Why a dataset cannot be used, if it is in another location than the warehouse."""
        if live is None or not live.location or live.location.lower() == self._location.lower():
            return None
        return Refusal(
            dataset_id,
            f"the dataset is in {live.location}",
            wanted=f"the location {self._location}, which GAELP_WAREHOUSE names",
            remedy=f"Set location={live.location} there, or another dataset_prefix; a dataset cannot be moved.",
        )

    def _compare(self, relation: Relation, table: Any, scope: SchemaScope) -> RelationPlan:
        found = None if table is None else shape_of(table.to_api_repr())
        if (
            found is not None
            and found.object_type is ObjectType.MATERIALIZED_VIEW
            and self.keeps_itself(relation)
            and not survives(table.to_api_repr(), self._bases(relation))
        ):
            found = replace(found, query="")
        wanted = replace(shape_of(self._wanted(relation)), sql_name=self._names.table(relation))
        return diff(relation, found, wanted, lambda: not self._rows(relation), scope)

    def _wanted(self, relation: Relation) -> Resource:
        keeping = self._views.keeping(relation)
        if keeping is not None:
            return self._views.resource(relation, keeping)
        return table_resource(self._names, relation, self._datasets)

    def _bases(self, relation: Relation) -> list[Resource | None]:
        tables = [self.find(base) for base in self._views.bases(relation)]
        return [None if table is None else table.to_api_repr() for table in tables]

    def _carry_out(self, planned: RelationPlan, table: Any) -> None:
        relation = planned.relation
        if planned.status is Status.CREATE:
            self._forget_refreshes(relation)
            self._create(relation)
        elif planned.status is Status.REPLACE:
            if not planned.stored is planned.object_type is ObjectType.MATERIALIZED_VIEW:
                self.drop(relation)
            self._create(relation)
        else:
            for statement in widening_statements(
                self._names.table_id(relation), table.to_api_repr(), planned.changes
            ):
                self._jobs.query(statement, f"gaelp_alter_{_unique()}", f"widen {relation.id}")
                table = self.find(relation)
            if table is not None:
                self._patch(
                    relation, table, patch(table.to_api_repr(), self._wanted(relation), planned.changes)
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
            bigquery.Table.from_api_repr(self._wanted(relation)),
            exists_ok=True,
        )

    def _forget_refreshes(self, relation: Relation) -> None:
        """What is made again is empty, whatever was computed for it before."""
        dataset, _, name = REFRESHES.partition(".")
        refreshes = f"{self._names.dataset_id(dataset)}.{name}"
        if relation.is_derived and relation.is_stored and self._get(refreshes) is not None:
            statement = forget_statement(relation, quote(refreshes))
            self._jobs.query(statement, f"gaelp_forget_{_unique()}", f"forget the refreshes of {relation.id}")

    def _patch(self, relation: Relation, table: Any, parts: Resource) -> None:
        """Sends the changed parts under the etag that was read: who came in between is not overwritten."""
        from google.cloud import bigquery

        if not parts:
            return
        wanted = bigquery.Table.from_api_repr({**table.to_api_repr(), **parts})
        names = [_PROPERTIES[key] for key in parts]
        self._jobs.call(f"change {relation.id}", self._jobs.client.update_table, wanted, names)

    def _rows(self, relation: Relation) -> bool:
        """Whether the table holds a row. The API's own count leaves out what is still in a streaming buffer."""
        with errors.bigquery_errors(f"look into {relation.id}", relation.id):
            return any(
                True for _ in self._jobs.client.list_rows(self._names.table_id(relation), max_results=1)
            )

    def _get(self, table_id: str) -> Any:
        return self._jobs.call(f"look up {table_id}", self._jobs.client.get_table, table_id)


_PROPERTIES: Final = {
    "description": "description",
    "labels": "labels",
    "view": "view_query",
    "clustering": "clustering_fields",
    "timePartitioning": "time_partitioning",
    "requirePartitionFilter": "require_partition_filter",
    "schema": "schema",
}


def changed_meanwhile(error: GaelpError) -> bool:
    """Whether a change was refused because the table is not the one any more that it was planned for."""
    from google.api_core.exceptions import PreconditionFailed

    return isinstance(error.__cause__, PreconditionFailed)


def _unique() -> str:
    import uuid

    return uuid.uuid4().hex
