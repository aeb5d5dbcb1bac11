"""What a write adds to the ledger and the dead letter in DuckDB, in the write's transaction: for one slice, or for many at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.catalog.definition import definition_of
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.batches import check_balance
from gaelp_assets.warehouse.duckdb.dialect import literal
from gaelp_assets.warehouse.duckdb.merge import MergeResult, stage_files
from gaelp_assets.warehouse.keys import conflict_message
from gaelp_assets.warehouse.ledger import LineCounts, Note
from gaelp_assets.warehouse.loader import SliceWrite, StagedBatch

# Raw lines are fetched and written so many at a time, so that a load full of conflicts does not fill the memory.
_LINES_AT_ONCE: Final = 5_000
# So are staged rejects: what DuckDB holds of raw lines while it reads them is beyond its memory limit.
_BYTES_AT_ONCE: Final = 8 << 20
_SLICE: Final = {"slice_date": pl.Date(), "slice_environment": pl.String()}
_LETTER_SCHEMA: Final[dict[str, pl.DataType]] = {
    "_batch": pl.Int64(),
    "batch_id": pl.String(),
    "file": pl.String(),
    "rejected_at": pl.Datetime("us", "UTC"),
    **_SLICE,
}
_CONFLICT_SCHEMA: Final[dict[str, pl.DataType]] = {
    "_batch": pl.Int64(),
    "line_number": pl.Int64(),
    "byte_offset": pl.Int64(),
    "raw": pl.Binary(),
    "reasons": pl.List(pl.Struct({"field": pl.String(), "rule": pl.String(), "message": pl.String()})),
}
_LEDGER_SCHEMA: Final[dict[str, pl.DataType]] = {
    "batch_id": pl.String(),
    "file": pl.String(),
    "bytes": pl.Int64(),
    "lines": pl.Int64(),
    "loaded": pl.Int64(),
    "duplicate": pl.Int64(),
    "rejected": pl.Int64(),
    "sorted": pl.Int64(),
    "loaded_at": pl.Datetime("us", "UTC"),
    "position": pl.Int64(),
    "superseded": pl.Int64(),
    "withdrawn": pl.Int64(),
    "revision": pl.Int64(),
    "superseded_by": pl.String(),
    "corrected_by": pl.String(),
    "reason": pl.String(),
    **_SLICE,
}


@dataclass(frozen=True)
class Entry:
    """A batch that is new to the ledger of a slice."""

    batch: StagedBatch
    moment: dt.datetime
    """UTC; when it was first loaded."""
    slice: Slice
    position: int
    """Among the slice's batches."""
    note: Note | None = None


def add_entries(
    con: duckdb.DuckDBPyConnection,
    ledger: str,
    dead_letter: str,
    write: SliceWrite,
    entries: Sequence[Entry],
    settled: MergeResult,
) -> list[LineCounts]:
    """Adds the ledger's rows of batches and their dead letters: lines that were rejected before, and rows in conflict.

    Args:
        con: the connection, in a transaction.
        ledger: the ledger, quoted.
        dead_letter: the dead letter, likewise.
        write: what the batches have in common: relation, mode and run.
        entries: the batches.
        settled: what became of their rows, by their index in `entries`.

    Returns:
        The fates of each batch's lines.

    Raises:
        GaelpError: a batch's lines do not add up, or its staged rejects are not as many as it says.
    """
    _add_dead_letters(con, dead_letter, write, entries, settled)
    counts = [_fates(entry.batch, index, settled) for index, entry in enumerate(entries)]
    check_balance([entry.batch for entry in entries], counts)
    rows = [
        (
            e.batch.batch_id,
            e.batch.file,
            e.batch.size,
            f.lines,
            f.loaded,
            f.duplicate,
            f.rejected,
            f.sorted,
            e.moment,
            e.position,
            f.superseded,
            f.withdrawn,
            e.batch.revision,
            e.batch.superseded_by,
            e.note and e.note.corrected_by,
            e.note and e.note.reason,
            e.slice.date,
            e.slice.environment,
        )
        for e, f in zip(entries, counts, strict=True)
    ]
    con.register("_ledger_row", pl.DataFrame(rows, schema=_LEDGER_SCHEMA, orient="row").to_arrow())
    con.execute(
        f"INSERT INTO {ledger} BY NAME SELECT *, {_table(write.relation)}, "
        f"{literal(write.mode.value)} AS mode, $run_id AS run_id, now() AS written_at, $definition AS definition "
        "FROM _ledger_row",
        {"run_id": write.run_id, "definition": str(definition_of(write.relation))},
    )
    con.unregister("_ledger_row")
    return counts


