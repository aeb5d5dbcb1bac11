"""Loads a project's tables: each write is a transaction that first asserts that the ledger is still the one that it was planned with.

A write is: read the ledger, load the staged rows (free), settle their keys by a query, load the dead letters, and enter everything
in one multi-statement transaction.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import tempfile
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import polars as pl

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.catalog.slices import WHOLE, words
from gaelp_assets.errors import Problem, TransientError
from gaelp_assets.settings import BigQueryAddress
from gaelp_assets.warehouse.batches import Known, check_balance, counts_by_batch, unique_batches
from gaelp_assets.warehouse.bigquery import ledger, losses, retry, staging, transaction
from gaelp_assets.warehouse.bigquery.datasets import Datasets, Locks
from gaelp_assets.warehouse.bigquery.dialect import quote, selected, slices_condition
from gaelp_assets.warehouse.bigquery.engine import BigQueryEngine
from gaelp_assets.warehouse.bigquery.errors import KeyElsewhere
from gaelp_assets.warehouse.bigquery.jobs import ClientFactory, as_script
from gaelp_assets.warehouse.bigquery.materialization_rules import Materialization
from gaelp_assets.warehouse.bigquery.materialized_views import needs_refresh, refresh_statement
from gaelp_assets.warehouse.bigquery.merge import (
    MergeResult,
    displaced_entries,
    fates_of,
    known_batches,
    known_corrections,
    ledger_entry,
)
from gaelp_assets.warehouse.bigquery.read import ReaderFactory, frame_of
from gaelp_assets.warehouse.bigquery.resources import Resource
from gaelp_assets.warehouse.bigquery.staged_values import unstaged
from gaelp_assets.warehouse.ledger import DEAD_LETTER, LEDGER, LineCounts, WriteMode
from gaelp_assets.warehouse.loader import SliceChanged, SliceWrite, StagedBatch
from gaelp_assets.warehouse.losses import HeldRows, Ledger
from gaelp_assets.warehouse.parameters import Parameters
from gaelp_assets.warehouse.refreshes import known_entries, query_of_slices, refuse_to_query
from gaelp_assets.warehouse.slices import check_dimensions


@dataclass(frozen=True)
class _Shared:
    """The rows of several writes that one job has loaded."""

    rows: staging.StagedRows | None
    table: str

    def of(self, batches: Sequence[StagedBatch]) -> staging.StagedRows | None:
        """What there is of these batches; None if there is nothing."""
        if self.rows is None or not any(self.rows.counts.get(batch.batch_id) for batch in batches):
            return None
        own = {batch.batch_id for batch in batches}
        refused = {batch: lines for batch, lines in self.rows.refused.items() if batch in own}
        return replace(self.rows, refused=refused)


class BigQueryLoader(BigQueryEngine):
    """Keeps `loader.Loader`."""

    def __init__(
        self,
        address: BigQueryAddress,
        catalog: Catalog,
        *,
        factory: ClientFactory | None = None,
        reader: ReaderFactory | None = None,
    ) -> None:
        super().__init__(address, catalog, factory=factory, reader=reader)
        datasets = Datasets(self._jobs, self._names, address.location)
        self._locks = Locks(self._jobs, self._names, self._tables, datasets)

    def write(self, write: SliceWrite) -> list[LineCounts]:
        """Carries out a `SliceWrite` in one transaction; plans again whenever another write of the relation came first."""
        return self._planned(write, None)

    def _planned(self, write: SliceWrite, shared: _Shared | None) -> list[LineCounts]:
        if write.mode is not WriteMode.SORT:
            check_dimensions(write.relation, write.slice)
        with tempfile.TemporaryDirectory(prefix="gaelp-bigquery-") as folder:
            return retry.until_undisturbed(
                lambda: self._write_once(write, shared, Path(folder)),
                Problem(
                    f"other writes came first {retry.WRITE_ROUNDS} times",
                    f"{write.relation.id} {write.slice}",
                    "a turn within that many attempts",
                    "Load fewer slices of this table at the same time.",
                ),
                rounds=retry.WRITE_ROUNDS,
            )

    def write_all(self, writes: Sequence[SliceWrite]) -> list[list[LineCounts]]:
        """Carries out appends to several slices, each in a transaction of its own; one job loads the rows of all of them."""
        relation = writes[0].relation
        for write in writes:
            check_dimensions(relation, write.slice)
        with tempfile.TemporaryDirectory(prefix="gaelp-bigquery-") as folder:
            rows = staging.stage_rows(
                relation, [(write.slice, write.batches) for write in writes], Path(folder)
            )
            labels = {"asset": relation.id, "run": writes[0].run_id}
            self._locks.of(relation)  # makes what it is staged in, too
            table = self._load(rows.file, "rows", staging.row_schema(relation), labels) if rows else ""
        return [self._planned(write, _Shared(rows, table)) for write in writes]

    def refresh(self, relation: Relation, *slices: Slice, run_id: str = "") -> int:
        """Computes slices of a stored derived relation again; the number of rows that they then hold.

        A query whose columns are not those that the relation declares is refused: columns that no field declares would be dropped, and
        fields of records paired by their place.
        """
        from gaelp_assets.sql.views import check_columns

        refuse_to_query(relation)
        named = words(slices)
        labels = {"asset": relation.id, "slice": named}
        check_columns(relation, self._catalog)
        entries = transaction.refresh_entries_statement(self._names, self._catalog, relation, slices)
        condition = slices_condition(relation, slices)
        if self._tables.keeping(relation) is not None:
            self._refresh_native(relation)
            self._run(entries, f"enter the refresh of {relation.id} {named}", {"run_id": run_id}, labels)
            return self._count(relation, condition)
        sql, parameters = query_of_slices(self._catalog, relation, slices)
        query = self._names.qualify(selected(sql), self._dataset_names)
        self._replace(relation, slices, query, entries, {"run_id": run_id, **parameters}, labels)
        return self._count(relation, condition)

    def replace_rows(
        self,
        relation: Relation,
        slices: Sequence[Slice],
        rows: pl.DataFrame,
        entries: pl.DataFrame,
        *,
        run_id: str = "",
    ) -> int:
        """Puts rows that were computed outside in the place of slices of a stored derived relation, in one transaction; their number."""
        labels = {"asset": relation.id, "slice": words(slices)}
        with tempfile.TemporaryDirectory(prefix="gaelp-bigquery-") as folder:
            file = Path(folder) / "rows.parquet"
            staging.stage_frame(relation, rows, file)
            self._locks.of(relation)  # makes what it is staged in, too
            table = self._load(file, "rows", staging.column_schema(relation.fields), labels)
        values = ", ".join(
            f"{unstaged(field, quote(field.name))} AS {quote(field.name)}" for field in relation.fields
        )
        read = self._names.qualify(known_entries(entries), set())
        entered = transaction.entries_statement(self._names, self._catalog, read)
        self._replace(
            relation, slices, f"SELECT {values} FROM {quote(table)}", entered, {"run_id": run_id}, labels
        )
        return rows.height

    def _replace(
        self,
        relation: Relation,
        slices: Sequence[Slice],
        query: str,
        entries: str,
        parameters: Parameters,
        labels: Mapping[str, str],
    ) -> None:
        """Puts what a query gives in the place of slices, and makes their entries, when it is this one's turn; parameters: of both."""
        statements = transaction.refresh_statements(
            self._names, relation, slices, self._locks.of(relation), query, entries
        )
        named = words(slices)
        action = f"refresh {relation.id} {named}"
        retry.until_undisturbed(
            lambda: self._run(as_script(statements), action, {"holder": _holder(), **parameters}, labels),
            Problem(
                f"other refreshes came first {retry.WRITE_ROUNDS} times", f"{relation.id} {named}", "a turn"
            ),
            rounds=retry.WRITE_ROUNDS,
        )

    def mark_replayed(
        self, relation: Relation, batch_id: str, lines: Sequence[int], replayed_at: dt.datetime
    ) -> None:
        """Notes on dead letters that their lines went back into the gateway."""
        self._mark("replayed", relation, batch_id, lines, replayed_at)

    def mark_acknowledged(
        self, relation: Relation, batch_id: str, lines: Sequence[int], acknowledged_at: dt.datetime
    ) -> None:
        """Notes on dead letters that their lines stay rejected."""
        self._mark("acknowledged", relation, batch_id, lines, acknowledged_at)

    def _mark(
        self, what: str, relation: Relation, batch_id: str, lines: Sequence[int], moment: dt.datetime
    ) -> None:
        parameters: Parameters = {
            "dataset": relation.dataset,
            "table_name": relation.name,
            "batch_id": batch_id,
            "lines": json.dumps([str(line) for line in lines]),
            "moment": moment,
        }
        statement = ledger.marking_statement(self._names, self._catalog[DEAD_LETTER], f"{what}_at")
        retry.until_undisturbed(
            lambda: self._run(statement, f"mark dead letters as {what}", parameters, {}),
            Problem(f"other writes came first {retry.WRITE_ROUNDS} times", self.location, "a turn"),
            rounds=retry.WRITE_ROUNDS,
        )

    def _write_once(self, write: SliceWrite, shared: _Shared | None, folder: Path) -> list[LineCounts]:
        """Plans with a look at other slices only if one of them holds a key of the write, which is rare and which its transaction finds."""
        try:
            return self._write(write, shared, folder)
        except KeyElsewhere:
            return self._write(write, shared, folder, across=True)

    def _write(
        self, write: SliceWrite, shared: _Shared | None, folder: Path, *, across: bool = False
    ) -> list[LineCounts]:
        held = self._ledger(write)
        known, corrected = known_batches(held), known_corrections(held)
        seen = Ledger(known, frozenset(held["definition"].drop_nulls()))
        rebuilds = write.mode is WriteMode.REBUILD
        unknown = known.keys() - {batch.batch_id for batch in write.batches}
        if rebuilds and (unknown or corrected.overtake(write.batches)):
            raise SliceChanged(
                f"{write.relation.id} {write.slice} holds batches that came after the rebuild began"
            )
        new = unique_batches(write.batches, () if rebuilds else known.keys())
        if not new and not rebuilds:
            return [known[batch.batch_id][0] for batch in write.batches]
        if write.mode is WriteMode.APPEND:
            seen.check_definition(write.relation)
            if corrected.revisions:
                raise SliceChanged(f"{write.relation.id} {write.slice} holds corrections")
        script = transaction.WriteScript(
            self._names,
            write,
            self._catalog[LEDGER],
            self._catalog[DEAD_LETTER],
            self._locks.of(write.relation),
            across=across,
        )
        labels = {"asset": write.relation.id, "slice": str(write.slice), "run": write.run_id}
        seen_table = ""
        if across:
            seen_table = str(self._frame(script.table_fingerprint(), labels, "read the ledger").item())
        rows = None
        if shared is not None:
            rows = shared.of(new)
        elif write.mode is not WriteMode.SORT:
            rows = staging.stage_rows(write.relation, [(write.slice, new)], folder)
        settled = MergeResult()
        if rows is not None:
            table = shared.table if shared is not None else ""
            script = replace(
                script,
                rows=table or self._load(rows.file, "rows", staging.row_schema(write.relation), labels),
                shared=[batch.batch_id for batch in new] if table else (),
            )
            settled = self._settle(script, new, staging.fingerprint(held) + seen_table, labels)
            for batch_id, lines in rows.refused.items():
                settled.refused.setdefault(batch_id, []).extend(lines)
        counts = [fates_of(batch, rows.counts if rows else {}, settled) for batch in new]
        dead_letters = staging.stage_dead_letters(
            write.relation, new, settled.refused, folder, settled.holders
        )
        check_balance(new, counts)
        if dead_letters is not None:
            script = replace(
                script, dead_letters=self._load(dead_letters, "letters", staging.dead_letter_schema(), labels)
            )
        script = replace(
            script,
            counts=settled.counts,
            replaces=bool(settled.replaced),
            displaces=bool(settled.displaced),
        )
        if rebuilds and not write.accept_loss:
            staged = rows.counts if rows is not None else {}
            seen.check_losses(write.relation, self._held_rows(script, known, labels), counts, staged)
        first = 0 if rebuilds or held.is_empty() else (cast("int | None", held["position"].max()) or 0) + 1
        entries = [
            ledger_entry(
                batch,
                fate,
                known[batch.batch_id][1] if batch.batch_id in known else write.loaded_at,
                position,
                batch.note or corrected.notes.get(batch.batch_id),
            )
            for position, (batch, fate) in enumerate(zip(new, counts, strict=True), start=first)
        ]
        parameters = {
            "seen": staging.fingerprint(held),
            "holder": _holder(),
            "run_id": write.run_id,
            "ledger": json.dumps(entries),
            "replaced": json.dumps(
                [{"batch_id": batch, "rows": rows} for batch, rows in sorted(settled.replaced.items())]
            ),
            "known": json.dumps(sorted(known)),
            "seen_table": seen_table,
            "displaced": displaced_entries(settled.displaced),
        }
        text = as_script(script.statements())
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
            elsewhere = Slice(row["_slice_date"], row["_slice_environment"])
            if row["_held"]:
                if row["_fate"] == "replaced" and elsewhere == WHOLE:
                    settled.replaced[row["_batch_id"]] = row["_rows"]
                elif row["_fate"] == "replaced":
                    settled.displaced[elsewhere, row["_batch_id"]] = row["_rows"]
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
                if row["_slice_date"] is not None:
                    holder = Slice(row["_slice_date"], row["_slice_environment"])
                    settled.holders[row["_batch_id"], row["_line_number"]] = holder
        return settled

    def _held_rows(
        self, script: transaction.WriteScript, known: Known, labels: Mapping[str, str]
    ) -> dict[str, HeldRows]:
        """What becomes of the rows that the slice holds, by batch id. The write asserts that the ledger is still the one that is known."""
        parameters = {"known": json.dumps(sorted(known))}
        found = frame_of(
            self._jobs,
            self._run(losses.held_query(script), "count what a rebuild loses", parameters, labels),
            self._reader,
        )
        return {
            row["_batch_id"]: HeldRows(row["_rows"], row["_gone"], row["_superseded"], row["_hashes"] or ())
            for row in found.to_dicts()
        }

    def _load(self, file: Path, kind: str, schema: Sequence[Resource], labels: Mapping[str, str]) -> str:
        """Loads a staged file into the table that its bytes name, once: a second load of the same bytes finds the table."""
        name = f"{kind}_{staging.digest([staging.digest_of(file), json.dumps(schema)])[:40]}"
        table = self._names.staged_id(name)
        # Jobs are a project's, and tables a dataset's: the same bytes may be loaded into several warehouses of one project.
        job = f"gaelp_{kind}_{staging.digest([table])[:40]}"
        for attempt in range(retry.WRITE_ROUNDS):
            self._jobs.load(file, table, schema, f"{job}_{attempt}", labels)
            if self._jobs.call("look up a staged table", self._jobs.client.get_table, table) is not None:
                return table
        raise TransientError(
            Problem("vanishes as soon as it is loaded", table, "a staging dataset that is left alone")
        )

    def _ledger(self, write: SliceWrite) -> pl.DataFrame:
        sorts = write.mode is WriteMode.SORT
        slice_ = WHOLE if sorts else write.slice
        text = ledger.ledger_query(self._names, self._catalog[LEDGER], write.relation, slice_, sorts=sorts)
        return self._frame(text, {"asset": LEDGER}, f"read the ledger of {write.relation.id}")

    def _count(self, relation: Relation, condition: str) -> int:
        text = f"SELECT COUNT(*) AS n FROM {self._names.table(relation)} WHERE {condition}"
        return int(self._frame(text, {"asset": relation.id}).item())

    def _refresh_native(self, relation: Relation) -> None:
        """Brings a materialized view of BigQuery's own up to its tables. An incremental one always is, and so is one that was refreshed
        after they last changed."""
        if self._tables.keeping(relation) is not Materialization.MAX_STALENESS:
            return
        view = self._tables.find(relation)
        if view is not None and needs_refresh(view.to_api_repr(), self._tables.bases(relation)):
            statement = refresh_statement(self._names, relation)
            self._jobs.query(statement, f"gaelp_refresh_{uuid.uuid4().hex}", f"refresh {relation.id}")


def _holder() -> str:
    return f"process {os.getpid()}, thread {threading.get_ident()}"
