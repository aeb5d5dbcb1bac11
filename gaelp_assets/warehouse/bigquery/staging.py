"""What a write uploads: the validated rows of all its batches in one Parquet file, and its dead letters in another."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from gaelp_assets.catalog import Field, Relation, Slice
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.bigquery.dialect import slices_condition
from gaelp_assets.warehouse.bigquery.resources import Resource, field_resource
from gaelp_assets.warehouse.bigquery.staged_values import STAGED_AS_TEXT
from gaelp_assets.warehouse.keys import conflict_message
from gaelp_assets.warehouse.loader import StagedBatch
from gaelp_assets.warehouse.slices import day_of

# Raw lines are fetched so many at a time, so that a load full of conflicts does not fill the memory.
_LINES_AT_ONCE: Final = 5_000
_REASON: Final = pl.Struct({"field": pl.String(), "rule": pl.String(), "message": pl.String()})
_DEAD_LETTER: Final = {
    "batch_id": pl.String(),
    "line_number": pl.Int64(),
    "byte_offset": pl.Int64(),
    "raw": pl.String(),
    "reasons": pl.List(_REASON),
}
LETTER_FIELDS: Final = (
    Field(name="batch_id", type="STRING"),
    Field(name="line_number", type="INTEGER"),
    Field(name="byte_offset", type="INTEGER"),
    Field(name="raw", type="STRING"),
    Field(
        name="reasons",
        type="RECORD",
        mode="REPEATED",
        fields=tuple(Field(name=name, type="STRING") for name in ("field", "rule", "message")),
    ),
)
_ROW_FIELDS: Final = (
    Field(name="_row_hash", type="INTEGER"),
    Field(name="_line_number", type="INTEGER"),
    Field(name="_byte_offset", type="INTEGER"),
    Field(name="_batch_id", type="STRING"),
)


Refused = Mapping[str, Sequence[tuple[int, int, str]]]
"""Line number, byte offset and rule of each row that does not enter the slice, by batch id."""
RULES: Final[Mapping[str, str]] = {
    "json_number": "a number in a JSON field has more digits than BigQuery keeps; send it as a string",
    "null_element": "an array has a null element, which BigQuery does not store; leave it out, or send a field that marks it",
}


@dataclass(frozen=True)
class StagedRows:
    """The rows of a write: where they are, how many each batch has, by its id, and those that are left out already."""

    file: Path
    counts: Mapping[str, int]
    refused: Refused


def row_schema(relation: Relation) -> list[Resource]:
    """The columns of the staged rows: those of the relation, NULLABLE, with text for what Parquet cannot carry."""
    return column_schema((*relation.fields, *_ROW_FIELDS))


def column_schema(fields: Sequence[Field]) -> list[Resource]:
    """The columns of staged values of these fields, NULLABLE, with text for what Parquet cannot carry."""
    return [field_resource(_staged(field)) for field in fields]


def stage_frame(relation: Relation, rows: pl.DataFrame, file: Path) -> None:
    """Writes rows of a relation's columns alone to a Parquet file, for `column_schema` of its fields."""
    rows.select(_as_staged(field) for field in relation.fields).write_parquet(file)


def dead_letter_schema() -> list[Resource]:
    """The columns of the staged dead letters."""
    return [field_resource(field) for field in LETTER_FIELDS]


def stage_rows(
    relation: Relation, parts: Sequence[tuple[Slice, Sequence[StagedBatch]]], folder: Path
) -> StagedRows | None:
    """Writes the rows of all batches of some slices to one Parquet file; None if there are none.

    Raises:
        GaelpError: a row is not one of its slice.
    """
    frames = [
        pl.scan_parquet(list(batch.rows)).select(
            *(_as_staged(field) for field in relation.fields),
            *(pl.col(name) for name in ("_row_hash", "_line_number", "_byte_offset")),
            pl.lit(batch.batch_id).alias("_batch_id"),
            _in_slice(relation, slice_).fill_null(False).alias("_is_of_slice"),
        )
        for slice_, batches in parts
        for batch in batches
        if batch.rows
    ]
    if not frames:
        return None
    staged = pl.concat(frames)
    found = (
        staged.group_by("_batch_id")
        .agg(pl.len().alias("rows"), (~pl.col("_is_of_slice")).sum().alias("stray"))
        .collect(engine="streaming")
    )
    stray = found["stray"].sum()
    if stray:
        raise GaelpError(
            Problem(
                f"{stray} staged rows are not of the slice",
                relation.id,
                f"rows with {slices_condition(relation, [slice_ for slice_, _ in parts])}",
            )
        )
    holes = [_null_inside(field, pl.col(field.name)) for field in relation.fields]
    hole = pl.any_horizontal(pl.lit(False), *(expression for expression in holes if expression is not None))
    refused: dict[str, list[tuple[int, int, str]]] = {}
    for batch_id, line, offset in (
        staged.filter(hole)
        .select("_batch_id", "_line_number", "_byte_offset")
        .collect(engine="streaming")
        .rows()
    ):
        refused.setdefault(batch_id, []).append((line, offset, "null_element"))
    file = folder / "rows.parquet"
    staged.filter(~hole).drop("_is_of_slice").sink_parquet(file)
    return StagedRows(file, dict(zip(found["_batch_id"], found["rows"], strict=True)), refused)


