"""Appends to many slices by the same few statements, whatever their number: those to which nothing happens but that rows are added.

An append is plain if its batches are new to its slice, the slice holds neither corrections nor rows of another definition, and none of the
staged keys stands a second time, in the load or in the table. Its outcome then depends on no other append, so that plain ones can go first.
All others are settled one by one, by `merge`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import polars as pl

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.catalog.definition import definition_of
from gaelp_assets.catalog.keys import spans_slices
from gaelp_assets.warehouse.duckdb.connection import first_row, scalar
from gaelp_assets.warehouse.duckdb.ddl import names, slices_predicate, table_name
from gaelp_assets.warehouse.duckdb.dialect import duckdb_type, literal, quote
from gaelp_assets.warehouse.duckdb.entries import Entry, add_entries
from gaelp_assets.warehouse.duckdb.merge import MergeResult, key_fields, key_list, key_range, stage_files
from gaelp_assets.warehouse.ledger import LineCounts, WriteMode
from gaelp_assets.warehouse.loader import SliceWrite

_SLICES = {"_write": pl.Int64(), "slice_date": pl.Date(), "slice_environment": pl.String()}
_BATCHES = {
    "_batch": pl.Int64(),
    "_write": pl.Int64(),
    "_batch_id": pl.String(),
    "_loaded_at": pl.Datetime("us", "UTC"),
}


@dataclass
class _Held:
    """What the ledger says of a slice."""

    batches: set[str] = field(default_factory=set)
    definitions: set[str] = field(default_factory=set)
    corrected: bool = False
    next_position: int = 0


def append_plain(
    con: duckdb.DuckDBPyConnection, ledger: str, dead_letter: str, writes: Sequence[SliceWrite]
) -> dict[int, list[LineCounts]]:
    """Carries out the plain ones of these appends to slices of one relation, each of another; runs in the caller's transaction.

    Returns:
        By place in `writes`, the fates of each batch. What is not here is still to be carried out.
    """
    if len(writes) < 2:
        return {}
    relation = writes[0].relation
    con.register(
        "_slice", _frame([(place, *_of(write.slice)) for place, write in enumerate(writes)], _SLICES)
    )
    held = _read_ledger(con, ledger, relation)
    places = [place for place, write in enumerate(writes) for _ in write.batches]
    entries = [
        Entry(batch, write.loaded_at, write.slice, position, batch.note)
        for place, write in enumerate(writes)
        for position, batch in enumerate(write.batches, start=held[place].next_position)
    ]
    rows = _stage(con, relation, entries, places)
    plain = {place for place, write in enumerate(writes) if _adds_only(write, held[place])}
    plain -= _contested(con, relation, [write.slice for write in writes]) if rows else set()
    chosen = [index for index, place in enumerate(places) if place in plain]
    if not chosen:
        return {}
    if rows:
        con.register("_plain", _frame([(place,) for place in sorted(plain)], {"_write": pl.Int64()}))
        columns = names(relation.fields)
        con.execute(
            f"INSERT INTO {table_name(relation)} ({columns}, _batch_id, _loaded_at, _row_hash) "
            f"SELECT {columns}, _batch_id, _loaded_at, _row_hash FROM _row SEMI JOIN _plain USING (_write)"
        )
    settled = MergeResult(staged={place: rows.get(index, 0) for place, index in enumerate(chosen)})
    counts = add_entries(con, ledger, dead_letter, writes[0], [entries[index] for index in chosen], settled)
    found: dict[int, list[LineCounts]] = {place: [] for place in plain}
    for index, counted in zip(chosen, counts, strict=True):
        found[places[index]].append(counted)
    return found


def _adds_only(write: SliceWrite, held: _Held) -> bool:
    batches = [batch.batch_id for batch in write.batches]
    return (
        write.mode is WriteMode.APPEND
        and not held.corrected
        and len(set(batches)) == len(batches)
        and held.batches.isdisjoint(batches)
        and held.definitions <= {str(definition_of(write.relation))}
    )


def _read_ledger(con: duckdb.DuckDBPyConnection, ledger: str, relation: Relation) -> defaultdict[int, _Held]:
    """What the ledger says of the slices in `_slice`, by their place."""
    found: defaultdict[int, _Held] = defaultdict(_Held)
    for place, batch_id, definition, corrected, position in con.execute(
        "SELECT s._write, l.batch_id, l.definition, coalesce(l.revision::VARCHAR, l.corrected_by) IS NOT NULL, coalesce(l.position, -1) "
        f"FROM {ledger} AS l JOIN _slice AS s ON l.slice_date IS NOT DISTINCT FROM s.slice_date "
        "AND l.slice_environment IS NOT DISTINCT FROM s.slice_environment "
        f'WHERE l.dataset = {literal(relation.dataset)} AND l."table" = {literal(relation.name)} '
        f"AND l.mode <> {literal(WriteMode.SORT.value)}"
    ).fetchall():
        held = found[place]
        held.batches.add(batch_id)
        held.definitions |= {definition} - {None}
        held.corrected = held.corrected or corrected
        held.next_position = max(held.next_position, position + 1)
    return found


def _stage(
    con: duckdb.DuckDBPyConnection, relation: Relation, entries: Sequence[Entry], places: Sequence[int]
) -> Counter[int]:
    """Makes `_row`, the staged rows in the table's types with the place of their write; the number of rows of each entry."""
    if not stage_files(con, "_staged", [entry.batch.rows for entry in entries]):
        return Counter()
    batches = [
        (index, place, entry.batch.batch_id, entry.moment)
        for index, (entry, place) in enumerate(zip(entries, places, strict=True))
    ]
    con.register("_row_info", _frame(batches, _BATCHES))
    columns = ", ".join(f"s.{quote(f.name)}::{duckdb_type(f)} AS {quote(f.name)}" for f in relation.fields)
    # A copy: each of the statements to come would open all the files again.
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE _row AS SELECT {columns}, s._row_hash, i._batch_id, i._loaded_at, i._batch, i._write "
        "FROM _staged AS s JOIN _row_info AS i USING (_batch)"
    )
    return Counter(dict(con.execute("SELECT _batch, count(*) FROM _row GROUP BY 1").fetchall()))


