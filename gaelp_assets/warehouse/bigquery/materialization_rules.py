"""How BigQuery can keep a materialized view of the catalogue: decided from its SQL and from what it reads, with every reason.

The rules are those of https://cloud.google.com/bigquery/docs/materialized-views-create (query limitations, non-incremental views,
partitioned and clustered views) and of https://cloud.google.com/bigquery/docs/materialized-views-troubleshoot. What is in preview there
(LEFT JOIN, UNION ALL, reading views) counts as not allowed. Nothing is run here, and no engine is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Final

from sqlglot import exp

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.model import Kind
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.bigquery.dialect import parse_statement, selected
from gaelp_assets.warehouse.bigquery.resources import requires_partition_filter

ON_TOP: Final = "in a view on top"
MAX_TABLES: Final = 10


class Materialization(StrEnum):
    """How a derived relation's rows are kept, the best way first."""

    INCREMENTAL = "incremental"
    """A materialized view to which BigQuery adds what new rows of its first table bring."""
    MAX_STALENESS = "max_staleness"
    """A materialized view that BigQuery computes again as a whole, and that may lag behind by `max_staleness`."""
    DERIVED_TABLE = "derived table"
    """A table that the platform refreshes slice by slice."""


@dataclass(frozen=True)
class Obstacle:
    """Something in a relation that rules a better way of keeping it out."""

    leaves: Materialization
    """The best way that it leaves open."""
    what: str
    remedy: str
    """What to change."""

    def __str__(self) -> str:
        return f"{self.what}. {self.remedy}"


@dataclass(frozen=True)
class Decision:
    """How a relation is kept, and all that stands in the way of a better way."""

    keeping: Materialization
    reasons: tuple[Obstacle, ...] = ()

    @property
    def summary(self) -> str:
        """How it is kept, for people."""
        return _WORDS[self.keeping]

    @property
    def is_native(self) -> bool:
        """Whether BigQuery keeps a materialized view of its own."""
        return self.keeping is not Materialization.DERIVED_TABLE


def decide(relation: Relation, catalog: Catalog) -> Decision:
    """How BigQuery keeps a materialized view or derived table of the catalogue.

    What the catalogue calls a derived table stays one; the other reasons then say what it would be as a materialized view.

    Raises:
        GaelpError: it is of another kind, or its SQL is no SELECT.
    """
    if relation.sql is None or relation.kind not in {Kind.MATERIALIZED_VIEW, Kind.DERIVED_TABLE}:
        raise GaelpError(
            Problem(f"a {relation.kind} is kept in one way only", relation.id, "a materialized view")
        )
    tree = parse_statement(selected(relation.sql))
    view = _View(relation, catalog, tree)
    reasons = tuple(
        chain(_by_kind(relation), *(rule(view) for rule in _OF_PLACE), *(rule(tree) for rule in _OF_QUERY))
    )
    worst = max((reason.leaves for reason in reasons), key=_ORDER.index, default=Materialization.INCREMENTAL)
    return Decision(worst, tuple(sorted(reasons, key=lambda reason: -_ORDER.index(reason.leaves))))


_ORDER: Final = list(Materialization)
_WORDS: Final = {
    Materialization.INCREMENTAL: "an incremental materialized view: BigQuery adds what new rows bring",
    Materialization.MAX_STALENESS: "a materialized view that is computed again as a whole, within its max_staleness",
    Materialization.DERIVED_TABLE: "a table that the platform refreshes",
}
# https://cloud.google.com/bigquery/docs/materialized-views-create#supported_aggregate_functions
_INCREMENTAL_AGGREGATES: Final = (
    exp.AnyValue, exp.ApproxDistinct, exp.ArgMax, exp.ArgMin, exp.ArrayAgg, exp.Avg, exp.BitwiseAndAgg, exp.BitwiseOrAgg,
    exp.BitwiseXorAgg, exp.Count, exp.CountIf, exp.LogicalAnd, exp.LogicalOr, exp.Max, exp.Min, exp.Sum,
)  # fmt: skip
_CHANGING: Final = (
    exp.CurrentDate, exp.CurrentDatetime, exp.CurrentTime, exp.CurrentTimestamp, exp.Rand, exp.SessionUser, exp.Uuid,
)  # fmt: skip
_SPREAD: Final = (exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop)
_WITHIN_A_DAY: Final = frozenset({"DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND"})
_COMPARISONS: Final = (exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In)