def _add_dead_letters(
    con: duckdb.DuckDBPyConnection,
    dead_letter: str,
    write: SliceWrite,
    entries: Sequence[Entry],
    settled: MergeResult,
) -> None:
    if not settled.conflicts and not any(e.batch.rejects or e.batch.rejected for e in entries):
        return
    info = [
        (index, e.batch.batch_id, e.batch.file, e.moment, e.slice.date, e.slice.environment)
        for index, e in enumerate(entries)
    ]
    con.register("_letter_info", pl.DataFrame(info, schema=_LETTER_SCHEMA, orient="row").to_arrow())
    found: dict[int, int] = {}
    for files in _pieces([e.batch.rejects for e in entries]):
        stage_files(con, "_reject", files)
        for index, lines in con.execute("SELECT _batch, count(*) FROM _reject GROUP BY 1").fetchall():
            found[index] = found.get(index, 0) + lines
        _insert_dead_letters(con, dead_letter, write, "_reject")
    for index, entry in enumerate(entries):
        batch = entry.batch
        if found.get(index, 0) != batch.rejected:
            raise GaelpError(
                Problem(
                    f"{found.get(index, 0)} rejected lines are staged",
                    batch.file,
                    f"{batch.rejected} of them",
                )
            )
        conflicts = settled.conflicts.get(index, [])
        for start in range(0, len(conflicts), _LINES_AT_ONCE):
            rows = conflicts[start : start + _LINES_AT_ONCE]
            con.register(
                "_conflict", _conflicts(write.relation, index, batch, rows, settled.holders).to_arrow()
            )
            _insert_dead_letters(con, dead_letter, write, "_conflict")
            con.unregister("_conflict")
    con.unregister("_letter_info")


def _pieces(files: Sequence[Sequence[Path]]) -> Iterator[list[list[Path]]]:
    """The files of each batch, a few at a time: about `_BYTES_AT_ONCE`, or one file."""
    piece: list[list[Path]] = [[] for _ in files]
    size = 0
    for index, group in enumerate(files):
        for path in group:
            piece[index].append(path)
            size += path.stat().st_size
            if size >= _BYTES_AT_ONCE:
                yield piece
                piece, size = [[] for _ in files], 0
    if size:
        yield piece


def _insert_dead_letters(
    con: duckdb.DuckDBPyConnection, dead_letter: str, write: SliceWrite, source: str
) -> None:
    con.execute(
        f"INSERT INTO {dead_letter} BY NAME SELECT i.batch_id, {_table(write.relation)}, i.slice_date, i.slice_environment, i.file, "
        f"l.line_number, l.byte_offset, l.raw, l.reasons, i.rejected_at, $run_id AS run_id "
        f"FROM {source} AS l JOIN _letter_info AS i USING (_batch)",
        {"run_id": write.run_id},
    )


def _conflicts(
    relation: Relation,
    index: int,
    batch: StagedBatch,
    rows: Sequence[tuple[int, int]],
    holders: Mapping[tuple[int, int], Slice],
) -> pl.DataFrame:
    """The dead letters of rows in conflict (line number and byte offset of each)."""
    key = relation.primary_key
    reason = {"field": key[0] if len(key) == 1 else None, "rule": "key_conflict"}
    return pl.DataFrame(
        {
            "_batch": [index] * len(rows),
            "line_number": [line for line, _ in rows],
            "byte_offset": [offset for _, offset in rows],
            "raw": [batch.raw_line(offset) for _, offset in rows],
            "reasons": [
                [{**reason, "message": conflict_message(relation, holders.get((index, line)))}]
                for line, _ in rows
            ],
        },
        schema=_CONFLICT_SCHEMA,
    )


def _table(relation: Relation) -> str:
    return f'{literal(relation.dataset)} AS dataset, {literal(relation.name)} AS "table"'


def _fates(batch: StagedBatch, index: int, settled: MergeResult) -> LineCounts:
    return LineCounts(
        batch_id=batch.batch_id,
        lines=batch.lines,
        loaded=settled.loaded(index),
        duplicate=settled.duplicate.get(index, 0),
        rejected=batch.rejected + len(settled.conflicts.get(index, ())),
        sorted=batch.sorted,
        superseded=batch.superseded,
        withdrawn=batch.withdrawn,
    )
