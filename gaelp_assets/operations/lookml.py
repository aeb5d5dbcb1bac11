"""The catalogue as LookML: a view for each relation, with its measures, and a model whose explores join by foreign keys.

Sensitive fields, what is computed from them, and measures of either are left out. What stands here is text; nothing is run.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.model import Field, ForeignKey, Measure, stored_fields
from gaelp_assets.errors import GaelpError, Problem, of_the_system
from gaelp_assets.operations.lineage import hidden_columns
from gaelp_assets.settings import BigQueryAddress, DuckDBAddress
from gaelp_assets.sql.measures import measure_type, measured_fields, with_table

GENERATED: Final = "# Generated from the catalogue by gaelp export lookml; edit the JSON files instead."
VIEW_ENDING: Final = ".view.lkml"
MODEL_FILE: Final = "gaelp.model.lkml"
_TYPES: Final = {
    "STRING": "string", "INTEGER": "number", "FLOAT": "number", "NUMERIC": "number", "BOOLEAN": "yesno", "JSON": "string",
    "BYTES": "string", "TIME": "string",
}  # fmt: skip
_TIMES: Final = {"DATE": "date", "DATETIME": "datetime", "TIMESTAMP": "timestamp"}
_SHOWN: Final = {"JSON": "TO_JSON_STRING({0})", "BYTES": "TO_HEX({0})", "TIME": "CAST({0} AS STRING)"}
"""What LookML has no type for, as text."""
_MEASURES: Final = {
    "BOOL": "yesno", "STRING": "string", "DATE": "date", "DATETIME": "date_time", "TIMESTAMP": "date_time",
}  # fmt: skip
_DAYS: Final = ("date", "week", "month", "quarter", "year")
_MOMENTS: Final = ("time", "hour", *_DAYS)
_SPECIAL: Final = ("${", "{{", "{%", ";;")
"""What LookML and its templates read as more than text."""


def lookml_files(
    catalog: Catalog, warehouse: BigQueryAddress | DuckDBAddress, cache: Path, *, connection: str
) -> dict[str, str]:
    """The text of each file, by its name.

    Args:
        catalog: what is told.
        warehouse: where the relations are.
        cache: where lineage is remembered (see `operations.lineage`).
        connection: the name of Looker's connection to the warehouse.

    Raises:
        GaelpError: measures have texts that LookML reads as more than SQL; all of them are told.
    """
    hidden = {relation.id: hidden_columns(relation, catalog, cache) for relation in catalog}
    problems = [
        Problem(
            f"LookML reads {mark} as more than SQL",
            f"{relation.where()}, measure {measure.name}",
            "an expression without it",
        )
        for relation in catalog
        for measure in _measures(relation, hidden[relation.id])
        for mark in _SPECIAL
        if mark in measure.sql
    ]
    if problems:
        raise GaelpError(*problems)
    files = {
        f"{view_name(relation)}{VIEW_ENDING}": _text(_view(relation, hidden[relation.id], warehouse))
        for relation in catalog
    }
    return {**files, MODEL_FILE: _text(_model(catalog, hidden, connection))}


def write_lookml(files: Mapping[str, str], folder: Path) -> list[Path]:
    """Writes the files, each whole or not at all, removes generated views of relations that are gone, and returns the written ones.

    Raises:
        GaelpError: the folder cannot be written, or holds a file of such a name that was not generated; nothing is changed then.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = [
            folder / name for name in files if (folder / name).exists() and not _is_generated(folder / name)
        ]
        if foreign:
            raise GaelpError(
                *(Problem("the file was not generated", str(path), "another folder") for path in foreign)
            )
        for name, text in files.items():
            _write(folder / name, text)
        for path in sorted(folder.glob(f"*{VIEW_ENDING}")):
            if path.name not in files and _is_generated(path):
                path.unlink(missing_ok=True)
    except OSError as error:
        problem = Problem(f"LookML cannot be written: {error.strerror}", str(folder), "a folder of yours")
        raise of_the_system(error, problem) from error
    return [folder / name for name in files]


def view_name(relation: Relation) -> str:
    """The name of a relation's view.

    >>> from gaelp_assets.catalog import load_catalog
    >>> view_name(load_catalog()["training.episodes"])
    'training__episodes'
    """
    return f"{relation.dataset}__{relation.name}"


def _is_generated(path: Path) -> bool:
    return path.read_text(encoding="utf-8", errors="replace").startswith(GENERATED)


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def _text(lines: Iterator[str]) -> str:
    return "\n".join([GENERATED, "", *lines]) + "\n"


def _quoted(text: str) -> str:
    # A template's marks in a description would be evaluated.
    for mark in _SPECIAL:
        text = text.replace(mark, f"{mark[0]} {mark[1]}")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _measures(relation: Relation, hidden: Collection[str]) -> list[Measure]:
    lower = {name.lower() for name in hidden}
    return [m for m in relation.measures if not lower & {name.lower() for name in measured_fields(m)}]


