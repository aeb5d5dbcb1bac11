"""The rules by which a relation follows the catalogue, and what has no rule and is refused with its remedy.

Pure: an engine states the shape that it holds and the shape that it wants, both in the catalogue's words, and gets the list. The rules
are BigQuery's (https://cloud.google.com/bigquery/docs/managing-table-schemas) for every engine: what follows the catalogue on a
laptop follows it in production too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from gaelp_assets.catalog import Relation
from gaelp_assets.warehouse.schema.model import (
    FOR_ROWS,
    Action,
    Change,
    ColumnSchema,
    ObjectType,
    Refusal,
    RelationPlan,
    SchemaScope,
    TableSchema,
    plan_create,
    plan_replace,
)
from gaelp_assets.warehouse.schema.remedies import Remedy, remedy

# https://cloud.google.com/bigquery/docs/reference/standard-sql/data-definition-language#alter_column_set_data_type_statement
_WIDENS: Final = frozenset({("INTEGER", "NUMERIC"), ("INTEGER", "FLOAT"), ("NUMERIC", "FLOAT")})
PARTITIONING_CHANGED: Final = "a partitioning cannot be changed"
_SHOWN: Final = 60


def diff(
    relation: Relation,
    found: TableSchema | None,
    wanted: TableSchema,
    is_empty: Callable[[], bool],
    scope: SchemaScope = SchemaScope.ALL,
) -> RelationPlan:
    """What brings a relation from the found shape to the wanted one.

    `is_empty` looks whether a table has no rows, and is asked only where the answer counts: an empty table is made again where it
    cannot be changed. Columns that the catalogue does not know stay, and take NULL, so that they stop no load.
    """
    if found is None:
        return plan_create(relation, wanted.object_type)
    differences = _Differences(relation, wanted.sql_name)
    if found.object_type is not wanted.object_type:
        if found.object_type is ObjectType.OTHER:
            differences.refuse(
                Remedy.TAKEN,
                "not made by the platform",
                "",
                "another kind of table",
                wanted.object_type.label,
            )
        elif found.object_type is ObjectType.TABLE and found.column("_batch_id") and not is_empty():
            differences.refuse(
                Remedy.TAKEN, "rows would be lost", "", "loaded rows", wanted.object_type.label
            )
        else:
            return plan_replace(relation, wanted.object_type, found.object_type, found.object_type.label)
    elif wanted.object_type is ObjectType.TABLE:
        differences.columns(found.columns, wanted.columns)
        if found.partitioning != wanted.partitioning:
            before, after = (shape.partitioning or "no partitioning" for shape in (found, wanted))
            differences.refuse(
                Remedy.PARTITIONING, PARTITIONING_CHANGED, "", before, after, stops_loads=False
            )
    elif found.query != wanted.query:
        if wanted.object_type is ObjectType.MATERIALIZED_VIEW:
            return plan_replace(relation, wanted.object_type, found.object_type, "another query")
        differences.changes.append(Change(Action.QUERY, "", "another query", "the catalogue's query"))
    changes = [*differences.changes, *_properties(found, wanted)]
    refusals = differences.refusals
    if scope is SchemaScope.ROWS:
        changes = [change for change in changes if change.action in FOR_ROWS]
        refusals = [refusal for refusal in refusals if refusal.stops_loads]
    if (
        refusals
        and found.object_type is ObjectType.TABLE
        and wanted.object_type is ObjectType.TABLE
        and is_empty()
    ):
        why = "; ".join(f"{refusal.field}: {refusal.what}".removeprefix(": ") for refusal in refusals)
        return plan_replace(relation, wanted.object_type, found.object_type, f"an empty table ({why})")
    return RelationPlan(relation, wanted.object_type, found.object_type, tuple(changes), tuple(refusals))


class _Differences:
    """Collects the changes and refusals of one relation."""

    def __init__(self, relation: Relation, sql_name: str) -> None:
        self._relation = relation
        self._sql_name = sql_name
        self.changes: list[Change] = []
        self.refusals: list[Refusal] = []

    def refuse(
        self, kind: Remedy, what: str, path: str, found: str, wanted: str, *, stops_loads: bool = True
    ) -> None:
        self.refusals.append(
            Refusal(
                self._relation.id,
                what,
                path,
                found,
                wanted,
                remedy(kind, self._relation, path, self._sql_name),
                stops_loads,
            )
        )

    def columns(
        self,
        found: Sequence[ColumnSchema],
        wanted: Sequence[ColumnSchema],
        record: str = "",
        *,
        repeated: bool = False,
    ) -> None:
        """Columns of a table or of a `record`. Names are compared as both engines do, without regard to case."""
        prefix = f"{record}." if record else ""
        goals = {column.name.lower(): column for column in wanted}
        for column in found if record else self._renamed(found, goals):
            path = prefix + column.name
            goal = goals.pop(column.name.lower(), None)
            if goal is not None:
                self._column(column, goal, path, repeated=repeated)
                continue
            if column.mode == "REQUIRED":
                self.changes.append(Change(Action.RELAX, path, str(column), f"NULLABLE {column.type}"))
            what = "the catalogue has no such field"
            self.refuse(Remedy.SURPLUS, what, path, str(column), "nothing", stops_loads=bool(record))
        if record:
            self._order(found, wanted, record)
        for goal in goals.values():
            path = prefix + goal.name
            if goal.mode == "REQUIRED":
                self.refuse(
                    Remedy.REQUIRED,
                    "a new field is REQUIRED",
                    path,
                    "rows without it",
                    f"NULLABLE {goal.type}",
                )
            else:
                self.changes.append(Change(Action.ADD_FIELD, path, "", str(goal), goal))

    def _renamed(
        self, found: Sequence[ColumnSchema], goals: Mapping[str, ColumnSchema]
    ) -> Iterator[ColumnSchema]:
        """A table's columns under today's names: one that has a former name is renamed, unless the new name is there already."""
        there = {column.name.lower() for column in found}
        former = {old.lower(): field.name for field in self._relation.fields for old in field.was}
        for column in found:
            now = former.get(column.name.lower())
            if now is None or now.lower() in there:
                yield column
                continue
            there.add(now.lower())
            if now in _laid_out_by(self._relation):
                # https://cloud.google.com/bigquery/docs/managing-table-schemas#change_a_columns_name
                what = "a column that partitions or clusters its table cannot be renamed"
                self.refuse(Remedy.RENAME, what, now, column.name, now)
            self.changes.append(Change(Action.RENAME, now, column.name, now, goals[now.lower()]))
            yield dataclasses.replace(column, name=now)

    def _column(self, found: ColumnSchema, goal: ColumnSchema, path: str, *, repeated: bool) -> None:
        array = goal.mode == "REPEATED"
        if found.type != goal.type or array != (found.mode == "REPEATED"):
            wider = _is_wider(found.type, goal.type)
            if not wider or array or repeated or found.mode == "REPEATED":
                what = (
                    "only a field outside of arrays can change its type"
                    if wider
                    else "no widening of the type"
                )
                self.refuse(Remedy.TYPE, what, path, str(found), str(goal))
                return
            self.changes.append(Change(Action.WIDEN, path, found.type, goal.type, goal))
        if (found.mode, goal.mode) == ("REQUIRED", "NULLABLE"):
            self.changes.append(Change(Action.RELAX, path, str(found), str(goal), goal))
        if (found.mode, goal.mode) == ("NULLABLE", "REQUIRED"):
            what = "a field cannot become REQUIRED"
            self.refuse(Remedy.TIGHTEN, what, path, str(found), str(goal), stops_loads=False)
        if found.description != goal.description:
            before, after = _short(found.description), _short(goal.description)
            self.changes.append(Change(Action.DESCRIBE, path, before, after, goal))
        if (
            goal.policy_tags and found.policy_tags != goal.policy_tags
        ):  # what was set by hand is not ours to lift
            before, after = ", ".join(found.policy_tags), ", ".join(goal.policy_tags)
            self.changes.append(Change(Action.POLICY_TAGS, path, before, after, goal))
        if goal.type == "RECORD":
            self.columns(found.fields, goal.fields, path, repeated=repeated or array)

    def _order(self, found: Sequence[ColumnSchema], wanted: Sequence[ColumnSchema], record: str) -> None:
        """Records are written by the places of their fields: a new one comes last, and none changes its place."""
        before, after = ([column.name.lower() for column in columns] for columns in (found, wanted))
        if set(before) <= set(after) and after[: len(before)] != before:
            names = ", ".join(column.name for column in found)
            self.refuse(
                Remedy.ORDER,
                "a record's fields stand in another order",
                record,
                names,
                f"{names}, then new ones",
            )


def _laid_out_by(relation: Relation) -> set[str]:
    """The fields by which a table's rows are laid out."""
    by = relation.partitioning
    return {*relation.clustering, *((name for name in (by.date, by.environment) if name) if by else ())}


