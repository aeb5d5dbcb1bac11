"""A relation's modes and checks as rules of single rows: for each, the expression that holds where a row keeps it.

The Pandera schema in `validation.schema` is made of the same rules, and `validation.verdict` evaluates them all in one pass; tests hold
that both say the same of every rule of every table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from gaelp_assets.catalog.model import Check, Field, Relation
from gaelp_assets.validation.registry import RULES, Argument, Arguments, blamed_field, expectation, field_rule
from gaelp_assets.validation.values import typed_value

Leaf = Callable[[pl.Expr], pl.Expr]


@dataclass(frozen=True)
class RowRule:
    """A rule that a frame's rows keep where `holds` is true or NULL: the field (its dotted path) that it blames, its name, and what
    is expected."""

    field: str
    rule: str
    message: str
    holds: pl.Expr
    built_in: Arguments | None = None
    """The arguments of Pandera's own check of that name, where there is one that does the same."""


def row_rules(relation: Relation) -> list[RowRule]:
    """All rules of a relation's rows: what must not be NULL, the checks of its fields, and those over several fields.

    Uniqueness is not a rule of a row, and is left to the load.
    """
    rules = []
    for field in relation.fields:
        if field.required or field.repeated:
            holds = pl.col(field.name).is_not_null()
            if field.type == "FLOAT" and not field.repeated:
                holds &= pl.col(field.name).is_not_nan().fill_null(value=True)  # a NaN is no value
            rules.append(RowRule(field.name, "not_null", "expected a value, not null", holds))
        rules += column_rules(field)
    return rules + table_rules(relation)


def column_rules(field: Field) -> list[RowRule]:
    """The rules of one column's values, nested ones included, but for the NULLs of the column itself."""
    return [rule for chain in _chains((field,)) for rule in _chain_rules(chain)]


def table_rules(relation: Relation) -> list[RowRule]:
    """The rules over several fields of a row."""
    return [_table_rule(check, relation) for check in relation.checks]


def _chains(chain: tuple[Field, ...]) -> list[tuple[Field, ...]]:
    """The field, and every field nested in it, each with its records from the outermost inwards."""
    return [chain] + [deeper for child in chain[-1].fields for deeper in _chains((*chain, child))]


def _chain_rules(chain: tuple[Field, ...]) -> Iterator[RowRule]:
    field = chain[-1]
    path = ".".join(part.name for part in chain)
    column = pl.col(chain[0].name)

    def rule(name: str, message: str, leaf: Leaf, *, array: bool = False) -> RowRule:
        return RowRule(path, name, message, _lift(chain, leaf, array=array)(column))

    # NULL elements and nested NULLs.
    if field.repeated or (field.required and len(chain) > 1):
        yield rule("not_null", "expected a value, not null", lambda v: v.is_not_null())
    if field.repeated and len(chain) > 1:
        yield rule("not_null", "expected an array, not null", lambda v: v.is_not_null(), array=True)
    for check in field.checks:
        known = RULES[check.name]
        arguments = _typed(check.arguments, known.arguments, field.type)
        message = expectation(check.name, check.arguments)
        if known.built_in and len(chain) == 1 and not field.repeated:
            yield RowRule(path, check.name, message, known.expression(column, **arguments), arguments)
        else:
            leaf = partial(known.expression, **arguments)
            yield rule(check.name, message, leaf, array=known.scope == "array")


def _lift(chain: Sequence[Field], leaf: Leaf, *, array: bool = False) -> Leaf:
    """The expression of a whole column that holds where `leaf` holds for the nested field in every element."""
    field, inner = chain[0], chain[1:]

    def one(value: pl.Expr) -> pl.Expr:
        if not inner:
            return leaf(value)
        # A record that is not there has no fields that could be missing.
        return value.is_null() | _lift(inner, leaf, array=array)(value.struct.field(inner[0].name))

    def every(value: pl.Expr) -> pl.Expr:
        return value.list.eval(one(pl.element()).fill_null(value=True)).list.all()

    if not field.repeated or (array and not inner):
        return one
    return every


def _table_rule(check: Check, relation: Relation) -> RowRule:
    rule = RULES[check.name]
    of = check.arguments.get("field")
    arguments = _typed(
        check.arguments, rule.arguments, relation.field(of).type if isinstance(of, str) else ""
    )
    if "then" in arguments:
        then = field_rule(arguments["then"])
        inner = _typed(then.arguments, RULES[then.name].arguments, relation.field(then.field).type)
        arguments["then"] = then._replace(arguments=inner)._asdict()
    return RowRule(
        blamed_field(check.name, check.arguments),
        check.name,
        expectation(check.name, check.arguments),
        rule.expression(**arguments),
    )


def _typed(arguments: Arguments, declared: Mapping[str, Argument], field_type: str) -> dict[str, object]:
    """The arguments with values of the field's type in place of their text in JSON."""
    typed = dict(arguments)
    for name, argument in declared.items():
        if name not in typed:
            continue
        value = typed[name]
        if argument.kind == "value":
            typed[name] = typed_value(value, field_type)
        elif argument.kind == "values" and isinstance(value, list | tuple):
            typed[name] = [typed_value(item, field_type) for item in value]
    return typed
