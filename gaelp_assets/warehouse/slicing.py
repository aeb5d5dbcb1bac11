"""Whether the slices that a table holds are of the partitioning that the catalogue has for it.

Slices of two partitionings overlap: to replace one would take rows from others. So nothing is loaded until the table is sliced afresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.definition import definition_of, slices_of
from gaelp_assets.catalog.derivation import slice_dimensions
from gaelp_assets.errors import GaelpError
from gaelp_assets.warehouse.ledger import LEDGER, WriteMode
from gaelp_assets.warehouse.reader import Reader
from gaelp_assets.warehouse.schema.model import Refusal

_HELD: Final = (
    "SELECT dataset, `table`, slice_date IS NOT NULL AS by_date, slice_environment IS NOT NULL AS by_environment, "
    f"definition, COUNT(DISTINCT batch_id) AS batches FROM {LEDGER} WHERE mode <> @sort{{of}} "
    "GROUP BY dataset, `table`, by_date, by_environment, definition"
)


def resliced(warehouse: Reader, relations: Sequence[Relation]) -> dict[str, Refusal]:
    """Those loaded tables whose slices were loaded by another partitioning, by id: why nothing can be loaded, and the way out."""
    loaded = {relation.id: relation for relation in relations if relation.is_loaded}
    parameters = {"sort": WriteMode.SORT.value}
    of = ""
    if len(loaded) == 1:
        (one,) = loaded.values()
        of = " AND dataset = @dataset AND `table` = @table_name"
        parameters |= {"dataset": one.dataset, "table_name": one.name}
    found: dict[str, Refusal] = {}
    held = warehouse.query(_HELD.format(of=of), parameters, labels={"asset": LEDGER}).frame
    for row in held.to_dicts():
        relation = loaded.get(f"{row['dataset']}.{row['table']}")
        if relation is None:
            continue
        dimensions = row["by_date"], row["by_environment"]
        definition = row["definition"]
        if dimensions != slice_dimensions(relation) or (
            definition is not None and slices_of(definition) != definition_of(relation).slices
        ):
            found[relation.id] = _refusal(relation, _by(*dimensions))
    return found


def refuse_resliced(warehouse: Reader, relation: Relation) -> None:
    """Nothing, if the table's slices are of its partitioning.

    Raises:
        GaelpError: some are of another one.
    """
    refusals = resliced(warehouse, [relation])
    if refusals:
        raise GaelpError(*(refusal.problem for refusal in refusals.values()))


def _refusal(relation: Relation, found: str) -> Refusal:
    fields = relation.partitioning
    columns = [name for name in (fields.date, fields.environment) if name] if fields else []
    return Refusal(
        relation.id,
        "the partitioning changed since rows were loaded",
        found=f"slices {found}",
        wanted=f"slices {_by(*slice_dimensions(relation))}" + (f" ({', '.join(columns)})" if columns else ""),
        remedy="Put the partitioning back in the catalogue; or stop what loads the table, and put all of its files "
        f"into the queue again with `gaelp deploy --reslice {relation.id}`, then `gaelp ingest`.",
    )


def _by(date: bool, environment: bool) -> str:
    return "by date and environment" if environment else "by date" if date else "of the whole table"
