"""What can still be told of a relation whose file has problems, so that these do not hide what else is wrong with it and with others."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gaelp_assets.catalog.model import Relation

# What a reader of the relation's rows does not need to know of a field.
_ASIDE: Final = frozenset({"description", "policyTags", "sensitive", "checks"})
# What rows and columns do not depend on, and no file may be without.
_PLACEHOLDERS: Final = {"description": "unread", "owner": "team:unread"}
_ROUNDS: Final = 8
_GONE: Final = object()


def salvage(
    content: Mapping[str, object], place: Mapping[str, object], errors: Sequence[ErrorDetails]
) -> Relation | None:
    """The relation without the parts that are wrong, which it names in `unread`; None where nothing can be told of it.

    Args:
        content: a catalogue file.
        place: what the places and the reading of its files tell, by the model's names.
        errors: what the model says of the two together.
    """
    parts = copy.deepcopy(dict(content))
    before = place.get("unread")
    unread: set[str] = set(before) if isinstance(before, frozenset) else set()
    for _ in range(_ROUNDS):
        for error in errors:
            _leave_out(parts, error, unread)
        kept = _without_gone(parts)
        assert isinstance(kept, dict)
        parts = kept
        if "kind" in unread:
            # The kinds that ask for least; what only loaded tables may say goes with the kind.
            parts["kind"] = "derived_table" if place.get("sql") is not None or "window" in parts else "ledger"
            parts = {
                key: value
                for key, value in parts.items()
                if key not in {"on_key_conflict", "require_partition_filter", "stream"}
            }
        if "partitioning" in unread:
            parts.pop("require_partition_filter", None)
        if not parts.get("fields"):
            unread.add("fields")
            parts["fields"] = [{"name": "unread", "type": "STRING"}]
        try:
            return Relation.model_validate({**_PLACEHOLDERS, **parts, **place, "unread": frozenset(unread)})
        except ValidationError as error:
            errors = error.errors()
    return None


def _leave_out(parts: dict[str, object], error: ErrorDetails, unread: set[str]) -> None:
    """Takes out the part that an error is about, and notes what is then not known."""
    path = error["loc"]
    surplus = error["type"] == "extra_forbidden"
    match path:
        case ("fields", int(number), *inner) if not surplus and not _ASIDE & set(inner):
            fields = parts["fields"]
            assert isinstance(fields, list)
            name = fields[number].get("name") if isinstance(fields[number], dict) else None
            if isinstance(name, str) and "name" not in inner[:1]:
                unread.add(f"fields.{name}")
                fields[number] = {"name": name, "type": "STRING"}
            else:
                unread.add("fields")
                fields[number] = _GONE
            return
        case (str(key), *inner) if not surplus and not (key == "fields" and inner):
            unread.add(key)
    # An earlier error may have taken out more than this one is about.
    _take_out(
        parts, path, at_least=len(path) if surplus else 3 if path[0] == "fields" and len(path) > 1 else 1
    )


def _take_out(parts: object, path: Sequence[int | str], *, at_least: int) -> bool:
    """Takes out the innermost part that a path reaches, if it reaches `at_least` so many steps; whether the first was there."""
    if not path:
        return False
    step = path[0]
    if isinstance(parts, dict) and step in parts:
        if not _take_out(parts[step], path[1:], at_least=at_least - 1) and at_least <= 1:
            parts[step] = _GONE
        return True
    if isinstance(parts, list) and isinstance(step, int) and step < len(parts):
        if not _take_out(parts[step], path[1:], at_least=at_least - 1) and at_least <= 1:
            parts[step] = _GONE
        return True
    return False


def _without_gone(parts: object) -> object:
    if isinstance(parts, dict):
        return {key: _without_gone(value) for key, value in parts.items() if value is not _GONE}
    if isinstance(parts, list):
        return [_without_gone(value) for value in parts if value is not _GONE]
    return parts
