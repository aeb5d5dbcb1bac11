"""`gaelp.toml`: the settings of `settings.VARIABLES` in a file, each under its name without GAELP_, in small letters."""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from gaelp_assets.errors import Problem, unknown

FILE_NAME: Final = "gaelp.toml"
PREFIX: Final = "GAELP_"
_PLACE: Final = re.compile(r" \((?:at line (\d+), column (\d+)|at end of document)\)\Z")


class Given(NamedTuple):
    """A value that a file gives, as its variable would have it, and where it stands."""

    text: str
    where: str
    """`/data/gaelp.toml, line 3`."""


class ConfigFile(NamedTuple):
    """What a file says, by the name of the variable, and what is wrong with the file. A file that is not there says nothing."""

    values: Mapping[str, Given]
    problems: tuple[Problem, ...] = ()


def read_config_file(path: Path, known: Mapping[str, str], folders: Collection[str]) -> ConfigFile:
    """Reads a `gaelp.toml`.

    Args:
        path: the file.
        known: what each variable takes, in words.
        folders: the variables that name folders: a relative path is taken from where the file lies.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")  # editors of Windows put a mark first
    except (FileNotFoundError, NotADirectoryError):
        return ConfigFile({})
    except OSError as error:
        return ConfigFile({}, (Problem(f"cannot be read: {error.strerror}", str(path)),))
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 at byte {error.start}"
        return ConfigFile({}, (Problem(what, str(path), "TOML text in UTF-8"),))
    # Not before there is a file: nobody else is to wait for it at the start.
    import tomllib

    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return ConfigFile({}, (_no_toml(path, text, str(error)),))
    values: dict[str, Given] = {}
    problems: list[Problem] = []
    keys = {name.removeprefix(PREFIX).lower(): name for name in known}
    for key, value in content.items():
        where = f"{path}, line {_line(text, key)}"
        if key not in keys:
            problems.append(unknown("setting", key, keys, where=where))
            continue
        name = keys[key]
        found = _as_text(value, several=name == "GAELP_CATALOG")
        if found is None:
            problems.append(
                Problem(f"the value of {key} is of another kind", where, f"a text: {known[name]}")
            )
        else:
            placed = _placed(found, path.absolute().parent) if name in folders else found
            values[name] = Given(placed, where)
    return ConfigFile(values, tuple(problems))


def _no_toml(path: Path, text: str, message: str) -> Problem:
    place = _PLACE.search(message)
    if place is not None and place[1] is not None:
        where = f"{path}, line {place[1]}, column {place[2]}"
    else:
        where = f"{path}, line {text.count(chr(10)) + 1}"
    # The rest of the message may show a character of the text, which could be one of a secret.
    return Problem("is not TOML", where, 'lines such as gateway = "gs://bucket/prefix"')


def _line(text: str, key: str) -> int:
    """The line of a top-level key or table; 1 if it is written in a way that is not found again."""
    quoted = re.escape(key)
    spelled = rf"""^[ \t]*\[*[ \t]*(?:{quoted}|"{quoted}"|'{quoted}')[ \t]*[=.\]]"""
    found = re.search(spelled, text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _as_text(value: object, *, several: bool) -> str | None:
    """The value as an environment variable would have it; None if it is of a kind that no setting takes."""
    match value:
        case bool() | dt.datetime():
            return None
        case str():
            return value
        case dt.date():
            return value.isoformat()
        case int() | float():
            return repr(value)
        case list() if several and all(isinstance(each, str) for each in value):
            return os.pathsep.join(value)
        case _:
            return None


def _placed(text: str, folder: Path) -> str:
    return os.pathsep.join(
        part if not part.strip() or part.startswith("~") else str(folder / part)
        for part in text.split(os.pathsep)
    )