def stage_dead_letters(
    relation: Relation,
    batches: Sequence[StagedBatch],
    refused: Refused,
    folder: Path,
    holders: Mapping[tuple[str, int], Slice] | None = None,
) -> Path | None:
    """Writes the rejected lines of all batches, and those that were refused since, to one Parquet file; None if there are none.

    `holders` names the other slice that holds the key of a refused row, by batch id and line number.

    Raises:
        GaelpError: a batch's staged rejects are not as many as it says.
    """
    parts: list[pl.LazyFrame] = []
    for batch in batches:
        found = 0
        if batch.rejects:
            frame = pl.scan_parquet(list(batch.rejects)).select(
                pl.lit(batch.batch_id).alias("batch_id"),
                "line_number",
                "byte_offset",
                pl.col("raw").bin.encode("base64"),
                pl.col("reasons").cast(pl.List(_REASON)),
            )
            found = frame.select(pl.len()).collect().item()
            parts.append(frame)
        if found != batch.rejected:
            raise GaelpError(
                Problem(f"{found} rejected lines are staged", batch.file, f"{batch.rejected} of them")
            )
        rows = refused.get(batch.batch_id, ())
        for start in range(0, len(rows), _LINES_AT_ONCE):
            path = folder / f"refused-{len(parts)}.parquet"
            _refused_frame(relation, batch, rows[start : start + _LINES_AT_ONCE], holders).write_parquet(path)
            parts.append(pl.scan_parquet(path))
    if not parts:
        return None
    file = folder / "letters.parquet"
    pl.concat(parts).sink_parquet(file)
    return file


def fingerprint(ledger: pl.DataFrame) -> str:
    """One text for the ledger of a slice; BigQuery computes the same from the same rows (`WriteScript.fingerprint`)."""
    rows = sorted(
        (
            row["batch_id"],
            f"{row['batch_id']} {row['position']} {row['mode']} {row['loaded']} {row['run_id']} "
            f"{row['corrected_by'] or ''} {row['reason'] or ''}",
        )
        for row in ledger.to_dicts()
    )
    return digest([text for _, text in rows])


def digest(lines: Iterable[str]) -> str:
    """SHA-256 of lines, in hexadecimal."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest_of(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _refused_frame(
    relation: Relation,
    batch: StagedBatch,
    rows: Sequence[tuple[int, int, str]],
    holders: Mapping[tuple[str, int], Slice] | None,
) -> pl.DataFrame:
    key = relation.primary_key
    holders = holders or {}
    return pl.DataFrame(
        {
            "batch_id": [batch.batch_id] * len(rows),
            "line_number": [line for line, _, _ in rows],
            "byte_offset": [offset for _, offset, _ in rows],
            "raw": pl.Series([batch.raw_line(offset) for _, offset, _ in rows], dtype=pl.Binary).bin.encode(
                "base64"
            ),
            "reasons": [
                [
                    {
                        "field": key[0] if rule == "key_conflict" and len(key) == 1 else None,
                        "rule": rule,
                        "message": RULES.get(rule)
                        or conflict_message(relation, holders.get((batch.batch_id, line))),
                    }
                ]
                for line, _, rule in rows
            ],
        },
        schema=_DEAD_LETTER,
    )


def _in_slice(relation: Relation, slice_: Slice) -> pl.Expr:
    partitioning = relation.partitioning
    if partitioning is None or slice_.date is None:
        return pl.lit(True)
    column = pl.col(partitioning.date)
    if relation.field(partitioning.date).type == "DATE":
        condition = column == slice_.date
    else:
        start, stop = day_of(slice_.date)
        condition = (column >= _moment(start)) & (column < _moment(stop))
    if partitioning.environment is not None:
        condition &= pl.col(partitioning.environment) == slice_.environment
    return condition


def _moment(moment: dt.datetime) -> pl.Expr:
    return pl.lit(moment, dtype=pl.Datetime("us", "UTC"))


def _staged(field: Field) -> Field:
    type_ = "STRING" if field.type in STAGED_AS_TEXT else field.type
    return Field(
        name=field.name,
        type=type_,
        mode="REPEATED" if field.repeated else "NULLABLE",
        fields=tuple(_staged(part) for part in field.fields),
    )


def _as_staged(field: Field) -> pl.Expr:
    return _text(field, pl.col(field.name)).alias(field.name)


def _text(field: Field, value: pl.Expr) -> pl.Expr:
    """A value with text in place of what `STAGED_AS_TEXT` names, wherever it is nested."""
    if field.repeated:
        single = field.model_copy(update={"mode": "NULLABLE"})
        return value.list.eval(_text(single, pl.element())) if _changes(field) else value
    if field.type == "RECORD":
        if not _changes(field):
            return value
        parts = [_text(part, value.struct.field(part.name)).alias(part.name) for part in field.fields]
        return pl.when(value.is_not_null()).then(pl.struct(parts))
    if field.type == "BYTES":
        return value.bin.encode("base64")
    if field.type == "TIME":
        return value.dt.to_string("%H:%M:%S%.6f")
    return value


def _null_inside(field: Field, value: pl.Expr) -> pl.Expr | None:
    """Whether an array in a value has a NULL element; None where there are no arrays."""
    if field.repeated:
        inner = _null_inside(field.model_copy(update={"mode": "NULLABLE"}), pl.element())
        here = pl.element().is_null()
        return (
            value.list.eval(here if inner is None else here | inner.fill_null(False))
            .list.any()
            .fill_null(False)
        )
    parts = [_null_inside(part, value.struct.field(part.name)) for part in field.fields]
    found = [part for part in parts if part is not None]
    return pl.any_horizontal(found) if found else None


def _changes(field: Field) -> bool:
    return field.type in {"BYTES", "TIME"} or any(_changes(part) for part in field.fields)
