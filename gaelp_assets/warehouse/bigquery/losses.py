"""The query that counts the rows that a slice holds before a rebuild and no more after it. Text only: nothing is run here."""

from __future__ import annotations

from gaelp_assets.warehouse.bigquery.dialect import quote, slice_condition
from gaelp_assets.warehouse.bigquery.transaction import WriteScript
from gaelp_assets.warehouse.losses import SAMPLE


def held_query(script: WriteScript) -> str:
    """A query of the rows that the slice holds, a row for each batch: see `losses.HeldRows`.

    Parameter: `known`, a JSON array of the batches that the ledger holds.
    Columns: `_batch_id`, `_rows`, `_gone`, `_superseded`, `_hashes`.
    """
    relation = script.write.relation
    none = "SELECT '' AS _batch_id, 0 AS _row_hash, '' AS _key, 'loaded' AS _fate FROM (SELECT 1) WHERE FALSE"
    return f"""
    WITH held AS (
        SELECT _t._batch_id, _t._row_hash FROM {script.names.table(relation)} AS _t
        WHERE {slice_condition(relation, script.write.slice, "_t.")}
    ), staged AS (
        {none if script.rows is None else _staged(script.staged, script.counts)}
    ), kept AS (
        SELECT DISTINCT _row_hash FROM staged WHERE _fate = 'loaded'
    ), won AS (
        SELECT DISTINCT _key FROM staged WHERE _fate = 'loaded' AND _key IS NOT NULL
          AND _batch_id NOT IN UNNEST(JSON_VALUE_ARRAY(@known))
    ), superseded AS (
        SELECT DISTINCT _s._row_hash FROM staged AS _s INNER JOIN won AS _w ON _w._key = _s._key
        WHERE _s._fate IN ('replaced', 'duplicate')
    ), fates AS (
        SELECT _h._batch_id, _h._row_hash, _k._row_hash IS NULL AS _is_gone,
            _k._row_hash IS NULL AND _u._row_hash IS NOT NULL AS _is_superseded
        FROM held AS _h
        LEFT JOIN kept AS _k ON _k._row_hash = _h._row_hash
        LEFT JOIN superseded AS _u ON _u._row_hash = _h._row_hash
    ), sampled AS (
        SELECT _batch_id, ARRAY_AGG(_row_hash LIMIT {SAMPLE}) AS _hashes FROM fates
        WHERE _is_gone AND NOT _is_superseded GROUP BY _batch_id
    ), counted AS (
        SELECT _batch_id, COUNT(*) AS _rows, COUNTIF(_is_gone) AS _gone, COUNTIF(_is_superseded) AS _superseded
        FROM fates GROUP BY _batch_id
    )
    SELECT _c._batch_id, _c._rows, _c._gone, _c._superseded, _s._hashes
    FROM counted AS _c LEFT JOIN sampled AS _s ON _s._batch_id = _c._batch_id"""


def _staged(rows: str, counts: str | None) -> str:
    """Staged rows with their keys and fates; rows that nobody contests are loaded, and have no key here."""
    if counts is None:
        return f"SELECT _batch_id, _row_hash, CAST(NULL AS STRING) AS _key, 'loaded' AS _fate FROM {rows}"
    return (
        f"SELECT _s._batch_id, _s._row_hash, _f._key, COALESCE(_f._fate, 'loaded') AS _fate FROM {rows} AS _s "
        f"LEFT JOIN (SELECT * FROM {quote(counts)} WHERE NOT _held) AS _f "
        "ON _f._batch_id = _s._batch_id AND _f._line_number = _s._line_number"
    )
