"""Every type of field goes into a file of every ending, or is refused in words, and a file is whole or not there."""

from __future__ import annotations

import datetime as dt
import json
import math
import resource
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest

from gaelp_assets.catalog.model import Field, FieldType
from gaelp_assets.errors import GaelpError
from gaelp_assets.operations.export import ENDINGS, writer_for
from gaelp_assets.validation.schema import polars_type

AT = dt.datetime(2026, 11, 20, 6, 30, 0, 250, tzinfo=dt.UTC)
# A value of each type, and how JSON and CSV have it.
VALUES: dict[str, tuple[Any, Any]] = {
    "STRING": ('a "b", c\n', 'a "b", c\n'),
    "BYTES": (b"\xff\x00", "/wA="),
    "INTEGER": (9223372036854775807, 9223372036854775807),
    "FLOAT": (math.inf, "Infinity"),
    "NUMERIC": (Decimal("12345678901234567890123456789.050000000"), "12345678901234567890123456789.05"),
    "BOOLEAN": (True, True),
    "TIMESTAMP": (AT, "2026-11-20T06:30:00.000250Z"),
    "DATE": (AT.date(), "2026-11-20"),
    "DATETIME": (AT.replace(tzinfo=None), "2026-11-20T06:30:00.000250"),
    "TIME": (AT.time(), "06:30:00.000250"),
    "JSON": ('{"a": 1.0}', '{"a": 1.0}'),
    "RECORD": ({"inner": b"\x01"}, {"inner": "AQ=="}),
}
MODES = ("NULLABLE", "REPEATED")


def frame_of(type_: str, mode: str) -> tuple[pl.DataFrame, list[Any]]:
    """A column of that type with a value and a NULL, and its values in JSON."""
    inner = [{"name": "inner", "type": "BYTES"}] if type_ == "RECORD" else []
    field = Field.model_validate({"name": "x", "type": type_, "mode": mode, "fields": inner})
    value, plain = VALUES[type_]
    values, expected = (
        ([[value, value], None], [[plain, plain], None]) if field.repeated else ([value, None], [plain, None])
    )
    return pl.DataFrame({"x": values}, schema={"x": polars_type(field)}), expected


def read(path: Path) -> Any:
    match path.suffix:
        case ".json":
            return [row["x"] for row in json.loads(path.read_text(encoding="utf-8"))]
        case ".ndjson":
            return [json.loads(line)["x"] for line in path.read_text(encoding="utf-8").splitlines()]
        case ".csv":
            return pl.read_csv(path, infer_schema=False)["x"].to_list()
        case ".parquet":
            return pl.read_parquet(path)
        case _:
            return pl.read_ipc(path)


def test_each_type_has_an_example() -> None:
    assert set(VALUES) == set(get_args(FieldType))


@pytest.mark.parametrize("ending", sorted(ENDINGS))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("type_", sorted(VALUES))
def test_a_table_with_bytes_became_a_file_of_one_byte(
    tmp_path: Path, type_: str, mode: str, ending: str
) -> None:
    frame, expected = frame_of(type_, mode)
    path = tmp_path / f"result{ending}"
    writer_for(path)(frame)
    assert [left.name for left in tmp_path.iterdir()] == [path.name]
    found = read(path)
    if isinstance(found, pl.DataFrame):
        assert found.equals(frame)
    elif ending != ".csv":
        assert found == expected
    elif mode == "REPEATED" or type_ == "RECORD":
        assert json.loads(found[0]) == expected[0]
        assert found[1] is None
    elif type_ in {"STRING", "BYTES", "FLOAT", "DATE", "JSON"}:
        assert found == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere/a.csv", "there is no such folder"),
        ("folder.csv", "a folder is where the file should be"),
        ("a.xlsx", "one of .arrow, .csv, .json, .ndjson, .parquet"),
        ("a", "unknown ending"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_query_runs(
    tmp_path: Path, name: str, expected: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(GaelpError, match=expected):
        writer_for(tmp_path / name)


@pytest.mark.parametrize("ending", sorted(ENDINGS))
def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"result{ending}"
    path.write_text("before")
    write = writer_for(path)
    frame = pl.DataFrame({"x": [f"{number * 7919}" for number in range(100_000)]})
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
        with pytest.raises(GaelpError):
            write(frame)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == "before"
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", sorted(ENDINGS))
def test_an_empty_result_is_a_file_that_can_be_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"result{ending.upper()}"
    writer_for(path)(frame_of("STRING", "NULLABLE")[0].head(0))
    found = read(path.rename(path.with_suffix(ending)))
    assert (found.height if isinstance(found, pl.DataFrame) else len(found)) == 0
