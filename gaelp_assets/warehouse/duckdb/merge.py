"""Which staged rows enter a slice, decided by their keys in DuckDB: loaded, duplicate, replaced, or in conflict.

Nearly all rows have a key of their own, so the work is in two steps. First, the keys that occur twice in the load (by counts
of a 64-bit hash) or that the slice holds already (by a join restricted to it) are found. Only the rows of those keys are then
ranked. In order of arrival, a row

- wins if its version is greater than every version before it (where conflicts are rejected, all versions count as equal:
  the first row wins), and is `replaced` if a later one wins;
- is a `duplicate` if its version is smaller, or if it is equal in version and content to the row that won with that version;
- is in `conflict` if it is equal in version, and differs in content.

Where a key stands once in the whole table, rows of other slices that have a staged key are ranked with those of the slice.

A row whose line the slice holds already is a `duplicate` whatever else arrives, so a load of nothing but such rows ends before
all that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb
import polars as pl

from gaelp_assets.catalog import Field, Relation, Slice
from gaelp_assets.catalog.model import Latest
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.duckdb.connection import first_row, scalar
from gaelp_assets.warehouse.duckdb.ddl import names, table_name
from gaelp_assets.warehouse.duckdb.dialect import duckdb_type, literal, quote
from gaelp_assets.warehouse.loader import StagedBatch

# Rows that the table holds stand before all batches of the load: first those of the slice, then those of other slices.
_HELD = -2
_ELSEWHERE = -1
_FIRST_ROWS = 100


@dataclass
class MergeResult:
    """What became of the rows of each batch (by its index in the load), and of rows that the slice held before."""

    staged: dict[int, int] = field(default_factory=dict)
    duplicate: dict[int, int] = field(default_factory=dict)
    conflicts: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """Line number and byte offset of each row in conflict, in order of offset."""
    replaced: dict[str, int] = field(default_factory=dict)
    """Rows that the slice held before and holds no more, by their batch id."""
    displaced: dict[tuple[Slice, str], int] = field(default_factory=dict)
    """Rows that other slices held before and hold no more, by slice and batch id."""
    holders: dict[tuple[int, int], Slice] = field(default_factory=dict)
    """The other slice that holds the key of a row in conflict, by batch and line number; none for a conflict within the slice."""

    def loaded(self, batch: int) -> int:
        """The rows of a batch that the slice now holds."""
        return self.staged.get(batch, 0) - self.duplicate.get(batch, 0) - len(self.conflicts.get(batch, ()))


def merge_rows(
    con: duckdb.DuckDBPyConnection,
    relation: Relation,
    predicate: str,
    batches: Sequence[StagedBatch],
    loaded_at: Sequence[str],
    elsewhere: str | None = None,
) -> MergeResult:
    """Inserts the rows that enter the slice and deletes those that they replace. Runs in the caller's transaction.

    Args:
        con: the connection, in a transaction.
        relation: the table.
        predicate: the slice as a condition.
        batches: what is staged, in the order in which rows win a key.
        loaded_at: the moment of each batch as a SQL constant.
        elsewhere: the condition of the rows of other slices that can have a key of this one; None if there are none.

    Raises:
        GaelpError: a staged row is not one of the slice.
    """
    settled = MergeResult()
    if not stage_files(con, "_staged", [batch.rows for batch in batches]):
        return settled
    _create_staged_view(con, relation, batches, loaded_at)
    _count_rows(con, relation, predicate, settled)
    holds_rows = first_row(con, f"SELECT 1 FROM {table_name(relation)} WHERE {predicate} LIMIT 1") is not None
    if holds_rows and _is_resend(con, relation, predicate, settled):
        settled.duplicate = dict(settled.staged)
        return settled
    if _find_contested_keys(con, relation, predicate if holds_rows else None, elsewhere):
        _rank(con, relation)
        _compare_contents(con, relation)
        _read_fates(con, settled)
        con.execute(
            f"DELETE FROM {table_name(relation)} WHERE rowid IN (SELECT row_id FROM _fate WHERE batch < 0 AND fate = 'replaced')"
        )
        chosen = """FROM _staged_row AS s ANTI JOIN (SELECT batch, line_number FROM _fate WHERE fate <> 'loaded') AS f
            ON s._batch = f.batch AND s._line_number = f.line_number"""
    else:
        chosen = "FROM _staged_row AS s"
    columns = names(relation.fields)
    con.execute(
        f"INSERT INTO {table_name(relation)} ({columns}, _batch_id, _loaded_at, _row_hash) "
        f"SELECT {columns}, _batch_id, _loaded_at, _row_hash {chosen}"
    )
    return settled


def stage_files(con: duckdb.DuckDBPyConnection, table: str, files: Sequence[Sequence[object]]) -> int:
    """Makes the temporary view `table` of Parquet files, with `_batch`: the index of the file's batch; the number of files.

    Without any file, no view is made.
    """
    paths = [str(path) for group in files for path in group]
    if paths:
        owners = [batch for batch, group in enumerate(files) for _ in group]
        con.register(
            f"{table}_owner", pl.DataFrame({"file_index": range(len(owners)), "_batch": owners}).to_arrow()
        )
        con.execute(f"CREATE OR REPLACE TEMP TABLE {table}_file AS SELECT * FROM {table}_owner")
        con.unregister(f"{table}_owner")
        listed = ", ".join(literal(path) for path in paths)
        con.execute(
            f"CREATE OR REPLACE TEMP VIEW {table} AS SELECT p.*, f._batch FROM read_parquet([{listed}]) AS p "
            f"JOIN {table}_file AS f ON f.file_index = p.file_index"
        )
    return len(paths)


def _create_staged_view(
    con: duckdb.DuckDBPyConnection,
    relation: Relation,
    batches: Sequence[StagedBatch],
    loaded_at: Sequence[str],
) -> None:
    values = ", ".join(
        f"({index}, {literal(batch.batch_id)}, {moment})"
        for index, (batch, moment) in enumerate(zip(batches, loaded_at, strict=True))
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE _batch_info AS SELECT * FROM (VALUES {values}) AS v(_batch, _batch_id, _loaded_at)"
    )
    columns = ", ".join(f"s.{quote(f.name)}::{duckdb_type(f)} AS {quote(f.name)}" for f in relation.fields)
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW _staged_row AS SELECT {columns}, s._row_hash, s._line_number, s._byte_offset, s._batch, "
        "i._batch_id, i._loaded_at FROM _staged AS s JOIN _batch_info AS i USING (_batch)"
    )


def _count_rows(
    con: duckdb.DuckDBPyConnection, relation: Relation, predicate: str, settled: MergeResult
) -> None:
    outside = 0
    for batch, rows, stray in con.execute(
        f"SELECT _batch, count(*), count(*) FILTER (WHERE ({predicate}) IS NOT TRUE) FROM _staged GROUP BY _batch"
    ).fetchall():
        settled.staged[batch] = rows
        outside += stray
    if outside:
        raise GaelpError(
            Problem(f"{outside} staged rows are not of the slice", relation.id, f"rows with {predicate}")
        )


def _is_resend(
    con: duckdb.DuckDBPyConnection, relation: Relation, predicate: str, settled: MergeResult
) -> bool:
    """Whether the slice holds every staged row, line for line. The first rows tell whether it is worth looking at all of them."""
    keys = key_fields(relation)
    same = " AND ".join((*_same_key(keys), "t._row_hash = s._row_hash"))
    stored = f"(SELECT * FROM {table_name(relation)} WHERE {predicate})"
    rows = sum(settled.staged.values())
    return all(
        scalar(con, f"SELECT count(*) FROM {staged} AS s SEMI JOIN {stored} AS t ON {same}") == expected
        for staged, expected in (
            (f"(SELECT * FROM _staged LIMIT {_FIRST_ROWS})", min(rows, _FIRST_ROWS)),
            ("_staged", rows),
        )
    )


def _find_contested_keys(
    con: duckdb.DuckDBPyConnection, relation: Relation, predicate: str | None, elsewhere: str | None
) -> bool:
    """Makes `_held` (stored rows whose keys are staged, of the slice and of others, unless they are None) and `_contested` (hashes of
    keys to be settled); False if there are none."""
    table = table_name(relation)
    keys = key_fields(relation)
    key_hash = f"hash({key_list(keys)})"
    repeated = scalar(con, f"SELECT count(*) - count(DISTINCT {key_hash}) FROM _staged") > 0
    parts = [f"({condition})" for condition in (predicate, elsewhere) if condition is not None]
    if not repeated and not parts:
        return False
    # DuckDB passes a filter of the staged keys on to the scan of the table; what their range excludes is not read at all.
    same = " AND ".join(_same_key(keys))
    within = key_range(con, keys, "_staged")
    key_of_table = key_list(keys, "t.")
    slice_columns = ", ".join(_slice_columns(relation))
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE _held AS SELECT DISTINCT t.rowid AS row_id, hash({key_of_table}) AS key_hash, {slice_columns} "
        f"FROM (SELECT rowid, *, {elsewhere or 'FALSE'} AS _elsewhere FROM {table} "
        f"WHERE ({' OR '.join(parts) or 'FALSE'}) AND {within}) AS t JOIN _staged AS s ON {same}"
    )
    con.execute(
        "CREATE OR REPLACE TEMP TABLE _contested AS SELECT key_hash FROM _held"
        + (
            f" UNION SELECT {key_hash} AS key_hash FROM _staged GROUP BY 1 HAVING count(*) > 1"
            if repeated
            else ""
        )
    )
    return bool(scalar(con, "SELECT count(*) FROM _contested"))


def key_range(con: duckdb.DuckDBPyConnection, keys: Sequence[Field], staged: str) -> str:
    """The condition of stored rows that each part of their key lies within the range of the staged ones; its constants are in a variable,
    as no statement's text may hold values."""
    ends = ", ".join(
        f"'{end}_{index}': {end}({quote(key.name)}::{duckdb_type(key)})"
        for index, key in enumerate(keys)
        for end in ("min", "max")
    )
    con.execute(f"SET VARIABLE _key_range = (SELECT {{{ends}}} FROM {staged})")
    return " AND ".join(
        f"{quote(key.name)} BETWEEN getvariable('_key_range').min_{index} AND getvariable('_key_range').max_{index}"
        for index, key in enumerate(keys)
    )


