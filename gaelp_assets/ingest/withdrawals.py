"""Files whose lines are keys: the rows of these keys are withdrawn. How they are read and judged; what follows is up to `in_force`.

A line names a row by its primary key: `{"episode_id": "e3"}`. In `raw/`, it also has the fields that the table is sliced by, which
say where the row is. Beside a slice's files, one line can stand for every row of the file that the withdrawal is named after:
`{"every_row_of": "day"}` in `day.withdraw-2.ndjson`. A withdrawal with a line that is neither is set aside whole.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from gaelp_assets.catalog import Field, Relation, Slice
from gaelp_assets.errors import Problem
from gaelp_assets.gateway import Gateway, GatewayFile
from gaelp_assets.gateway.corrections import version
from gaelp_assets.ingest.compiled import slice_columns
from gaelp_assets.ingest.rejected_lines import LinesRefused
from gaelp_assets.ingest.staging import OnFileProgress, StagedFile, stage_file
from gaelp_assets.ingest.validate import Validators
from gaelp_assets.warehouse.protocol import StagedBatch

EVERY_ROW_OF: Final = "every_row_of"


def key_relation(relation: Relation, *, sliced: bool) -> Relation:
    """The relation whose rows are a withdrawal's lines: the key, what the table is sliced by, and `every_row_of`.

    Args:
        relation: the table.
        sliced: whether a line has to say which slice its row is in, as those of `raw/` have.
    """
    by = relation.partitioning
    slicing = {name for name in (by.date, by.environment) if name} if by else set()
    names = {*relation.primary_key, *slicing}
    fields = [
        field.model_copy(
            update={"mode": "REQUIRED" if sliced else "NULLABLE", "checks": (), "sensitive": False}
        )
        for field in relation.fields
        if field.name in names
    ]
    if not sliced and EVERY_ROW_OF not in names:
        fields.append(Field(name=EVERY_ROW_OF, type="STRING"))
    # What is too old to be kept can still be withdrawn.
    changes = {
        "fields": tuple(fields),
        "checks": (),
        "foreign_keys": (),
        "max_reject_fraction": 1.0,
        "retention_days": None,
    }
    return relation.model_copy(update=changes if sliced else {**changes, "partitioning": None})


def stage_withdrawal(
    gateway: Gateway,
    file: GatewayFile,
    validators: Validators,
    folder: Path,
    *,
    on_progress: OnFileProgress | None = None,
) -> StagedFile:
    """Reads and judges a withdrawal of one slice. Its batch has no lines, and the keys as `rows`.

    Raises:
        GaelpError: the file cannot be read as a whole, or a line of it is not a key of the slice.
        ObjectChanged: somebody else has moved or replaced the file.
    """
    relation = file.relation
    staged = stage_file(
        gateway,
        file,
        validators.of_variant(key_relation(relation, sliced=False)),
        folder,
        on_progress=on_progress,
    )
    batch = staged.batch
    wrong = batch.rejected
    if batch.rows:
        named = pl.scan_parquet(list(batch.rows))
        wrong += (
            named.select((~_names_rows(relation, file.slice, version(file.path).stem)).sum()).collect().item()
        )
    if wrong:
        raise LinesRefused(not_keys(relation, wrong), staged.told(gateway))
    return StagedFile(file, _without_lines(staged), staged.reasons)


def every_row(stem: str) -> bytes:
    """The content of a withdrawal of every row of a file.

    >>> every_row("day")
    b'{"every_row_of": "day"}\\n'
    """
    return json.dumps({EVERY_ROW_OF: stem}).encode() + b"\n"


def not_keys(relation: Relation, lines: int) -> Problem:
    """The problem of a withdrawal with lines that are no keys."""
    by = relation.partitioning
    slicing = [name for name in (by.date, by.environment) if name] if by else []
    where = f", in raw/ with {' and '.join(slicing)}" if slicing else ""
    return Problem(
        f"{lines} lines of the withdrawal name no row of the slice",
        expected=f"objects with nothing but {', '.join(relation.primary_key)}{where}; or, in a slice's folder, "
        f'one {{"{EVERY_ROW_OF}": NAME}} with the name that the file itself starts with',
        remedy="Mend the producer and send the withdrawal again; nothing is withdrawn.",
    )


def _without_lines(staged: StagedFile) -> StagedBatch:
    return replace(staged.batch, lines=0, rejected=0, rejects=())


def _names_rows(relation: Relation, slice_: Slice, stem: str) -> pl.Expr:
    """Whether a line names rows of the slice: one of them by its key, or all of the file that the withdrawal is named after."""
    keys = [pl.col(name) for name in relation.primary_key]
    whole = pl.lit(False)
    if EVERY_ROW_OF not in relation.primary_key:
        nothing_else = pl.all_horizontal(key.is_null() for key in keys)
        whole = (pl.col(EVERY_ROW_OF) == stem).fill_null(False) & nothing_else
    single = pl.all_horizontal(key.is_not_null() for key in keys)
    if EVERY_ROW_OF not in relation.primary_key:
        single &= pl.col(EVERY_ROW_OF).is_null()
    of_slice = [
        column.is_null() | (column == value)
        for column, value in zip(
            slice_columns(relation).values(), (slice_.date, slice_.environment), strict=False
        )
    ]
    return (whole | single) & pl.all_horizontal(pl.lit(True), *of_slice)
