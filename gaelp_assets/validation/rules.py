"""Finds mistakes in a catalogue's checks: unknown rules, wrong arguments, fields that a rule does not fit.

The known rules stand in `validation.registry`.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from gaelp_assets.catalog.model import Check, Field, Relation
from gaelp_assets.errors import unknown
from gaelp_assets.validation.registry import OPERATORS, RULES, Argument, Arguments, Rule, field_rule, whole
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
    elif field.repeated:
        yield f"field {field.name} is REPEATED, expected a field with one value"
    elif then.name not in RULES:
        yield str(unknown("check rule", then.name, (r.name for r in RULES.values() if r.scope == "value")))
    else:
        yield from _problems(RULES[then.name], then.arguments, field, relation)


def _pattern_problems(value: object) -> Iterator[str]:
    if not isinstance(value, str):
        yield "expected a regular expression"
        return
    try:
        pl.Series([""]).str.contains(whole(value))
    except pl.exceptions.ComputeError as error:
        yield f"not a regular expression of the RE2 kind: {str(error).splitlines()[-1].strip()}"


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
    if rule.name in {"compare", "not_both"}:
        fields = [
            f for f in (_find(relation, arguments.get(name)) for name in rule.arguments) if f is not None
        ]
        misfits = [f for f in fields if f.type not in rule.types or f.repeated]
        for found in misfits:
            yield f"{rule.name} does not fit the {found.mode} {found.type} field {found.name}"
        if (
            not misfits
            and len({"number" if f.type in {"INTEGER", "FLOAT", "NUMERIC"} else f.type for f in fields}) > 1
        ):
            yield f"{rule.name} needs fields of one type, found {' and '.join(f.type for f in fields)}"


def _find(relation: Relation, name: object) -> Field | None:
    return next((field for field in relation.fields if field.name == name), None)
