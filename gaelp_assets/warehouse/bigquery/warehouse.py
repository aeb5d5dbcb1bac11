"""The production warehouse: datasets of one BigQuery project. What is asked of it is planned here, and carried out by jobs.

A write is: read the ledger, load the staged rows (free), settle their keys by a query, load the dead letters, and enter everything
in one multi-statement transaction that first asserts that the ledger is still the one that was read.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.catalog.load import with_upstream
from gaelp_assets.catalog.slices import WHOLE
from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.settings import BigQueryAddress
from gaelp_assets.warehouse.batches import check_balance, counts_by_batch, unique_batches
from gaelp_assets.warehouse.bigquery import staging as staging
from gaelp_assets.warehouse.bigquery import transaction as transaction
from gaelp_assets.warehouse.bigquery.dialect import Names, selected, slice_condition
from gaelp_assets.warehouse.bigquery.errors import WriteConflict
from gaelp_assets.warehouse.bigquery.jobs import ClientFactory, Jobs, client_factory, pause
from gaelp_assets.warehouse.bigquery.materialized_views import NativeViews
from gaelp_assets.warehouse.bigquery.merge import MergeResult, fates_of, known_batches, ledger_entry
from gaelp_assets.warehouse.bigquery.read import (
    ReaderFactory,
    frame_of,
    pandas_of,
    parameter,
)
from gaelp_assets.warehouse.bigquery.tables import Tables
from gaelp_assets.warehouse.bigquery.usage import LIMITS, Usage
from gaelp_assets.warehouse.protocol import (
    DEAD_LETTER,
    LEDGER,
    Capabilities,
    Cost,
    LineCounts,
    QueryResult,
    RelationState,
    SliceChanged,
    SliceWrite,
    StagedBatch,
    WriteMode,
)
from gaelp_assets.warehouse.quotas import QuotaLeft
from gaelp_assets.warehouse.refreshes import with_ledgers
from gaelp_assets.warehouse.schema.model import Dataset, ObjectType, RelationPlan, SchemaScope
from gaelp_assets.warehouse.slices import check_dimensions

if TYPE_CHECKING:
    import pandas as pd

CAPABILITIES: Final = Capabilities(
    engine="bigquery",
    dialect="bigquery",
    incremental_materialized_views=True,
    requires_partition_filter=True,
    bounds_bytes=True,
    parallel_changes=True,
    limits=LIMITS,
)
# Of writers that meet, one wins each round; the pauses between rounds grow to 16 s.
WRITE_ROUNDS: Final = 30


class BigQueryWarehouse:
    """Keeps `protocol.Warehouse` in the datasets of one project and location, whose names start with a prefix.

    `factory` makes Google's client (default: `bigquery_jobs.client_factory`), `reader` that of the Storage Read API (default: see
    `bigquery_read.frame_of`); nothing is opened before it is needed.
    """

    def __init__(
        self,
        address: BigQueryAddress,
        catalog: Catalog,
        *,
        factory: ClientFactory | None = None,
        reader: ReaderFactory | None = None,
    ) -> None:
        self._address = address
        self._catalog = catalog
        self._reader = reader
        self._names = Names(address.project, address.dataset_prefix)
        self._datasets = frozenset(relation.dataset for relation in catalog)
        self._jobs = Jobs(factory or client_factory(address), self.location)
        views = NativeViews(self._names, catalog)
        self._tables = Tables(self._jobs, self._names, address.location, self._datasets, views)
        self._usage = Usage(self._jobs, address.project, address.location, LIMITS)

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        return CAPABILITIES

    @property
    def location(self) -> str:
        """The address, as in `GAELP_WAREHOUSE`."""
        address = self._address
        return f"bigquery://{address.project}?location={address.location}&dataset_prefix={address.dataset_prefix}"

    def ensure(self, relations: Sequence[Relation]) -> None:
        """Makes these relations, and those that derived ones among them read, fit for rows of the catalogue's shape."""
        self._tables.ensure(with_upstream(self._catalog, with_ledgers(self._catalog, relations)))

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

    def make_dataset(self, dataset: str) -> None:
        """Makes a dataset; nothing happens if it is there."""
        self._tables.make_dataset(dataset)

    @contextmanager
    def changing(self) -> Iterator[Callable[[RelationPlan], RelationPlan]]:
        """Carries out plans, from any number of threads; a relation is compared again unless it is to be made."""
        yield self._tables.apply

    def ledger(self, relation: Relation, slice_: Slice) -> pl.DataFrame:
        """The ledger's rows of a slice in order of loading."""
        return self._ledger(relation, slice_, sorts=False)

    def write(self, write: SliceWrite) -> list[LineCounts]:
        """Carries out a `SliceWrite` in one transaction; plans again whenever another write of the relation came first."""
        if write.mode is not WriteMode.SORT:
            check_dimensions(write.relation, write.slice)
        with tempfile.TemporaryDirectory(prefix="gaelp-bigquery-") as folder:
            for attempt in range(1, WRITE_ROUNDS + 1):
                try:
                    return self._write(write, Path(folder))
                except WriteConflict:
                    pause(attempt)
        raise TransientError(
            Problem(
                f"other writes came first {WRITE_ROUNDS} times",
                f"{write.relation.id} {write.slice}",
                "a turn within that many attempts",
                "Load fewer slices of this table at the same time.",
            )
        )

    def refresh(self, relation: Relation, slice_: Slice, *, run_id: str = "") -> int:
        """Computes a stored derived relation again for a slice; the number of rows that it then holds there."""
        if not (relation.is_derived and relation.is_stored):
            raise GaelpError(
                Problem(f"a {relation.kind} is not refreshed", relation.id, "a stored derived relation")
            )
        assert relation.sql is not None
        labels = {"asset": relation.id, "slice": str(slice_)}
        entry = transaction.refresh_entry_statement(self._names, self._catalog, relation, slice_)
        if self._tables.keeps_itself(relation):
            self._tables.refresh(relation)
            self._run(entry, f"enter the refresh of {relation.id} {slice_}", {"run_id": run_id}, labels)
            return self._count(relation, slice_condition(relation, slice_))
        query = self._names.qualify(selected(relation.sql), self._datasets)
        statements = transaction.refresh_statements(
            self._names, relation, slice_, self._tables.lock(relation), query, entry
        )
        for attempt in range(1, WRITE_ROUNDS + 1):
            try:
                self._run(
                    transaction.script(statements),
                    f"refresh {relation.id} {slice_}",
                    {"holder": _holder(), "run_id": run_id},
                    labels,
                )
            except WriteConflict:
                pause(attempt)
            else:
                return self._count(relation, slice_condition(relation, slice_))
        raise TransientError(
            Problem(f"other refreshes came first {WRITE_ROUNDS} times", f"{relation.id} {slice_}", "a turn")
        )

    def query(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        row_limit: int | None = None,
    ) -> QueryResult:
        """The result of one GoogleSQL SELECT, which reads at most `bigquery_jobs.MAX_BYTES_BILLED` bytes."""
        text = self._names.qualify(selected(sql), self._datasets)
        if row_limit is not None:
            text = f"SELECT * FROM ({text}\n) LIMIT {int(row_limit)}"
        started = time.perf_counter()
        job = self._run(text, "query", parameters or {}, labels or {})
        frame = frame_of(self._jobs, job, self._reader)
        slot_ms = job.slot_millis
        cost = Cost(
            seconds=time.perf_counter() - started,
            bytes_read=job.total_bytes_processed,
            slot_seconds=None if slot_ms is None else slot_ms / 1000,
        )
        return QueryResult(frame, cost)

    def to_pandas(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
    ) -> pd.DataFrame:
        """The result of one GoogleSQL SELECT for people who work with pandas, with pandas' types: NULL and NaN of a FLOAT are one.

        `query` is the exact way; this one goes through `pandas-gbq`, which knows its users' habits.
        """
        job = self._run(
            self._names.qualify(selected(sql), self._datasets), "query", parameters or {}, labels or {}
        )
        return pandas_of(self._jobs, job)

    def quota_left(self) -> QuotaLeft:
        """What is left today of the project's limits, as it was known a few minutes ago."""
        return self._usage.quota_left()

    def mark_replayed(
        self, relation: Relation, batch_id: str, lines: Sequence[int], replayed_at: dt.datetime
    ) -> None:
        """Notes on dead letters that their lines went back into the gateway."""
        parameters = {
            "dataset": relation.dataset,
            "table_name": relation.name,
            "batch_id": batch_id,
            "lines": json.dumps([str(line) for line in lines]),
            "replayed_at": replayed_at,
        }
        statement = transaction.replayed_statement(self._names, self._catalog[DEAD_LETTER])
        self._patiently(lambda: self._run(statement, "mark dead letters as replayed", parameters, {}))

    def describe(self, relation: Relation) -> RelationState | None:
        """What the project holds under the relation's name: BigQuery's names of its types."""
        table = self._tables.find(relation)
        if table is None:
            return None
        columns = {column.name: column.field_type for column in table.schema}
        # A table's own count is free; it would leave out rows in a streaming buffer, which the platform never fills.
        rows = table.num_rows if table.table_type == "TABLE" else self._count(relation, "TRUE")
        return RelationState(columns, int(rows or 0))

    def drop(self, relation: Relation) -> None:
        """Removes the relation and, where it is loaded, what ledger and dead letter say of it."""
        books = (self._catalog[LEDGER], self._catalog[DEAD_LETTER]) if relation.is_loaded else ()
        if not (books and all(self._tables.find(book) is not None for book in books)):
            self._tables.drop(relation)
            return
        labels = {"asset": relation.id}
        rows = self._rows(transaction.loads_query(self._names, books[0], relation), labels)
        self._tables.drop(relation)
        text = transaction.script(transaction.forget_statements(self._names, *books, relation))
        parameters = {"batches": json.dumps([row["batch_id"] for row in rows])}
        self._patiently(lambda: self._run(text, f"forget {relation.id}", parameters, labels))

    def _write(self, write: SliceWrite, folder: Path) -> list[LineCounts]:
        ledger = self._ledger(write.relation, write.slice, sorts=write.mode is WriteMode.SORT)
        known = known_batches(ledger)
        rebuilds = write.mode is WriteMode.REBUILD
        if rebuilds and known.keys() - {batch.batch_id for batch in write.batches}:
            raise SliceChanged(
                f"{write.relation.id} {write.slice} holds batches that came after the rebuild began"
            )
        new = unique_batches(write.batches, () if rebuilds else known.keys())
        if not new and not rebuilds:
            return [known[batch.batch_id][0] for batch in write.batches]
        script = transaction.WriteScript(
            self._names,
            write,
            self._catalog[LEDGER],
            self._catalog[DEAD_LETTER],
            self._tables.lock(write.relation),
        )
        labels = {"asset": write.relation.id, "slice": str(write.slice), "run": write.run_id}
        rows = None
        if write.mode is not WriteMode.SORT:
            rows = staging.stage_rows(write.relation, write.slice, new, folder)
        settled = MergeResult()
        if rows is not None:
            script = replace(
                script, rows=self._load(rows.file, "rows", staging.row_schema(write.relation), labels)
            )
            settled = self._settle(script, new, staging.fingerprint(ledger), labels)
            for batch_id, lines in rows.refused.items():
                settled.refused.setdefault(batch_id, []).extend(lines)
        counts = [fates_of(batch, rows.counts if rows else {}, settled) for batch in new]
        dead_letters = staging.stage_dead_letters(write.relation, new, settled.refused, folder)
        check_balance(new, counts)
        if dead_letters is not None:
            script = replace(
                script, dead_letters=self._load(dead_letters, "letters", staging.dead_letter_schema(), labels)
            )
        script = replace(script, counts=settled.counts, replaces=bool(settled.replaced))
        first = 0 if rebuilds or ledger.is_empty() else int(ledger["position"].max() or 0) + 1  # type: ignore[arg-type]
        entries = [
            ledger_entry(
                batch,
                fate,
                known[batch.batch_id][1] if batch.batch_id in known else write.loaded_at,
                position,
            )
            for position, (batch, fate) in enumerate(zip(new, counts, strict=True), start=first)
        ]
        parameters = {
            "seen": staging.fingerprint(ledger),
            "holder": _holder(),
            "run_id": write.run_id,
            "ledger": json.dumps(entries),
            "replaced": json.dumps(
                [{"batch_id": batch, "rows": rows} for batch, rows in sorted(settled.replaced.items())]
            ),
            "known": json.dumps(sorted(known)),
        }
        text = transaction.script(script.statements())
        self._run(text, f"{write.mode.value} {write.relation.id} {write.slice}", parameters, labels)
        return counts_by_batch(write.batches, {fate.batch_id: fate for fate in counts}, known)

    def _settle(
        self,
        script: transaction.WriteScript,
        batches: Sequence[StagedBatch],
        seen: str,
        labels: Mapping[str, str],
    ) -> MergeResult:
        text = script.merge_query()
        order = json.dumps([batch.batch_id for batch in batches])
        name = f"fates_{staging.digest([text, order, seen])[:40]}"
        table = self._names.staged_id(name)
        self._run(text, f"settle {script.write.relation.id}", {"batches": order}, labels, destination=table)
        settled = MergeResult()
        script = replace(script, counts=table)
        for row in self._rows(script.count_fates(), labels):
            settled.counts = table
            if row["_held"]:
                if row["_fate"] == "replaced":
                    settled.replaced[row["_batch_id"]] = row["_rows"]
            elif row["_fate"] in {"duplicate", "replaced"}:
                batch_id = row["_batch_id"]
                settled.duplicate[batch_id] = settled.duplicate.get(batch_id, 0) + row["_rows"]
            elif row["_fate"] != "loaded":
                settled.refused[row["_batch_id"]] = []
        if settled.refused:
            for row in self._rows(script.refused(), labels):
                settled.refused[row["_batch_id"]].append(
                    (row["_line_number"], row["_byte_offset"], row["_fate"])
                )
        return settled

    def _load(self, file: Path, kind: str, schema: Any, labels: Mapping[str, str]) -> str:
        """Loads a staged file into the table that its bytes name, once: whoever loads the same bytes finds the table."""
        name = f"{kind}_{staging.digest([staging.digest_of(file), json.dumps(schema)])[:40]}"
        table = self._names.staged_id(name)
        for attempt in range(WRITE_ROUNDS):
            self._jobs.load(file, table, schema, f"gaelp_{name}_{attempt}", labels)
            if self._jobs.call("look up a staged table", self._jobs.client.get_table, table) is not None:
                return table
        raise TransientError(
            Problem("vanishes as soon as it is loaded", table, "a staging dataset that is left alone")
        )

    def _ledger(self, relation: Relation, slice_: Slice, *, sorts: bool) -> pl.DataFrame:
        text = transaction.ledger_query(
            self._names, self._catalog[LEDGER], relation, WHOLE if sorts else slice_, sorts=sorts
        )
        return self._frame(text, {"asset": LEDGER}, f"read the ledger of {relation.id}")

    def _rows(self, text: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        return self._frame(text, labels).to_dicts()

    def _frame(self, text: str, labels: Mapping[str, str], action: str = "read") -> pl.DataFrame:
        return frame_of(self._jobs, self._run(text, action, {}, labels))

    def _count(self, relation: Relation, condition: str) -> int:
        text = f"SELECT COUNT(*) AS n FROM {self._names.table(relation)} WHERE {condition}"
        return int(self._frame(text, {"asset": relation.id}).item())

    def _patiently(self, act: Callable[[], object]) -> None:
        """Carries out one statement or transaction, again and again while others come first."""
        for attempt in range(1, WRITE_ROUNDS + 1):
            try:
                act()
            except WriteConflict as overtaken:
                if attempt == WRITE_ROUNDS:
                    raise TransientError(
                        Problem(f"other writes came first {WRITE_ROUNDS} times", str(overtaken), "a turn")
                    ) from overtaken
                pause(attempt)
            else:
                return

    def _run(
        self,
        text: str,
        action: str,
        parameters: Mapping[str, Any],
        labels: Mapping[str, str],
        *,
        destination: str | None = None,
    ) -> Any:
        return self._jobs.query(
            text,
            f"gaelp_{uuid.uuid4().hex}",
            action,
            parameters=[parameter(name, value) for name, value in parameters.items()],
            labels=labels,
            destination=destination,
        )


def _holder() -> str:
    return f"process {os.getpid()}, thread {threading.get_ident()}"
