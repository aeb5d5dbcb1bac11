"""The folders that a catalogue is read from: which of their files count, and how messages name them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gaelp_assets.errors import Problem
from gaelp_assets.settings import Settings

FOLDER: Final = Path(__file__).parent
"""The shipped catalogue: the platform's own relations and the example that the demo fills."""
SCHEMA_FILE: Final = "relation.schema.json"
PLATFORM_DATASETS: Final = {
    "ops": "the ledger and the dead letter, whose columns every load writes",
    "gateway": "the export gateway's asset",
    "locks": "what a write to BigQuery waits for",
    "staging": "what a write to BigQuery stages",
}
"""Datasets in which a user's folder has no relations, and what they hold."""
LAYOUT: Final = "DATASET/NAME.json, and NAME.sql beside it for a derived relation"


@dataclass(frozen=True)
class Files:
    """What a catalogue folder holds."""

    relations: tuple[Path, ...]
    """Every `DATASET/NAME.json`, in order of the names."""
    problems: tuple[Problem, ...]
    """What cannot be listed, and files that stand where nothing would read them."""


def list_files(folder: Path) -> Files:
    """The files of a catalogue folder. Hidden ones, other kinds, and the editors' JSON Schema are no part of it."""
    relations: list[Path] = []
    problems: list[Problem] = []
    for dataset in _entries(folder, problems):
        if _is_of_the_catalogue(dataset):
            problems.append(Problem("the file is in no dataset's folder", shown(dataset), LAYOUT))
        elif dataset.is_dir():
            found = _entries(dataset, problems)
            described = [path for path in found if path.suffix == ".json"]
            relations += described
            problems += [
                Problem("SQL without a description", shown(path), f"{path.stem}.json beside it")
                for path in found
                if path.suffix == ".sql" and path.with_suffix(".json") not in described
            ]
            problems += [
                Problem("the file is too deep in the folder", shown(path), LAYOUT)
                for inner in found
                if inner.is_dir() and not _is_of_the_catalogue(inner)
                for path in _entries(inner, problems)
                if _is_of_the_catalogue(path)
            ]
    return Files(tuple(relations), tuple(problems))


def _is_of_the_catalogue(path: Path) -> bool:
    return path.suffix in {".json", ".sql"} and path.name != SCHEMA_FILE


def _entries(folder: Path, problems: list[Problem]) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        problems.append(
            Problem(f"cannot be listed: {error.strerror}", shown(folder), f"a folder with {LAYOUT}")
        )
        return []


def catalog_folders(settings: Settings) -> list[Path]:
    """The users' folders of the catalogue: those of `GAELP_CATALOG`, or else `$GAELP_HOME/catalog` if anything lies in it."""
    if settings.catalog:
        return list(settings.catalog)
    files = list_files(settings.home_catalog) if settings.home_catalog.is_dir() else None
    return [settings.home_catalog] if files and (files.relations or files.problems) else []


def named_folder_problem(folder: Path) -> Problem | None:
    """Why a folder that a user named is none of a catalogue; None if it is one, whatever is wrong with its files."""
    if not folder.exists():
        what = "the catalogue folder does not exist"
    elif not folder.is_dir():
        what = "the catalogue folder is a file"
    else:
        files = list_files(folder)
        if files.relations or files.problems:
            return None
        what = "the catalogue folder holds no relation"
    remedy = "Mend GAELP_CATALOG, or write the first relation into the folder: gaelp catalog new DATASET.NAME"
    return Problem(what, shown(folder), f"a folder with {LAYOUT}", remedy)


def shown(path: Path) -> str:
    """The path for messages: from the current folder on where it lies in it, else whole."""
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):  # it lies elsewhere, or the current folder is gone
        return path.as_posix()
