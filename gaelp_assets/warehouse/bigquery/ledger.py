"""The ledger and the dead letter in GoogleSQL: what a write reads from them, and the statements that mark and forget their rows."""

from __future__ import annotations

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.warehouse.bigquery.dialect import Names, columns, literal
from gaelp_assets.warehouse.ledger import WriteMode


def ledger_query(
    names: Names, ledger: Relation, relation: Relation, slice_: Slice, *, sorts: bool = False
) -> str:
    """The ledger's rows of a slice (or of sorted raw files), in order of loading."""
    return (
        f"SELECT {columns(ledger.fields)} FROM {names.table(ledger)} WHERE {of_slice(relation, slice_, sorts=sorts)} "
        "ORDER BY position, loaded_at, batch_id"
    )


def loads_query(names: Names, ledger: Relation, relation: Relation) -> str:
    """The ids of the batches that were loaded into a table, as `batch_id`."""
    return f"SELECT DISTINCT batch_id FROM {names.table(ledger)} WHERE {of_loads(relation)}"


def forget_statements(names: Names, ledger: Relation, dead_letter: Relation, relation: Relation) -> list[str]:
    """The transaction that takes a dropped table's loads out of ledger and dead letter; its sorted raw files stay.

    Parameter: `batches`, a JSON array of the ids of those that the table held. What has been loaded since it was made again stays.
    """
    batches = "batch_id IN UNNEST(JSON_VALUE_ARRAY(@batches))"
    return [
        "BEGIN TRANSACTION",
        f"DELETE FROM {names.table(dead_letter)} WHERE {_of_relation(relation)} AND {batches}",
        f"DELETE FROM {names.table(ledger)} WHERE {of_loads(relation)} AND {batches}",
        "COMMIT TRANSACTION",
    ]


def _of_relation(relation: Relation, prefix: str = "") -> str:
    return f"{prefix}dataset = {literal(relation.dataset)} AND {prefix}`table` = {literal(relation.name)}"


def of_loads(relation: Relation, prefix: str = "") -> str:
    """The condition of the ledger's rows of the batches that were loaded into a table, of whichever slice."""
    return f"{_of_relation(relation, prefix)} AND {prefix}mode <> {literal(WriteMode.SORT.value)}"


def marking_statement(names: Names, dead_letter: Relation, column: str) -> str:
    """Parameters: `dataset`, `table_name`, `batch_id`, the column's new `moment`, and `lines`, a JSON array of line numbers."""
    return (
        f"UPDATE {names.table(dead_letter)} SET {column} = @moment "
        "WHERE dataset = @dataset AND `table` = @table_name AND batch_id = @batch_id "
        "AND CAST(line_number AS STRING) IN UNNEST(JSON_VALUE_ARRAY(@lines))"
    )


def of_slice(relation: Relation, slice_: Slice, prefix: str = "", *, sorts: bool = False) -> str:
    """The condition of the ledger's rows of a slice's batches or (with `sorts`) of the table's sorted raw files."""
    return f"{of_table(relation, slice_, prefix)} AND {prefix}mode {'=' if sorts else '<>'} {literal(WriteMode.SORT.value)}"


def of_table(relation: Relation, slice_: Slice, prefix: str = "") -> str:
    """The condition of the dead letter's (and the ledger's) rows of a slice."""
    parts = [f"{prefix}dataset = {literal(relation.dataset)}", f"{prefix}`table` = {literal(relation.name)}"]
    for name, value in (("slice_date", slice_.date), ("slice_environment", slice_.environment)):
        parts.append(f"{prefix}{name} IS NULL" if value is None else f"{prefix}{name} = {literal(value)}")
    return " AND ".join(parts)
