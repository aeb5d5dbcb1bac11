"""Tables as BigQuery's API describes them, as shapes in the catalogue's words; and what the API, or a statement, is told to change one.

Pure: nothing is run here. Whatever of a live table is none of the catalogue's business (a default, a collation) is handed back as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.model import TYPE_ALIASES
from gaelp_assets.warehouse.bigquery.dialect import GOOGLESQL, quote
from gaelp_assets.warehouse.bigquery.materialized_views import DEFINITION
from gaelp_assets.warehouse.bigquery.resources import DAY_MS, Resource
from gaelp_assets.warehouse.schema.model import Action, Change, ColumnSchema, ObjectType, Refusal, TableSchema

_FORMS: Final = {
    "TABLE": ObjectType.TABLE,
    "VIEW": ObjectType.VIEW,
    "MATERIALIZED_VIEW": ObjectType.MATERIALIZED_VIEW,
}
_QUERIES: Final = {ObjectType.VIEW: "view", ObjectType.MATERIALIZED_VIEW: "materializedView"}


def form_of(resource: Resource) -> ObjectType:
    """What a table is; one that is yet to be made has no `type`, but it says what makes it one."""
    if "type" in resource:
        return _FORMS.get(resource["type"], ObjectType.OTHER)
    return next((object_type for object_type, key in _QUERIES.items() if key in resource), ObjectType.TABLE)


def shape_of(resource: Resource) -> TableSchema:
    """The shape of a table or view, live or wanted."""
    object_type = form_of(resource)
    common = TableSchema(
        object_type=object_type,
        query=_query(resource, object_type),
        description=resource.get("description") or "",
        labels=resource.get("labels") or {},
    )
    if object_type is not ObjectType.TABLE:
        return common
    by_time = resource.get("timePartitioning") or {}
    expiration = by_time.get("expirationMs")
    return replace(
        common,
        columns=tuple(_column(field) for field in resource.get("schema", {}).get("fields", ())),
        partitioning=_partitioning(resource),
        expiration_days=int(expiration) / DAY_MS if expiration else None,
        partition_filter=bool(
            resource.get("requirePartitionFilter") or by_time.get("requirePartitionFilter")
        ),
        clustering=tuple((resource.get("clustering") or {}).get("fields", ())),
    )


def wrong_location(dataset_id: str, found: str | None, wanted: str) -> Refusal | None:
    """Why a dataset cannot be used, if it is in another location than the warehouse."""
    if not found or found.lower() == wanted.lower():
        return None
    return Refusal(
        dataset_id,
        f"the dataset is in {found}",
        wanted=f"the location {wanted}, which GAELP_WAREHOUSE names",
        remedy=f"Set location={found} there, or another dataset_prefix; a dataset cannot be moved.",
    )


def _query(resource: Resource, object_type: ObjectType) -> str:
    if object_type is ObjectType.MATERIALIZED_VIEW:
        # BigQuery tells a definition in its own words, and its layout and options are part of it.
        return str((resource.get("labels") or {}).get(DEFINITION, ""))
    return str(resource.get("view", {}).get("query", ""))


def _partitioning(resource: Resource) -> str:
    if by_time := resource.get("timePartitioning"):
        return f"{by_time['type']}({by_time.get('field', '_PARTITIONTIME')})"
    if by_range := resource.get("rangePartitioning"):
        return f"RANGE({by_range['field']})"
    return ""


def _column(field: Resource) -> ColumnSchema:
    return ColumnSchema(
        name=field["name"],
        type=_type_of(field),
        mode=field.get("mode") or "NULLABLE",
        description=field.get("description") or "",
        fields=tuple(_column(inner) for inner in field.get("fields", ())),
        policy_tags=tuple((field.get("policyTags") or {}).get("names", ())),
    )


def _type_of(field: Resource) -> str:
    """The catalogue's word, with what bounds it: `STRING(10)`, `NUMERIC(20, 4)`."""
    word = str(TYPE_ALIASES.get(field["type"], field["type"]))
    bounds = [str(field[key]) for key in ("maxLength", "precision", "scale") if field.get(key)]
    return f"{word}({', '.join(bounds)})" if bounds else word


