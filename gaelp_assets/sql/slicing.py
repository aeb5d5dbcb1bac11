"""Whether a query can be computed slice by slice: whether a slice of its result is made of the same slice of what it reads, and no other.

A *carrier* is a column that holds, unchanged, the date (or the environment) of the slice that its row was made from. The rule that is
checked: where rows meet - in a join, a group, a window, a set operation, a subquery - they are of one slice, because a carrier is compared
or grouped by. What is not certain is refused: a query that is declared to read other slices is computed from all that it reads, and stays
exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from sqlglot import exp

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.derivation import slice_dimensions
from gaelp_assets.catalog.model import Kind, ReadsSlices
from gaelp_assets.catalog.texts import references
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.sql.carriers import (
    DATE,
    ENVIRONMENT,
    NONE,
    OUTER,
    Dimensions,
    RangeVariables,
    Rows,
    conjuncts,
    items_named,
    own_nodes,
    place_in,
    subqueries_of,
    value_of,
    whole_window,
)
from gaelp_assets.sql.grouping import has_aggregate, ordinal
from gaelp_assets.sql.links import carried, dimensions_of, link_condition, link_joins
from gaelp_assets.sql.reach import (
    EVERYTHING,
    Reach,
    compares_days,
    reach_of_groups,
    reach_of_shift,
    reach_of_window,
)
from gaelp_assets.sql.tables import tables_of
from gaelp_assets.sql.transpile import resolved_query


def slice_problems(relations: Iterable[Relation], relation: Relation) -> list[Problem]:
    """Why slices of a stored derived relation cannot be kept exact as it is declared; empty for one that is a single slice.

    Args:
        relations: all that there are, such as a catalogue's.
        relation: a derived relation whose SQL is valid (what is not is told by other means, and gives no problem here).
    """
    dimensions = slice_dimensions(relation)
    if relation.sql is None or not any(dimensions) or relation.window is not None:
        return []  # The days that windows read follow from their sizes: see `catalog.window_sql`.
    known = {found.id: found for found in relations}
    wanted = frozenset(name for name, has in zip((DATE, ENVIRONMENT), dimensions, strict=True) if has)
    window = relation.reads_slices
    problems = _Reader(known, relation, wanted if window is None else wanted - {DATE}).problems()
    if window is not None:
        problems += _Reader(known, relation, frozenset({DATE})).undeclared(window)
    return [
        replace(problem, where=f"{relation.where(sql=True)}, {problem.where.removeprefix('SQL, ')}")
        for problem in problems
    ]


_Views = dict[str, tuple[Rows, list[Reach]]]
"""What plain views give, by their ids, and how far each place reaches where they look at several slices."""


class _Reader:
    def __init__(
        self,
        relations: Mapping[str, Relation],
        relation: Relation,
        wanted: Dimensions,
        views: _Views | None = None,
    ) -> None:
        self._relations = relations
        self._relation = relation
        self._wanted = wanted
        self._tables = tables_of(relations.values())
        self._common: dict[str, Rows] = {}
        self._problems: list[Problem] = []
        self._views: _Views = {} if views is None else views
        self._reaches: list[tuple[Reach, str, exp.Expr]] = []
        self._shifts: dict[int, Reach | None] = {}
        """By the items of SELECT lists: of which days a computed date is made; None for what is a date already, or no date."""

    def problems(self) -> list[Problem]:
        tree = self._resolved(self._relation.sql or "")
        if tree is None:
            return []
        found = self._query(tree, None)
        partitioning = self._relation.partitioning
        assert partitioning is not None
        columns = {DATE: partitioning.date, ENVIRONMENT: partitioning.environment or ""}
        if not found.sliced and DATE in self._wanted:
            self._problems.append(
                Problem(
                    "reads nothing that is kept in slices: no slice of it is ever due",
                    place_in(tree),
                    "no partitioning: it is computed whole",
                    'Leave "partitioning" out.',
                )
            )
        for dimension in sorted(self._wanted if found.sliced else ()):
            if dimension in found.carries(columns[dimension]):
                continue
            items = items_named(tree, columns[dimension])
            shifts = [self._shifts.get(id(item)) or Reach() for item in items]
            if dimension == DATE:
                self._reaches += [(s, "its date is computed", i) for s, i in zip(shifts, items, strict=True)]
            if not self._problems:
                self._wrong(
                    f"{columns[dimension]} is not, unchanged, the {dimension} of the slices that the row is made of",
                    items[0],
                    reach=Reach(),
                )
        return list(dict.fromkeys(self._problems))

    def undeclared(self, window: ReadsSlices) -> list[Problem]:
        """Where the query plainly reads more days than are declared, or makes slices that a declaration of all days does not name."""
        self.problems()
        problems = [
            Problem(
                f"reads more days than it declares: {what}",
                place_in(node),
                f'at least "reads_slices": {reach}',
                "Days without rows have no slices, so what counts rows reads any number of days.",
            )
            for reach, what, node in self._reaches
            if not reach.fits(window.before, window.after)
        ]
        bounded = any(isinstance(days, int) and days > 0 for days in (window.before, window.after))
        problems += [
            Problem(
                "a computed date makes slices of days without rows",
                place_in(node),
                "no partitioning" if reach == EVERYTHING else 'a number of days in "reads_slices"',
                'With "all" alone there is a slice for each day with rows, and no other. Compute the date in one relation, and what reads '
                "all days in another.",
            )
            for reach, what, node in self._reaches
            if what == "its date is computed" and not bounded and self._shifts.get(id(node)) is not None
        ]  # fmt: skip
        return list(dict.fromkeys(problems))

    def _resolved(self, sql: str) -> exp.Query | None:
        try:
            resolved = resolved_query(sql, self._tables)
        except GaelpError:
            return None
        return None if resolved.problems else resolved.tree

    def _wrong(self, what: str, node: exp.Expr, expected: str = "", *, reach: Reach = EVERYTHING) -> None:
        self._reaches.append((reach, what, node))
        remedy = (
            'Declare "reads_slices" ({"before": DAYS or "all", "after": DAYS or "all"}), or leave "partitioning" out.'
            if DATE in self._wanted
            else 'Leave "environment" out of "partitioning", or leave it out whole.'
        )
        expected = expected or "a query of which each slice is made of the same slice of what it reads"
        self._problems.append(Problem(f"reads other slices: {what}", place_in(node), expected, remedy))

    def _query(self, query: exp.Expr, outer: RangeVariables | None) -> Rows:
        before = dict(self._common)
        with_ = query.args.get("with_")
        for cte in with_.expressions if isinstance(with_, exp.With) else ():
            name = cte.alias.lower()
            if isinstance(with_, exp.With) and with_.args.get("recursive"):
                self._common[name] = Rows((), sliced=False)
                found = self._query(cte.this, None)
                if found.sliced:
                    self._wrong("a recursive table", cte)
                self._common[name] = Rows(tuple((c, NONE) for c, _ in found.columns), found.sliced)
            else:
                self._common[name] = self._query(cte.this, None)
        match query:
            case exp.Subquery():
                rows = self._query(query.this, outer)
                self._limit(query, rows, outer)
            case exp.SetOperation():
                rows = self._set_operation(query, outer)
                self._limit(query, rows, outer)
            case exp.Select():
                rows = self._select(query, outer)
            case _:
                self._wrong("what this reads is not known", query)
                rows = Rows((), sliced=False)
        self._common = before
        return rows

    def _limit(self, query: exp.Expr, rows: Rows, scope: RangeVariables | None) -> None:
        limit = query.args.get("limit") or query.args.get("offset")
        if limit is not None and rows.sliced and self._unlinked(scope, OUTER):
            self._wrong("LIMIT counts the rows of all slices", limit)

    def _set_operation(self, query: exp.SetOperation, outer: RangeVariables | None) -> Rows:
        left, right = self._query(query.this, outer), self._query(query.expression, outer)
        # Rows that no slice has made are of a slice only where they are compared with those of one.
        ours_alone = self._wanted if isinstance(query, exp.Intersect) else NONE
        theirs_alone = NONE if isinstance(query, exp.Union) else self._wanted
        columns = []
        for (name, ours), (_, theirs) in zip(left.columns, right.columns, strict=False):
            ours = ours if left.sliced else ours_alone
            columns.append((name, ours & (theirs if right.sliced else theirs_alone)))
        return Rows(tuple(columns), left.sliced or right.sliced)

    def _select(self, select: exp.Select, outer: RangeVariables | None) -> Rows:
        scope = RangeVariables(self._wanted, outer=outer)
        from_ = select.args.get("from_")
        joins = select.args.get("joins") or []
        items = [*([from_.this] if from_ is not None else []), *(join.this for join in joins)]
        for item in items:
            scope.sources[item.alias_or_name.lower()] = self._source(item, scope)
        conditions = [join.args["on"] for join in joins if join.args.get("on") is not None]
        link_joins(items, joins, scope)
        where = select.args.get("where")
        for part in conjuncts(where.this) if where is not None else ():
            link_condition(part, scope)
        sliced = self._check_links(items, scope)
        for clause in select.args.values():
            for node in clause if isinstance(clause, list) else [clause]:
                if isinstance(node, exp.Expr) and not isinstance(node, exp.From | exp.Join | exp.With):
                    self._subqueries(node, scope)
        for condition in conditions:
            self._subqueries(condition, scope)
        grouped = self._grouped(select, scope, sliced)
        if sliced:
            self._windows(select, scope)
            self._limit(select, Rows((), sliced=True), scope)
        columns = []
        for item in select.expressions:
            value = item.this if isinstance(item, exp.Alias) else item
            held = carried(value, scope) if sliced else NONE
            of_slices = any(self._is_of_slices(column, scope) for column in value.find_all(exp.Column))
            shift = reach_of_shift(value, self._may_be_date_in(scope)) if of_slices else EVERYTHING
            self._shifts[id(item)] = shift
            columns.append((item.alias_or_name, held if grouped is None else held & grouped))
        return Rows(tuple(columns), sliced)

    def _source(self, item: exp.Expr, scope: RangeVariables) -> Rows:
        if isinstance(item, exp.Subquery):
            return self._query(item, None)
        if not isinstance(item, exp.Table):
            self._subqueries(item, scope)
            return Rows((), sliced=False)
        if not item.args.get("db"):
            return self._common.get(item.name.lower(), Rows((), sliced=False))
        if item.args.get("pivots") or item.args.get("joins"):
            self._wrong("PIVOT, UNPIVOT or a join in parentheses", item)
        relation = self._relations.get(f"{item.db}.{item.name}")
        if relation is None or relation.kind is Kind.LEDGER:
            return Rows((), sliced=False)
        if not relation.is_stored:
            return self._view(relation, item)
        has = frozenset(
            name for name, is_so in zip((DATE, ENVIRONMENT), slice_dimensions(relation), strict=True) if is_so
        )
        if not has:
            if self._is_made_of_slices(relation):
                self._wrong(
                    f"{relation.id} is one slice that is made of all slices of what it reads",
                    item,
                    "tables without slices of their own rows",
                )
            return Rows((), sliced=False)
        if ENVIRONMENT in self._wanted - has:
            self._wrong(
                f"{relation.id} is kept by date alone",
                item,
                "relations that are kept by date and environment, or not in slices",
            )
            return Rows((), sliced=False)
        partitioning = relation.partitioning
        assert partitioning is not None
        carriers = {partitioning.date: {DATE}, partitioning.environment: {ENVIRONMENT}}
        return Rows(
            tuple((name, frozenset(carriers.get(name, ()))) for name in relation.field_names), sliced=True
        )

    def _is_made_of_slices(self, relation: Relation) -> bool:
        """Whether a derived relation that is one slice reads what is kept in slices, directly or through others."""
        seen: set[str] = set()
        waiting = [relation]
        while waiting:
            found = waiting.pop()
            if found.sql is None or found.id in seen:
                continue
            seen.add(found.id)
            read = [self._relations[id_] for id_ in references(found.sql) if id_ in self._relations]
            if any(any(slice_dimensions(source)) for source in read):
                return True
            waiting += read
        return False

    def _view(self, view: Relation, item: exp.Expr) -> Rows:
        """A plain view is looked through."""
        if view.id not in self._views:
            # Views that read one another in a circle are told elsewhere.
            self._views[view.id] = Rows((), sliced=False), []
            inside = _Reader(self._relations, view, self._wanted, self._views)
            tree = inside._resolved(view.sql or "")
            rows = inside._query(tree, None) if tree is not None else Rows((), sliced=False)
            self._views[view.id] = rows, [reach for reach, _, _ in inside._reaches]
        rows, reaches = self._views[view.id]
        for reach in dict.fromkeys(reaches):
            self._wrong(f"{view.id} looks at several slices", item, reach=reach)
        return rows

    def _check_links(self, items: Sequence[exp.Expr], scope: RangeVariables) -> bool:
        """Whether anything that is read is sliced; all that is has to be of one slice."""
        sliced = [item for item in items if scope.sources[item.alias_or_name.lower()].sliced]
        if not sliced:
            return False
        if scope.outer is not None:
            found = self._unlinked(scope, *(item.alias_or_name.lower() for item in sliced), OUTER)
            if found and self._around(scope.outer):
                names = " and ".join(sorted(found))
                self._wrong(
                    f"a subquery whose rows are not of the {names} of the row around it",
                    sliced[0],
                    reach=self._reach_of_joins(sliced[0], scope),
                )
                return True
        for item in sliced[1:]:
            pair = (sliced[0].alias_or_name.lower(), item.alias_or_name.lower())
            found = self._unlinked(scope, *pair)
            if found:
                names = " and ".join(sorted(found))
                self._wrong(
                    f"rows are joined without an equal {names}", item, reach=self._reach_of_joins(item, scope)
                )
        return True

    def _reach_of_joins(self, item: exp.Expr, scope: RangeVariables) -> Reach:
        """What a row meets: any day, where no condition compares days."""
        select = item.parent_select
        conditions = [join.args.get("on") for join in (select.args.get("joins") or [])] if select else []
        conditions += [where.this] if select and (where := select.args.get("where")) is not None else []
        parts = (part for condition in conditions if condition is not None for part in conjuncts(condition))
        return (
            Reach() if any(compares_days(part, self._may_be_date_in(scope)) for part in parts) else EVERYTHING
        )

    def _is_of_slices(self, column: exp.Column, scope: RangeVariables) -> bool:
        rows = scope.sources.get(column.table.lower())
        return rows is None or rows.sliced

    def _may_be_date_in(self, scope: RangeVariables) -> Callable[[exp.Expr], bool]:
        """Tells dates of slices, also those that an outer join fills with NULL: such rows are of no slice."""
        return lambda value: DATE in dimensions_of(value, scope)

    def _is_date_in(self, scope: RangeVariables) -> Callable[[exp.Expr], bool]:
        return lambda value: DATE in carried(value, scope)

    def _unlinked(self, scope: RangeVariables | None, *aliases: str) -> Dimensions:
        """The wanted dimensions in which these are not linked with one another; with `OUTER` alone, those of a query by itself."""
        if scope is None:
            return self._wanted
        if aliases == (OUTER,):
            aliases = (*[a for a, rows in scope.sources.items() if rows.sliced], OUTER)
        return frozenset(d for d in self._wanted if len({scope.root(d, alias) for alias in aliases}) > 1)

    def _around(self, scope: RangeVariables | None) -> bool:
        """Whether the row around a subquery is of a slice, or goes to one."""
        return self._wanted != NONE and scope is not None

    def _subqueries(self, node: exp.Expr, scope: RangeVariables) -> None:
        for query in subqueries_of(node):
            membership = query.parent if isinstance(query.parent, exp.In) else None
            if membership is not None and membership.args.get("query") is query:
                compared = carried(membership.this, scope)
                inner = query.this if isinstance(query, exp.Subquery) else query
                rows = self._query(inner, None) if compared else None
                if (
                    rows is not None
                    and len(rows.columns) == 1
                    and self._wanted <= compared & rows.columns[0][1]
                ):
                    continue
            self._query(query, scope)

    def _grouped(self, select: exp.Select, scope: RangeVariables, sliced: bool) -> Dimensions | None:
        """The dimensions by which rows are grouped; None if they are not."""
        group = select.args.get("group")
        late = [select.args[c].this for c in ("having", "qualify") if select.args.get(c) is not None]
        if group is None and not any(map(has_aggregate, [*select.expressions, *late])):
            return None
        keys: list[exp.Expr] = []
        if group is not None and group.args.get("all"):
            keys = [value for value in map(value_of, select.expressions) if not has_aggregate(value)]
        for item in group.expressions if group is not None else ():
            number = ordinal(item)
            keys.append(value_of(select.expressions[number - 1]) if number is not None else item)
        found = frozenset(d for key in keys for d in carried(key, scope))
        missing = self._unlinked(scope, OUTER) - found if sliced else NONE
        if missing:
            names = " and ".join(sorted(missing))
            self._wrong(
                f"rows of several slices are aggregated: {names} is no key of their groups",
                group or select,
                reach=reach_of_groups(keys, self._is_date_in(scope)),
            )
            return self._wanted
        return found

    def _windows(self, select: exp.Select, scope: RangeVariables) -> None:
        named = {window.name.lower(): window for window in select.args.get("windows") or []}
        within = [
            node
            for node in own_nodes(select)
            if isinstance(node, exp.Window)
            and isinstance(node.this, exp.Func | exp.IgnoreNulls | exp.RespectNulls)
        ]
        for window in within:
            whole = whole_window(window, named)
            by = whole.args.get("partition_by") or []
            found = frozenset(d for key in by for d in carried(key, scope))
            missing = self._unlinked(scope, OUTER) - found
            if missing:
                names = " and ".join(sorted(missing))
                self._wrong(
                    f"a window over several slices: {names} is not among what it is partitioned by",
                    window,
                    reach=reach_of_window(whole, self._is_date_in(scope)),
                )