def _contested(con: duckdb.DuckDBPyConnection, relation: Relation, slices: Sequence[Slice]) -> set[int]:
    """The writes of which a key stands a second time, or of which a row is not of the slice: that is told when it is written by itself."""
    keys = key_fields(relation)
    spans = spans_slices(relation)
    key_hash = f"hash({key_list(keys, 'p.')}{'' if spans else ', p._write'})"
    parts = [
        f"SELECT p._write FROM _row AS p JOIN _slice AS s USING (_write) WHERE NOT {_is_of_slice(relation, 'p.', 's.')}"
    ]
    if scalar(con, f"SELECT count(*) - count(DISTINCT {key_hash}) FROM _row AS p"):
        parts.append(
            f"SELECT p._write FROM _row AS p WHERE {key_hash} IN "
            f"(SELECT {key_hash} FROM _row AS p GROUP BY 1 HAVING count(*) > 1)"
        )
    scope = "TRUE" if spans else slices_predicate(relation, slices)
    if first_row(con, f"SELECT 1 FROM {table_name(relation)} WHERE {scope} LIMIT 1") is not None:
        same = [f"t.{quote(key.name)} = p.{quote(key.name)}" for key in keys]
        same += [] if spans else [_is_of_slice(relation, "t.", "s.")]
        # DuckDB passes a filter of the staged keys on to the scan of the table; what their range excludes is not read at all.
        within = key_range(con, keys, "_row")
        parts.append(
            f"SELECT p._write FROM (SELECT * FROM {table_name(relation)} WHERE ({scope}) AND {within}) AS t "
            f"JOIN (_row AS p JOIN _slice AS s USING (_write)) ON {' AND '.join(same)}"
        )
    return {place for (place,) in con.execute(" UNION ".join(parts)).fetchall()}


def _is_of_slice(relation: Relation, row: str, slice_: str) -> str:
    """The condition that a row is one of the slice that stands beside it; both are prefixes."""
    by = relation.partitioning
    if by is None:
        return "TRUE"
    parts = [f"{row}{quote(by.date)}::DATE IS NOT DISTINCT FROM {slice_}slice_date"]
    if by.environment is not None:
        parts.append(f"{row}{quote(by.environment)} IS NOT DISTINCT FROM {slice_}slice_environment")
    return f"({' AND '.join(parts)})"


def _of(slice_: Slice) -> tuple[object, object]:
    return slice_.date, slice_.environment


def _frame(rows: Sequence[tuple[object, ...]], schema: Mapping[str, pl.DataType]) -> object:
    return pl.DataFrame(rows, schema=dict(schema), orient="row").to_arrow()