def altered_query(table: str, relation: Relation, path: str) -> str:
    """A query of how many values of a field are others as a FLOAT64; NUMERIC holds every INT64."""
    value = ".".join(quote(part) for part in path.split("."))
    by = relation.partitioning
    # Some tables answer no query that names no days.
    days = "TRUE" if by is None else f"{quote(by.date)} >= {relation.field(by.date).type} '0001-01-01'"
    return (
        f"SELECT COUNT(*) AS n FROM {table} WHERE {days} AND {value} IS NOT NULL AND "
        f"SAFE_CAST(CAST({value} AS FLOAT64) AS NUMERIC) IS DISTINCT FROM CAST({value} AS NUMERIC)"
    )


def renaming_statements(table: str, changes: Sequence[Change]) -> list[str]:
    """The statements that rename columns of a table, which the API cannot."""
    return [
        f"ALTER TABLE {quote(table)} RENAME COLUMN {quote(change.found)} TO {quote(change.field)}"
        for change in changes
        if change.action is Action.RENAME
    ]


def widening_statements(table: str, live: Resource, changes: Sequence[Change]) -> list[str]:
    """The statements that widen columns of a table, which the API cannot: one for each, with all that widens inside of it."""
    fields = copy.deepcopy(live["schema"]["fields"])
    columns: dict[str, Resource] = {}
    for change in changes:
        if change.action is Action.WIDEN:
            field = _at(fields, change.field)
            assert change.column is not None
            field["type"] = change.column.type
            for bound in ("maxLength", "precision", "scale"):
                field.pop(bound, None)
            top = change.field.partition(".")[0]
            columns[top] = _at(fields, top)
    return [
        f"ALTER TABLE {quote(table)} ALTER COLUMN {quote(name)} SET DATA TYPE {_sql_type(column)}"
        for name, column in columns.items()
    ]


def _sql_type(field: Resource) -> str:
    if inner := field.get("fields"):
        parts = ", ".join(f"{quote(part['name'])} {_sql_type(part)}" for part in inner)
        base = f"STRUCT<{parts}>"
    else:
        word, bracket, bounds = _type_of(field).partition("(")
        base = GOOGLESQL.get(word, word) + bracket + bounds
    return f"ARRAY<{base}>" if field.get("mode") == "REPEATED" else base


def patch(live: Resource, wanted: Resource, changes: Sequence[Change]) -> Resource:
    """The parts of a live table that the changes make other ones, whole, as `tables.patch` takes them.

    Renaming and widening are none of them.
    """
    result: Resource = {}
    fields = copy.deepcopy(live.get("schema", {}).get("fields", []))
    for change in changes:
        if change.action in {Action.WIDEN, Action.RENAME}:
            continue
        if change.field:
            _change_field(fields, wanted["schema"]["fields"], change)
            result["schema"] = {"fields": fields}
            continue
        match change.action:
            case Action.DESCRIBE:
                result["description"] = wanted["description"]
            case Action.LABEL:
                result["labels"] = {**(live.get("labels") or {}), **wanted["labels"]}
            case Action.QUERY:
                result["view"] = wanted["view"]
            case Action.CLUSTER:
                result["clustering"] = wanted.get("clustering")
            case Action.EXPIRE:
                expiration = wanted["timePartitioning"].get("expirationMs")
                result["timePartitioning"] = {**live["timePartitioning"], "expirationMs": expiration}
            case Action.PARTITION_FILTER:
                result["requirePartitionFilter"] = wanted["requirePartitionFilter"]
    return result


def _change_field(fields: list[Resource], wanted: Sequence[Resource], change: Change) -> None:
    if change.action is Action.ADD_FIELD:
        record = change.field.rpartition(".")[0]
        (_at(fields, record)["fields"] if record else fields).append(_at(wanted, change.field))
        return
    field = _at(fields, change.field)
    if change.action is Action.RELAX:
        field["mode"] = "NULLABLE"
        return
    key = {Action.DESCRIBE: "description", Action.POLICY_TAGS: "policyTags"}[change.action]
    field[key] = _at(wanted, change.field).get(key, "")


def _at(fields: Sequence[Resource], path: str) -> Resource:
    """The field at a dotted path, without regard to case."""
    name, _, rest = path.partition(".")
    field = next(field for field in fields if field["name"].lower() == name.lower())
    return _at(field["fields"], rest) if rest else field
