"""Which columns a derived relation's columns are made of, and which decide its rows. Read from the SQL; nothing is run.

What is read is the query as `resolve` leaves it: every column belongs to one range variable, `*` and `USING` are spelt out. Common table
expressions and subqueries are seen through, other relations are not: a view has its own lineage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlglot import exp

from gaelp_assets.catalog.load import Catalog
from gaelp_assets.catalog.model import Relation
from gaelp_assets.catalog.texts import references
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.sql.carriers import value_of, whole_window
from gaelp_assets.sql.expressions import ONLY_OVER
from gaelp_assets.sql.grouping import group_items, has_aggregate, has_window, ordinal
from gaelp_assets.sql.scope import Tables
from gaelp_assets.sql.tables import tables_of
from gaelp_assets.sql.transpile import resolved_query
from gaelp_assets.sql.types import Type, common_type, type_of, type_of_field
from gaelp_assets.sql.uses import (
    CONSTANT,
    NOTHING,
    How,
    Lineage,
    Use,
    Uses,
    Value,
    any_of,
    array,
    column_value,
    passed_on,
    struct,
    transformed,
)
from gaelp_assets.sql.values import is_literal


def relation_lineage(relation: Relation, catalog: Catalog) -> Lineage:
    """What a derived relation's declared fields and rows are made of: columns of the relations that it reads directly.

    What only filters, joins or groups is of the rows, so that `COUNT(*)` comes from nowhere; the conditions of an `IF` and the order of a
    window are of the column. Of a relation in Python it is what its fields declare; one that is not derived has none.

    Raises:
        GaelpError: the SQL names a column or a relation that the catalogue does not have, or lacks a declared field.
    """
    if relation.python is not None:
        return _declared(relation)
    if relation.sql is None:
        return Lineage({}, NOTHING)
    file = relation.where(sql=True)
    try:
        # Of what it reads alone: with the columns of all relations, each view takes as long as the catalogue is large.
        read = [catalog[id_] for id_ in sorted(references(relation.sql) & catalog.relations.keys())]
        found = query_lineage(relation.sql, tables_of(read))
    except GaelpError as error:
        problems = (replace(p, where=file + p.where.removeprefix("SQL")) for p in error.problems)
        raise GaelpError(*problems) from None
    declared: dict[str, Uses] = {}
    by_name = {path.lower(): path for path in found.columns}
    for name in relation.field_names:
        if name.lower() not in by_name:
            raise GaelpError(Problem(f"the query gives no column {name}", file, "each declared field"))
        inner = (path for key, path in by_name.items() if key.startswith(f"{name.lower()}."))
        declared |= {name: found.columns[by_name[name.lower()]]}
        declared |= {name + path[len(name) :]: found.columns[path] for path in inner}
    return Lineage(declared, found.rows)


def _declared(relation: Relation) -> Lineage:
    """What a function does with a column is not known, so that each is taken for the source of a value."""
    columns = {
        field.name: frozenset(
            Use(*name.rpartition(".")[::2], How.TRANSFORMATION) for name in field.computed_from
        )
        for field in relation.fields
    }
    return Lineage(columns, NOTHING)


def query_lineage(sql: str, tables: Tables) -> Lineage:
    """The lineage of a GoogleSQL query over relations of these fields.

    Raises:
        GaelpError: the text is no query over them.

    >>> from gaelp_assets.catalog.model import Field
    >>> runs = [Field(name="seed", type="INTEGER"), Field(name="steps", type="INTEGER")]
    >>> found = query_lineage("SELECT SUM(steps) AS steps FROM a.runs WHERE seed > 3", {"a.runs": runs})
    >>> [(use.column, use.how.value) for use in found.columns["steps"]], [(use.column, use.how.value) for use in found.rows]
    ([('steps', 'AGGREGATION')], [('seed', 'FILTER')])
    """
    resolved = resolved_query(sql, tables)
    if resolved.problems:
        raise GaelpError(*dict.fromkeys(resolved.problems))
    found = _Reader(tables).query(resolved.tree, None)
    columns: dict[str, Uses] = {}
    for name, value in found.columns:
        _add_paths(columns, name, value)
    return Lineage(columns, found.rows)


def _add_paths(columns: dict[str, Uses], path: str, value: Value) -> None:
    columns[path] = value.whole
    inner = value.element if value.element is not None else value
    for name, part in inner.fields:
        _add_paths(columns, f"{path}.{name}", part)


class _Rows(NamedTuple):
    columns: tuple[tuple[str, Value], ...]
    rows: Uses

    def used(self) -> Uses:
        """What all of its columns use."""
        return frozenset().union(*(value.whole for _, value in self.columns))


@dataclass
class _Scope:
    """The range variables of a SELECT, and its named windows; `outer` is that of the query around it."""

    sources: dict[str, dict[str, Value]]
    outer: _Scope | None = None
    windows: Mapping[str, exp.Window] | None = None

    def column(self, table: str, name: str) -> Value:
        scope: _Scope | None = self
        while scope is not None:
            if table.lower() in scope.sources:
                return scope.sources[table.lower()].get(name.lower(), CONSTANT)
            scope = scope.outer
        return CONSTANT


class _Reader:
    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._common: dict[str, _Rows] = {}

    def query(self, query: exp.Expr, outer: _Scope | None) -> _Rows:
        before = dict(self._common)
        with_ = query.args.get("with_")
        for cte in with_.expressions if isinstance(with_, exp.With) else ():
            recursive = isinstance(with_, exp.With) and with_.args.get("recursive")
            self._common[cte.alias.lower()] = (
                self._recursive(cte) if recursive else self.query(cte.this, None)
            )
        match query:
            case exp.Subquery():
                found = self._ordered(query, self.query(query.this, outer))
            case exp.SetOperation():
                found = self._ordered(query, self._set_operation(query, outer))
            case exp.Select():
                found = self._select(query, outer)
            case _:
                found = _Rows((), NOTHING)
        self._common = before
        return found

    def _recursive(self, cte: exp.Expr) -> _Rows:
        """A table that may read itself: what it uses grows with each round, until nothing is added."""
        name, found = cte.alias.lower(), _Rows((), NOTHING)
        if isinstance(cte.this, exp.SetOperation):
            found = self.query(cte.this.this, None)
        while True:
            self._common[name] = found
            after = self.query(cte.this, None)
            if after == found:
                return found
            found = after

    def _ordered(self, query: exp.Expr, found: _Rows) -> _Rows:
        """After ORDER BY over a set operation or a query in parentheses, which has numbers of columns only."""
        order = query.args.get("order")
        keys = [ordinal(item.this) for item in order.expressions] if order is not None else []
        used = frozenset().union(
            *(
                found.columns[key - 1][1].whole
                for key in keys
                if key is not None and key <= len(found.columns)
            )
        )
        return found._replace(rows=found.rows | passed_on(How.SORT, used))

    def _set_operation(self, query: exp.SetOperation, outer: _Scope | None) -> _Rows:
        left, right = self.query(query.this, outer), self.query(query.expression, outer)
        rows = left.rows | right.rows
        ours = _in_common_type(left, query.this, query)
        theirs = _in_common_type(right, query.expression, query)
        if not isinstance(query, exp.Except):
            ours = [any_of(pair) for pair in zip(ours, theirs, strict=True)]
        columns = tuple((name, value) for (name, _), value in zip(left.columns, ours, strict=True))
        if not isinstance(query, exp.Union):
            rows |= passed_on(How.FILTER, left.used() | right.used())
        found = _Rows(columns, rows)
        if query.args.get("distinct"):
            found = found._replace(rows=rows | passed_on(How.GROUP_BY, found.used()))
        return found

    def _select(self, select: exp.Select, outer: _Scope | None) -> _Rows:
        named = {window.name.lower(): window for window in select.args.get("windows") or []}
        scope = _Scope({}, outer, named)
        rows: Uses = NOTHING
        from_ = select.args.get("from_")
        joins = select.args.get("joins") or []
        for item in [*([from_.this] if from_ is not None else []), *(join.this for join in joins)]:
            rows |= self._source(item, scope)
        for join in joins:
            if join.args.get("on") is not None:
                rows |= passed_on(How.JOIN, self._value(join.args["on"], scope).whole)
        for clause in ("where", "having", "qualify"):
            if select.args.get(clause) is not None:
                rows |= passed_on(How.FILTER, self._value(select.args[clause].this, scope).whole)
        items = [value_of(item) for item in select.expressions]
        values = [self._value(item, scope) for item in items]
        for key in self._keys(select.args.get("group"), items):
            rows |= passed_on(How.GROUP_BY, self._value(key, scope).whole)
        columns = tuple(
            (item.alias_or_name, value) for item, value in zip(select.expressions, values, strict=True)
        )
        found = _Rows(columns, rows)
        if select.args.get("distinct"):
            found = found._replace(rows=found.rows | passed_on(How.GROUP_BY, found.used()))
        order = select.args.get("order")
        for item in order.expressions if order is not None else ():
            number = ordinal(item.this)
            by = values[number - 1] if number is not None else self._value(item.this, scope)
            found = found._replace(rows=found.rows | passed_on(How.SORT, by.whole))
        return found

    def _keys(self, group: exp.Expr | None, items: Sequence[exp.Expr]) -> list[exp.Expr]:
        if group is None:
            return []
        if group.args.get("all"):
            return [item for item in items if not has_aggregate(item) and not has_window(item)]
        numbers = [(item, ordinal(item)) for item in group_items(group)]
        return [items[number - 1] if number is not None else item for item, number in numbers]

    def _source(self, item: exp.Expr, scope: _Scope) -> Uses:
        """Adds an item of FROM to the scope; what decides its rows."""
        name = item.alias_or_name.lower()
        match item:
            case exp.Unnest():
                value = self._value(item.expressions[0], scope)
                alias = item.args["alias"]
                inner = {alias.columns[0].name.lower(): value.elements}
                scope.sources[alias.name.lower()] = inner
                # An array that is written out has always as many elements.
                is_literal = isinstance(item.expressions[0].unnest(), exp.Array) and not _holds_query(
                    item.expressions[0].unnest()
                )
                return NOTHING if is_literal else passed_on(How.JOIN, value.whole)
            case exp.Subquery():
                found = self.query(item, scope.outer)
            case exp.Table() if not item.args.get("db") and item.name.lower() in self._common:
                found = self._common[item.name.lower()]
            case _:
                id_ = f"{item.db}.{item.name}" if isinstance(item, exp.Table) else ""
                fields = self._tables.get(id_) or ()
                columns = ((f.name, column_value(id_, f.name, type_of_field(f))) for f in fields)
                found = _Rows(tuple(columns), NOTHING)
        scope.sources[name] = {column.lower(): value for column, value in found.columns}
        return found.rows

    def _value(self, node: exp.Expr, scope: _Scope) -> Value:
        rule = _RULES.get(type(node))
        if rule is not None:
            return rule(self, node, scope)
        if isinstance(node, exp.Query):
            return self._subquery(node, scope)
        if isinstance(node, exp.AggFunc) and not isinstance(node, ONLY_OVER):
            return self._aggregate(node, scope)
        return Value(transformed(self._children(node, scope)))

    def _children(self, node: exp.Expr, scope: _Scope) -> list[Value]:
        return [self._value(child, scope) for child in node.iter_expressions()]

    def _subquery(self, node: exp.Expr, scope: _Scope) -> Value:
        found = self.query(node, scope)
        value = found.columns[0][1] if found.columns else CONSTANT
        return value.beside(found.rows)

    def _exists(self, node: exp.Expr, scope: _Scope) -> Value:
        return Value(self.query(node.this, scope).rows)

    def _column(self, node: exp.Expr, scope: _Scope) -> Value:
        return scope.column(node.text("table"), node.name)

    def _dot(self, node: exp.Expr, scope: _Scope) -> Value:
        return self._value(node.this, scope).field(node.expression.name)

    def _inner(self, node: exp.Expr, scope: _Scope) -> Value:
        return self._value(node.this, scope)

    def _cast(self, node: exp.Expr, scope: _Scope) -> Value:
        value = self._value(node.this, scope)
        return value if type_of(node.this) == type_of(node) else value.used(How.TRANSFORMATION)

    def _struct(self, node: exp.Expr, scope: _Scope) -> Value:
        fields = []
        for part in node.expressions:
            named = isinstance(part, exp.PropertyEQ)
            fields.append(
                (part.name if named else "", self._value(part.expression if named else part, scope))
            )
        return struct(fields)

    def _array(self, node: exp.Expr, scope: _Scope) -> Value:
        if not _holds_query(node):
            return array([self._value(part, scope) for part in node.expressions])
        found = self.query(node.expressions[0], scope)
        value = found.columns[0][1] if found.columns else CONSTANT
        return Value(transformed([value]), element=value).beside(found.rows)

    def _element(self, node: exp.Expr, scope: _Scope) -> Value:
        places = transformed(self._value(part, scope) for part in node.expressions)
        return self._value(node.this, scope).elements.used(How.TRANSFORMATION).beside(places)

    def _if(self, node: exp.Expr, scope: _Scope) -> Value:
        results = [node.args[name] for name in ("true", "false") if node.args.get(name) is not None]
        return self._chosen([node.this], results, scope)

    def _case(self, node: exp.Expr, scope: _Scope) -> Value:
        branches = node.args.get("ifs") or []
        results = [*(branch.args["true"] for branch in branches), node.args.get("default")]
        conditions = [node.args.get("this"), *(branch.this for branch in branches)]
        return self._chosen(
            [c for c in conditions if c is not None], [r for r in results if r is not None], scope
        )

    def _chosen(self, conditions: Sequence[exp.Expr], results: Sequence[exp.Expr], scope: _Scope) -> Value:
        decide = frozenset().union(*(self._value(condition, scope).whole for condition in conditions))
        values = [self._value(result, scope).used(How.TRANSFORMATION) for result in results]
        return any_of(values).beside(passed_on(How.CONDITIONAL, decide))

    def _coalesce(self, node: exp.Expr, scope: _Scope) -> Value:
        return any_of([value.used(How.TRANSFORMATION) for value in self._children(node, scope)])

    def _aggregate(self, node: exp.Expr, scope: _Scope) -> Value:
        """An aggregate of its arguments, in an order that may be given within it."""
        order = frozenset().union(
            *(
                self._value(item.this, scope).whole
                for item in node.find_all(exp.Ordered)
                if _is_own(item, node)
            )
        )
        arguments = [value for child in node.iter_expressions() for value in self._arguments(child, scope)]
        if isinstance(node, exp.ArrayAgg | exp.AnyValue) and arguments:
            one = arguments[0].used(How.AGGREGATION)
            found = Value(one.whole, element=one) if isinstance(node, exp.ArrayAgg) else one
        else:
            found = Value(passed_on(How.AGGREGATION, frozenset().union(*(a.whole for a in arguments))))
        return found.beside(passed_on(How.SORT, order))

    def _arguments(self, node: exp.Expr, scope: _Scope) -> list[Value]:
        if isinstance(node, exp.Ordered):
            return []
        if isinstance(node, exp.Order | exp.Limit | exp.Distinct | exp.IgnoreNulls | exp.RespectNulls):
            return [value for child in node.iter_expressions() for value in self._arguments(child, scope)]
        return [self._value(node, scope)]

    def _window(self, node: exp.Expr, scope: _Scope) -> Value:
        assert isinstance(node, exp.Window)
        window = whole_window(node, scope.windows or {})
        order, spec = window.args.get("order"), window.args.get("spec")
        parts = [*(window.args.get("partition_by") or [])]
        parts += [item.this for item in order.expressions] if order is not None else []
        parts += (
            [spec.args[side] for side in ("start", "end") if isinstance(spec.args.get(side), exp.Expr)]
            if spec
            else []
        )
        frame = frozenset().union(*(self._value(part, scope).whole for part in parts))
        return self._value(window.this, scope).beside(passed_on(How.WINDOW, frame))


def _in_common_type(side: _Rows, query: exp.Expr, whole: exp.Expr) -> list[Value]:
    """The columns of one side of a set operation; those of which the other side has another type are cast."""
    types = zip(_types(query), _types(whole), strict=True)
    return [
        value if own == common or value == CONSTANT else value.used(How.TRANSFORMATION)
        for (_, value), ((own, _), (common, _)) in zip(side.columns, types, strict=True)
    ]


def _types(query: exp.Expr) -> list[tuple[Type, bool]]:
    """The types of a query's columns, and whether each is written out as a value."""
    if isinstance(query, exp.Select):
        return [(type_of(value_of(item)), is_literal(value_of(item))) for item in query.expressions]
    if not isinstance(query, exp.SetOperation):
        return _types(query.this)
    pairs = zip(_types(query.this), _types(query.expression), strict=True)
    return [(common_type(list(pair)) or pair[0][0], pair[0][1] and pair[1][1]) for pair in pairs]


