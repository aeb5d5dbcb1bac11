"""Makes the catalogue's datasets, tables and views in a project, and lets those that exist follow the catalogue."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse import bigquery_errors as errors
from gaelp_assets.warehouse.bigquery_ddl import (
    Resource,
    changed,
    dataset_resource,
    merged_fields,
    table_resource,
)
from gaelp_assets.warehouse.bigquery_jobs import Jobs
from gaelp_assets.warehouse.bigquery_names import STAGING, Names, quote

LOCKS: Final = "locks"
"""The dataset of the lock tables: one row each, for each relation that is written to."""


class Tables:
    """The tables of one project and location."""

    def __init__(self, jobs: Jobs, names: Names, location: str, datasets: frozenset[str]) -> None:
        self._jobs = jobs
        self._names = names
        self._location = location
        self._datasets = datasets
        self._lock = threading.Lock()
        self._ready: set[str] = set()

    def find(self, relation: Relation) -> Any:
        """Google's description of the relation's table or view; None if there is none."""
        return self._get(self._names.table_id(relation))

    def drop(self, relation: Relation) -> None:
        """Removes the table or view; nothing happens if it is not there."""
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
        self._dataset(LOCKS)
        self._dataset(STAGING, staging=True)
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

    def ensure(self, relations: Sequence[Relation]) -> None:
        """Makes what is missing of these relations, in their order, and lets the rest follow the catalogue.

        Raises:
            GaelpError: a dataset is in another location, or rows cannot follow a change.
        """
        for dataset in dict.fromkeys(relation.dataset for relation in relations):
            self._dataset(dataset)
        for relation in relations:
            self._ensure(relation)

    def _dataset(self, dataset: str, *, staging: bool = False) -> None:
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
        if live is not None and live.location and live.location.lower() != self._location.lower():
            raise GaelpError(
                Problem(
                    f"the dataset is in {live.location}",
                    dataset_id,
                    f"the location {self._location}, which GAELP_WAREHOUSE names",
                    f"Set location={live.location} there, or another dataset_prefix; a dataset cannot be moved.",
                )
            )
        with self._lock:
            self._ready.add(dataset_id)

    def _ensure(self, relation: Relation) -> None:
        wanted = table_resource(self._names, relation, self._datasets)
        table = self.find(relation)
        if table is not None and (table.table_type == "VIEW") != ("view" in wanted):
            self._give_way(relation, table)
            table = None
        if table is None:
            self._create(relation, wanted)
            return
        live = table.to_api_repr()
        patch = changed(live, wanted)
        if "schema" in wanted:
            before = live.get("schema", {}).get("fields", [])
            after, problems = merged_fields(before, wanted["schema"]["fields"], relation.id)
            if problems:
                if self._rows(relation):
                    raise GaelpError(*problems)
                self.drop(relation)
                self._create(relation, wanted)
                return
            if _normal(after) != _normal(before):
                patch["schema"] = {"fields": after}
        if patch:
            self._patch(relation, table, patch)

    def _create(self, relation: Relation, wanted: Resource) -> None:
        from google.cloud import bigquery

        self._jobs.call(
            f"make {relation.id}",
            self._jobs.client.create_table,
            bigquery.Table.from_api_repr(wanted),
            exists_ok=True,
        )

    def _patch(self, relation: Relation, table: Any, patch: Resource) -> None:
        """Sends the changed parts under the etag that was read: who came in between is not overwritten."""
        from google.cloud import bigquery

        resource = {**table.to_api_repr(), **patch}
        names: Sequence[str] = [_PROPERTIES[key] for key in patch]
        wanted = bigquery.Table.from_api_repr(resource)
        self._jobs.call(f"change {relation.id}", self._jobs.client.update_table, wanted, names)

    def _give_way(self, relation: Relation, table: Any) -> None:
        """Drops what has the relation's name and is of the other kind, unless loaded rows would go with it."""
        if (
            table.table_type != "VIEW"
            and any(column.name == "_batch_id" for column in table.schema)
            and self._rows(relation)
        ):
            raise GaelpError(
                Problem(
                    "holds loaded rows, and is a view in the catalogue",
                    where=relation.id,
                    remedy="Drop the table, or give the view another name.",
                )
            )
        self.drop(relation)

    def _rows(self, relation: Relation) -> bool:
        """Whether the table holds a row. The API's own count leaves out what is still in a streaming buffer."""
        with errors.reporting(f"look into {relation.id}", relation.id):
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


def _normal(fields: Sequence[Resource]) -> list[Resource]:
    """Columns without the differences that the API makes between what it was told and what it tells."""
    from google.cloud import bigquery

    return [bigquery.SchemaField.from_api_repr(field).to_api_repr() for field in fields]


def _unique() -> str:
    import uuid

    return uuid.uuid4().hex
