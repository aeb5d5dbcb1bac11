"""Whether what a sliced table holds was loaded by the partitioning and the key that the catalogue has for it.

Slices of two partitionings overlap: to replace one would take rows from others. And a key can reach over slices, so that a slice that is
rebuilt by another key says nothing of the others. So nothing is loaded until all files of the table are loaded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.definition import definition_of, keys_of, slices_of
from gaelp_assets.catalog.derivation import slice_dimensions
from gaelp_assets.errors import GaelpError
from gaelp_assets.warehouse.ledger import LEDGER, WriteMode
from gaelp_assets.warehouse.reader import Reader
from gaelp_assets.warehouse.schema.model import Refusal

_HELD: Final = (
    "SELECT dataset, `table`, slice_date IS NOT NULL AS by_date, slice_environment IS NOT NULL AS by_environment, "
    f"definition, COUNT(*) AS n FROM {LEDGER} WHERE mode <> @sort{{of}} "
    "GROUP BY dataset, `table`, by_date, by_environment, definition"
)


def laid_out_otherwise(warehouse: Reader, relations: Iterable[Relation]) -> dict[str, Refusal]:
    """The loaded tables of another partitioning or, where they are sliced, of another key, by id: why nothing can be loaded, and the
    way out. Rows that are older than the ledger's note of definitions count as of today's key."""
    loaded = {relation.id: relation for relation in relations if relation.is_loaded}
    parameters = {"sort": WriteMode.SORT.value}
    of = ""
    if len(loaded) == 1:
        (one,) = loaded.values()
        of = " AND dataset = @dataset AND `table` = @table_name"
        parameters |= {"dataset": one.dataset, "table_name": one.name}
    held = warehouse.query(_HELD.format(of=of), parameters, labels={"asset": LEDGER}).frame
    found: dict[str, Refusal] = {}
    for row in held.to_dicts():
        relation = loaded.get(f"{row['dataset']}.{row['table']}")
        refusal = None if relation is None else _refusal(relation, row)
        if refusal is not None:
            found[refusal.relation] = refusal
    return found


def refuse_otherwise(warehouse: Reader, relation: Relation) -> None:
    """Nothing, if rows can be loaded into slices of a table.

    Raises:
        GaelpError: the table was loaded by another partitioning or, where it is sliced, by another key.
    """
    refusals = laid_out_otherwise(warehouse, [relation])
    if refusals:
        raise GaelpError(*(refusal.problem for refusal in refusals.values()))


def _refusal(relation: Relation, row: Mapping[str, object]) -> Refusal | None:
    """What keeps rows of the catalogue's layout from those of one row of `_HELD`."""
    found = bool(row["by_date"]), bool(row["by_environment"])
    wanted = slice_dimensions(relation)
    now = definition_of(relation)
    then = str(row["definition"]) if row["definition"] is not None else str(now)
    remedy = (
        "Put {} back in the catalogue; or stop what loads the table, put all of its files into the queue again with "
        f"`gaelp deploy --reload {relation.id}`, then `gaelp ingest`."
    )
    if found != wanted or slices_of(then) != now.slices:
        by = relation.partitioning
        fields = [name for name in (by.date, by.environment) if name] if by else []
        return Refusal(
            relation.id,
            "the partitioning changed since rows were loaded",
            found=f"slices {_by(*found)}",
            wanted=f"slices {_by(*wanted)}" + (f" ({', '.join(fields)})" if fields else ""),
            remedy=remedy.format("the partitioning"),
        )
    if any(wanted) and keys_of(then) != now.keys:
        return Refusal(
            relation.id,
            "the key, or what is done about two rows with one key, changed since rows were loaded",
            found="slices that were loaded by another key",
            wanted=f"rows whose key is {', '.join(relation.primary_key)}",
            remedy=remedy.format("primary_key, key_scope and on_key_conflict"),
        )
    return None


def _by(date: bool, environment: bool) -> str:
    return "by date and environment" if environment else "by date" if date else "of the whole table"
