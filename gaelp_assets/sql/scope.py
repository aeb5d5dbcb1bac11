"""Which column a name means: range variables, columns, fields of unnested records, and aliases of the SELECT list."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator

from gaelp_assets.errors import Problem
from gaelp_assets.sql.trees import copied
from gaelp_assets.sql.types import ANY, Described, Type, struct_of, type_of, typed

Tables = Mapping[str, Sequence[Described] | None]
"""The fields of every relation that a query may read, by `dataset.name`; None of one whose fields are not known."""
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class NameProblem(Exception):
    """A name that means nothing, or several things."""

    def __init__(self, what: str, expected: str = "", remedy: str = "") -> None:
        self.what, self.expected, self.remedy = what, expected, remedy
        super().__init__(what)


def place(node: exp.Expr) -> str:
    """`SQL, line 2, column 7`: where the node's text starts, as far as the parser has kept it."""
    starts = [n.meta for n in node.walk() if n._meta and "start" in n.meta]
    if not starts:
        return "SQL"
    first = min(starts, key=lambda meta: int(meta["start"]))
    column = int(first["col"]) - (int(first["end"]) - int(first["start"]))
    return f"SQL, line {first['line']}, column {max(column, 1)}"


def at(found: exp.Expr, written: exp.Expr) -> exp.Expr:
    """The expression, noted to stand where the text is that it was found for."""
    for node in written.walk():
        if node._meta and "start" in node.meta:
            found.meta.update({key: node.meta[key] for key in ("line", "col", "start", "end")})
            break
    return found


def identifier(name: str) -> exp.Identifier:
    """A name as DuckDB needs it: in quotes where it would be read as something else."""
    plain = _PLAIN.fullmatch(name) and name.lower() not in DuckDBGenerator.RESERVED_KEYWORDS
    return exp.to_identifier(name, quoted=not plain)


def column(name: str, table: str | None, type_: Type) -> exp.Expr:
    """A reference to a column."""
    return typed(
        exp.Column(this=identifier(name), table=identifier(table) if table else None),
        type_,
    )


@dataclass(frozen=True)
class Column:
    """A visible column: its name ('' if it has none), its type, and the expression that means it and nothing else."""

    name: str
    type: Type
    sql: exp.Expr
    literal: bool = False

    def reference(self) -> exp.Expr:
        """A new tree of the expression."""
        return typed(copied(self.sql), self.type)


@dataclass
class Source:
    """An item of FROM. `columns` is None where the fields of a relation are not known; `value` is the element of an UNNEST."""

    alias: str
    name: str
    columns: list[Column] | None
    value: Column | None = None
    offset: Column | None = None

    def row(self) -> exp.Expr:
        """The range variable itself: the unnested element, or a STRUCT of the row."""
        if self.value is not None:
            return self.value.reference()
        if self.columns is None:
            return typed(exp.Column(this=identifier(self.alias)), ANY)
        fields = [exp.PropertyEQ(this=identifier(c.name), expression=c.reference()) for c in self.columns]
        return typed(exp.Struct(expressions=fields), struct_of((c.name, c.type) for c in self.columns))

    def find(self, name: str) -> exp.Expr | None:
        """The column of that name, or the field of the unnested element."""
        if self.columns is None:
            if self.value is not None:
                return _field_of(self.value.reference(), name)
            return column(name, self.alias, ANY)
        found = [c for c in self.columns if c.name.lower() == name.lower()]
        if len(found) > 1:
            raise NameProblem(f"column {name} is ambiguous: {self.name} has it twice")
        if found:
            return found[0].reference()
        if self.value is not None:
            return _field_of(self.value.reference(), name)
        return None