def _view(
    relation: Relation, hidden: Collection[str], warehouse: BigQueryAddress | DuckDBAddress
) -> Iterator[str]:
    yield f"view: {view_name(relation)} {{"
    yield f"  label: {_quoted(relation.id)}"
    yield f"  sql_table_name: {_table(relation, warehouse)} ;;"
    if hidden:
        yield f"  # Left out, since they are sensitive: {', '.join(sorted(hidden))}"
    key = relation.primary_key
    if len(key) > 1 and not set(key) & set(hidden):
        parts = ", ".join(f"{_column(name)} AS `{name}`" for name in key)
        sql = f"TO_JSON_STRING(STRUCT({parts}))"
        yield from _block("dimension", "_key", type="string", primary_key="yes", hidden="yes", sql=sql)
    taken = {name.lower() for name in relation.field_names} | {m.name for m in relation.measures}
    for field in stored_fields(relation):
        if field.name not in hidden:
            yield from _field(field, field.name, _column(field.name), key == (field.name,), taken)
    for measure in _measures(relation, hidden):
        yield from _block(
            "measure",
            measure.name,
            type=_MEASURES.get(measure_type(relation, measure).name, "number"),
            description=_quoted(measure.description),
            value_format_name=measure.format,
            sql=with_table(measure, "${TABLE}"),
        )
    yield "}"


def _table(relation: Relation, warehouse: BigQueryAddress | DuckDBAddress) -> str:
    if isinstance(warehouse, BigQueryAddress):
        return f"`{warehouse.project}.{warehouse.dataset_prefix}{relation.dataset}.{relation.name}`"
    return relation.quoted_id


def _column(name: str) -> str:
    return f"${{TABLE}}.`{name}`"


def _field(field: Field, path: str, sql: str, is_key: bool, taken: Collection[str]) -> Iterator[str]:
    """The dimension of a field; of a RECORD, those of the fields within it. An array is hidden: it is no value of a row."""
    name, description = (
        path.replace(".", "__").lower(),
        _quoted(field.description) if field.description else None,
    )
    if field.repeated:
        yield from _block("dimension", name, type="string", hidden="yes", description=description, sql=sql)
    elif field.type == "RECORD":
        for inner in field.fields:
            yield from _field(inner, f"{path}.{inner.name}", f"{sql}.`{inner.name}`", False, taken)
    elif field.type in _TIMES:
        frames = _DAYS if field.type == "DATE" else _MOMENTS
        free = ["raw", *(frame for frame in frames if f"{name}_{frame}" not in taken)]
        yield from _block(
            "dimension_group",
            name,
            type="time",
            timeframes=f"[{', '.join(free)}]",
            datatype=_TIMES[field.type],
            convert_tz="no",
            description=description,
            sql=sql,
        )
    else:
        yield from _block(
            "dimension",
            name,
            type=_TYPES[field.type],
            primary_key="yes" if is_key else None,
            description=description,
            sql=_SHOWN.get(field.type, "{0}").format(sql),
        )


def _block(kind: str, name: str, *, sql: str, **values: str | None) -> Iterator[str]:
    yield f"  {kind}: {name} {{"
    yield from (f"    {key}: {value}" for key, value in values.items() if value is not None)
    yield f"    sql: {sql} ;;"
    yield "  }"


def _model(catalog: Catalog, hidden: Mapping[str, Collection[str]], connection: str) -> Iterator[str]:
    yield f"connection: {_quoted(connection)}"
    yield f'include: "*{VIEW_ENDING}"'
    for relation in catalog:
        yield ""
        yield f"explore: {view_name(relation)} {{"
        yield f"  label: {_quoted(relation.id)}"
        yield f"  description: {_quoted(relation.description)}"
        if relation.require_partition_filter and relation.partitioning is not None:
            date = f"{view_name(relation)}.{relation.partitioning.date.lower()}_date"
            yield f'  always_filter: {{ filters: [{date}: "30 days"] }}'
        yield from _joins(relation, catalog, hidden)
        yield "}"


def _joins(relation: Relation, catalog: Catalog, hidden: Mapping[str, Collection[str]]) -> Iterator[str]:
    taken = {view_name(relation)}
    for key in relation.foreign_keys:
        target = catalog.find(key.references)
        if set(key.fields) & set(hidden[relation.id]) or set(key.targets) & set(hidden[target.id]):
            continue
        name = view_name(target)
        if name in taken:
            name = f"{name}__by__{'__'.join(key.fields).lower()}"
        taken.add(name)
        yield f"  join: {name} {{"
        if name != view_name(target):
            yield f"    from: {view_name(target)}"
        yield "    type: left_outer"
        one = bool(target.primary_key) and set(target.primary_key) <= set(key.targets)
        yield f"    relationship: {'many_to_one' if one else 'many_to_many'}"
        yield f"    sql_on: {_condition(relation, target, name, key)} ;;"
        yield "  }"


def _condition(relation: Relation, target: Relation, name: str, key: ForeignKey) -> str:
    pairs: Sequence[tuple[str, str]] = list(zip(key.fields, key.targets, strict=True))
    return " AND ".join(
        f"${{{view_name(relation)}.{_reference(relation, mine)}}} = ${{{name}.{_reference(target, theirs)}}}"
        for mine, theirs in pairs
    )


def _reference(relation: Relation, name: str) -> str:
    return f"{name.lower()}_raw" if relation.field(name).type in _TIMES else name.lower()
