"""Counts the rows that a slice holds before a rebuild and no more after it, in the rebuild's own transaction."""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from gaelp_assets.catalog import Relation
from gaelp_assets.warehouse.duckdb.ddl import names, table_name
from gaelp_assets.warehouse.duckdb.dialect import literal, quote
from gaelp_assets.warehouse.losses import SAMPLE, HeldRows


def remember_rows(con: duckdb.DuckDBPyConnection, relation: Relation, predicate: str) -> None:
    """Notes which rows the slice holds, for `held_rows`."""
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE _before AS SELECT _batch_id, _row_hash, {_keys(relation)} "
        f"FROM {table_name(relation)} WHERE {predicate}"
    )


def held_rows(
    con: duckdb.DuckDBPyConnection, relation: Relation, predicate: str, known: Collection[str]
) -> dict[str, HeldRows]:
    """What became of the rows that were noted, by batch id; `known` are the batches that the ledger held."""
    new = f"_batch_id NOT IN ({', '.join(literal(batch) for batch in sorted(known))})" if known else "TRUE"
    same_key = " AND ".join(f"w.{quote(name)} = b.{quote(name)}" for name in relation.primary_key)
    slice_ = f"{table_name(relation)} WHERE {predicate}"
    found = con.execute(
        f"""
        WITH gone AS (
            SELECT b.*, EXISTS (SELECT 1 FROM (SELECT {_keys(relation)} FROM {slice_} AND {new}) AS w WHERE {same_key}) AS superseded
            FROM _before AS b
            ANTI JOIN (SELECT _row_hash FROM {slice_}) AS n USING (_row_hash)
        ), counted AS (
            SELECT _batch_id, count(*) AS rows, count(*) FILTER (superseded) AS superseded,
                (list(_row_hash) FILTER (NOT superseded))[:{SAMPLE}] AS hashes
            FROM gone GROUP BY _batch_id
        )
        SELECT h._batch_id, h.rows, coalesce(c.rows, 0), coalesce(c.superseded, 0), coalesce(c.hashes, [])
        FROM (SELECT _batch_id, count(*) AS rows FROM _before GROUP BY _batch_id) AS h LEFT JOIN counted AS c USING (_batch_id)
        """
    ).fetchall()
    return {
        batch: HeldRows(rows, gone, superseded, hashes) for batch, rows, gone, superseded, hashes in found
    }


def _keys(relation: Relation) -> str:
    return names(tuple(relation.field(name) for name in relation.primary_key))