class _View:
    """A relation's query, with the catalogue's relations in the places of its tables."""

    def __init__(self, relation: Relation, catalog: Catalog, tree: exp.Expr) -> None:
        self.relation = relation
        self.catalog = catalog
        self.tree = tree
        self.named = {cte.alias: cte.this for cte in tree.find_all(exp.CTE)}
        self.tables = [
            table for table in tree.find_all(exp.Table) if table.db or table.name not in self.named
        ]

    def base(self, table: exp.Table) -> Relation:
        """The relation that a table of the query is."""
        return self.catalog.find(f"{table.db}.{table.name}" if table.db else table.name)

    def origin(self, query: exp.Expr, column: str) -> tuple[exp.Table, str] | None:
        """The table and its column whose day an output column has; None if it is computed otherwise."""
        while isinstance(query, exp.SetOperation | exp.Subquery):
            query = query.this
        if not isinstance(query, exp.Select):
            return None
        found = next((p.unalias() for p in query.selects if p.alias_or_name == column), None)
        if isinstance(found, exp.TimestampTrunc) and found.text("unit").upper() in _WITHIN_A_DAY:
            found = found.this
        if found is None and any(p.is_star for p in query.selects):
            found = exp.column(column)
        if not isinstance(found, exp.Column):
            return None
        sources = [query.args["from_"].this] if query.args.get("from_") else []
        sources += [join.this for join in query.args.get("joins") or ()]
        source = next((s for s in sources if found.table in {"", s.alias_or_name}), None)
        if isinstance(source, exp.Table):
            inner = self.named.get(source.name) if not source.db else None
            return (source, found.name) if inner is None else self.origin(inner, found.name)
        return self.origin(source, found.name) if source is not None else None


def _by_kind(relation: Relation) -> Iterator[Obstacle]:
    if relation.kind is Kind.DERIVED_TABLE:
        yield Obstacle(
            Materialization.DERIVED_TABLE,
            "the catalogue calls it a derived_table",
            'Where nothing else stands here, `"kind": "materialized_view"` lets BigQuery keep it.',
        )


def _reads_views(view: _View) -> Iterator[Obstacle]:
    for base in _bases(view):
        native = base.kind is Kind.MATERIALIZED_VIEW and decide(base, view.catalog).is_native
        if base.kind is Kind.VIEW or native:
            yield Obstacle(
                Materialization.DERIVED_TABLE,
                f"reads {base.id}, a {'materialized ' if native else ''}view",
                "Read the tables below it.",
            )


def _partition_filters(view: _View) -> Iterator[Obstacle]:
    for table in view.tables:
        base = view.base(table)
        if base.partitioning is None or not requires_partition_filter(base):
            continue
        column = base.partitioning.date
        if not _has_constant_filter(table, column):
            yield Obstacle(
                Materialization.DERIVED_TABLE,
                f"reads {base.id}, which insists on a filter of {column}, without one",
                f"Add a constant that lets every row through: {column} >= DATE '2000-01-01'.",
            )


def _alignment(view: _View) -> Iterator[Obstacle]:
    partitioning = view.relation.partitioning
    if partitioning is None or not view.tables:
        return
    found = view.origin(view.tree, partitioning.date)
    base = view.base(found[0]) if found else None
    if found is None or base is None or base.partitioning is None or base.partitioning.date != found[1]:
        yield _soft(
            f"its partitions, by {partitioning.date}, are not those of a table that it reads",
            "Select the column that partitions the first table, as it is.",
        )
        if view.relation.retention_days is not None:
            yield Obstacle(
                Materialization.DERIVED_TABLE,
                f"is kept for {_days(view.relation)}, and a materialized view loses partitions with its table's only",
                "Leave its retention_days out.",
            )
    elif base.retention_days != view.relation.retention_days:
        yield Obstacle(
            Materialization.DERIVED_TABLE,
            f"is kept for {_days(view.relation)}, and {base.id} for {_days(base)}: a materialized view loses its partitions "
            "with its table",
            f'"retention_days" as in {base.id}.',
        )


