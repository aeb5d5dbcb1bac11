"""Answers questions about the datasets of a project: by jobs that are one SELECT each, and by looking at tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import polars as pl

from gaelp_assets.catalog import Catalog, Field, Relation, Slice
from gaelp_assets.catalog.model import stored_fields
from gaelp_assets.settings import BigQueryAddress
from gaelp_assets.warehouse.bigquery.dialect import googlesql_type, quote, selected
from gaelp_assets.warehouse.bigquery.engine import BigQueryEngine
from gaelp_assets.warehouse.bigquery.jobs import ClientFactory
from gaelp_assets.warehouse.bigquery.read import ReaderFactory, counted_frame_of, pandas_of
from gaelp_assets.warehouse.bigquery.usage import LIMITS, Usage
from gaelp_assets.warehouse.ledger import LEDGER, slice_query
from gaelp_assets.warehouse.notices import DriftNotices
from gaelp_assets.warehouse.parameters import Parameters
from gaelp_assets.warehouse.quotas import QuotaLeft
from gaelp_assets.warehouse.reader import Capabilities, Cost, QueryResult, RelationState
from gaelp_assets.warehouse.schema.model import (
    Dataset,
    ObjectType,
    RelationPlan,
    SchemaScope,
)
from gaelp_assets.warehouse.substitutes import fields_to_come, lacking, relations_read, substitute

if TYPE_CHECKING:
    import pandas as pd
    from google.cloud import bigquery

CAPABILITIES: Final = Capabilities(
    engine="bigquery", parallel_changes=True, slices_at_once=100, limits=LIMITS
)


class BigQueryReader(BigQueryEngine):
    """Keeps `reader.Reader`. It takes roles/bigquery.jobUser on the project and roles/bigquery.dataViewer on its datasets."""

    def __init__(
        self,
        address: BigQueryAddress,
        catalog: Catalog,
        *,
        factory: ClientFactory | None = None,
        reader: ReaderFactory | None = None,
    ) -> None:
        super().__init__(address, catalog, factory=factory, reader=reader)
        self._notices = DriftNotices()
        self._usage = Usage(self._jobs, address.project, address.location, LIMITS)

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        return CAPABILITIES

    def query(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        row_limit: int | None = None,
        time_limit: float | None = None,
        counting: float | None = None,
    ) -> QueryResult:
        """The result of one GoogleSQL SELECT, which reads at most `jobs.MAX_BYTES_BILLED` bytes.

        With `counting`, BigQuery computes the whole result, which costs no more, and tells how many rows it has.
        """
        started = time.perf_counter()
        text = self._answerable(sql)
        if row_limit is not None and counting is None:
            text = f"SELECT * FROM ({text}\n) LIMIT {int(row_limit)}"
        job = self._run(text, "query", parameters or {}, labels or {}, time_limit=time_limit)
        frame, total = counted_frame_of(
            self._jobs, job, self._reader, most=row_limit if counting is not None else None
        )
        cut = row_limit is not None and counting is None and total == row_limit
        cost = Cost(
            seconds=time.perf_counter() - started,
            bytes_read=job.total_bytes_processed,
            bytes_billed=job.total_bytes_billed,
        )
        return QueryResult(frame, cost, None if cut else total)

    def to_pandas(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        time_limit: float | None = None,
    ) -> pd.DataFrame:
        """The result of one GoogleSQL SELECT for people who work with pandas, with pandas' types: NULL and NaN of a FLOAT are one.

        `query` is the exact way; this one goes through `pandas-gbq`, which knows its users' habits.
        """
        job = self._run(self._answerable(sql), "query", parameters or {}, labels or {}, time_limit=time_limit)
        return pandas_of(self._jobs, job)

    def version(self) -> None:
        """Each table would have to be asked."""

    def ledger(self, relation: Relation, slice_: Slice) -> pl.DataFrame:
        """The ledger's rows of a slice in order of loading."""
        sql, parameters = slice_query(self._catalog[LEDGER], relation, slice_)
        return self.query(sql, parameters, labels={"asset": LEDGER}).frame

    def describe(self, relation: Relation) -> RelationState | None:
        """What the project holds under the relation's name: BigQuery's names of its types."""
        table = self._tables.find(relation)
        if table is None:
            return None
        columns = {column.name: column.field_type for column in table.schema}
        # A table's own count is free; it would leave out rows in a streaming buffer, which the platform never fills.
        rows = table.num_rows
        if table.table_type != "TABLE":
            text = f"SELECT COUNT(*) AS n FROM {quote(relation.dataset)}.{quote(relation.name)}"
            rows = self.query(text, labels={"asset": relation.id}).frame.item()
        return RelationState(columns, int(rows or 0))

    def object_type(self, relation: Relation) -> ObjectType:
        """What is made of the relation."""
        return self._tables.object_type(relation)

    def survey(self, datasets: Sequence[str]) -> Mapping[str, Dataset]:
        """The datasets of these names, and what lies in each."""
        return self._tables.survey(datasets)

    def diff(
        self, relations: Sequence[Relation], *, scope: SchemaScope = SchemaScope.ALL, jobs: int = 1
    ) -> list[RelationPlan]:
        """What brings each of these relations up to the catalogue, looked up by that many threads."""
        return self._tables.diff(relations, scope, jobs)

    def quota_left(self) -> QuotaLeft:
        """What is left today of the project's limits, as it was known a few minutes ago."""
        return self._usage.quota_left()

    def _answerable(self, sql: str) -> str:
        """The question with full names, and with substitutes for what it reads and the project lacks. Each table is looked up once.

        Tables of the platform's own that lack fields count too (see `fields_to_come`).

        Raises:
            GaelpError: it is not one SELECT.
        """
        text = selected(sql)
        read = relations_read(self._catalog, text)
        found: dict[str, bigquery.Table | None] = {}

        def find(relation: Relation) -> bigquery.Table | None:
            if relation.id not in found:
                found[relation.id] = self._tables.find(relation)
            return found[relation.id]

        def to_come(relation: Relation) -> tuple[Field, ...]:
            table = find(relation)
            if table is None:
                return ()
            return fields_to_come(relation, lambda: [column.name for column in table.schema])

        self._notices.say(
            self._tables.compare(relation, SchemaScope.ROWS, find)
            for relation in self._notices.due(read)
            if find(relation) is not None
        )
        made: dict[str, str] = {}
        for relation in lacking(
            self._catalog,
            read,
            is_view=self._tables.is_view,
            is_there=lambda relation: find(relation) is not None,
            is_short=lambda relation: bool(to_come(relation)),
        ):
            added = to_come(relation)
            if self._tables.is_view(relation):
                assert relation.sql is not None
                made[relation.id] = f"(\n{substitute(selected(relation.sql), made)}\n)"
            else:
                made[relation.id] = (
                    f"({widened_select(relation, added) if added else empty_select(relation)})"
                )
        return self._names.qualify(substitute(text, made), self._dataset_names)


def empty_select(relation: Relation) -> str:
    """A query without rows that has the columns of the relation's table."""
    return f"SELECT {_nulls(stored_fields(relation))} FROM (SELECT 1) WHERE FALSE"


def widened_select(relation: Relation, fields: Sequence[Field]) -> str:
    """A query of the relation's table with those fields besides, NULL in every row."""
    return f"SELECT *, {_nulls(fields)} FROM {quote(relation.dataset)}.{quote(relation.name)}"


def _nulls(fields: Sequence[Field]) -> str:
    return ", ".join(f"CAST(NULL AS {googlesql_type(field)}) AS {quote(field.name)}" for field in fields)
