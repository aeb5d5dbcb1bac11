"""The generated pages of `docs/tables/`: one for each dataset, from the catalogue alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from gaelp_assets.catalog.load import Catalog
from gaelp_assets.catalog.model import Check, KeyScope, Latest, Relation, walk_fields

GENERATED: Final = "Generated from the catalogue by `gaelp catalog pages`; edit the JSON files instead."


def pages(catalog: Catalog) -> dict[str, str]:
    """The text of each page, by file name."""
    return {
        f"{dataset}.md": "\n".join(_dataset_page(dataset, list(relations), catalog)) + "\n"
        for dataset, relations in groupby(catalog, key=lambda relation: relation.dataset)
    }


def write_pages(catalog: Catalog, folder: Path) -> list[Path]:
    """Writes the pages, removes generated ones of datasets that are gone, and returns the written ones."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = pages(catalog)
    for stale in set(folder.glob("*.md")) - {folder / name for name in texts}:
        if GENERATED in stale.read_text(encoding="utf-8", errors="replace"):
            stale.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def _dataset_page(dataset: str, relations: list[Relation], catalog: Catalog) -> Iterator[str]:
    yield f"# {dataset}\n"
    yield f"{GENERATED}\n"
    yield from (f"- [{relation.name}](#{relation.name}): {relation.kind}" for relation in relations)
    for relation in relations:
        yield from _relation_part(relation, catalog)


def _relation_part(relation: Relation, catalog: Catalog) -> Iterator[str]:
    yield f"\n## {relation.name}\n\n{relation.description}\n"
    yield f"- kind: {relation.kind}; owner: {relation.owner}"
    if relation.partitioning is not None:
        dimensions = [
            name for name in (relation.partitioning.date, relation.partitioning.environment) if name
        ]
        yield f"- sliced by: {', '.join(f'`{name}`' for name in dimensions)}"
    if relation.clustering:
        yield f"- clustered by: {_names(relation.clustering)}"
    if relation.primary_key:
        yield f"- key: {_names(relation.primary_key)}{_scope(relation)}"
    if isinstance(relation.on_key_conflict, Latest):
        yield f"- of two rows with one key, the greater `{relation.on_key_conflict.latest}` stays"
    for key in relation.foreign_keys:
        target = catalog.find(key.references)
        yield f"- {_names(key.fields)} refers to {_link(target)} ({_names(key.targets)})"
    for sequence in relation.sequences:
        ends = " or ".join(f"`{name}`" for name in sequence.ends_where)
        yield (
            f"- of the rows with one {_names(sequence.within)}, none follows, by `{sequence.order_by}`, one where {ends} is true"
        )
    reads = sorted(catalog.upstream.get(relation.id, ()))
    if reads:
        yield "- reads: " + ", ".join(_link(catalog[name]) for name in reads)
    if relation.python is not None:
        yield f"- computed by the function `{relation.python}`"
    if relation.window is not None:
        yield f"- {relation.window.words}"
    if relation.require_partition_filter:
        yield "- every query must name its dates"
    if relation.retention_days:
        yield f"- kept for {relation.retention_days} days"
    yield from (f"- rule: {_rule(check)}" for check in relation.checks)
    yield "\n| field | type | | description | rules |\n|---|---|---|---|---|"
    for path, field in walk_fields(relation.fields):
        rules = "; ".join(_rule(check) for check in field.checks)
        mode = "" if field.mode == "NULLABLE" else field.mode.lower()
        cells = [f"`{path}`", field.type, mode, field.description, rules]
        yield _row(cells)
    if relation.measures:
        yield "\n| measure | SQL | description |\n|---|---|---|"
    for measure in relation.measures:
        yield _row([f"`{measure.name}`", f"`{' '.join(measure.sql.split())}`", measure.description])


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _link(relation: Relation) -> str:
    return f"[{relation.id}]({relation.dataset}.md#{relation.name})"


def _scope(relation: Relation) -> str:
    """Where the key stands once, if that is to be told: a table without slices has no other choice."""
    if not relation.is_loaded or relation.partitioning is None:
        return ""
    return f", once in {'each slice' if relation.key_scope == KeyScope.SLICE else 'the whole table'}"


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _rule(check: Check) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in check.arguments.items())
    return f"`{check.name}({arguments})`"