def _slice_columns(relation: Relation) -> tuple[str, str]:
    """Date and environment of the slice that a stored row `t` is of, both NULL unless it is `_elsewhere`."""
    by = relation.partitioning
    date = f"t.{quote(by.date)}::DATE" if by else "NULL::DATE"
    environment = f"t.{quote(by.environment)}" if by and by.environment else "NULL::VARCHAR"
    return (
        f"CASE WHEN t._elsewhere THEN {date} END AS slice_date",
        f"CASE WHEN t._elsewhere THEN {environment} END AS slice_environment",
    )


def _rank(con: duckdb.DuckDBPyConnection, relation: Relation) -> None:
    """Makes `_fate`: the rows of contested keys with their fate; 'equal' where the content has still to be compared."""
    table = table_name(relation)
    keys = key_fields(relation)
    by_key, key_names = key_list(keys), names(tuple(keys))
    conflict = relation.on_key_conflict
    version = quote(conflict.latest) if isinstance(conflict, Latest) else "0"
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE _fate AS
        WITH contender AS (
            SELECT s._batch, s._line_number, s._byte_offset, NULL AS _row_id, NULL AS _held_batch_id, s._row_hash,
                {version} AS _version, {key_names}
            FROM _staged_row AS s SEMI JOIN _contested AS c ON hash({by_key}) = c.key_hash
            UNION ALL
            SELECT CASE WHEN h.slice_date IS NULL THEN {_HELD} ELSE {_ELSEWHERE} END, t.rowid, 0, t.rowid, t._batch_id, t._row_hash,
                {version}, {key_names}
            FROM {table} AS t JOIN _held AS h ON t.rowid = h.row_id
        ), ranked AS (
            SELECT *, dense_rank() OVER (PARTITION BY {by_key} ORDER BY _version NULLS FIRST) AS _rank FROM contender
        ), arrived AS (
            SELECT * EXCLUDE ({key_names}, _version),
                max(_rank) OVER (
                    PARTITION BY {by_key} ORDER BY _batch, _line_number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS _rank_before,
                max(_rank) OVER (PARTITION BY {by_key}) AS _best_rank,
                first_value({{'batch': _batch, 'line': _line_number, 'hash': _row_hash}}) OVER (
                    PARTITION BY {by_key}, _rank ORDER BY _batch, _line_number
                ) AS _winner
            FROM ranked
        )
        SELECT _batch AS batch, _line_number AS line_number, _byte_offset AS byte_offset, _row_id AS row_id,
            _held_batch_id AS held_batch_id, _winner.batch AS winner_batch, _winner.line AS winner_line,
            CASE
                WHEN _batch < 0 AND _rank < _best_rank THEN 'replaced'
                WHEN _rank_before IS NULL OR _rank > _rank_before
                    THEN CASE WHEN _rank = _best_rank THEN 'loaded' ELSE 'replaced' END
                WHEN _rank < _rank_before THEN 'duplicate'
                WHEN _row_hash = _winner.hash THEN 'duplicate'
                ELSE 'equal'
            END AS fate
        FROM arrived""")


def _compare_contents(con: duckdb.DuckDBPyConnection, relation: Relation) -> None:
    """Decides what is 'equal' in key and version but not in its line: the same values in other words, or a conflict."""
    if not scalar(con, "SELECT count(*) FROM _fate WHERE fate = 'equal'"):
        return
    columns = names(relation.fields)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE _content AS
        WITH wanted AS (
            SELECT batch AS _batch, line_number AS _line FROM _fate WHERE fate = 'equal'
            UNION SELECT winner_batch, winner_line FROM _fate WHERE fate = 'equal'
        )
        SELECT w._batch, w._line, {columns} FROM _staged_row AS s
            JOIN wanted AS w ON s._batch = w._batch AND s._line_number = w._line
        UNION ALL
        SELECT w._batch, w._line, {columns} FROM {table_name(relation)} AS t
            JOIN wanted AS w ON w._batch < 0 AND t.rowid = w._line""")
    same = " AND ".join(
        f"{_comparable(f, 'a.')} IS NOT DISTINCT FROM {_comparable(f, 'b.')}" for f in relation.fields
    )
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE _same AS
        SELECT f.batch, f.line_number FROM _fate AS f
            JOIN _content AS a ON a._batch = f.batch AND a._line = f.line_number
            JOIN _content AS b ON b._batch = f.winner_batch AND b._line = f.winner_line
        WHERE f.fate = 'equal' AND {same}""")
    con.execute(
        "UPDATE _fate SET fate = 'duplicate' FROM _same AS s "
        "WHERE _fate.batch = s.batch AND _fate.line_number = s.line_number"
    )
    con.execute("UPDATE _fate SET fate = 'conflict' WHERE fate = 'equal'")


def _read_fates(con: duckdb.DuckDBPyConnection, settled: MergeResult) -> None:
    settled.duplicate = dict(
        con.execute(
            "SELECT batch, count(*) FROM _fate WHERE batch >= 0 AND fate IN ('duplicate', 'replaced') GROUP BY 1"
        ).fetchall()
    )
    settled.replaced = dict(
        con.execute(
            f"SELECT held_batch_id, count(*) FROM _fate WHERE batch = {_HELD} AND fate = 'replaced' GROUP BY 1"
        ).fetchall()
    )
    for batch_id, date, environment, rows in con.execute(
        "SELECT f.held_batch_id, h.slice_date, h.slice_environment, count(*) FROM _fate AS f JOIN _held AS h USING (row_id) "
        f"WHERE f.batch = {_ELSEWHERE} AND f.fate = 'replaced' GROUP BY ALL"
    ).fetchall():
        settled.displaced[Slice(date, environment), batch_id] = rows
    for batch, line_number, byte_offset, date, environment in con.execute(
        "SELECT f.batch, f.line_number, f.byte_offset, h.slice_date, h.slice_environment FROM _fate AS f "
        f"LEFT JOIN _held AS h ON f.winner_batch = {_ELSEWHERE} AND h.row_id = f.winner_line "
        "WHERE f.fate = 'conflict' AND f.batch >= 0 ORDER BY f.batch, f.byte_offset"
    ).fetchall():
        settled.conflicts.setdefault(batch, []).append((line_number, byte_offset))
        if date is not None:
            settled.holders[batch, line_number] = Slice(date, environment)


def key_fields(relation: Relation) -> list[Field]:
    """The fields of the key."""
    return [relation.field(name) for name in relation.primary_key]


def _same_key(keys: Sequence[Field]) -> list[str]:
    return [f"t.{quote(key.name)} = s.{quote(key.name)}::{duckdb_type(key)}" for key in keys]


def key_list(keys: Sequence[Field], prefix: str = "") -> str:
    """The key's columns, in their declared types: a hash of a BIGINT is not that of the same INTEGER."""
    return ", ".join(f"{prefix}{quote(key.name)}::{duckdb_type(key)}" for key in keys)


def _comparable(field_: Field, prefix: str) -> str:
    """A column in a form in which the same values are equal: JSON without the blanks between its parts."""
    column = prefix + quote(field_.name)
    if field_.type == "JSON":
        return f"list_transform({column}, lambda part: json(part))" if field_.repeated else f"json({column})"
    return column
