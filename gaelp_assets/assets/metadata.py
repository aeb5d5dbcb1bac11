"""What the UI shows of a relation and of a load: column schemas, and the metadata of materializations and checks.

Only translation: domain objects in, Dagster's metadata out. Nothing here asks the warehouse or the gateway.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypedDict

import dagster as dg

from gaelp_assets.assets.partitions import asset_key
from gaelp_assets.catalog import Catalog, Check, Field, Kind, Relation
from gaelp_assets.catalog.model import walk_fields
from gaelp_assets.errors import GaelpError

if TYPE_CHECKING:
    from gaelp_assets.ingest.preview import Row
    from gaelp_assets.ingest.report import FileReport, SliceReport
    from gaelp_assets.operations.lineage import ColumnSources

Metadata = dict[str, dg.MetadataValue[Any] | dg.TableSchema | dg.TableColumnLineage | str | int | float]
"""What an event or a definition shows in the UI, by name."""
# A run over many slices reports the first files and the commonest reasons; the ledger and the dead letter have them all.
TABLE_ROWS: Final = 200
_FATES: Final = ("lines", "loaded", "duplicate", "rejected", "sorted", "superseded", "withdrawn")
KIND_WORDS: Final = {
    Kind.TABLE: "table",
    Kind.LEDGER: "table",
    Kind.VIEW: "view",
    Kind.MATERIALIZED_VIEW: "materializedview",
    Kind.DERIVED_TABLE: "sql",
}


class SpecArguments(TypedDict):
    """What asset specs of all kinds of relations take alike."""

    description: str
    group_name: str
    owners: list[str]
    kinds: set[str]
    tags: dict[str, str]


def describe(relation: Relation, engine: str) -> SpecArguments:
    """The arguments that every asset spec of the relation shares: description, group, owners, kinds and tags."""
    return {
        "description": _description(relation),
        "group_name": relation.dataset,
        "owners": [relation.owner],
        "kinds": {engine, KIND_WORDS[relation.kind]},
        "tags": {**relation.tags, "dataset": relation.dataset, "kind": relation.kind.value},
    }


def _description(relation: Relation) -> str:
    """What the asset's first page says above all; the picture itself belongs to each materialization."""
    if relation.chart is None:
        return relation.description
    picture = f"/assets/{'/'.join(asset_key(relation).path)}?view=events"
    return (
        f"{relation.description}\n\n[See the picture: the entry `picture` of the newest refresh]({picture})"
    )


def definition_metadata(relation: Relation) -> Metadata:
    """Column schema, the table's name, and how it is kept."""
    metadata: Metadata = {
        "dagster/table_name": relation.id,
        "dagster/column_schema": column_schema(relation, {}),
    }
    if relation.primary_key:
        metadata["primary key"] = ", ".join(relation.primary_key)
    if relation.clustering:
        metadata["clustered by"] = ", ".join(relation.clustering)
    if relation.retention_days is not None:
        metadata["retention days"] = relation.retention_days
    return metadata


def lineage_metadata(relation: Relation, catalog: Catalog, sources: ColumnSources) -> Metadata:
    """Column lineage, and the column schema with each column's sources; nothing where there are no sources."""
    if not any(sources.values()):
        return {}
    return {
        "dagster/column_schema": column_schema(relation, sources),
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                column: [dg.TableColumnDep(asset_key(catalog[source]), name) for source, name in found]
                for column, found in sources.items()
                if found
            }
        ),
    }


def column_schema(relation: Relation, sources: ColumnSources) -> dg.TableSchema:
    """The columns, nested ones by their dotted path, with types, nullability, checks and sources."""
    key = relation.primary_key
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=path,
                type=f"ARRAY<{field.type}>" if field.repeated else field.type,
                description=_column_description(field, sources.get(path, ())),
                constraints=dg.TableColumnConstraints(
                    nullable=not field.required,
                    unique=key == (path,),
                    other=[check_words(check) for check in field.checks] + ["sensitive"] * field.sensitive,
                ),
            )
            for path, field in walk_fields(relation.fields)
        ],
        constraints=dg.TableConstraints(other=[check_words(check) for check in relation.checks]),
    )


def check_words(check: Check) -> str:
    """The check as a call.

    >>> check_words(Check(name="in_range", arguments={"min_value": 0}))
    'in_range(min_value=0)'
    """
    return f"{check.name}({', '.join(f'{name}={value!r}' for name, value in check.arguments.items())})"


