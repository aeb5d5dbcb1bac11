"""Finds mistakes in a catalogue's checks: unknown rules, wrong arguments, fields that a rule does not fit.

The known rules stand in `validation.registry`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import polars as pl

from gaelp_assets.catalog.model import Check, Field, Relation
from gaelp_assets.errors import unknown
from gaelp_assets.validation.registry import (
    NUMBERS,
    OPERATORS,
    RULES,
    Argument,
    Arguments,
    Rule,
    field_rule,
    whole,
)
from gaelp_assets.validation.values import typed_value

__all__ = ["RULES", "check_problems"]


def check_problems(check: Check, field: Field | None, relation: Relation) -> list[str]:
    """What is wrong with a check of a field (or, with None, of the relation itself), in words; empty if nothing is."""
    rule = RULES.get(check.name)
    if rule is None:
        fitting = [r.name for r in RULES.values() if (r.scope == "row") == (field is None)]
        return [str(unknown("check rule", check.name, fitting))]
    return list(_problems(rule, check.arguments, field, relation))


def _problems(rule: Rule, arguments: Arguments, field: Field | None, relation: Relation) -> Iterator[str]:
    if (field is None) != (rule.scope == "row"):
        yield f"{rule.name} is a rule over " + (
            "a row: it belongs in the relation's checks"
            if field
            else "one field: it belongs in that field's checks"
        )
        return
    if field is not None:
        if field.type not in rule.types:
            yield f"{rule.name} does not fit a {field.type}, only {', '.join(sorted(rule.types))}"
            return
        if rule.scope == "array" and not field.repeated:
            yield f"{rule.name} fits only a REPEATED field"
            return
    wrong = False
    for name in sorted(set(arguments) - set(rule.arguments)):
        wrong = True
        yield str(unknown(f"argument of {rule.name}", name, rule.arguments))
    for name, argument in rule.arguments.items():
        if name not in arguments:
            if argument.required and not wrong:
                wrong = True
                yield f"{rule.name} needs the argument {name}"
            continue
        for text in _argument_problems(argument, arguments[name], field, relation, arguments):
            wrong = True
            yield f"{name}: {text}"
    if not wrong:
        yield from _together(rule, arguments, field, relation)


def _argument_problems(
    argument: Argument, value: object, field: Field | None, relation: Relation, arguments: Arguments
) -> Iterator[str]:
    kind = argument.kind
    if kind == "value":
        owner = field if field is not None else _find(relation, arguments.get("field"))
        if owner is not None:
            yield from _value_problems(value, owner)
    elif kind == "values":
        if not isinstance(value, list | tuple) or not value:
            yield "expected a list of values that is not empty"
        elif field is not None:
            for item in value:
                yield from _value_problems(item, field)
    elif kind == "number" and (
        not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32
    ):
        yield "expected a whole number that is not negative"
    elif kind == "boolean" and not isinstance(value, bool):
        yield "expected true or false"
    elif kind == "text" and not isinstance(value, str):
        yield "expected text"
    elif kind == "operator" and not (isinstance(value, str) and value in OPERATORS):
        yield str(unknown("operator", str(value), OPERATORS))
    elif kind == "pattern":
        yield from _pattern_problems(value)
    elif kind == "field" and _find(relation, value) is None:
        yield str(unknown("field", str(value), relation.field_names))
    elif kind == "flag":
        flag = _find(relation, value)
        if flag is None:
            yield str(unknown("field", str(value), relation.field_names))
        elif flag.type != "BOOLEAN" or flag.repeated:
            yield f"expected a BOOLEAN field, and {flag.name} is {flag.mode} {flag.type}"
    elif kind in {"fields", "any_fields"}:
        if not isinstance(value, list | tuple) or len(value) < 2:
            yield "expected a list of at least two fields"
        else:
            for name in value:
                if _find(relation, name) is None:
                    yield str(unknown("field", str(name), relation.field_names))
    elif kind == "rule":
        yield from _then_problems(value, relation)


def _then_problems(value: object, relation: Relation) -> Iterator[str]:
    try:
        then = field_rule(value)
    except ValueError as error:
        yield str(error)
        return
    field = _find(relation, then.field)
    if field is None:
        yield str(unknown("field", then.field, relation.field_names))
    elif then.name not in RULES:
        fitting = "array" if field.repeated else "value"
        yield str(unknown("check rule", then.name, (r.name for r in RULES.values() if r.scope == fitting)))
    elif field.repeated and RULES[then.name].scope == "value":
        yield f"{then.name} is a rule of one value, and field {field.name} is REPEATED"
    else:
        yield from _problems(RULES[then.name], then.arguments, field, relation)


def _pattern_problems(value: object) -> Iterator[str]:
    if not isinstance(value, str):
        yield "expected a regular expression"
        return
    yield from _faults(value)


@cache
def _faults(pattern: str) -> tuple[str, ...]:
    """Kept: a catalogue has few patterns, each on many fields."""
    try:
        pl.Series([""]).str.contains(whole(pattern))
    except pl.exceptions.ComputeError as error:
        return (f"not a regular expression of the RE2 kind: {str(error).splitlines()[-1].strip()}",)
    return ()


def _value_problems(value: object, field: Field) -> Iterator[str]:
    try:
        typed_value(value, field.type)
    except ValueError:
        yield f"expected a value of the field's type {field.type}"


def _together(rule: Rule, arguments: Arguments, field: Field | None, relation: Relation) -> Iterator[str]:
    """What is wrong with arguments that are right one by one."""
    low, high = arguments.get("min_value"), arguments.get("max_value")
    if low is not None and high is not None:
        if field is not None and rule.arguments["min_value"].kind == "value":
            low, high = typed_value(low, field.type), typed_value(high, field.type)
        if (low,) > (high,):  # whatever type both are of: a tuple compares its values
            yield "min_value is greater than max_value"
    if rule.name in {"str_length", "array_length"} and not arguments:
        yield f"{rule.name} needs at least one of {', '.join(rule.arguments)}"
    if rule.scope == "row" and rule.name != "when":
        yield from _misfits(rule, _fields_of(arguments, rule, relation))


def _fields_of(arguments: Arguments, rule: Rule, relation: Relation) -> list[Field]:
    """The fields that a rule's arguments name, in the rule's order."""
    names: list[object] = []
    for name, argument in rule.arguments.items():
        value = arguments.get(name)
        if argument.kind == "fields" and isinstance(value, list | tuple):
            names += value
        elif argument.kind == "field":
            names.append(value)
    return [field for field in (_find(relation, name) for name in names) if field is not None]


def _misfits(rule: Rule, fields: Sequence[Field]) -> Iterator[str]:
    """Fields of types that a rule over several does not take, or does not take together."""
    misfits = [field for field in fields if field.type not in rule.types or field.repeated]
    for found in misfits:
        yield f"{rule.name} does not fit the {found.mode} {found.type} field {found.name}"
    if misfits:
        return
    types = [field.type for field in fields]
    if rule.name == "utc_day":
        if types != ["DATE", "TIMESTAMP"]:
            yield f"{rule.name} needs a DATE and a TIMESTAMP, found {' and '.join(types)}"
    elif len({"number" if type_ in NUMBERS else type_ for type_ in types}) > 1:
        yield f"{rule.name} needs fields of one type, found {' and '.join(types)}"


def _find(relation: Relation, name: object) -> Field | None:
    return next((field for field in relation.fields if field.name == name), None)