def _layout(view: _View) -> Iterator[Obstacle]:
    outputs = {p.alias_or_name: p.unalias() for p in getattr(view.tree, "selects", ())}
    for name in view.relation.clustering:
        if name in outputs and outputs[name].find(exp.AggFunc):
            yield Obstacle(
                Materialization.DERIVED_TABLE,
                f"is clustered by {name}, an aggregate",
                "Cluster by what it groups by.",
            )
    if len(view.tables) > MAX_TABLES:
        yield Obstacle(
            Materialization.DERIVED_TABLE,
            f"reads {len(view.tables)} tables, of {MAX_TABLES} at most",
            "Join some of them into a derived table first.",
        )


def _of_records(view: _View) -> Iterator[Obstacle]:
    """Some aggregates are incremental over single values only."""
    fields = [field for base in _bases(view) for field in base.fields]
    records = {field.name for field in fields if field.type == "RECORD"}
    arrays = {field.name for field in fields if field.repeated}
    for call in view.tree.find_all(exp.AnyValue, exp.ArgMax, exp.ArgMin, exp.ArrayAgg):
        refused = records | arrays if isinstance(call, exp.ArrayAgg) else records
        if isinstance(call.this, exp.Struct) or (
            isinstance(call.this, exp.Column) and call.this.name in refused
        ):
            yield _soft(f"{call.sql_name()} of a record or an array", "Take its fields one by one.")


def _changing(tree: exp.Expr) -> Iterator[Obstacle]:
    for function in sorted({found.sql_name() for found in tree.find_all(*_CHANGING)}):
        yield Obstacle(
            Materialization.DERIVED_TABLE,
            f"{function}: its result depends on when, or by whom, it is computed",
            f"Do that {ON_TOP}.",
        )
    if tree.find(exp.TableSample, exp.Version):
        yield Obstacle(
            Materialization.DERIVED_TABLE, "reads a sample, or an earlier state", "Read the table as it is."
        )


def _shape(tree: exp.Expr) -> Iterator[Obstacle]:
    """What is written around the SELECT list: sets, joins, subqueries, order."""
    selects = list(tree.find_all(exp.Select))
    if tree.find(exp.SetOperation):
        yield _soft(
            "a set operation (UNION, EXCEPT, INTERSECT)", f"One view for each part, put together {ON_TOP}."
        )
    if any(select.args.get("having") for select in selects):
        yield _soft("HAVING", f"Filter {ON_TOP}.")
    if any(select.args.get("distinct") for select in selects):
        yield _soft("SELECT DISTINCT", "GROUP BY the same columns.")
    if any(query.args.get(key) for query in tree.find_all(exp.Query) for key in ("order", "limit", "offset")):
        yield _soft("ORDER BY or LIMIT", f"Sort and limit {ON_TOP}.")
    joins = list(tree.find_all(exp.Join))
    outer = sorted({join.side for join in joins if join.side})
    if outer:
        yield _soft(f"a {', '.join(outer)} JOIN", f"INNER JOIN, or join {ON_TOP}.")
    if any(join.kind == "CROSS" and not isinstance(join.this, exp.Unnest) for join in joins):
        yield _soft("a CROSS JOIN", f"INNER JOIN ... ON, or join {ON_TOP}.")
    named = {cte.alias for cte in tree.find_all(exp.CTE)}
    tables = [
        (t.db, t.name)
        for select in selects
        for t in _sources(select)
        if isinstance(t, exp.Table) and (t.db or t.name not in named)
    ]
    if len(set(tables)) < len(tables):
        yield _soft("a table that is read twice (a self-join)", f"Join {ON_TOP}.")
    if any(isinstance(source, exp.Subquery) for select in selects for source in _sources(select)):
        yield _soft("a subquery in FROM", "Name it in a WITH clause.")
    if any(_is_inside_expression(query) for query in tree.find_all(exp.Query) if query is not tree):
        yield _soft(
            "a subquery in an expression (IN, EXISTS, ARRAY or a single value)", "INNER JOIN what it reads."
        )


