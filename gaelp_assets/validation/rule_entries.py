"""The check rules as the reference page tells them (`catalog.reference_page`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gaelp_assets.catalog.json_schema import json_schema
from gaelp_assets.catalog.reference_page import RuleEntry, reference_page
from gaelp_assets.validation.registry import ANY, RULES, Argument, ArgumentKind, Rule

_LOOKS_AT: Final = {"value": "each value", "array": "an array as a whole", "row": "several fields of a row,"}
_KINDS: Final[Mapping[ArgumentKind, str]] = {
    "any_fields": "an array of names of fields, of any types",
    "boolean": "`true` or `false`",
    "field": "the name of a field",
    "fields": "an array of names of fields",
    "flag": "the name of a BOOLEAN field",
    "number": "a whole number",
    "operator": "one of `<`, `<=`, `==`, `!=`, `>=`, `>`",
    "pattern": "a regular expression that the whole text matches",
    "rule": "a rule of one field: an object with `field`, `name` and, if need be, `arguments`",
    "text": "a text",
    "value": "a value of the field's type",
    "values": "an array of values of the field's type",
}


def catalogue_reference() -> str:
    """The text of `docs/catalogue-reference.md`."""
    return reference_page(json_schema(), [_entry(rule) for rule in RULES.values()])


def _entry(rule: Rule) -> RuleEntry:
    example = rule.example
    arguments = dict(example.arguments)
    return RuleEntry(
        name=rule.name,
        looks_at=_LOOKS_AT[rule.scope],
        types=["any type"] if rule.types == ANY else sorted(rule.types),
        arguments={name: _words(argument) for name, argument in rule.arguments.items()},
        expects=rule.expected(**arguments),
        example=_written(rule.name, arguments),
        passes=example.passes,
        rejects=example.rejects,
    )


def _words(argument: Argument) -> str:
    return _KINDS[argument.kind] + ("" if argument.required else "; can be left out")


def _written(name: str, arguments: Mapping[str, object]) -> dict[str, object]:
    return {"name": name, "arguments": dict(arguments)} if arguments else {"name": name}
