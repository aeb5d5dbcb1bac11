"""Computes slices of stored derived relations: by their SQL, which is the warehouse's business, or by their function, which is ours.

A function is called once for each slice, with the rows that the slice reads. What it returns is proved before it is stored, all of it:
columns and types, then each rule of the catalogue with Pandera's checks, the key, and the slice. Where anything is wrong, the slice
stays as it was.
"""

from __future__ import annotations

import datetime as dt
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.catalog.code import find_code
from gaelp_assets.catalog.derivation import slice_dimensions
from gaelp_assets.catalog.model import ReadsSlices
from gaelp_assets.errors import GaelpError, Problem, unknown
from gaelp_assets.platform import Platform
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.ranges import PartitionRange
from gaelp_assets.warehouse.refreshes import refresh_entries

if TYPE_CHECKING:
    import polars as pl

Function = Callable[[Mapping[str, "pl.DataFrame"]], "pl.DataFrame"]
_NAMED: Final = 10


def refresh(platform: Platform, relation: Relation, *slices: Slice, run_id: str) -> None:
    """Computes slices of a stored derived relation again, and enters what they were computed from.

    Raises:
        GaelpError: the query or the function fails, or gives what the catalogue does not declare; nothing of the relation has changed
            then, but slices of a function that were done before.
    """
    if relation.python is None:
        platform.warehouse.refresh(relation, *slices, run_id=run_id)
        return
    function = load_function(relation)
    for slice_ in slices:
        # Before the inputs are read: what is written to them from now on makes the slice stale.
        entries = platform.warehouse.query(
            refresh_entries(platform.catalog, relation, [slice_]),
            {"run_id": run_id},
            labels={"asset": relation.id, "purpose": "refresh"},
        ).frame
        rows = compute(platform, relation, slice_, function)
        platform.warehouse.replace_rows(relation, [slice_], rows, entries, run_id=run_id)


def compute(
    platform: PlatformReader, relation: Relation, slice_: Slice, function: Function | None = None
) -> pl.DataFrame:
    """The rows of a slice of a relation in Python, proved.

    Raises:
        GaelpError: the function cannot be found, fails, or returns what the catalogue does not declare.
    """
    call = function if function is not None else load_function(relation)
    inputs = {name: _read(platform, relation, platform.catalog[name], slice_) for name in relation.inputs}
    try:
        found = call(inputs)
    except (Exception, SystemExit) as error:  # the latter's text, too, may hold a value
        raise GaelpError(_failed(relation, slice_, error)) from None
    return proved(relation, slice_, found)


def load_function(relation: Relation) -> Function:
    """The function that the relation names.

    Raises:
        GaelpError: there is none, or its module fails.
    """
    path = _absolute(relation)
    code, problems = find_code(path, relation.python or "")
    if code is None or problems:
        raise GaelpError(*problems)
    try:
        module = importlib.import_module(code.module) if code.module else _beside(relation, code.file)
        found = getattr(module, code.function)
    except (Exception, SystemExit) as error:
        what = f"{relation.python} cannot be imported: {type(error).__name__}"
        raise GaelpError(Problem(what, f"{relation.where()}, python{_line_in(error, code.file)}")) from None
    if not callable(found):
        raise GaelpError(
            Problem(f"{relation.python} is a {type(found).__name__}", relation.where(), "a function")
        )
    return found  # type: ignore[no-any-return]


def proved(relation: Relation, slice_: Slice, found: object) -> pl.DataFrame:
    """What a function has returned, with its columns in the catalogue's order and types.

    Raises:
        GaelpError: it is not what the catalogue declares; with all that is wrong. No value is named.
    """
    import polars as pl

    where = f"{relation.id}{'' if slice_.date is None else f' {slice_}'}, {relation.python}"
    if not isinstance(found, pl.DataFrame):
        raise GaelpError(Problem(f"the function returned a {type(found).__name__}", where, "a pl.DataFrame"))
    problems = list(_column_problems(relation, found, where))
    if problems:
        raise GaelpError(*problems)
    frame = _in_types(relation, found)
    problems = list(_row_problems(relation, slice_, frame, where))
    if problems:
        raise GaelpError(*problems)
    return frame


def _column_problems(relation: Relation, found: pl.DataFrame, where: str) -> Iterator[Problem]:
    from gaelp_assets.validation.schema import polars_type

    for name in found.columns:
        if name not in relation.field_names:
            yield unknown("column", name, relation.field_names, where=where)
    for field in relation.fields:
        if field.name not in found.columns:
            yield Problem(f"no column {field.name!r}", where, "each field of the relation")
        elif not _fits(found.schema[field.name], polars_type(field)):
            yield Problem(
                f"column {field.name!r} is {found.schema[field.name]}",
                where,
                f"{polars_type(field)} for {field.type}",
            )


