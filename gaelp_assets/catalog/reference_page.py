"""The page `docs/catalogue-reference.md`: every key of a catalogue file, from its JSON Schema, and every check rule. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

REFERENCE_FILE: Final = "catalogue-reference.md"
_INTRODUCTION: Final = """\
# Reference of the catalogue's files

Generated from the JSON Schema and the registry of rules by `gaelp catalog pages`; edit the model and the rules instead.

A relation is a file `DATASET/NAME.json` in a catalogue folder; a derived one has `NAME.sql` beside it, or names a function or windows.
`gaelp catalog new` writes the first lines of one, `gaelp catalog validate` tells every problem. [Changing a table](changing-a-table.md)
says what a change means for the rows that are there.
"""
_RULES: Final = """\
## Check rules

A rule is `{"name": ..., "arguments": {...}}` in `checks` of a field or, where it looks at several fields, of the relation. A value that is
NULL passes every rule: whether it may be missing is the field's `mode`. A line that breaks a rule is rejected, with the rule's name among
its reasons; `gaelp check FILE` tells it before a file is handed over.
"""


class RuleEntry(NamedTuple):
    """What the page says of a check rule."""

    name: str
    looks_at: str
    """Each value, an array as a whole, or several fields of a row."""
    types: Sequence[str]
    arguments: Mapping[str, str]
    """What each argument takes, in words."""
    expects: str
    """What the example's rule asks, in words."""
    example: Mapping[str, object]
    """The rule as a catalogue file has it."""
    passes: object
    rejects: object


def reference_page(schema: Mapping[str, Any], rules: Sequence[RuleEntry]) -> str:
    """The text of the page.

    Args:
        schema: the JSON Schema of catalogue files.
        rules: the check rules, in the order of the page.
    """
    lines = [_INTRODUCTION, "## The relation", "", f"{_sentence(schema)}\n", *_keys(schema, schema)]
    for name, part in sorted(schema["$defs"].items()):
        if "properties" in part:
            lines += ["", f"## {name}", "", f"{_sentence(part)}\n", *_keys(part, schema)]
        else:
            words = ", ".join(f"`{value}`" for value in part["enum"])
            lines += ["", f"## {name}", "", f"{_sentence(part)} One of {words}."]
    lines += ["", _RULES]
    for rule in rules:
        lines += _rule(rule)
    return "\n".join(lines).rstrip() + "\n"


def _sentence(part: Mapping[str, Any]) -> str:
    return str(part.get("description", "")).strip()


def _keys(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    required = set(part.get("required", ()))
    yield "| key | takes | if left out | |\n|---|---|---|---|"
    for name, value in part["properties"].items():
        if name.startswith("$"):
            continue
        default = "required" if name in required else _default(value)
        yield f"| `{name}` | {_cell(_takes(value, schema))} | {_cell(default)} | {_cell(_sentence(value))} |"


def _default(value: Mapping[str, Any]) -> str:
    found = value.get("default")
    return "" if found in (None, [], {}, "") else f"`{json.dumps(found)}`"


def _takes(value: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a key takes, in words."""
    if "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(_takes(each, schema) for each in value["anyOf"] if each.get("type") != "null")
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return "one of " + ", ".join(f"`{each}`" for each in value["enum"])
    match value.get("type"):
        case "array":
            least = ", at least one" if value.get("minItems") else ""
            most = f", at most {value['maxItems']}" if "maxItems" in value else ""
            return f"an array of {_takes(value['items'], schema)}{least}{most}"
        case "object":
            inner = value.get("additionalProperties")
            return f"an object of {_takes(inner, schema)}" if isinstance(inner, Mapping) else "an object"
        case "string" if "pattern" in value:
            return f"a text of the form `{value['pattern']}`"
        case "string":
            return "a text"
        case "boolean":
            return "`true` or `false`"
        case "integer" | "number" as kind:
            return f"{'a whole number' if kind == 'integer' else 'a number'}{_bounds(value)}"
        case _:
            return "a value"


def _bounds(value: Mapping[str, Any]) -> str:
    words = {
        "minimum": "from {}",
        "exclusiveMinimum": "above {}",
        "maximum": "to {}",
        "exclusiveMaximum": "below {}",
    }
    found = [word.format(value[key]) for key, word in words.items() if key in value]
    return f" {' '.join(found)}" if found else ""


def _rule(rule: RuleEntry) -> Iterator[str]:
    yield f"### {rule.name}\n"
    yield f"Looks at {rule.looks_at} of {', '.join(rule.types)}. The example asks for {rule.expects}.\n"
    yield from (f"- `{name}`: {words}" for name, words in rule.arguments.items())
    if rule.arguments:
        yield ""
    yield f"```json\n{json.dumps(rule.example)}\n```\n"
    yield f"passes `{_shown(rule.passes)}`, rejects `{_shown(rule.rejects)}`\n"


def _shown(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
