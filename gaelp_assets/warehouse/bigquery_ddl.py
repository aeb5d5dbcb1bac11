"""Datasets and tables of the catalogue as BigQuery's API describes them, and how a table that exists follows. Nothing is run here.

The resources are those of https://cloud.google.com/bigquery/docs/reference/rest/v2/tables.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal

from sqlglot import exp

from gaelp_assets.catalog import Field, Relation
from gaelp_assets.catalog.model import LOAD_FIELDS, Kind
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.bigquery_names import Names, parse, selected

Resource = dict[str, Any]
Materialization = Literal["incremental", "max_staleness", "derived"]

DAY_MS: Final = 24 * 60 * 60 * 1000
# What a write leaves behind when it is killed goes away by itself.
STAGING_DAYS: Final = 1
# The API's limits of the lengths of descriptions.
_COLUMN_DESCRIPTION: Final = 1_024
_TABLE_DESCRIPTION: Final = 16_384
_LABEL: Final = 63
# https://cloud.google.com/bigquery/docs/materialized-views-create#supported_aggregate_functions
_INCREMENTAL_AGGREGATES: Final = (
    exp.AnyValue, exp.ApproxDistinct, exp.ArrayAgg, exp.Avg, exp.BitwiseAndAgg, exp.BitwiseOrAgg, exp.BitwiseXorAgg, exp.Count,
    exp.CountIf, exp.LogicalAnd, exp.LogicalOr, exp.Max, exp.ArgMax, exp.Min, exp.ArgMin, exp.Sum,
)  # fmt: skip
_CHANGING: Final = (exp.CurrentDate, exp.CurrentTimestamp, exp.CurrentDatetime, exp.CurrentTime, exp.Rand)


def dataset_resource(names: Names, dataset: str, location: str, *, staging: bool = False) -> Resource:
    """A dataset; the tables of the staging one expire."""
    project, dataset_id = names.dataset_id(dataset).split(".")
    resource: Resource = {
        "datasetReference": {"projectId": project, "datasetId": dataset_id},
        "location": location,
        "description": "What loads stage. Its tables expire." if staging else f"GAELP: {dataset}",
        "labels": {"managed_by": "gaelp_assets"},
    }
    if staging:
        resource["defaultTableExpirationMs"] = str(STAGING_DAYS * DAY_MS)
    return resource


def table_resource(names: Names, relation: Relation, datasets: Collection[str]) -> Resource:
    """A table or a view with all that the catalogue says of it; `datasets` are those that a view's SQL can name."""
    project, dataset, table = names.table_id(relation).split(".")
    resource: Resource = {
        "tableReference": {"projectId": project, "datasetId": dataset, "tableId": table},
        "description": relation.description[:_TABLE_DESCRIPTION],
        "labels": labels({**relation.tags, "owner": relation.owner, "kind": relation.kind.value}),
    }
    if not relation.is_stored:
        assert relation.sql is not None
        resource["view"] = {
            "query": names.qualify(selected(relation.sql), datasets),
            "useLegacySql": False,
        }
        return resource
    resource["schema"] = {"fields": [field_resource(field) for field in stored_fields(relation)]}
    if relation.partitioning is not None:
        resource["timePartitioning"] = {"type": "DAY", "field": relation.partitioning.date}
        if relation.retention_days is not None:
            resource["timePartitioning"]["expirationMs"] = str(relation.retention_days * DAY_MS)
        resource["requirePartitionFilter"] = requires_partition_filter(relation)
    if relation.clustering:
        resource["clustering"] = {"fields": list(relation.clustering)}
    return resource


def stored_fields(relation: Relation) -> tuple[Field, ...]:
    """The columns that the relation's table has: its fields and, where it is loaded, the platform's."""
    return (*relation.fields, *LOAD_FIELDS) if relation.is_loaded else relation.fields


def requires_partition_filter(relation: Relation) -> bool:
    """Whether a query of the table must name its dates: of the loaded facts, which are the large ones."""
    return relation.is_loaded and relation.partitioning is not None and relation.tags.get("layer") == "fact"


def field_resource(field: Field) -> Resource:
    """A column, with its description, its nested ones and its policy tags."""
    resource: Resource = {"name": field.name, "type": field.type, "mode": field.mode}
    if field.description:
        resource["description"] = field.description[:_COLUMN_DESCRIPTION]
    if field.fields:
        resource["fields"] = [field_resource(inner) for inner in field.fields]
    if field.policyTags:
        resource["policyTags"] = {key: list(tags) for key, tags in field.policyTags.items()}
    return resource


def labels(words: Mapping[str, str]) -> dict[str, str]:
    """Words as labels: lower-case letters, digits, dashes and underscores, 63 of them at most, others as underscores."""
    return {
        re.sub(r"[^a-z0-9_-]", "_", key.lower())[:_LABEL]: re.sub(r"[^a-z0-9_-]", "_", value.lower())[:_LABEL]
        for key, value in words.items()
    }


