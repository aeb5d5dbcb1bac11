"""A file is proved before it is handed over: as loading would judge it, with every reason and its place."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path

import pytest

from gaelp_assets.catalog import WHOLE, Slice
from gaelp_assets.errors import GaelpError
from gaelp_assets.ingest.decode.places import column_of
from gaelp_assets.ingest.validate import Validators
from gaelp_assets.operations.check import FileCheck, Finding, check_file, gateway_file
from gaelp_assets.platform_reader import read_catalog
from gaelp_assets_tests.platforms import (
    DATE,
    ENVIRONMENT,
    FIRST_DATE,
    SLICE,
    TABLE,
    checkpoint,
    load,
    ndjson,
    platform_in,
)

CATALOG = read_catalog()
PLACE = f"cloud_ready/{TABLE.replace('.', '/')}/{SLICE.path}/part.ndjson"


def checked(path: Path, table: str | None = None) -> tuple[FileCheck, list[Finding]]:
    found: list[Finding] = []
    validators = Validators(first_date=FIRST_DATE, last_date=dt.date(2026, 12, 1))
    return check_file(path, gateway_file(path, CATALOG, table), validators, on_finding=found.append), found


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


BAD = [
    json.dumps(checkpoint(1, bytes="hunter2")),
    "",
    '  {"a": 1,}',
    json.dumps({**checkpoint(2), "agent_idd": "hunter2"}),
    json.dumps(checkpoint(3, date="2026-11-02", environment_id="Other-v1")),
    json.dumps({name: value for name, value in checkpoint(4).items() if name != "uri"}),
]


def test_every_reason_has_its_line_and_the_column_where_the_value_begins(tmp_path: Path) -> None:
    lines = [*(json.dumps(checkpoint(n)) for n in range(10, 20)), *BAD]
    check, found = checked(written(tmp_path / PLACE, ndjson(lines)))
    assert (check.relation_id, check.slice) == (TABLE, Slice(DATE, ENVIRONMENT))
    assert (check.lines, check.rejected, check.set_aside) == (15, 5, False)

    def place(finding: Finding) -> str:
        return "" if finding.column is None else lines[finding.line - 1][finding.column - 1 :]

    by_line = [(f.line, f.field, f.rule, place(f)[:10]) for f in found]
    assert by_line == [
        (11, "bytes", "wrong_type", '"hunter2",'),
        (13, "", "malformed_json", "}"),
        (14, "ag... (9 characters)", "unknown_field", '"agent_idd'),
        (15, "date", "wrong_slice", '"2026-11-0'),
        (15, "environment_id", "wrong_slice", '"Other-v1"'),
        (16, "uri", "missing_field", ""),
    ]
    text = ndjson(lines)
    assert all(text[f.byte_offset :].startswith(lines[f.line - 1].encode()) for f in found)
    assert check.by_rule == {
        "wrong_slice": 2, "malformed_json": 1, "missing_field": 1, "unknown_field": 1, "wrong_type": 1,
    }  # fmt: skip
    assert "hunter2" not in repr(found)


def test_loading_rejects_the_same_lines_for_the_same_reasons(tmp_path: Path) -> None:
    platform = platform_in(tmp_path)
    path = written(tmp_path / "export_gateway" / PLACE, ndjson([*map(checkpoint, range(9)), *BAD]))
    check, _ = checked(path)
    report = load(platform)
    assert (check.lines, check.rejected) == (report.total("lines"), report.total("rejected"))
    assert check.reasons.rows() == report.reasons.rows()


@pytest.mark.parametrize("ending", ["ndjson.gz", "json"])
def test_compressed_files_and_arrays_are_read_as_loading_reads_them(tmp_path: Path, ending: str) -> None:
    rows = [checkpoint(1), checkpoint(2, bytes=-1)]
    content = json.dumps(rows, indent=1).encode() if ending == "json" else gzip.compress(ndjson(rows))
    check, [finding] = checked(written(tmp_path / f"any.{ending}", content), TABLE)
    assert (check.slice, check.lines, check.rejected) == (WHOLE, 2, 1)
    assert (finding.line, finding.field) == (2, "bytes")


def test_too_many_bad_lines_set_the_whole_file_aside(tmp_path: Path) -> None:
    check, _ = checked(written(tmp_path / PLACE, ndjson([checkpoint(1), "{", "["])))
    assert check.set_aside


def test_a_withdrawal_holds_keys_and_one_bad_line_refuses_it(tmp_path: Path) -> None:
    key = {"checkpoint_id": "checkpoint-1", "date": DATE.isoformat(), "environment_id": ENVIRONMENT}
    path = tmp_path / "raw" / "training" / "checkpoints" / "late.withdraw-2.ndjson"
    assert not checked(written(path, ndjson([key])))[0].rejected
    check, _ = checked(written(path, ndjson([key] * 9 + [{"checkpoint_id": 1}])))
    assert check.set_aside


@pytest.mark.parametrize(
    ("name", "table", "expected"),
    [
        ("episodes.txt", TABLE, "a file with the ending '.txt'"),
        ("part.ndjson", None, "Name its table: gaelp check FILE --table DATASET.TABLE"),
        ("part.ndjson", "training.checkpoint", "did you mean 'training.checkpoints'"),
        ("part.ndjson", "analytics.learning_curves", "its rows come from its SQL"),
        ("training/checkpoints/date=2026-13-01/part.ndjson", None, "2026-13-01"),
    ],
)
def test_a_file_that_the_gateway_would_not_take_is_told_with_what_it_takes(
    tmp_path: Path, name: str, table: str | None, expected: str
) -> None:
    with pytest.raises(GaelpError) as caught:
        checked(written(tmp_path / name, ndjson([checkpoint(1)])), table)
    assert expected in str(caught.value)


def test_a_file_that_is_not_there_empty_or_cut_off_is_a_problem_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(GaelpError, match="No such file"):
        checked(tmp_path / "none.ndjson", TABLE)
    with pytest.raises(GaelpError, match="has no lines"):
        checked(written(tmp_path / "a.ndjson", b"\n"), TABLE)
    with pytest.raises(GaelpError, match="cut off or damaged"):
        checked(written(tmp_path / "a.ndjson.gz", gzip.compress(ndjson([checkpoint(1)]))[:-9]), TABLE)


@pytest.mark.parametrize(
    ("line", "field", "rule", "expected"),
    [
        ('{"a": {"b": [1, "x"]}}', "a.b", "wrong_type", "[1,"),
        ('{"a": [{"b": 1}, {"b": 2}]}', "a.b", "wrong_type", "1}"),
        ('{"a": 1, "a": 2}', "a", "duplicate_key", "2}"),
        ('{"\\u0061": 1}', "a", "wrong_type", "1}"),
        ('{"é": 1, "b": 2}', "b", "wrong_type", "2}"),
        ('{"b": 1, "zz": 2}', "zz", "unknown_field", '"zz"'),
        ('{"a": {"ab.cd": 1}}', "a.ab... (5 characters)", "unknown_field", '"ab.cd"'),
        ('{"abX": 1, "abY": 2}', "ab... (3 characters)", "unknown_field", None),
        ('{"a": 1}', "b", "missing_field", None),
        ('{"a": NaN}', "a", "not_finite", "NaN"),
        ("[1]", "", "not_an_object", None),
        ('{"a": 1', "", "truncated_line", ""),
        ("[" * 5000, "a", "wrong_type", None),
        ("", "a", "wrong_type", None),
    ],
)
def test_the_column_is_where_the_value_begins(line: str, field: str, rule: str, expected: str | None) -> None:
    column = column_of(line.encode(), field, rule)
    if expected is None:
        assert column is None
    else:
        assert column is not None
        assert line[column - 1 :].startswith(expected)


def test_a_byte_that_is_no_utf_8_has_the_column_of_the_characters_before_it() -> None:
    assert column_of('{"é": "'.encode() + b"\xff", "", "invalid_utf8") == 8