def _fits(found: Any, wanted: Any) -> bool:
    """Whether values of one type can be had in another without a loss, and without a guess."""
    import polars as pl

    if found in (wanted, pl.Null):
        return True
    if wanted == pl.Int64:
        return bool(found.is_integer()) and found not in (pl.UInt64, pl.Int128)
    if wanted == pl.Float64:
        return bool(found == pl.Float32)
    if wanted == pl.String:
        return isinstance(found, pl.Categorical | pl.Enum)
    if isinstance(wanted, pl.Datetime):
        return (
            isinstance(found, pl.Datetime) and found.time_zone == wanted.time_zone and found.time_unit == "ms"
        )
    if isinstance(wanted, pl.List):
        return isinstance(found, pl.List) and _fits(found.inner, wanted.inner)
    return False


def _in_types(relation: Relation, found: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    from gaelp_assets.validation.schema import polars_schema

    schema = polars_schema(relation)
    frame = found.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    # No value is no element, as for rows of files.
    arrays = [field.name for field in relation.fields if field.repeated]
    return frame.with_columns(pl.col(name).fill_null([]) for name in arrays)


def _row_problems(relation: Relation, slice_: Slice, frame: pl.DataFrame, where: str) -> Iterator[Problem]:
    from gaelp_assets.ingest.compiled import slice_columns
    from gaelp_assets.validation.verdict import Verdict

    for field in relation.fields:
        if field.required and (missing := frame[field.name].null_count()):
            yield Problem(
                f"{missing} of {frame.height} rows have no {field.name}",
                where,
                f"a value: it is {field.mode}",
            )
    _, reasons = Verdict.of(relation).failing(frame)
    broken: dict[tuple[str, str, str], int] = {}
    for of_row in reasons.to_list():
        for reason in of_row:
            if reason["rule"] == "not_null":
                continue  # told above, of all of them
            key = (reason["field"] or "", reason["rule"], reason["message"].removeprefix("expected "))
            broken[key] = broken.get(key, 0) + 1
    for (field_name, rule, message), count in sorted(broken.items())[:_NAMED]:
        yield Problem(
            f"{count} of {frame.height} rows break {rule} of {field_name or 'the row'}", where, message
        )
    if relation.primary_key:
        repeated = frame.height - frame.select(relation.primary_key).unique().height
        if repeated:
            yield Problem(
                f"{repeated} of {frame.height} rows repeat a key",
                where,
                f"each {', '.join(relation.primary_key)} once",
            )
    wanted = {"date": slice_.date, "environment": slice_.environment}
    for name, column in slice_columns(relation).items():
        outside = frame.filter(column.ne_missing(wanted[name])).height
        if outside:
            yield Problem(
                f"{outside} of {frame.height} rows are not of the slice",
                where,
                f"{name} {wanted[name]} alone",
            )


def _read(platform: PlatformReader, relation: Relation, source: Relation, slice_: Slice) -> pl.DataFrame:
    """The rows of an input that a slice is made of, in the catalogue's types."""
    import polars as pl

    from gaelp_assets.validation.schema import polars_schema

    condition, parameters = _days(platform, relation, source, slice_).condition(source, "t")
    names = ", ".join(f"t.`{name}`" for name in source.field_names)
    frame = platform.warehouse.query(
        f"SELECT {names} FROM {source.quoted_id} AS t WHERE {condition}",
        parameters,
        labels={"asset": relation.id, "purpose": "refresh"},
    ).frame
    return frame.select(pl.col(name).cast(dtype) for name, dtype in polars_schema(source).items())


def _days(platform: PlatformReader, relation: Relation, source: Relation, slice_: Slice) -> PartitionRange:
    first, last = platform.settings.first_date, platform.last_date
    by_date, by_environment = slice_dimensions(source)
    if slice_.date is None or not by_date:
        return PartitionRange(first, last)
    window = relation.reads_slices or ReadsSlices()
    one = dt.timedelta(days=1)
    return PartitionRange(
        first if window.before == "all" else slice_.date - window.before * one,
        last if window.after == "all" else slice_.date + window.after * one,
        slice_.environment if by_environment else None,
    )


def _failed(relation: Relation, slice_: Slice, error: BaseException) -> Problem:
    """What went wrong, without the error's text: it may hold values of rows."""
    of_slice = "" if slice_.date is None else f" {slice_}"
    code, _ = find_code(_absolute(relation), relation.python or "")
    line = _line_in(error, code.file) if code is not None else ""
    return Problem(
        f"the function failed: {type(error).__name__}",
        f"{relation.id}{of_slice}, {relation.python}{line}",
        "a pl.DataFrame",
        "Call it on the same rows to see more: gaelp_assets.frames reads them.",
    )


def _line_in(error: BaseException, file: Path) -> str:
    """The last line of the file that the error came through, as text."""
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file
    ]
    return f", line {lines[-1]}" if lines else ""


def _absolute(relation: Relation) -> Path:
    """The relation's JSON: messages name it from the current folder on."""
    return Path(relation.file).absolute()


def _beside(relation: Relation, file: Path) -> ModuleType:
    """The module beside the relation's JSON, as it is now."""
    name = f"gaelp_catalog.{relation.dataset}.{relation.name}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # what is defined there can be pickled, and names its module
    spec.loader.exec_module(module)
    return module
