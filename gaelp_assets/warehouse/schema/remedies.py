"""The ways out of a difference between catalogue and warehouse that no change removes, in words. Each is one that works as it stands."""

from __future__ import annotations

from enum import StrEnum

from gaelp_assets.catalog import Relation


class Remedy(StrEnum):
    """What kind of difference a remedy is for."""

    TYPE = "type"
    REQUIRED = "required"
    TIGHTEN = "tighten"
    SURPLUS = "surplus"
    ORDER = "order"
    RENAME = "rename"
    PARTITIONING = "partitioning"
    TAKEN = "taken"


def remedy(kind: Remedy, relation: Relation, path: str, sql_name: str) -> str:
    """The remedy of one difference, as a sentence or two; `sql_name` is the table's name in the engine's SQL, quoted."""
    first = {
        Remedy.TYPE: "Give the field another name in the catalogue (the old one then stays, unused)",
        Remedy.REQUIRED: "Make the field NULLABLE in the catalogue",
        Remedy.TIGHTEN: "Make the field NULLABLE in the catalogue; a rule can still ask for a value",
        Remedy.SURPLUS: _surplus(path, sql_name),
        Remedy.ORDER: "Put the record's fields into that order in the catalogue",
        Remedy.RENAME: "Put the former name back in the catalogue",
        Remedy.PARTITIONING: "Put the partitioning back in the catalogue",
        Remedy.TAKEN: "Give the relation another name in the catalogue, or move what has its name out of the way",
    }[kind]
    if kind is Remedy.TAKEN or not (relation.is_loaded or relation.is_derived):
        return f"{first}."
    return f"{first}; or {_made_again(relation)}."


def _surplus(path: str, sql_name: str) -> str:
    back = "Put the field back into the catalogue, NULLABLE"
    if "." in path:
        return back
    column = f"{sql_name[-1:]}{path}{sql_name[-1:]}"  # in the same marks
    return f"{back}; or, if nobody needs its values, drop the column: ALTER TABLE {sql_name} DROP COLUMN {column}"


def _made_again(relation: Relation) -> str:
    """How a relation is made again with all of its rows: from files, or from what it reads."""
    command = f"make the table again with `gaelp deploy --replace {relation.id}`"
    if relation.is_derived:
        return f"{command}, then materialize all of its slices in Dagster"
    return f"{command}, then rebuild all of its slices from sent/ by a backfill in Dagster"
