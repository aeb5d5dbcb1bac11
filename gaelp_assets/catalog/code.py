"""The Python functions that relations are computed by, read as text: where they are, what they depend on, what is wrong with them.

Nothing is imported here: a catalogue is read by every process, and a user's module may take seconds, or fail. Calling a function is
`operations.compute`'s business.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from gaelp_assets.catalog.folders import shown
from gaelp_assets.errors import Problem, unknown

_EXPECTED: Final = "FUNCTION of NAME.py beside the JSON, or MODULE:FUNCTION"
_DIGITS: Final = 16
_AT_ONCE: Final = 256


@dataclass(frozen=True)
class _Module:
    """What a module's text says, as a tree without places, and every name of its imports."""

    tree: ast.Module
    said: str
    imported: tuple[str, ...]


@lru_cache(maxsize=_AT_ONCE)
def _read(text: str) -> _Module:
    """Relations share their modules, and a process reads its catalogue again and again: that is most of what reading it takes."""
    tree = ast.parse(text)
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update((node.module or "", *(alias.name for alias in node.names)))
    parts = {part for name in names for part in name.split(".") if part}
    return _Module(tree, ast.dump(tree), tuple(sorted(parts)))


@dataclass(frozen=True)
class Code:
    """A function in a file, and a digest of all that it is made of."""

    file: Path
    function: str
    module: str
    """Its module's name; empty for a file beside the relation's JSON."""
    digest: str
    """16 hexadecimal digits of the file and, of a module, of the files of its folder that it imports, directly or through one another.
    Comments and white space are no part of it; of what lies elsewhere, nothing is."""


def find_code(path: Path, named: str) -> tuple[Code | None, list[Problem]]:
    """The function that a relation's file names, and what is wrong with it.

    Args:
        path: the relation's JSON.
        named: `FUNCTION`, of `NAME.py` beside it, or `MODULE:FUNCTION`.
    """
    where = f"{shown(path)}, python"
    module, _, function = named.rpartition(":")
    if not function.isidentifier() or not all(part.isidentifier() for part in module.split(".") if module):
        return None, [Problem(f"{named!r} names no function", where, _EXPECTED)]
    file = path.with_suffix(".py") if not module else _file_of(module)
    if file is None or not file.is_file():
        what = f"there is no module {module!r}" if module else f"there is no {path.stem}.py beside it"
        remedy = "Install its package where the platform runs." if module else ""
        return None, [Problem(what, where, _EXPECTED, remedy)]
    try:
        read = _read(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        line = getattr(error, "lineno", None)
        at = f"{shown(file)}, line {line}" if line else shown(file)
        what = f"{at} is no Python: {getattr(error, 'msg', None) or error}"
        return None, [Problem(what, where, "a module of Python")]
    found = _definition(read.tree, function)
    if found is None:
        names = [name for node in read.tree.body for name in _names(node) if not name.startswith("_")]
        return None, [unknown(f"function of {shown(file)}", function, names, where=where)]
    problems = list(_signature_problems(found, file, where))
    texts = _texts(file, read) if module else [read.said]
    digest = hashlib.sha256("\0".join([named, *texts]).encode()).hexdigest()[:_DIGITS]
    return Code(file, function, module, digest), problems


def _file_of(module: str) -> Path | None:
    """The file of a module, found without importing its packages."""
    found: list[str] | None = None
    packages = module.split(".")[:-1]
    name = ""
    for part in packages:
        name = f"{name}.{part}" if name else part
        spec = PathFinder.find_spec(name, found)
        if spec is None or spec.submodule_search_locations is None:
            return None
        found = list(spec.submodule_search_locations)
    spec = PathFinder.find_spec(module, found)
    origin = spec.origin if spec is not None else None
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def _definition(tree: ast.Module, function: str) -> ast.stmt | None:
    return next((node for node in reversed(tree.body) if function in _names(node)), None)


def _names(node: ast.stmt) -> list[str]:
    """What a statement at the top of a module defines that can be a function."""
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    return []


def _signature_problems(node: ast.stmt, file: Path, where: str) -> Iterator[Problem]:
    if not isinstance(node, ast.FunctionDef):
        return  # what is assigned or imported is looked at when it is called
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    needed = len(positional) - len(given.defaults)
    needed_keywords = [
        a.arg for a, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None
    ]
    if needed > 1 or (not positional and given.vararg is None) or needed_keywords:
        yield Problem(
            f"{node.name}({', '.join(a.arg for a in [*positional, *given.kwonlyargs])}) in {shown(file)}, line {node.lineno}",
            where,
            "a function of one argument: the inputs, a mapping from relation to pl.DataFrame",
        )


def _texts(file: Path, own: _Module) -> Iterator[str]:
    """What the code says: its own file's text, then those of the files of its folder that it imports."""
    seen: set[Path] = {file}
    waiting = [own]
    texts: dict[Path, str] = {}
    while waiting:
        for part in waiting.pop().imported:
            other = file.parent / f"{part}.py"
            if other in seen or not other.is_file():
                continue
            seen.add(other)
            try:
                imported = _read(other.read_text(encoding="utf-8"))
            except (OSError, ValueError, SyntaxError):
                continue  # importing it says so
            texts[other] = imported.said
            waiting.append(imported)
    yield own.said
    for other in sorted(texts):
        yield f"{other.name}\0{texts[other]}"
