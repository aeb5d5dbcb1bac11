"""FROM and WITH: the relations that a query reads, each with a range variable of its own, and the columns that they bring."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlglot import exp

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.expressions import Expressions
from gaelp_assets.sql.functions import refused
from gaelp_assets.sql.pivot import written_out
from gaelp_assets.sql.scope import (
    Column,
    NameProblem,
    Scope,
    Source,
    Tables,
    column,
    identifier,
    place,
    refused_name,
)
from gaelp_assets.sql.trees import copied
from gaelp_assets.sql.types import ANY, BOOL, INT64, Type, common_type, type_of, type_of_field, typed
from gaelp_assets.sql.values import coerced

Query = Callable[[exp.Expr, Scope | None], list[Column] | None]


class Relations:
    """What FROM clauses mean, with the common tables that are visible at the moment."""

    def __init__(self, tables: Tables | None, expressions: Expressions, query: Query) -> None:
        self._tables = tables
        self._by_name: dict[str, list[str]] = {}
        for id_ in tables or ():
            self._by_name.setdefault(id_.rpartition(".")[2], []).append(id_)
        self._expressions = expressions
        self._query = query
        self._common: dict[str, list[Column] | None] = {}
        self._values: set[str] = set()
        self._used: set[str] = set()

    def unique(self, name: str) -> str:
        """A range variable's name that no other has had in the whole query."""
        number, found = 1, name
        while found.lower() in self._used:
            number += 1
            found = f"{name}_{number}"
        self._used.add(found.lower())
        return found

    @contextmanager
    def common_tables(self, query: exp.Expr) -> Iterator[None]:
        """Resolves the query's WITH, and makes its tables visible inside the block."""
        with_ = query.args.get("with_")
        before = dict(self._common)
        for cte in with_.expressions if isinstance(with_, exp.With) else ():
            name = cte.alias.lower()
            if cte.args["alias"].columns:
                self._expressions.wrong("names of columns after WITH", cte, "AS inside the query")
            if (
                isinstance(with_, exp.With)
                and with_.args.get("recursive")
                and isinstance(cte.this, exp.SetOperation)
            ):
                self._common[name] = self._anchor(cte.this.this)
            self._values.discard(name)
            if _is_value(cte.this):
                self._values.add(name)
            self._common[name] = self._query(cte.this, None)
        yield
        self._common = before

    def _anchor(self, query: exp.Expr) -> list[Column] | None:
        """The columns of a recursive table's first part; its problems come when the whole is resolved."""
        kept = list(self._expressions.problems)
        columns = self._query(copied(query), None)
        self._expressions.problems[:] = kept
        return columns

    def from_clause(self, select: exp.Select, outer: Scope | None) -> Scope:
        """The scope that FROM and its joins make."""
        scope = Scope(outer)
        from_ = select.args.get("from_")
        if from_ is None:
            return scope
        self._open_parentheses(select, from_)
        first = self._source(from_.this, scope)
        scope.sources.append(first)
        scope.columns = list(first.columns or [])
        for join in select.args.get("joins") or []:
            self._join(join, scope)
        return scope

    def _join(self, join: exp.Join, scope: Scope) -> None:
        source = self._source(join.this, scope)
        left = Scope(scope.outer, list(scope.sources), list(scope.columns), merged=scope.merged)
        if any(s.name.lower() == source.name.lower() for s in scope.sources if source.name):
            self._expressions.wrong(
                f"two relations are called {source.name} in one FROM", join, remedy="Give one an alias."
            )
        scope.sources.append(source)
        using = join.args.get("using")
        on = join.args.get("on")
        if join.args.get("method"):
            self._expressions.wrong(f"{join.args['method']} JOIN", join, "JOIN ... USING")
        if using:
            self._using(join, left, source, scope)
            return
        scope.columns = [*scope.columns, *(source.columns or [])]
        if on is not None:
            self._expressions.boolean(on, scope, "ON")
        elif join.kind != "CROSS" and not isinstance(join.this, exp.Unnest):
            self._expressions.wrong("JOIN without ON or USING", join, "ON, USING, or CROSS JOIN")

    def _using(self, join: exp.Join, left: Scope, right: Source, scope: Scope) -> None:
        """USING as ON, and its columns once, before all others."""
        merged: list[Column] = []
        conditions: list[exp.Expr] = []
        names = [i.name for i in join.args["using"]]
        for name, node in zip(names, join.args["using"], strict=True):
            try:
                a = Scope(None, left.sources, left.columns).resolve([name])
                b = right.find(name)
            except NameProblem as error:
                self._expressions.problems.append(refused_name(error, node))
                continue
            if b is None:
                self._expressions.wrong(f"column {name} of USING is not on the right side of the join", node)
                continue
            both = common_type([(type_of(a), False), (type_of(b), False)])
            if both is None or both.name in {"JSON", "ARRAY"}:
                self._expressions.wrong(
                    f"USING ({name}) compares {type_of(a)} with {type_of(b)}", node, "columns of one type"
                )
                continue
            one, other = coerced(a, both), coerced(b, both)
            conditions.append(exp.EQ(this=copied(one), expression=copied(other)))
            kept = {
                "RIGHT": b,
                "FULL": typed(exp.Coalesce(this=copied(one), expressions=[copied(other)]), both),
            }.get(join.side, a)
            kept.meta["by_name"] = True
            merged.append(Column(name, type_of(kept), kept))
        join.set("using", None)
        join.set("on", typed(exp.and_(*conditions, copy=False), BOOL) if conditions else exp.true())
        lower = {n.lower() for n in names}
        rest = [c for c in (*left.columns, *(right.columns or [])) if c.name.lower() not in lower]
        scope.columns = [*merged, *rest]
        scope.merged = True

    def _open_parentheses(self, select: exp.Select, from_: exp.Expr) -> None:
        """`FROM (a JOIN b ON ...) JOIN c`: the joins in parentheses come first anyway."""
        while (
            isinstance(from_.this, exp.Subquery)
            and from_.this.this.args.get("joins")
            and not from_.this.alias
        ):
            inner = from_.this.this
            outer = [*(from_.this.args.get("joins") or []), *(select.args.get("joins") or [])]
            select.set("joins", [*inner.args["joins"], *outer])
            inner.set("joins", None)
            from_.set("this", inner)

    def _pivoted(self, node: exp.Expr, scope: Scope) -> Source:
        pivots = node.args["pivots"]
        node.set("pivots", None)
        kept = list(self._expressions.problems)
        rows = exp.Select(expressions=[exp.Star()], from_=exp.From(this=copied(node)))
        columns = self._query(rows, None)
        if self._expressions.problems == kept:
            try:
                if len(pivots) > 1:
                    raise GaelpError(refused("PIVOT of a PIVOT", "the first one in a subquery"))
                becomes = written_out(copied(node), pivots[0], columns)
            except GaelpError as error:
                self._expressions.problems += [replace(p, where=place(pivots[0])) for p in error.problems]
            else:
                node.replace(becomes)
                return self._source(becomes, scope)
        return Source(self.unique("_unknown"), node.alias, None)

    def _source(self, node: exp.Expr, scope: Scope) -> Source:
        if node.args.get("pivots"):
            return self._pivoted(node, scope)
        match node:
            case exp.Unnest():
                return self._unnest(node, scope)
            case exp.Table() if self._is_array(node, scope):
                return self._array(node, scope)
            case exp.Table():
                return self._table(node)
            case exp.Subquery() if isinstance(node.this, exp.Query):
                of_values = _is_value(node.this)
                columns = self._query(node.this, scope.outer)
                name = node.alias
                alias = self.unique(name or "_query")
                node.set("alias", exp.TableAlias(this=identifier(alias)))
                return _source_of(alias, name, columns, of_values=of_values)
        self._expressions.wrong(
            "this form of FROM is not used here",
            node,
            "tables, subqueries and UNNEST, with parentheses around the first joins only",
        )
        return Source(self.unique("_unknown"), "", None)

    def _is_array(self, node: exp.Table, scope: Scope) -> bool:
        """Whether a table is in truth the path of an array: `FROM t, t.parts`."""
        first = node.parts[0].name.lower()
        return len(node.parts) > 1 and any(s.name.lower() == first for s in scope.sources)

    def _array(self, node: exp.Table, scope: Scope) -> Source:
        path = exp.column(*(p.name for p in reversed(node.parts)))
        name = node.alias or node.parts[-1].name
        unnest = exp.Unnest(expressions=[path], alias=exp.TableAlias(columns=[identifier(name)]))
        node.replace(unnest)
        return self._unnest(unnest, scope)

    def _unnest(self, node: exp.Unnest, scope: Scope) -> Source:
        given = node.args.get("alias")
        name = ""
        if given is not None:
            name = given.columns[0].name if given.columns else given.name
        if len(node.expressions) != 1:
            self._expressions.wrong("UNNEST of more than one array", node, "one array")
        array = self._expressions.resolve(node.expressions[0], scope)
        type_ = type_of(array)
        if type_.name not in {"ARRAY", "ANY", "EMPTY"}:
            self._expressions.wrong(f"UNNEST of {type_}", node, "an array")
        element: Type = type_.element or (INT64 if type_.name == "EMPTY" else ANY)
        alias = self.unique(f"_unnest_{name}" if name else "_unnest")
        inner = name or "_element"
        value = Column(name, element, column(inner, alias, element))
        columns = _within(value)
        offset = node.args.get("offset")
        source = Source(alias, name, columns, value)
        if offset:
            counted = offset.name if isinstance(offset, exp.Identifier) else "offset"
            node.set("offset", identifier(counted))
            position = Column(counted, INT64, column(counted, alias, INT64))
            source.offset = position
            if source.columns is not None:
                source.columns.append(position)
            else:
                scope.columns.append(position)
        node.set("alias", exp.TableAlias(this=identifier(alias), columns=[identifier(inner)]))
        return source

    def _table(self, node: exp.Table) -> Source:
        parts = [p.name for p in node.parts]
        name = node.alias or parts[-1]
        alias = self.unique(name)
        given = node.args.get("alias")
        if given is not None and given.columns:
            self._expressions.wrong("names of columns after a table's alias", node, "AS in a subquery")
        if given is not None or alias != parts[-1]:
            node.set("alias", exp.TableAlias(this=identifier(alias)))
        if len(parts) == 1 and parts[0].lower() in self._common:
            given_columns, of_values = self._common[parts[0].lower()], parts[0].lower() in self._values
            return _source_of(alias, name, given_columns, of_values=of_values)
        if self._tables is None:
            return Source(alias, name, None)
        id_ = ".".join(parts[-2:])
        if len(parts) == 1 and id_ not in self._tables:
            ids = self._by_name.get(parts[0], [])
            if len(ids) == 1:
                id_ = ids[0]
                node.set("db", identifier(id_.partition(".")[0]))
        if id_ not in self._tables:
            near = difflib.get_close_matches(id_, list(self._tables), n=1)
            self._expressions.wrong(
                f"relation {'.'.join(parts)} is not known" + (f", did you mean {near[0]}?" if near else ""),
                node,
            )
            return Source(alias, name, None)
        own = self._tables[id_]
        if own is None:
            return Source(alias, name, None)
        fields = [(f.name, type_of_field(f)) for f in own]
        return Source(alias, name, [Column(n, t, column(n, alias, t)) for n, t in fields])


def _seen_as(columns: list[Column] | None, alias: str) -> list[Column] | None:
    if columns is None:
        return None
    return [Column(c.name, c.type, column(c.sql.name or c.name, alias, c.type)) for c in columns]


def _source_of(alias: str, name: str, columns: list[Column] | None, *, of_values: bool) -> Source:
    """A query in FROM; the rows of a `SELECT AS VALUE` are no records of columns, but what its range variable means."""
    seen = _seen_as(columns, alias)
    if not of_values or seen is None or len(seen) != 1:
        return Source(alias, name, seen)
    value = Column(name, seen[0].type, seen[0].sql)
    return Source(alias, name, _within(value), value)


def _within(value: Column) -> list[Column] | None:
    """The columns that a value as a row brings: its fields, or itself; None if they cannot be known."""
    if value.type.name == "STRUCT":
        return [
            Column(n, t, typed(exp.Dot(this=value.reference(), expression=identifier(n)), t))
            for n, t in value.type.fields
        ]
    return None if value.type.name == "ANY" else [value]


def _is_value(query: exp.Expr) -> bool:
    return isinstance(query, exp.Select) and query.args.get("kind") == "VALUE"
