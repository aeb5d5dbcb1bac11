"""Bundles of what relations hold: Parquet files and a manifest that tells their columns, rows, hashes, code and lineage.

Rows are read a day at a time, by the relation's key in order, so that the same rows give the same bytes. Sensitive columns, and what is
computed from them, are in no bundle. Where a bundle goes is said by those that ask for one: a folder, or the gateway's store.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Final

import polars as pl

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.derivation import code_version
from gaelp_assets.errors import GaelpError, Problem, of_the_system
from gaelp_assets.gateway.names import EXPORTS
from gaelp_assets.operations.lineage import column_sources, hidden_columns, lineage_folder
from gaelp_assets.platform import Platform
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.validation.schema import polars_type
from gaelp_assets.warehouse.parameters import ParameterValue
from gaelp_assets.warehouse.ranges import PartitionRange

MANIFEST: Final = "manifest.json"
PORTAL: Final = f"{EXPORTS}/benchmark_portal"
_RUN: Final = "training_run_id"
_DIGITS: Final = 16
_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class Scope:
    """Which rows are asked for: of these days, of one environment or all, of some runs or all."""

    days: PartitionRange
    runs: tuple[str, ...] = ()

    def condition(self, relation: Relation, days: PartitionRange) -> tuple[str, dict[str, ParameterValue]]:
        """The condition on rows `t` of the relation on these of the days."""
        condition, parameters = days.condition(relation, "t")
        if self.runs and _RUN in relation.field_names:
            return f"{condition} AND t.`{_RUN}` IN UNNEST(@runs)", {**parameters, "runs": self.runs}
        return condition, parameters


@dataclass(frozen=True)
class Bundle:
    """A bundle in a folder, and the manifest in it."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def version(self) -> str:
        """16 hexadecimal digits of what is in it: the same rows of the same code have the same, whenever they are bundled."""
        content = json.dumps(self.manifest["relations"], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:_DIGITS]

    @property
    def files(self) -> list[dict[str, Any]]:
        """The entries of its Parquet files."""
        return [file for relation in self.manifest["relations"] for file in relation["files"]]


def of_runs(catalog: Catalog) -> list[Relation]:
    """The loaded tables whose rows are of runs."""
    return [relation for relation in catalog.loaded if _RUN in relation.field_names]


