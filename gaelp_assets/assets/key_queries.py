"""The queries of the check `key_uniqueness`, in GoogleSQL: which keys several rows have, and in which slices these are.

Where a key reaches over the slices of its table, those of the covered slices are looked for in all slices, by one pass over the columns of
the key and of the slices: 0.8 s on DuckDB for a slice of a table of 50 million keys of 32 characters. All keys of that table, which is what
a check without a slice looks at, take 13 s. Other keys are looked for in each covered slice alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.keys import spans_slices
from gaelp_assets.warehouse.parameters import ParameterValue
from gaelp_assets.warehouse.ranges import PartitionRange

SLICES_NAMED: Final = 20


def repeated_keys(
    relation: Relation, covered: Sequence[PartitionRange], everywhere: PartitionRange
) -> tuple[str, dict[str, ParameterValue]]:
    """A query of the keys that several rows have, as `k0`, `k1`, ... (and the slice, where each keeps its own), with their number `n`.

    Args:
        relation: one with a primary key.
        covered: what is checked.
        everywhere: the whole table; BigQuery insists on a filter of its partitions.

    Returns:
        The query, and the values of its parameters.
    """
    parts = [f"t.`{name}`" for name in relation.primary_key]
    if not spans_slices(relation):
        parts += _slice_parts(relation)
        within, parameters = _any_of(relation, covered, "t")
        return f"{_grouped(relation, parts)} WHERE {within} {_several(len(parts))}", parameters
    condition, parameters = everywhere.condition(relation, "t")
    joined = ""
    if list(covered) != [everywhere]:
        inner, bounds = _any_of(relation, covered, "o")
        names = ", ".join(f"o.`{name}`" for name in relation.primary_key)
        same = " AND ".join(f"c.`{name}` = t.`{name}`" for name in relation.primary_key)
        joined = f" INNER JOIN (SELECT DISTINCT {names} FROM {relation.quoted_id} AS o WHERE {inner}) AS c ON {same}"
        parameters = {**parameters, **bounds}
    return f"{_grouped(relation, parts)}{joined} WHERE {condition} {_several(len(parts))}", parameters


def slices_of_repeated_keys(
    relation: Relation, covered: Sequence[PartitionRange], everywhere: PartitionRange
) -> tuple[str, dict[str, ParameterValue]]:
    """A query of the slices that hold rows of repeated keys: `slice` and `n`, the most first, `SLICES_NAMED` at most.

    Arguments and result are as those of `repeated_keys`.
    """
    repeated, parameters = repeated_keys(relation, covered, everywhere)
    condition, bounds = everywhere.condition(relation, "t")
    date, *environment = _slice_parts(relation)
    parts = [f"t.`{name}`" for name in relation.primary_key]
    if not spans_slices(relation):
        parts += [date, *environment]
    same = " AND ".join(f"r.k{index} = {part}" for index, part in enumerate(parts))
    name = ", '|', ".join((f"CAST({date} AS STRING)", *environment))
    return (
        f"SELECT CONCAT({name}) AS slice, COUNT(*) AS n FROM {relation.quoted_id} AS t INNER JOIN ({repeated}) AS r ON {same} "
        f"WHERE {condition} GROUP BY slice ORDER BY n DESC, slice LIMIT {SLICES_NAMED}",
        {**parameters, **bounds},
    )


def _grouped(relation: Relation, parts: Sequence[str]) -> str:
    names = ", ".join(f"{part} AS k{index}" for index, part in enumerate(parts))
    return f"SELECT {names}, COUNT(*) AS n FROM {relation.quoted_id} AS t"


def _several(parts: int) -> str:
    return f"GROUP BY {', '.join(f'k{index}' for index in range(parts))} HAVING COUNT(*) > 1"


def _slice_parts(relation: Relation) -> list[str]:
    """Day and environment of a row `t`, as expressions; empty for a table that is one slice."""
    by = relation.partitioning
    if by is None:
        return []
    date = f"t.`{by.date}`"
    day = date if relation.field(by.date).type == "DATE" else f"DATE({date})"
    return [day, *([f"t.`{by.environment}`"] if by.environment else [])]


def _any_of(
    relation: Relation, covered: Sequence[PartitionRange], alias: str
) -> tuple[str, dict[str, ParameterValue]]:
    """The condition of the rows of these rectangles, behind one on dates alone, by which BigQuery leaves out partitions."""
    dates = PartitionRange(min(scope.first for scope in covered), max(scope.last for scope in covered))
    within, parameters = dates.condition(relation, alias, prefix="c_")
    conditions = []
    for index, scope in enumerate(covered):
        condition, bounds = scope.condition(relation, alias, prefix=f"c{index}_")
        conditions.append(f"({condition})")
        parameters |= bounds
    return f"{within} AND ({' OR '.join(conditions)})", parameters
