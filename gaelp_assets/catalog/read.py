"""Reads one catalogue file, and says in this project's words what is wrong with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, NoReturn, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gaelp_assets.catalog.code import find_code
from gaelp_assets.catalog.folders import shown
from gaelp_assets.catalog.model import FROM_PLACE, Relation
from gaelp_assets.catalog.salvage import salvage
from gaelp_assets.errors import Problem, unknown

_OBJECT: Final = "one JSON object"


class ReadRelation(NamedTuple):
    """What `DATASET/NAME.json`, with `NAME.sql` beside it, describes, and everything that is wrong with the two by themselves.

    With problems, the relation is what can be told all the same, with the rest in its `unread`; None where nothing can.
    """

    relation: Relation | None
    problems: list[Problem]


def read_relation(path: Path) -> ReadRelation:
    """Reads the file of a relation, and the SQL beside it."""
    where = shown(path)
    problems: list[Problem] = []
    text, sql = _text(path, problems), None
    sql_file = path.with_suffix(".sql")
    sql_there = sql_file.exists() or sql_file.is_symlink()
    if sql_there:
        sql = _text(sql_file, problems)
    content = _object(text, where, problems) if text is not None else None
    if content is None:
        return ReadRelation(None, problems)
    content.pop("$schema", None)
    problems += [unknown("key", key, known_keys(()), where=where) for key in FROM_PLACE if key in content]
    content = {key: value for key, value in content.items() if key not in FROM_PLACE}
    place: dict[str, object] = {
        "dataset": path.parent.name,
        "name": path.stem,
        "sql": sql,
        "file": where,
        "unread": frozenset({"sql"} if sql_there and sql is None else ()),
    }
    named = content.get("python")
    if isinstance(named, str):
        code, found = find_code(path, named)
        problems += found
        place["code"] = code.digest if code is not None else None
    try:
        return ReadRelation(Relation.model_validate({**content, **place}), problems)
    except ValidationError as error:
        errors = error.errors()
    problems += [_explain(detail, where) for detail in errors]
    return ReadRelation(salvage(content, place, errors), problems)


def _text(path: Path, problems: list[Problem]) -> str | None:
    """The file's text; None, with a problem more, if it cannot be read: it may be gone since the folder was listed."""
    try:
        if path.exists() and not path.is_file():
            problems.append(Problem("not a file", shown(path), "a text file in UTF-8"))
            return None
        return path.read_text(encoding="utf-8")
    except OSError as error:
        problems.append(Problem(f"cannot be read: {error.strerror}", shown(path), "a text file in UTF-8"))
    except UnicodeDecodeError as error:
        problems.append(Problem(f"not UTF-8 at byte {error.start}", shown(path), "a text file in UTF-8"))
    return None


def _object(text: str, where: str, problems: list[Problem]) -> dict[str, object] | None:
    repeated: list[str] = []

    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        result = dict(found)
        if len(result) < len(found):
            repeated.extend(key for key, times in Counter(key for key, _ in found).items() if times > 1)
        return result

    try:
        content = json.loads(text, object_pairs_hook=pairs, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        problems.append(Problem(f"not JSON: {error}", where, _OBJECT))
        return None
    # Which of two values counts is each reader's own choice: an editor and the platform could differ.
    problems += [
        Problem(f"the key {key!r} stands twice in one object", where, "each key once") for key in repeated
    ]
    if not isinstance(content, dict):
        problems.append(Problem("not a JSON object", where, _OBJECT))
        return None
    return content


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _explain(detail: ErrorDetails, where: str) -> Problem:
    """A pydantic error in the words of this project: which key, what was found, what is allowed."""
    *parents, key = detail["loc"] or ("the file",)
    where = ", ".join([where, ".".join(str(part) for part in detail["loc"])]) if detail["loc"] else where
    if detail["type"] == "extra_forbidden":
        return unknown("key", str(key), known_keys(parents), where=where)
    found = detail["input"]
    shown_value = f" (found {found!r})" if isinstance(found, str | int | float | bool) else ""
    return Problem(f"{detail['msg']}{shown_value}", where)


def known_keys(parents: Sequence[int | str]) -> list[str]:
    """The keys that the model allows at a place in the file, such as `("fields", 3, "checks", 0)`."""
    models: list[type[BaseModel]] = [Relation]
    for part in parents:
        inner = [
            found
            for model in models
            if part in model.model_fields
            for found in _models(model.model_fields[str(part)].annotation)
        ]
        models = inner or models  # an index, or the branch of a union, leads no deeper
    keys = {name for model in models for name in model.model_fields}
    return sorted((keys - set(FROM_PLACE)) | {"$schema"} if models == [Relation] else keys)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """The models that an annotation speaks of, at any depth: `tuple[Field, ...]`, `Literal["reject"] | Latest`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