def export_parquet(
    platform: PlatformReader,
    folder: Path,
    relations: Sequence[Relation],
    scope: Scope,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Writes a bundle to a folder, which is there when it is whole.

    Raises:
        GaelpError: the folder is there already or cannot be written, or the warehouse cannot be read.
    """
    _refuse_unknown_runs(platform, relations, scope)
    if folder.exists():
        remedy = "Name another, or remove it: what is exported once is not changed."
        raise GaelpError(
            Problem("the folder is there already", str(folder), "a folder that is to be made", remedy)
        )
    unfinished = folder.absolute().with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        unfinished.mkdir(parents=True)
        bundle = write_bundle(platform, unfinished, relations, scope, on_progress)
        unfinished.replace(folder.absolute())
    except OSError as error:
        problem = Problem(f"cannot write the bundle: {error.strerror or type(error).__name__}", str(folder))
        raise of_the_system(error, problem) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Bundle(folder, bundle.manifest)


def write_bundle(
    platform: PlatformReader,
    folder: Path,
    relations: Sequence[Relation],
    scope: Scope,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Writes the files of a bundle into a folder that is there."""
    entries = []
    for relation in relations:
        on_progress(relation.id)
        entries.append(_write_relation(platform, folder, relation, scope))
    manifest = {
        "format": 1,
        "by": f"gaelp_assets {version('gaelp-assets')}",
        "days": [scope.days.first.isoformat(), scope.days.last.isoformat()],
        "environment": scope.days.environment,
        "runs": list(scope.runs),
        "relations": entries,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return Bundle(folder, manifest)


def publish(platform: Platform, bundle: Bundle, day: dt.date) -> tuple[str, bool]:
    """Puts a bundle of a day into the gateway's store, under its version; the pointer `latest.json` comes last.

    Returns:
        The bundle's place in the store, and whether it is new: the same content has the same version, and is left as it is.

    Raises:
        GaelpError: the store cannot be reached, or holds other bytes under that version.
    """
    store = platform.gateway.store
    above = f"{PORTAL}/date={day}"
    place = f"{above}/{bundle.version}"
    store.prepare([EXPORTS])
    known = store.find(f"{place}/{MANIFEST}") is not None
    if not known:
        # The manifest comes last: a version without one is not whole, and is completed by the next attempt.
        for name in [*(file["name"] for file in bundle.files), MANIFEST]:
            path = bundle.folder / name
            if store.create(f"{place}/{name}", _blocks(path)) is None:
                _prove_same(platform, f"{place}/{name}", path)
    pointer = json.dumps(
        {"date": day.isoformat(), "version": bundle.version, "manifest": f"{place}/{MANIFEST}"}
    )
    made = store.create(f"{above}/{uuid.uuid4().hex}.json", [pointer.encode() + b"\n"])
    if made is not None:
        store.move(made, f"{above}/latest.json")
    return place, not known


def publish_day(platform: Platform, day: dt.date, folder: Path) -> tuple[str, bool, Bundle]:
    """Bundles what the catalogue publishes of a day, by way of an empty folder; its place, whether it is new, and the bundle.

    Raises:
        GaelpError: the catalogue publishes nothing, or what `publish` and reading the warehouse raise.
    """
    published = [relation for relation in platform.catalog if relation.publish]
    if not published:
        remedy = 'Say "publish": true in the JSON of those that the portal is to be given.'
        raise GaelpError(Problem("no relation is published", expected="relations to bundle", remedy=remedy))
    platform.warehouse.ensure(published)
    bundle = write_bundle(platform, folder, published, Scope(PartitionRange(day, day)))
    return *publish(platform, bundle, day), bundle


def damaged_files(platform: PlatformReader, day: dt.date) -> list[str]:
    """What is wrong with the newest bundle of a day in the gateway's store; empty if its files are those of its manifest."""
    store = platform.gateway.store
    store.prepare([EXPORTS])
    pointer = store.find(f"{PORTAL}/date={day}/latest.json")
    if pointer is None:
        return ["there is no bundle of that day"]
    with store.open(pointer) as file:
        latest = json.load(file)
    place = f"{PORTAL}/date={day}/{latest['version']}"
    stored = store.find(f"{place}/{MANIFEST}")
    if stored is None:
        return [f"{place}/{MANIFEST} is gone"]
    with store.open(stored) as file:
        manifest = json.load(file)
    problems = []
    for entry in Bundle(Path(), manifest).files:
        found = store.find(f"{place}/{entry['name']}")
        if found is None:
            problems.append(f"{entry['name']} is gone")
            continue
        with store.open(found) as file:
            if _digest(file) != entry["sha256"]:
                problems.append(f"{entry['name']} has other bytes")
    return problems


def _refuse_unknown_runs(platform: PlatformReader, relations: Sequence[Relation], scope: Scope) -> None:
    """A run without any row is a slip most likely, and would be an empty bundle."""
    known: set[str] = set()
    for relation in relations if scope.runs else ():
        if _RUN in relation.field_names and not known.issuperset(scope.runs):
            condition, parameters = scope.condition(relation, scope.days)
            found = platform.warehouse.query(
                f"SELECT DISTINCT t.`{_RUN}` AS run FROM {relation.quoted_id} AS t WHERE {condition}",
                parameters,
                labels={"asset": relation.id, "purpose": "export"},
            ).frame
            known.update(found["run"].to_list())
    missing = [run for run in scope.runs if run not in known]
    if missing:
        where = ", ".join(relation.id for relation in relations)
        expected = "runs that have rows in one of them, on these days"
        raise GaelpError(*(Problem(f"no row of the run {run!r}", where, expected) for run in missing))


def _write_relation(
    platform: PlatformReader, folder: Path, relation: Relation, scope: Scope
) -> dict[str, Any]:
    cache = lineage_folder(platform.settings)
    hidden = hidden_columns(relation, platform.catalog, cache)
    fields = [field for field in relation.fields if field.name not in hidden]
    if not fields:
        raise GaelpError(
            Problem("all of its columns are sensitive", relation.id, "a column that may leave the warehouse")
        )
    files = []
    for name, days in _parts(platform, relation, scope):
        frame = _rows(platform, relation, [field.name for field in fields], scope, days)
        frame = frame.select(pl.col(field.name).cast(polars_type(field)) for field in fields)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)
        with path.open("rb") as stream:
            digest = _digest(stream)
        files.append({"name": name, "rows": frame.height, "bytes": path.stat().st_size, "sha256": digest})
    derived = relation.is_derived
    sources = column_sources(relation, platform.catalog, cache) if derived else {}
    return {
        "relation": relation.id,
        "description": relation.description,
        "columns": [
            {"name": field.name, "type": field.type, "mode": field.mode, "description": field.description}
            for field in fields
        ],
        "left_out": sorted(hidden),
        "rows": sum(file["rows"] for file in files),
        "code_version": code_version(platform.catalog, relation) if derived else None,
        "lineage": {
            name: [".".join(source) for source in found]
            for name, found in sources.items()
            if name not in hidden
        },
        "files": files,
    }


def _parts(
    platform: PlatformReader, relation: Relation, scope: Scope
) -> Iterator[tuple[str, PartitionRange]]:
    """The files of a relation, and the days of each: one for each day that has rows, or one for all."""
    folder = f"{relation.dataset}.{relation.name}"
    if relation.partitioning is None:
        yield f"{folder}/rows.parquet", scope.days
        return
    date = f"t.`{relation.partitioning.date}`"
    day = date if relation.field(relation.partitioning.date).type == "DATE" else f"DATE({date})"
    condition, parameters = scope.condition(relation, scope.days)
    found = platform.warehouse.query(
        f"SELECT DISTINCT {day} AS day FROM {relation.quoted_id} AS t WHERE {condition} ORDER BY 1",
        parameters,
        labels={"asset": relation.id, "purpose": "export"},
    ).frame
    for one in found["day"].to_list():
        yield f"{folder}/date={one}.parquet", PartitionRange(one, one, scope.days.environment)


def _rows(
    platform: PlatformReader, relation: Relation, names: Sequence[str], scope: Scope, days: PartitionRange
) -> pl.DataFrame:
    condition, parameters = scope.condition(relation, days)
    columns = ", ".join(f"t.`{name}`" for name in names)
    key = [name for name in relation.primary_key if name in names]
    order = f" ORDER BY {', '.join(f't.`{name}`' for name in key)}" if key else ""
    return platform.warehouse.query(
        f"SELECT {columns} FROM {relation.quoted_id} AS t WHERE {condition}{order}",
        parameters,
        labels={"asset": relation.id, "purpose": "export"},
    ).frame


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _prove_same(platform: Platform, name: str, path: Path) -> None:
    stored = platform.gateway.store.find(name)
    if stored is not None:
        with platform.gateway.store.open(stored) as file, path.open("rb") as mine:
            if _digest(file) == _digest(mine):
                return
    problem = Problem(
        "other bytes are there under this version",
        name,
        "the bundle's own",
        "Somebody has changed it: remove it.",
    )
    raise GaelpError(problem)