def _is_wider(found: str, wanted: str) -> bool:
    """Whether a column of the found type can be altered to the wanted one: also `STRING(10)` to `STRING`."""
    return (found, wanted) in _WIDENS or (found != wanted and found.partition("(")[0] == wanted)


def _properties(found: TableSchema, wanted: TableSchema) -> Iterator[Change]:
    if found.description != wanted.description:
        yield Change(Action.DESCRIBE, "", _short(found.description), _short(wanted.description))
    labels = {key: found.labels.get(key, "") for key in wanted.labels}  # other labels are not ours
    if labels != wanted.labels:
        yield Change(Action.LABEL, "", _pairs(labels, wanted.labels), _pairs(wanted.labels, labels))
    if wanted.object_type is not ObjectType.TABLE:
        return
    if found.clustering != wanted.clustering:
        yield Change(Action.CLUSTER, "", ", ".join(found.clustering), ", ".join(wanted.clustering))
    if found.partitioning != wanted.partitioning:
        return
    if found.expiration_days != wanted.expiration_days:
        yield Change(Action.EXPIRE, "", _days(found.expiration_days), _days(wanted.expiration_days))
    if found.partition_filter != wanted.partition_filter:
        words = {True: "required", False: "not required"}
        yield Change(
            Action.PARTITION_FILTER, "", words[found.partition_filter], words[wanted.partition_filter]
        )


def _pairs(labels: Mapping[str, str], other: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()) if value != other.get(key))


def _days(days: float | None) -> str:
    return "never" if days is None else f"after {days:g} days"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
