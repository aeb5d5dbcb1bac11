"""GoogleSQL's rules of scope on a parsed query: which names are visible where, and what the columns of a query are.

The tree that comes out says the same in a way that can be read in only one way: every range variable has its own name, every column
is written with it, `*` and `USING` are spelt out, and names of the SELECT list are replaced by what they stand for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlglot import exp

from gaelp_assets.errors import Problem
from gaelp_assets.sql.expressions import Expressions
from gaelp_assets.sql.grouping import Late, check_grouping, group_items, has_aggregate, has_window, ordinal
from gaelp_assets.sql.relations import Relations
from gaelp_assets.sql.scope import Column, Scope, Tables, column, identifier, place
from gaelp_assets.sql.stars import Item, is_star, spread_star
from gaelp_assets.sql.transforms_cast import readable, unreadable
from gaelp_assets.sql.trees import copied
from gaelp_assets.sql.types import ANY, BOOL, Type, common_type, struct_of, type_of, typed
from gaelp_assets.sql.values import coerced, implied_name, is_constant, is_literal, sqlglot_type


class Resolved(NamedTuple):
    """A resolved query: its tree, its columns (None where they cannot be known), and what is wrong with it."""

    tree: exp.Query
    columns: list[Column] | None
    problems: list[Problem]


def resolve(tree: exp.Query, tables: Tables | None = None) -> Resolved:
    """The query with every name and type resolved.

    Args:
        tree: a parsed GoogleSQL query; it is not changed.
        tables: the fields of all relations, by `dataset.name`; without them, columns of relations have no known type.
    """
    root = exp.Tuple(expressions=[copied(tree)])
    queries = _Queries(tables)
    columns = queries.query(root.expressions[0], None, top=True)
    return Resolved(root.expressions[0], columns, queries.problems)


class _Queries:
    def __init__(self, tables: Tables | None) -> None:
        self.problems: list[Problem] = []
        self.expressions = Expressions(self.problems, self._inner)
        self.relations = Relations(tables, self.expressions, lambda q, s: self.query(q, s))

    def _inner(self, query: exp.Expr, scope: Scope) -> list[Type]:
        """The types of a subquery inside an expression; one STRUCT for `SELECT AS STRUCT`."""
        as_struct = isinstance(query, exp.Select) and query.args.get("kind") == "STRUCT"
        columns = self.query(query, scope, as_struct=as_struct)
        if columns is None:
            return [ANY]
        return [struct_of((c.name, c.type) for c in columns)] if as_struct else [c.type for c in columns]

    def query(
        self, query: exp.Expr, outer: Scope | None, *, top: bool = False, as_struct: bool = False
    ) -> list[Column] | None:
        """Resolves a query in place; its columns as its reader sees them, named as in the translated SQL."""
        with self.relations.common_tables(query):
            match query:
                case exp.Subquery():
                    columns = self.query(query.this, outer, top=top)
                    self._order_of_set(query, columns)
                    return columns
                case exp.SetOperation():
                    return self._set_operation(query, outer, top=top)
                case exp.Select():
                    return self._select(query, outer, top=top, as_struct=as_struct)
        self.expressions.wrong("not a SELECT", query)
        return None

    def _set_operation(
        self, query: exp.SetOperation, outer: Scope | None, *, top: bool
    ) -> list[Column] | None:
        if isinstance(query.this, exp.Select) and (
            query.this.args.get("order") or query.this.args.get("limit")
        ):
            self.expressions.wrong(
                "ORDER BY or LIMIT before a set operation", query, "the query before it in parentheses"
            )
        left = self.query(query.this, outer, top=top)
        right = self.query(query.expression, outer, top=top)
        name = type(query).__name__.upper() + (" DISTINCT" if query.args.get("distinct") else " ALL")
        if left is None or right is None:
            columns = left
        elif len(left) != len(right):
            self.expressions.wrong(f"{name} of {len(left)} and {len(right)} columns", query)
            columns = None
        else:
            columns = []
            for number, (a, b) in enumerate(zip(left, right, strict=True), start=1):
                both = common_type([(a.type, a.literal), (b.type, b.literal)])
                if both is None:
                    what = f"column {number} of {name} is {a.type} on one side and {b.type} on the other"
                    self.expressions.wrong(what, query, "columns of one type", "Use CAST.")
                if query.args.get("distinct") and (both or ANY).holds(frozenset({"JSON"})):
                    self.expressions.wrong(f"{name} of {both}", query, "types that can be compared")
                literal = a.literal and b.literal
                columns.append(Column(a.name, both or ANY, column(a.name, None, both or ANY), literal))
            self._cast_side(query.this, left, columns)
            self._cast_side(query.expression, right, columns)
        self._order_of_set(query, columns)
        return columns

    def _cast_side(self, side: exp.Expr, columns: Sequence[Column], wanted: Sequence[Column]) -> None:
        """One side of a set operation, with its columns cast where the other side's types ask for it."""
        if all(a.type == b.type or not b.type.known for a, b in zip(columns, wanted, strict=True)):
            return
        self._check_literals(side, columns, wanted)
        alias = self.relations.unique("_side")
        names = [_name_in_sql(c, n) for n, c in enumerate(columns)]
        picked = [
            exp.alias_(_as_type(column(name, alias, a.type), b.type), identifier(name), copy=False)
            for name, a, b in zip(names, columns, wanted, strict=True)
        ]
        inner = side.this if isinstance(side, exp.Subquery) and not side.args.get("order") else side
        wrapped = exp.Select(
            expressions=picked,
            from_=exp.From(
                this=exp.Subquery(this=copied(inner), alias=exp.TableAlias(this=identifier(alias)))
            ),
        )
        side.replace(wrapped)

    def _check_literals(self, side: exp.Expr, columns: Sequence[Column], wanted: Sequence[Column]) -> None:
        """A text written out on one side has to be a value of the other side's type."""
        query = side.unnest()
        for item, own, target in zip(
            query.selects if isinstance(query, exp.Select) else (), columns, wanted, strict=False
        ):
            value = item.unalias()
            if (
                own.literal
                and isinstance(value, exp.Literal)
                and value.is_string
                and not readable(value.name, target.type.name)
            ):
                problem = unreadable(target.type.name)
                self.expressions.wrong(
                    problem.what, value if place(value) != "SQL" else query, problem.expected
                )

    def _order_of_set(self, query: exp.Expr, columns: Sequence[Column] | None) -> None:
        """ORDER BY over a set operation or a query in parentheses: by its own columns only."""
        self._limits(query)
        order = query.args.get("order")
        if order is None or columns is None:
            return
        for item in order.expressions:
            number = ordinal(item.this)
            if number is not None:
                if not 1 <= number <= len(columns):
                    self.expressions.wrong(f"ORDER BY {number} of {len(columns)} columns", item)
                continue
            place_of = [n for n, c in enumerate(columns, start=1) if c.name.lower() == item.this.name.lower()]
            if isinstance(item.this, exp.Column) and len(item.this.parts) == 1 and len(place_of) == 1:
                item.this.replace(exp.Literal.number(place_of[0]))
            else:
                self.expressions.wrong(
                    "ORDER BY an expression over a set operation",
                    item,
                    "names or numbers of its columns",
                    "Put the set operation into a subquery.",
                )

    def _select(
        self, select: exp.Select, outer: Scope | None, *, top: bool, as_struct: bool
    ) -> list[Column] | None:
        scope = self.relations.from_clause(select, outer)
        where = select.args.get("where")
        if where is not None:
            self.expressions.boolean(where.this, scope, "WHERE")
            if has_aggregate(where.this) or has_window(where.this):
                self.expressions.wrong(
                    "an aggregate or window function in WHERE", where, remedy="Use HAVING or QUALIFY."
                )
        for window in select.args.get("windows") or []:
            self.expressions.resolve(window, scope)
        items = self._items(select, scope)
        keys = self._group_by(select, scope, items, as_struct=as_struct)
        named = [(item.name, item.value) for item in items or []]
        over = scope.with_aliases(named)
        for clause in ("having", "qualify"):
            if select.args.get(clause) is not None:
                self.expressions.boolean(select.args[clause].this, over, clause.upper())
        ordered = scope.with_aliases(named, only="SELECT DISTINCT" if select.args.get("distinct") else "")
        late = self._order_by(select, ordered, items, as_struct=as_struct)
        if items is not None:
            self._check(select, scope, items, keys, late)
        self._limits(select)
        columns = self._write_items(select, items, top=top, as_struct=as_struct)
        if select.args.get("distinct") and columns is not None:
            for c in columns:
                if c.type.holds(frozenset({"JSON"})):
                    self.expressions.wrong(
                        f"SELECT DISTINCT of {c.type}", select, "types that can be compared"
                    )
        return columns

    def _check(
        self,
        select: exp.Select,
        scope: Scope,
        items: Sequence[Item],
        keys: list[exp.Expr] | None,
        ordered: Sequence[exp.Expr],
    ) -> None:
        conditions = [select.args[c].this for c in ("having", "qualify") if select.args.get(c) is not None]
        values = [item.value for item in items]
        aliases = {s.alias.lower() for s in scope.sources}
        late = Late(ordered, conditions, bool(conditions) or select.args.get("order") is not None)
        found = check_grouping(values, late, keys, aliases)
        if found is not None:
            where = found.node if place(found.node) != "SQL" else select
            self.expressions.wrong(found.what, where, remedy=found.remedy)
        if (
            select.args.get("having") is not None
            and keys is None
            and not any(map(has_aggregate, [*values, *conditions]))
        ):
            self.expressions.wrong("HAVING without GROUP BY or an aggregate", select)

    def _items(self, select: exp.Select, scope: Scope) -> list[Item] | None:
        """The SELECT list, with `*` spelt out; None if it holds a `*` over a relation whose fields are not known."""
        known = True
        items: list[Item] = []
        for node in list(select.expressions):
            if is_star(node):
                spread = spread_star(node, scope, self.expressions)
                if spread is None:
                    known = False
                    continue
                items += spread
                if isinstance(node, exp.Dot):
                    # DuckDB has no `*` after an expression: in a list that stays as it is, its columns stand for it.
                    written = [exp.alias_(copied(i.value), identifier(i.name), copy=False) for i in spread]
                    select.set(
                        "expressions",
                        [w for n in select.expressions for w in (written if n is node else [n])],
                    )
                continue
            name = node.alias if isinstance(node, exp.Alias) else implied_name(node)
            value = node.this if isinstance(node, exp.Alias) else node
            resolved = self.expressions.resolve(value, scope)
            if select.args.get("group") is not None and isinstance(resolved.unnest(), exp.And | exp.Or):
                # DuckDB would not find a condition that is a key again, once it is a part of a longer condition.
                resolved = typed(exp.Coalesce(this=copied(resolved), expressions=[]), BOOL)
            items.append(Item(name, resolved))
        return items if known else None

    def _group_by(
        self, select: exp.Select, scope: Scope, items: list[Item] | None, *, as_struct: bool
    ) -> list[exp.Expr] | None:
        group = select.args.get("group")
        if group is None:
            return None
        if group.args.get("all"):
            values = [item.value for item in items or []]
            return [v for v in values if not has_aggregate(v) and not has_window(v)]
        keys: list[exp.Expr] = []
        for item in list(group_items(group)):
            key, number = self._group_item(item, scope, items or [])
            keys.append(key)
            if type_of(key).holds(frozenset({"JSON"})):
                self.expressions.wrong(f"GROUP BY {type_of(key)}", item, "a type that can be compared")
            if number is not None and not as_struct and item.parent is group:
                item.replace(exp.Literal.number(number))
            elif key is not item:
                item.replace(copied(key))
        return keys

    def _group_item(self, item: exp.Expr, scope: Scope, items: Sequence[Item]) -> tuple[exp.Expr, int | None]:
        number = ordinal(item)
        if number is not None:
            if not 1 <= number <= len(items):
                self.expressions.wrong(f"GROUP BY {number} of {len(items)} columns", item)
                return item, None
            return items[number - 1].value, number
        if isinstance(item, exp.Column) and len(item.parts) == 1:
            found = [n for n, i in enumerate(items) if i.name and i.name.lower() == item.name.lower()]
            if len(found) > 1:
                self.expressions.wrong(
                    f"name {item.name} in GROUP BY is ambiguous: the SELECT list has it more than once", item
                )
            if found:
                return items[found[0]].value, found[0] + 1
        elif isinstance(item, exp.Column | exp.Dot):
            # GoogleSQL takes the first name of a path for that of the SELECT list, too; DuckDB for the table's.
            path: exp.Expr = item
            while isinstance(path, exp.Dot):
                path = path.this
            first = path.parts[0].name if isinstance(path, exp.Column) else ""
            if first and any(i.name and i.name.lower() == first.lower() for i in items):
                self.expressions.wrong(
                    f"GROUP BY a field of {first}, a name of the SELECT list",
                    item,
                    f"another name for the table, or for the column {first}",
                )
        if is_constant(item):
            self.expressions.wrong(
                "GROUP BY a literal", item, "a name, the number of a column, or an expression"
            )
        return self.expressions.resolve(item, scope), None

    def _order_by(
        self, select: exp.Select, scope: Scope, items: list[Item] | None, *, as_struct: bool
    ) -> list[exp.Expr]:
        order = select.args.get("order")
        if order is None:
            return []
        if not scope.sources:
            self.expressions.wrong("ORDER BY without FROM", order)
        values = []
        for item in order.expressions:
            number = ordinal(item.this)
            if number is None and isinstance(item.this, exp.Column) and len(item.this.parts) == 1:
                named = [n for n, i in enumerate(items or []) if i.name.lower() == item.this.name.lower()]
                if len(named) == 1:
                    number = named[0] + 1
            if number is None:
                if is_constant(item.this):
                    self.expressions.wrong(
                        "ORDER BY a literal", item, "a name, the number of a column, or an expression"
                    )
                value = self.expressions.resolve(item.this, scope)
                values.append(value)
            elif items is None:
                continue
            elif not 1 <= number <= len(items):
                self.expressions.wrong(f"ORDER BY {number} of {len(items)} columns", item)
                continue
            else:
                value = items[number - 1].value
                item.this.replace(copied(value) if as_struct else exp.Literal.number(number))
            self.expressions.orderable(value)
        return values

    def _limits(self, query: exp.Expr) -> None:
        for clause in ("limit", "offset"):
            limit = query.args.get(clause)
            if limit is not None:
                value = self.expressions.resolve(limit.expression, Scope())
                if type_of(value).name not in {"INT64", "ANY", "NULL"}:
                    self.expressions.wrong(f"{clause.upper()} of {type_of(value)}", limit, "an INT64")

    def _write_items(
        self, select: exp.Select, items: list[Item] | None, *, top: bool, as_struct: bool
    ) -> list[Column] | None:
        """The SELECT list as it is translated: every column with a name that nothing else has."""
        if items is None:
            return None
        if as_struct:
            fields = [
                exp.PropertyEQ(this=identifier(i.name), expression=copied(i.value))
                if i.name
                else copied(i.value)
                for i in items
            ]
            kind = struct_of((i.name, type_of(i.value)) for i in items)
            select.set("expressions", [typed(exp.Struct(expressions=fields), kind)])
            select.set("kind", None)
            return [Column(i.name, type_of(i.value), i.value) for i in items]
        select.set("kind", None)
        columns: list[Column] = []
        written: list[exp.Expr] = []
        taken: set[str] = set()
        anonymous = 0
        for item in items:
            sql_name = item.name
            if not sql_name:
                sql_name, anonymous = f"f{anonymous}_", anonymous + 1
            if not top:
                sql_name = _unused(sql_name, taken)
            taken.add(sql_name.lower())
            value = copied(item.value)
            if type_of(value).name in {"NULL", "EMPTY"}:
                value = _as_type(value, type_of(value))
            same = isinstance(value, exp.Column) and value.name == sql_name
            written.append(value if same else exp.alias_(value, identifier(sql_name), copy=False))
            type_ = type_of(item.value)
            literal = (
                is_literal(item.value) and not select.args.get("distinct") and not select.args.get("group")
            )
            columns.append(
                Column(sql_name if top else item.name, type_, column(sql_name, None, type_), literal)
            )
        select.set("expressions", written)
        names = [c.name.lower() for c in columns]
        for name in dict.fromkeys(n for n in names if top and names.count(n) > 1):
            self.expressions.wrong(
                f"the result has two columns {name}", select, "names that differ", "Write AS."
            )
        return columns


def _as_type(value: exp.Expr, type_: Type) -> exp.Expr:
    """The value as a column of that type, a NULL without a type too."""
    if type_of(value).name in {"NULL", "EMPTY"}:
        return typed(exp.Cast(this=copied(value), to=sqlglot_type(type_)), type_)
    return coerced(value, type_)


def _unused(name: str, taken: set[str]) -> str:
    number, found = 1, name
    while found.lower() in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _name_in_sql(c: Column, number: int) -> str:
    return c.sql.name or c.name or f"f{number}_"