@dataclass
class Scope:
    """What names mean at one place of a query; `outer` is asked for what is not here.

    `columns` holds what `*` gives, in its order; `aliases` the SELECT list, where that wins over columns.
    """

    outer: Scope | None = None
    sources: list[Source] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    aliases: dict[str, list[exp.Expr]] = field(default_factory=dict)
    only_aliases: str = ""
    """Where columns of FROM are not visible any more: the clause that hides them."""
    merged: bool = False
    """Whether a USING has merged columns."""

    @property
    def open(self) -> bool:
        """Whether a name that is not found may be a column of a relation whose fields are not known."""
        return any(s.columns is None for s in self.sources)

    def with_aliases(self, items: Iterable[tuple[str, exp.Expr]], only: str = "") -> Scope:
        """The same scope, with names of the SELECT list before those of FROM."""
        aliases: dict[str, list[exp.Expr]] = {}
        for name, expression in items:
            if name:
                aliases.setdefault(name.lower(), []).append(expression)
        return Scope(self.outer, self.sources, self.columns, aliases, only, self.merged)

    def resolve(self, path: Sequence[str]) -> exp.Expr:
        """The expression that a path of names means.

        Raises:
            NameProblem: it means nothing here, or several things.
        """
        found = self._local(path)
        if found is not None:
            return found
        # A name that is not found may be of an outer query, or of a relation whose columns are not known.
        may_be_here = self.open and not self.only_aliases
        if self.outer is not None and len(path) > 1 and self.outer.has_source(path[0]):
            return self.outer.resolve(path)
        if self.outer is not None and may_be_here and all(s.value for s in self.sources if s.columns is None):
            raise NameProblem(
                f"{path[0]} may be a field of an unnested record or a column of the query around it",
                remedy="Give UNNEST an alias, and write it or the table before the name.",
            )
        if self.outer is not None:
            try:
                outer = self.outer.resolve(path)
            except NameProblem:
                if not may_be_here:
                    raise
            else:
                if not may_be_here:
                    return outer
            return _bare(path)
        if may_be_here:
            unknown = [s for s in self.sources if s.columns is None]
            if len(unknown) == 1:
                return _fields_of(unknown[0].find(path[0]) or _bare(path[:1]), path[1:])
            return _bare(path)
        names = sorted({*self._names()})
        near = difflib.get_close_matches(path[0].lower(), [n.lower() for n in names], n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise NameProblem(
            f"unrecognised name {'.'.join(path)}{hint}",
            "a column of " + ", ".join(s.name for s in self.sources if s.name)
            if any(s.name for s in self.sources)
            else "",
        )

    def has_source(self, name: str) -> bool:
        """Whether a range variable of that name is visible."""
        here = any(s.name.lower() == name.lower() for s in self.sources)
        return here or (self.outer is not None and self.outer.has_source(name))

    def _names(self) -> Iterator[str]:
        yield from self.aliases
        for source in self.sources:
            yield source.name
            yield from (c.name for c in source.columns or ())

    def _local(self, path: Sequence[str]) -> exp.Expr | None:
        first = path[0].lower()
        if first in self.aliases:
            found = self.aliases[first]
            if any(other != found[0] for other in found[1:]):
                raise NameProblem(f"name {path[0]} is ambiguous: the SELECT list has it more than once")
            value: exp.Expr = copied(found[0])
            value.meta["by_name"] = True
            if isinstance(value, exp.Binary | exp.Unary | exp.Between | exp.In) and not isinstance(
                value, exp.Dot | exp.Paren
            ):
                value = exp.Paren(this=value)
            return _fields_of(typed(value, type_of(found[0])), path[1:])
        visible = self._in_from(path)
        if visible is not None and self.only_aliases:
            raise NameProblem(f"{'.'.join(path)} is not visible after {self.only_aliases}")
        return visible

    def _in_from(self, path: Sequence[str]) -> exp.Expr | None:
        first = path[0].lower()
        for source in self.sources:
            if source.name.lower() == first:
                if len(path) == 1:
                    return source.row()
                found = source.find(path[1])
                if found is None:
                    names = [c.name for c in source.columns or ()]
                    near = difflib.get_close_matches(path[1], names, n=1)
                    hint = f", did you mean {near[0]}?" if near else ""
                    raise NameProblem(f"name {path[1]} is not found in {source.name}{hint}")
                return _fields_of(found, path[2:])
        named = [c for c in self.columns if c.name.lower() == first]
        if len(named) > 1:
            raise NameProblem(f"column {path[0]} is ambiguous", remedy="Write its table before it.")
        return _fields_of(named[0].reference(), path[1:]) if named else None


def _bare(path: Sequence[str]) -> exp.Expr:
    return _fields_of(column(path[0], None, ANY), path[1:])


def _field_of(value: exp.Expr, name: str) -> exp.Expr | None:
    type_ = type_of(value).field(name)
    if type_ is None:
        return None
    return typed(exp.Dot(this=value, expression=identifier(name)), type_)


def _fields_of(value: exp.Expr, names: Sequence[str]) -> exp.Expr:
    for name in names:
        found = _field_of(value, name)
        if found is None:
            remedy = f"Use JSON_VALUE(..., '$.{name}')." if type_of(value).name == "JSON" else ""
            raise NameProblem(f"{type_of(value)} has no field {name}", remedy=remedy)
        value = found
    return value


fields_of = _fields_of


def refused_name(error: NameProblem, node: exp.Expr) -> Problem:
    """The problem of a name, at its place."""
    return Problem(error.what, place(node), error.expected, error.remedy)
