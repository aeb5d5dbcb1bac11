"""Keys across slices in GoogleSQL: the rows of other slices that a write can meet, and what tells whether they are still the same.

A write is planned without a look at other slices, and its transaction asserts, under the lock of the relation, that none of them
holds a key that it loads: one pass over the columns of the key, of all partitions. Where one does, the write is planned again together
with these rows, and its transaction asserts instead that the ledger of the whole table is still the one that it was planned with.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.warehouse.bigquery.dialect import Names, literal, quote, slice_condition
from gaelp_assets.warehouse.bigquery.ledger import of_loads
from gaelp_assets.warehouse.keys import other_slices_condition

# The first moment that BigQuery's types hold: a constant filter, without which some tables cannot be read.
_FIRST: Final = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
NO_SLICE: Final = ("CAST(NULL AS DATE)", "CAST(NULL AS STRING)")


def elsewhere(relation: Relation, slice_: Slice, prefix: str = "") -> str:
    """The condition of the rows of other slices that can have a key of this one, with a constant filter of partitions."""
    by = relation.partitioning
    assert by is not None
    first = _FIRST.date() if relation.field(by.date).type == "DATE" else _FIRST
    condition = other_slices_condition(relation, slice_, slice_condition, prefix)
    return f"{prefix}{quote(by.date)} >= {literal(first)} AND {condition}"


def slice_of(relation: Relation, prefix: str) -> tuple[str, str]:
    """Date and environment of the slice that a stored row is of, as expressions."""
    by = relation.partitioning
    assert by is not None
    column = prefix + quote(by.date)
    date = column if relation.field(by.date).type == "DATE" else f"DATE({column})"
    return date, prefix + quote(by.environment) if by.environment else NO_SLICE[1]


def table_fingerprint(names: Names, ledger: Relation, relation: Relation) -> str:
    """A query of one text that differs whenever the ledger of any slice of the table does."""
    moment = "MOD(UNIX_MICROS(COALESCE(written_at, loaded_at)), 1000000007)"
    numbers = ("COUNT(*)", "COALESCE(SUM(loaded), 0)", f"COALESCE(SUM({moment}), 0)")
    text = ", ' ', ".join(f"CAST({number} AS STRING)" for number in numbers)
    return f"SELECT CONCAT({text}) AS seen FROM {names.table(ledger)} WHERE {of_loads(relation)}"


def displaced_correction(names: Names, ledger: Relation, relation: Relation) -> str:
    """What takes displaced rows out of the ledger's rows of their slices, which count as written now.

    Parameter `displaced`: a JSON array of `{batch_id, date, environment, rows}`.
    """
    item = ", ".join(
        (
            "JSON_VALUE(item, '$.batch_id') AS batch_id",
            "CAST(JSON_VALUE(item, '$.date') AS DATE) AS slice_date",
            "JSON_VALUE(item, '$.environment') AS slice_environment",
            "CAST(JSON_VALUE(item, '$.rows') AS INT64) AS displaced_rows",
        )
    )
    return (
        f"UPDATE {names.table(ledger)} AS _l SET loaded = _l.loaded - _d.displaced_rows, "
        "duplicate = _l.duplicate + _d.displaced_rows, written_at = CURRENT_TIMESTAMP() "
        f"FROM (SELECT {item} FROM UNNEST(JSON_QUERY_ARRAY(@displaced)) AS item) AS _d "
        f"WHERE {of_loads(relation, '_l.')} AND _l.batch_id = _d.batch_id AND _l.slice_date = _d.slice_date "
        "AND COALESCE(_l.slice_environment, '') = COALESCE(_d.slice_environment, '')"
    )