def _column_description(field: Field, found: Sequence[tuple[str, str]]) -> str | None:
    # The open-source UI does not draw column lineage, so that it has to stand here too.
    origin = "from " + ", ".join(f"{relation}.{column}" for relation, column in found) if found else ""
    return "; ".join(part for part in (field.description, origin) if part) or None


def load_metadata(report: SliceReport, relation: Relation) -> Metadata:
    """What one load or rebuild of one slice of the relation did."""
    metadata: Metadata = {
        "rows loaded": report.total("loaded"),
        "duplicates": report.total("duplicate"),
        "rejected": report.total("rejected"),
        "superseded": report.total("superseded"),
        "withdrawn": report.total("withdrawn"),
        "lines": report.total("lines"),
        "files": len(report.files),
        "set aside": len(report.set_aside),
        "mode": report.mode.value,
        "seconds": round(report.seconds, 3),
    }
    if report.seconds > 0 and report.total("lines"):
        metadata["rows per second"] = round(report.total("lines") / report.seconds)
    if report.files:
        metadata["files and fates"] = files_table(report.files)
    if report.reasons.height:
        metadata["reasons of rejection"] = reasons_table(report)
    if report.preview:
        metadata["preview"] = preview_table(relation, report.preview)
    return metadata


def preview_table(
    relation: Relation, rows: Sequence[Row], hidden: Collection[str] | None = None
) -> dg.MarkdownMetadataValue:
    """Rows of a relation (see `ingest.preview`) as a table of Markdown, and the names of the hidden columns, which the rows lack.

    `hidden` are by default those that the catalogue calls sensitive.
    """
    from gaelp_assets.ingest.preview import sensitive_columns

    found = sensitive_columns(relation) if hidden is None else hidden
    shown = [name for name in relation.field_names if name not in found]
    lines = [shown, ["---"] * len(shown), *([_markdown(cell) for cell in row] for row in rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if found:
        text += f"\n\nHidden, since they are sensitive: {', '.join(sorted(found))}"
    return dg.MetadataValue.md(text)


def _markdown(cell: str) -> str:
    """The cell in one line, with nothing that Markdown or HTML would read as more than text."""
    return re.sub(r"([\\`*_\[\]<>&|~])", r"\\\1", " ".join(cell.split()))


def files_table(files: Iterable[FileReport]) -> dg.TableMetadataValue:
    """One row for each file, with its lines' fates."""
    rows = []
    for file in files:
        found = file.counts
        counts = {name: getattr(found, name) if found else 0 for name in _FATES}
        if file.problems:
            outcome = "set aside"
        elif found is not None and found.already_in_ledger:
            outcome = "had been loaded before"
        else:
            outcome = "loaded"
        rows.append(
            {
                "file": file.file,
                "outcome": outcome,
                "bytes": file.size,
                **counts,
            }
        )
    return table(rows, file="string", outcome="string", bytes="int", **dict.fromkeys(_FATES, "int"))


def reasons_table(*reports: SliceReport) -> dg.TableMetadataValue:
    """Why lines were rejected: field, rule, message and the number of lines; never a value."""
    rows = [row for report in reports for row in report.reasons.head(TABLE_ROWS).to_dicts()]
    return table(rows, field="string", rule="string", message="string", lines="int")


def problems_table(files: Iterable[FileReport]) -> dg.TableMetadataValue:
    """The problems of files that were set aside whole."""
    rows = [
        {"file": file.file, "problem": problem.what, "where": problem.where, "expected": problem.expected,
         "remedy": problem.remedy}
        for file in files for problem in file.problems
    ]  # fmt: skip
    return table(rows, file="string", problem="string", where="string", expected="string", remedy="string")


def table(rows: Sequence[Mapping[str, object]], /, **columns: str) -> dg.TableMetadataValue:
    """A table of metadata with the first `TABLE_ROWS` rows; a value of None is shown as empty. `columns` are names and types."""
    records = [dg.TableRecord({name: _cell(row[name]) for name in columns}) for row in rows[:TABLE_ROWS]]
    return dg.MetadataValue.table(
        records, dg.TableSchema([dg.TableColumn(name, type_) for name, type_ in columns.items()])
    )


def _cell(value: object) -> str | int | float:
    return value if isinstance(value, str | int | float) else "" if value is None else str(value)


def failure(error: GaelpError) -> dg.Failure:
    """The failure of a step, in the problems' own words. Dagster does not retry it: a sensor starts the next attempt."""
    remark = "" if error.permanent else " This can go away by itself: try again later."
    return dg.Failure(
        str(error) + remark,
        metadata={
            f"problem {number}": str(problem) for number, problem in enumerate(error.problems[:TABLE_ROWS], 1)
        },
        allow_retries=False,
    )