def _aggregates(tree: exp.Expr) -> Iterator[Obstacle]:
    """What is done with rows that are put together."""
    if tree.find(exp.Window) or any(select.args.get("qualify") for select in tree.find_all(exp.Select)):
        yield _soft("a window function", f"Use it {ON_TOP}.")
    found = [call for call in tree.find_all(exp.AggFunc) if call.find_ancestor(exp.Window) is None]
    if any(isinstance(call, exp.Count) and call.find(exp.Distinct) for call in found):
        yield _soft(
            "COUNT(DISTINCT ...)", f"APPROX_COUNT_DISTINCT, or GROUP BY the column too and count {ON_TOP}."
        )
    others = {
        call.sql_name() for call in found if not isinstance(call, exp.Count) and call.find(exp.Distinct)
    }
    if others:
        yield _soft(
            f"{', '.join(sorted(others))} of DISTINCT values", f"GROUP BY them too, and aggregate {ON_TOP}."
        )
    unknown = [call for call in found if not isinstance(call, _INCREMENTAL_AGGREGATES)]
    for name in sorted({call.sql_name() for call in unknown if isinstance(call, _SPREAD)}):
        yield _soft(
            f"the aggregate {name}", f"Keep COUNT, SUM and the SUM of squares, and compute it {ON_TOP}."
        )
    for name in sorted({call.sql_name() for call in unknown if not isinstance(call, _SPREAD)}):
        yield _soft(f"the aggregate {name}", f"Keep what it can be computed from {ON_TOP}.")
    shown = [c for c in found if isinstance(c.find_ancestor(exp.Having, exp.Order, exp.Select), exp.Select)]
    if any(not isinstance(_outside(call), exp.Alias | exp.Select) for call in shown):
        yield _soft("arithmetic on aggregates", f"Keep the aggregates alone, and compute with them {ON_TOP}.")
    levels = [
        s
        for s in tree.find_all(exp.Select)
        if s.args.get("group") or any(c.find_ancestor(exp.Select) is s for c in found)
    ]
    if len(levels) > 1 and not isinstance(tree, exp.SetOperation):
        yield _soft("aggregates of aggregates", f"Keep the inner ones, and aggregate them {ON_TOP}.")


_OF_PLACE: Final[Sequence[Callable[[_View], Iterator[Obstacle]]]] = (
    _reads_views,
    _partition_filters,
    _alignment,
    _layout,
    _of_records,
)
_OF_QUERY: Final[Sequence[Callable[[exp.Expr], Iterator[Obstacle]]]] = (_changing, _shape, _aggregates)


def _soft(what: str, remedy: str) -> Obstacle:
    return Obstacle(Materialization.MAX_STALENESS, what, remedy)


def _bases(view: _View) -> list[Relation]:
    return list({base.id: base for base in map(view.base, view.tables)}.values())


def _days(relation: Relation) -> str:
    return f"{relation.retention_days} days" if relation.retention_days else "ever"


def _sources(select: exp.Select) -> Iterator[exp.Expr]:
    if select.args.get("from_"):
        yield select.args["from_"].this
    yield from (join.this for join in select.args.get("joins") or ())


def _has_constant_filter(table: exp.Table, column: str) -> bool:
    """Whether the SELECT that reads the table compares the column with constants, whatever else its WHERE says."""
    select = table.find_ancestor(exp.Select)
    where = select.args.get("where") if select is not None else None
    conditions: list[exp.Expr] = [where.this] if where is not None else []
    while conditions:
        condition = conditions.pop()
        if isinstance(condition, exp.And | exp.Paren):
            conditions += [
                part for part in (condition.this, condition.args.get("expression")) if part is not None
            ]
        elif isinstance(condition, _COMPARISONS):
            columns = list(condition.find_all(exp.Column))
            if (
                len(columns) == 1
                and columns[0].name == column
                and columns[0].table in {"", table.alias_or_name}
            ):
                return condition.find(exp.Query) is None
    return False


def _is_inside_expression(query: exp.Expr) -> bool:
    parent = query.parent
    while isinstance(parent, exp.Subquery):
        parent = parent.parent
    return not isinstance(parent, exp.From | exp.Join | exp.CTE | exp.SetOperation | exp.With | None)


def _outside(call: exp.Expr) -> exp.Expr | None:
    parent = call.parent
    while isinstance(parent, exp.Paren | exp.IgnoreNulls | exp.RespectNulls):
        parent = parent.parent
    return parent
