"""The catalogue's datasets, tables and views as they are in a project, and how each differs from the catalogue. Looks, and no more."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from gaelp_assets.catalog import Relation
from gaelp_assets.warehouse.bigquery import errors
from gaelp_assets.warehouse.bigquery.dialect import Names
from gaelp_assets.warehouse.bigquery.jobs import Jobs
from gaelp_assets.warehouse.bigquery.materialization_rules import Materialization
from gaelp_assets.warehouse.bigquery.materialized_views import NativeViews, survives
from gaelp_assets.warehouse.bigquery.resources import Resource, table_resource
from gaelp_assets.warehouse.bigquery.schema import altered_query, form_of, shape_of, wrong_location
from gaelp_assets.warehouse.schema.diff import diff
from gaelp_assets.warehouse.schema.model import Dataset, ObjectType, RelationPlan, SchemaScope
from gaelp_assets.warehouse.schema.widening import with_kept_values

if TYPE_CHECKING:
    from google.cloud import bigquery

Find: TypeAlias = "Callable[[Relation], bigquery.Table | None]"
"""Google's description of a relation's table or view; None if there is none."""


class Tables:
    """The tables of one project and location."""

    def __init__(
        self, jobs: Jobs, names: Names, location: str, datasets: frozenset[str], views: NativeViews
    ) -> None:
        self._jobs = jobs
        self._names = names
        self._location = location
        self._datasets = datasets
        self._views = views

    def find(self, relation: Relation) -> bigquery.Table | None:
        """Google's description of the relation's table or view; None if there is none."""
        return self.get(self._names.table_id(relation))

    def get(self, table_id: str) -> bigquery.Table | None:
        """Google's description of the table of that full name; None if there is none."""
        return self._jobs.call(f"look up {table_id}", self._jobs.client.get_table, table_id)

    def keeping(self, relation: Relation) -> Materialization | None:
        """How BigQuery itself keeps the relation, as a materialized view of its own; None if it does not."""
        return self._views.keeping(relation)

    def is_view(self, relation: Relation) -> bool:
        """Whether BigQuery computes the relation from others."""
        return not relation.is_stored or self.keeping(relation) is not None

    def object_type(self, relation: Relation) -> ObjectType:
        """What is made of the relation."""
        return form_of(self.wanted(relation))

    def survey(self, datasets: Sequence[str]) -> dict[str, Dataset]:
        """The datasets of these names, and what lies in each."""
        return {dataset: self._survey(dataset) for dataset in datasets}

    def diff(
        self, relations: Sequence[Relation], scope: SchemaScope = SchemaScope.ALL, jobs: int = 1
    ) -> list[RelationPlan]:
        """What brings each of these relations up to the catalogue, looked up by that many threads."""
        if jobs == 1 or len(relations) < 2:
            return [self.compare(relation, scope) for relation in relations]
        with ThreadPoolExecutor(jobs, "compare") as pool:
            return list(pool.map(lambda relation: self.compare(relation, scope), relations))

    def compare(
        self, relation: Relation, scope: SchemaScope = SchemaScope.ALL, find: Find | None = None
    ) -> RelationPlan:
        """What brings a relation up to the catalogue; `find` looks up tables (default: each is asked for)."""
        find = find or self.find
        table = find(relation)
        found = None if table is None else shape_of(table.to_api_repr())
        if (
            table is not None
            and found is not None
            and found.object_type is ObjectType.MATERIALIZED_VIEW
            and self.keeping(relation) is not None
            and not survives(table.to_api_repr(), self.bases(relation, find))
        ):
            found = replace(found, query="")
        wanted = replace(shape_of(self.wanted(relation)), sql_name=self._names.table(relation))
        planned = diff(relation, found, wanted, lambda: not self._has_rows(relation), scope)
        return with_kept_values(planned, lambda path, _: self._altered(relation, path), wanted.sql_name)

    def wanted(self, relation: Relation) -> Resource:
        """What the API is to describe the relation as."""
        keeping = self._views.keeping(relation)
        if keeping is not None:
            return self._views.resource(relation, keeping)
        return table_resource(self._names, relation, self._datasets)

    def bases(self, relation: Relation, find: Find | None = None) -> list[Resource | None]:
        """What a materialized view of BigQuery's own reads, as the API describes it; None for what is not there."""
        tables = [(find or self.find)(base) for base in self._views.bases(relation)]
        return [None if table is None else table.to_api_repr() for table in tables]

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
            refusal=wrong_location(dataset_id, live.location, self._location),
        )

    def _altered(self, relation: Relation, path: str) -> int:
        """How many values a widening would alter."""
        text = altered_query(self._names.table(relation), relation, path)
        job = self._jobs.query(text, f"gaelp_look_{uuid.uuid4().hex}", f"look into {relation.id}")
        return int(next(iter(job.result()))[0])

    def _has_rows(self, relation: Relation) -> bool:
        """Whether the table holds a row. The API's own count leaves out what is still in a streaming buffer."""
        with errors.bigquery_errors(f"look into {relation.id}", relation.id):
            return any(
                True for _ in self._jobs.client.list_rows(self._names.table_id(relation), max_results=1)
            )