def _holds_query(node: exp.Expr) -> bool:
    return bool(node.expressions) and isinstance(node.expressions[0], exp.Query)


def _is_own(item: exp.Expr, aggregate: exp.Expr) -> bool:
    """Whether an ORDER BY is the aggregate's own, and not of something within its arguments."""
    parent = item.parent
    while isinstance(parent, exp.Order | exp.Limit | exp.Distinct | exp.IgnoreNulls | exp.RespectNulls):
        parent = parent.parent
    return parent is aggregate


_RULES: dict[type[exp.Expr], Callable[[_Reader, exp.Expr, _Scope], Value]] = {
    exp.Alias: _Reader._inner,
    exp.Paren: _Reader._inner,
    exp.IgnoreNulls: _Reader._inner,
    exp.RespectNulls: _Reader._inner,
    exp.Column: _Reader._column,
    exp.Dot: _Reader._dot,
    exp.Cast: _Reader._cast,
    exp.TryCast: _Reader._cast,
    exp.Struct: _Reader._struct,
    exp.Array: _Reader._array,
    exp.Bracket: _Reader._element,
    exp.If: _Reader._if,
    exp.Case: _Reader._case,
    exp.Coalesce: _Reader._coalesce,
    exp.Exists: _Reader._exists,
    exp.Window: _Reader._window,
}