def changed(live: Resource, wanted: Resource) -> Resource:
    """The parts of a wanted table, view or dataset that the live one has otherwise: what a patch has to say.

    Columns and dates of a table are `merged_fields`' matter, and a partitioning is never changed, but for its expiration.
    """
    patch: Resource = {
        key: wanted[key]
        for key in ("description", "labels")
        if (live.get(key) or {}) != (wanted.get(key) or {})
    }
    if "view" in wanted and live.get("view", {}).get("query") != wanted["view"]["query"]:
        patch["view"] = wanted["view"]
    if "schema" in wanted:
        if live.get("clustering") != wanted.get("clustering"):
            patch["clustering"] = wanted.get("clustering")
        if "timePartitioning" in wanted:
            before, after = live.get("timePartitioning") or {}, wanted["timePartitioning"]
            if before.get("expirationMs") != after.get("expirationMs"):
                patch["timePartitioning"] = {**before, **after, "expirationMs": after.get("expirationMs")}
            if bool(live.get("requirePartitionFilter")) != wanted["requirePartitionFilter"]:
                patch["requirePartitionFilter"] = wanted["requirePartitionFilter"]
    return patch


def merged_fields(
    live: Sequence[Resource], wanted: Sequence[Resource], where: str
) -> tuple[list[Resource], list[Problem]]:
    """The columns that the live table is to have, and what stands in the way. New ones come last; those that the catalogue no
    longer has stay, NULLABLE."""
    by_name = {field["name"].lower(): field for field in wanted}
    problems: list[Problem] = []
    merged = []
    for field in live:
        goal = by_name.pop(field["name"].lower(), None)
        merged.append(_relaxed(field) if goal is None else _merged(field, goal, where, problems))
    for goal in by_name.values():
        if goal["mode"] == "REQUIRED":
            problems.append(
                Problem(
                    "a new field is REQUIRED",
                    f"{where}, field {goal['name']}",
                    "NULLABLE, as rows exist already",
                )
            )
        merged.append(goal)
    return merged, problems


def _merged(live: Resource, goal: Resource, where: str, problems: list[Problem]) -> Resource:
    place = f"{where}, field {goal['name']}"
    mode = live.get("mode") or "NULLABLE"
    before, after = _type_of(live), _type_of(goal)
    if before != after or (mode == "REPEATED") != (goal["mode"] == "REPEATED"):
        problems.append(
            Problem(
                f"the warehouse holds {mode} {before}",
                place,
                f"{goal['mode']} {after}",
                "Give the field a new name, or drop the table and load it again.",
            )
        )
        return live
    result = {**goal, "name": live["name"]}
    if mode == "NULLABLE" and goal["mode"] == "REQUIRED":
        result["mode"] = "NULLABLE"  # BigQuery never tightens; the proof before the load still holds the rule
    if "policyTags" not in goal and "policyTags" in live:
        result["policyTags"] = live["policyTags"]  # set by hand: not ours to lift
    if "fields" in goal:
        inner, found = merged_fields(live.get("fields", ()), goal["fields"], place)
        problems += found
        result["fields"] = inner
    return result


def _type_of(field: Resource) -> str:
    from gaelp_assets.catalog.model import TYPE_ALIASES

    return str(TYPE_ALIASES.get(field["type"], field["type"]))


def _relaxed(field: Resource) -> Resource:
    return {**field, "mode": "NULLABLE"} if field.get("mode") == "REQUIRED" else field


def materialization(relation: Relation) -> tuple[Materialization, str]:
    """How BigQuery can keep a derived relation, and why not better: as an incremental materialized view, as one that is computed
    anew within its `max_staleness`, or as a table that the platform refreshes.

    The rules are those of https://cloud.google.com/bigquery/docs/materialized-views-create.

    Raises:
        GaelpError: the relation has no SQL, or it is no SELECT.
    """
    if relation.sql is None:
        raise GaelpError(Problem(f"a {relation.kind} has no query", relation.id, "a derived relation"))
    if relation.kind is not Kind.MATERIALIZED_VIEW:
        return "derived", f"the catalogue calls it a {relation.kind.value}"
    tree = parse(selected(relation.sql))
    for found, why in (
        (tree.find(*_CHANGING), "its result depends on when it is computed"),
        (relation.partitioning and relation.retention_days, "its rows expire on their own"),
    ):
        if found:
            return "derived", why
    reason = _not_incremental(tree)
    if reason:
        return "max_staleness", reason
    return "incremental", "BigQuery adds new rows of the first table by itself"


def _not_incremental(tree: exp.Expr) -> str:
    """What keeps BigQuery from computing a query's result from new rows alone; empty if nothing does."""
    if not isinstance(tree, exp.Select):
        return "a set operation"
    forbidden: tuple[tuple[Any, str], ...] = (
        (tree.find(exp.With), "a WITH clause"),
        (tree.find(exp.Window), "a window function"),
        (tree.args.get("having"), "HAVING"),
        (tree.args.get("order") or tree.args.get("limit"), "ORDER BY or LIMIT"),
        (tree.find(exp.Subquery, exp.Exists), "a subquery"),
        (
            any(join.side or join.kind == "CROSS" for join in tree.find_all(exp.Join)),
            "a join that is not INNER",
        ),
        (
            any(count.find(exp.Distinct) for count in tree.find_all(exp.AggFunc)),
            "an aggregate of DISTINCT values",
        ),
    )
    for found, why in forbidden:
        if found:
            return why
    tables = [table.sql() for table in tree.find_all(exp.Table)]
    if len({(t.db, t.name) for t in tree.find_all(exp.Table)}) < len(tables):
        return "a table joined to itself"
    for aggregate in tree.find_all(exp.AggFunc):
        if not isinstance(aggregate, _INCREMENTAL_AGGREGATES):
            return f"the aggregate {aggregate.sql_name()}"
        parent = aggregate.parent
        if not isinstance(parent, exp.Alias | exp.Select):
            return "a computation over an aggregate"
    return ""
