"""What separates relations in the warehouse from the catalogue, as data: shapes, changes, refusals. `plan_rules` finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gaelp_assets.catalog import Field, Relation
from gaelp_assets.errors import GaelpError, Problem


class ObjectType(StrEnum):
    """What a relation is in the warehouse, whatever the catalogue's kind of it."""

    TABLE = "table"
    VIEW = "view"
    MATERIALIZED_VIEW = "materialized_view"
    OTHER = "other"
    """Nothing that the platform makes: an external table, a snapshot, a model."""

    @property
    def label(self) -> str:
        """With its article, for people."""
        return "something else" if self is ObjectType.OTHER else f"a {self.value.replace('_', ' ')}"


class Action(StrEnum):
    """One change. Those up to `QUERY` are what rows need; a load makes them by itself."""

    CREATE = "create"
    REPLACE = "replace"
    ADD_FIELD = "add_field"
    RENAME = "rename"
    RELAX = "relax"
    WIDEN = "widen"
    QUERY = "query"
    DESCRIBE = "describe"
    LABEL = "label"
    CLUSTER = "cluster"
    EXPIRE = "expire"
    PARTITION_FILTER = "partition_filter"
    POLICY_TAGS = "policy_tags"


FOR_ROWS: Final = frozenset(
    {
        Action.CREATE,
        Action.REPLACE,
        Action.ADD_FIELD,
        Action.RENAME,
        Action.RELAX,
        Action.WIDEN,
        Action.QUERY,
    }
)


class SchemaScope(StrEnum):
    """How far a relation is to follow the catalogue."""

    ALL = "all"
    ROWS = "rows"
    """Only as far as rows of the catalogue's shape can be written and read: what a load asks for."""


class Status(StrEnum):
    """What a plan holds for a relation."""

    CREATE = "create"
    REPLACE = "replace"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True)
class ColumnSchema:
    """A column in the catalogue's words. A type that the catalogue does not have keeps the engine's name for it."""

    name: str
    type: str
    mode: str = "NULLABLE"
    description: str = ""
    fields: tuple[ColumnSchema, ...] = ()
    policy_tags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.mode} {self.type}"


@dataclass(frozen=True)
class TableSchema:
    """A relation as an engine holds it, or is to hold it; what an engine does not have stays empty on both sides."""

    object_type: ObjectType
    columns: tuple[ColumnSchema, ...] = ()
    """Of a table; a view's follow from its query."""
    query: str = ""
    """A view's text, or a digest of it."""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    partitioning: str = ""
    """In words: `DAY(date)`."""
    expiration_days: float | None = None
    partition_filter: bool = False
    clustering: tuple[str, ...] = ()
    sql_name: str = ""
    """Of what is wanted: its full name in the engine's SQL, quoted."""

    def column(self, name: str) -> ColumnSchema | None:
        """The column of that name; None if there is none."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class Change:
    """One legal change; `field` is a dotted path, empty for the relation itself."""

    action: Action
    field: str = ""
    found: str = ""
    wanted: str = ""
    column: ColumnSchema | None = None
    """What the field is to be: of a field that is added, renamed, widened, described or tagged."""


@dataclass(frozen=True)
class Refusal:
    """A difference that no change removes without losing rows, and its remedy."""

    relation: str
    what: str
    field: str = ""
    found: str = ""
    wanted: str = ""
    remedy: str = ""
    stops_loads: bool = True
    """Whether rows of the catalogue's shape cannot be written until then."""

    @property
    def problem(self) -> Problem:
        """The refusal as an error says it."""
        where = f"{self.relation}, field {self.field}" if self.field else self.relation
        what = f"{self.what}: the warehouse holds {self.found}" if self.found else self.what
        return Problem(what, where, self.wanted, self.remedy)


@dataclass(frozen=True)
class RelationPlan:
    """What brings one relation up to the catalogue. With a refusal, nothing of it is carried out."""

    relation: Relation
    object_type: ObjectType
    """What it is to be."""
    stored: ObjectType | None
    """What the warehouse holds under its name."""
    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    forced: bool = False
    """Whether it is made again although it could stay: somebody asked for it, or what it reads is made again."""

    @property
    def status(self) -> Status:
        """The most that happens to the relation."""
        if self.refusals:
            return Status.REFUSED
        for change in self.changes:
            if change.action in {Action.CREATE, Action.REPLACE}:
                return Status(change.action.value)
        return Status.CHANGE if self.changes else Status.UNCHANGED


@dataclass(frozen=True)
class Dataset:
    """A dataset of the catalogue, as the warehouse holds it."""

    name: str
    exists: bool
    relations: Mapping[str, ObjectType] = field(default_factory=dict)
    """What lies in it, by name, whether or not the platform made it."""
    refusal: Refusal | None = None
    """Why nothing can be made in it."""


def columns_of(fields: Sequence[Field]) -> tuple[ColumnSchema, ...]:
    """The catalogue's fields as columns."""
    return tuple(
        ColumnSchema(
            name=f.name,
            type=f.type,
            mode=f.mode,
            description=f.description,
            fields=columns_of(f.fields),
            policy_tags=tuple((f.policyTags or {}).get("names", ())),
        )
        for f in fields
    )


def plan_create(relation: Relation, object_type: ObjectType) -> RelationPlan:
    """The plan of a relation that the warehouse does not have."""
    return RelationPlan(relation, object_type, None, (Change(Action.CREATE, wanted=object_type.label),))


def plan_replace(
    relation: Relation, object_type: ObjectType, stored: ObjectType, found: str, *, forced: bool = False
) -> RelationPlan:
    """The plan of a relation that is dropped and made again; `found` says in words what is dropped."""
    change = Change(Action.REPLACE, found=found, wanted=object_type.label)
    return RelationPlan(relation, object_type, stored, (change,), forced=forced)


def refuse(plans: Sequence[RelationPlan]) -> None:
    """Nothing, if none of the plans has refusals.

    Raises:
        GaelpError: with all of them.
    """
    problems = [refusal.problem for planned in plans for refusal in planned.refusals]
    if problems:
        raise GaelpError(*problems)


def recheck(planned: RelationPlan, now: RelationPlan) -> RelationPlan:
    """What is to be carried out of a plan, when the relation has been compared again.

    Raises:
        GaelpError: what was done to the relation since it was planned stands in the way.
    """
    if planned.forced and now.stored is not None:
        return plan_replace(now.relation, now.object_type, now.stored, planned.changes[0].found, forced=True)
    refuse([now])
    return now


def with_dependents(
    plans: Sequence[RelationPlan], upstream: Mapping[str, frozenset[str]]
) -> list[RelationPlan]:
    """The same plans, each after what it reads, where a materialized view is made again with any table that it reads: it does not
    survive that one (https://cloud.google.com/bigquery/docs/materialized-views-manage)."""
    replaced: set[str] = set()
    result = []
    for plan in plans:
        reads = upstream.get(plan.relation.id, frozenset()) & replaced
        if plan.object_type is plan.stored is ObjectType.MATERIALIZED_VIEW and reads:
            plan = plan_replace(
                plan.relation,
                plan.object_type,
                plan.stored,
                f"a view of {', '.join(sorted(reads))}",
                forced=True,
            )
        if plan.status is Status.REPLACE:
            replaced.add(plan.relation.id)
        result.append(plan)
    return result
