"""Chunks of proven lines: rejects with reasons, slices, hashes, bounded chunks."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

import numpy as np
import polars as pl
import pytest
import xxhash

from gaelp_assets.catalog.model import Relation
from gaelp_assets.catalog.slices import WHOLE, Slice
from gaelp_assets.ingest.compiled import CompiledRelation, slice_columns
from gaelp_assets.ingest.decode import chunks as chunks_module
from gaelp_assets.ingest.read.lines import MAX_LINE_BYTES, LineReader
from gaelp_assets.ingest.validate import ValidatedChunk, Validator

RELATION = Relation.model_validate(
    {
        "dataset": "d",
        "name": "t",
        "description": "x",
        "owner": "team:x",
        "partitioning": {"date": "at", "environment": "env"},
        "fields": [
            {"name": "at", "type": "TIMESTAMP", "mode": "REQUIRED"},
            {"name": "env", "type": "STRING", "mode": "REQUIRED"},
            {
                "name": "n",
                "type": "INTEGER",
                "checks": [{"name": "in_range", "arguments": {"min_value": 0, "max_value": 9}}],
            },
            {"name": "x", "type": "FLOAT", "mode": "REPEATED"},
        ],
    }
)
pytestmark = pytest.mark.usefixtures("each_way")


def line(at: str = "2026-11-20T10:00:00Z", env: str = "Taxi-v3", n: object = 1) -> bytes:
    return f'{{"at":"{at}","env":"{env}","n":{n}}}'.encode()


def prove_lines(
    *lines: bytes, slice_: Slice = WHOLE, end: bytes = b"\n", relation: Relation = RELATION
) -> list[ValidatedChunk]:
    validator = Validator(
        CompiledRelation(relation),
        first_date=dt.date(2026, 1, 1),
        last_date=dt.date(2026, 12, 31),
        slice_=slice_,
    )
    reader = LineReader(io.BytesIO(b"\n".join(lines) + end), "d/t/x.ndjson")
    return list(validator.validate(reader))


def reasons(*lines: bytes, **options: Any) -> list[list[tuple[str, str]]]:
    [chunk] = prove_lines(*lines, **options)
    return [[(r["field"], r["rule"]) for r in found] for found in chunk.rejects["reasons"].to_list()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{", [("", "malformed_json")]),
        (b"\xff", [("", "invalid_utf8")]),
        (b"[1]", [("", "not_an_object")]),
        (
            b'{"at":"2026-11-20","env":7,"n":1.7,"y":1,"n":true}',
            [
                ("y", "unknown_field"),
                ("n", "duplicate_key"),
                ("at", "bad_timestamp"),
                ("env", "wrong_type"),
                ("n", "wrong_type"),
            ],
        ),
        (
            b'{"n":"7","x":[1,null,"a",NaN,9007199254740993]}',
            [
                ("at", "missing_field"),
                ("env", "missing_field"),
                ("n", "wrong_type"),
                ("x", "wrong_type"),
                ("x", "wrong_type"),
                ("x", "not_finite"),
                ("x", "lost_precision"),
            ],
        ),
        (line(n=9223372036854775808), [("n", "out_of_range")]),
        (line(env=r"\ud800"), [("env", "lone_surrogate")]),
        (line(n=10), [("n", "in_range")]),
        (
            line(env="ALE/Pong v5", at="2025-12-31T23:59:59Z", n=-1),
            [("n", "in_range"), ("at", "date_out_of_range"), ("env", "environment_id")],
        ),
    ],
)
def test_all_reasons_of_a_line_are_told(text: bytes, expected: list[tuple[str, str]]) -> None:
    assert reasons(line(), text, line()) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (line(env="ALE/Pong v5", n='"7"'), [("n", "wrong_type"), ("env", "environment_id")]),
        (line(at="2026-02-30T00:00:00Z", n=-1), [("at", "bad_timestamp"), ("n", "in_range")]),
        (
            b'{"at":"2025-12-31T23:59:59Z","n":-1,"x":[NaN],"y":0}',
            [
                ("y", "unknown_field"),
                ("env", "missing_field"),
                ("x", "not_finite"),
                ("n", "in_range"),
                ("at", "date_out_of_range"),
            ],
        ),
        (line(n='9,"n":10'), [("n", "duplicate_key")]),
        (line(n=r'-1,"\ud800":{"a":1,"a":2}'), [("?", "unknown_field"), ("?", "duplicate_key"), ("n", "in_range")]),
        (line(n='-1,"y":1,"y":1,"y":1'), [("y", "unknown_field"), ("", "duplicate_key"), ("n", "in_range")]),
        (line(env="é", n="-1,") + b" ", [("", "malformed_json")]),
    ],
)  # fmt: skip
def test_rules_judge_the_fine_fields_of_a_line_that_is_no_row(
    text: bytes, expected: list[tuple[str, str]]
) -> None:
    assert reasons(line(), text, line(), line(n=-1)) == [expected, [("n", "in_range")]]


def test_line_that_is_no_row_is_told_that_its_slice_is_wrong_too() -> None:
    slice_ = Slice(dt.date(2026, 11, 20), "Taxi-v3")
    found = reasons(
        line(at="2026-11-21T10:00:00Z", env="CartPole-v1", n="1.5"),
        line(at="2026-11-21", env="CartPole-v1"),
        slice_=slice_,
    )
    assert found == [
        [("n", "wrong_type"), ("at", "wrong_slice"), ("env", "wrong_slice")],
        [("at", "bad_timestamp"), ("env", "wrong_slice")],
    ]


SEVERAL = Relation.model_validate(
    {
        "dataset": "d",
        "name": "several",
        "description": "x",
        "owner": "team:x",
        "fields": [
            {"name": "kind", "type": "STRING", "mode": "REQUIRED"},
            {"name": "low", "type": "INTEGER"},
            {"name": "high", "type": "INTEGER"},
            {
                "name": "tags",
                "type": "STRING",
                "mode": "REPEATED",
                "checks": [{"name": "array_length", "arguments": {"min_value": 1}}],
            },
            {
                "name": "part",
                "type": "RECORD",
                "mode": "REPEATED",
                "fields": [
                    {"name": "id", "type": "INTEGER", "mode": "REQUIRED"},
                    {
                        "name": "name",
                        "type": "STRING",
                        "checks": [{"name": "str_length", "arguments": {"max_value": 2}}],
                    },
                ],
            },
        ],
        "checks": [
            {"name": "compare", "arguments": {"left": "low", "operator": "<", "right": "high"}},
            {
                "name": "when",
                "arguments": {
                    "field": "kind",
                    "equals": "a",
                    "then": {"name": "less_than", "field": "low", "arguments": {"max_value": 5}},
                },
            },
        ],
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"kind":"a","low":9,"high":1', ["compare", "when"]),
        ('"kind":"a","low":9,"high":"1"', ["wrong_type", "when"]),
        ('"kind":7,"low":9,"high":1', ["wrong_type", "compare"]),
        ('"kind":"a","low":9.5,"high":1', ["wrong_type"]),
        ('"kind":"b","low":9,"high":1,"tags":[1]', ["wrong_type", "compare"]),
        ('"kind":"b","no":1,"tags":[]', ["unknown_field", "array_length"]),
        ('"kind":"b","no":1,"tags":null', ["unknown_field", "array_length"]),
        ('"kind":"b","part":[{"id":1.5,"name":"abc"},{"id":2}]', ["wrong_type", "str_length"]),
        ('"kind":"b","part":[{"id":1,"name":"abc"},{"id":2,"name":7}]', ["wrong_type"]),
        ('"kind":"b","part":[{"id":1,"name":"abc"},7]', ["wrong_type"]),
    ],
)
def test_rules_that_look_at_a_field_that_is_not_fine_say_nothing(text: str, expected: list[str]) -> None:
    tags = "" if "tags" in text else '"tags":["t"],'
    [found] = reasons(f"{{{tags}{text}}}".encode(), relation=SEVERAL)
    assert [rule for _, rule in found] == expected


def test_reasons_go_to_their_lines_in_a_file_of_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "CHUNK_ROWS", 1000)
    monkeypatch.setattr(chunks_module, "CHUNK_BYTES", 100_000)
    kinds = [
        (line(), []),
        (line(n="-1.5", env="a b"), ["wrong_type", "environment_id"]),
        (b"{", ["malformed_json"]),
        (line(n="-1"), ["in_range"]),
        (line(n='-1,"y":1'), ["unknown_field", "in_range"]),
        (line(n='1,"y":1'), ["unknown_field"]),
        (line(n='1,"\\u0078":[]'), []),
    ]
    order = [kinds[i % len(kinds)] for i in range(9000)]
    chunks = prove_lines(*[text for text, _ in order])
    assert len(chunks) > 1
    rejects = pl.concat([chunk.rejects for chunk in chunks])
    found = {
        number: [reason["rule"] for reason in told]
        for number, told in rejects.select("line_number", "reasons").iter_rows()
    }
    assert found == {number: want for number, (_, want) in enumerate(order, 1) if want}


def test_last_line_that_is_cut_off_is_called_so() -> None:
    assert reasons(line(), line()[:-5], end=b"") == [[("", "truncated_line")]]


def test_row_of_another_slice_than_its_path_is_rejected() -> None:
    slice_ = Slice(dt.date(2026, 11, 20), "Taxi-v3")
    found = reasons(
        line(),
        line(env="CartPole-v1"),
        line(at="2026-11-20T23:30:00-01:00"),
        line(at="2026-11-21T00:30:00+01:00"),
        slice_=slice_,
    )
    assert found == [[("env", "wrong_slice")], [("at", "wrong_slice")]]


def test_rows_rejects_and_raw_lines_stay_together() -> None:
    lines = [line(n=i) if i % 3 else b'{"bad":' for i in range(30)]
    [chunk] = prove_lines(*lines)
    assert chunk.lines == 30 == chunk.rows.height + chunk.rejects.height
    assert list(chunk.raw) == [lines[n - 1] for n in chunk.rows["_line_number"].to_list()]
    assert chunk.rejects["raw"].to_list() == [lines[n - 1] for n in chunk.rejects["line_number"].to_list()]
    assert chunk.rejects["line_number"].is_sorted()
    data = b"\n".join(lines)
    assert all(
        data.startswith(raw, offset)
        for raw, offset in zip(chunk.raw, chunk.rows["_byte_offset"], strict=True)
    )


def test_row_hash_is_that_of_the_line_without_the_space_around_it() -> None:
    [chunk] = prove_lines(line(), b"  " + line() + b" \r")
    want = np.uint64(xxhash.xxh3_64_intdigest(line())).astype(np.int64)
    assert chunk.rows["_row_hash"].to_list() == [want, want]


def test_chunks_are_bounded_and_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "CHUNK_ROWS", 10_000)
    chunks = prove_lines(*[line(n=i % 10) for i in range(50_000)])
    assert sum(chunk.lines for chunk in chunks) == 50_000
    assert max(chunk.lines for chunk in chunks) < 16_000


def test_slice_columns_are_the_utc_day_and_the_environment() -> None:
    [chunk] = prove_lines(line(at="2026-11-20T23:30:00-01:00"))
    assert chunk.rows.select(**slice_columns(RELATION)).rows() == [(dt.date(2026, 11, 21), "Taxi-v3")]


def test_messages_never_quote_a_value() -> None:
    [chunk] = prove_lines(line(at="secret"), line(n='"secret"'), line(env="secret!"))
    assert chunk.rejects.height == 3
    assert "secret" not in str(chunk.rejects["reasons"].to_list())


@pytest.mark.parametrize("start", [b'{"env":"', b'{"x":[1', b"["])
def test_line_of_a_hundred_megabytes_is_rejected_and_its_neighbours_are_not(start: bytes) -> None:
    """Decoding it could take gigabytes. Proving such a line peaks at about 0.6 GB, most of it copies of the line itself."""
    fill = b"[" if start == b"[" else b",1" if b"x" in start else b"x"
    huge = start + fill * (100_000_000 // len(fill))
    chunks = prove_lines(line(), huge, b'{"env":"\xff"}', line(n=2))
    assert pl.concat([chunk.rows for chunk in chunks])["n"].to_list() == [1, 2]
    rejects = pl.concat([chunk.rejects for chunk in chunks])
    assert [[r["rule"] for r in found] for found in rejects["reasons"].to_list()] == [
        ["too_long"],
        ["invalid_utf8"],
    ]
    assert huge.startswith(rejects["raw"][0])
    assert len(rejects["raw"][0]) > MAX_LINE_BYTES


def test_rows_that_do_not_fit_are_told_what_does_not_fit_and_nothing_of_their_stand_ins() -> None:
    """The rule of `n` is judged on the whole chunk, in which a value that does not fit has a stand-in."""
    found = reasons(line(at="2026-02-30T00:00:00Z"), line(n=-1), line(n=9223372036854775808), line())
    assert found == [[("at", "bad_timestamp")], [("n", "in_range")], [("n", "out_of_range")]]


def test_the_name_of_an_unknown_field_stood_in_reasons_though_it_can_be_personal() -> None:
    texts = [
        line(n='1,"jane.doe@example.org":1'),
        line(n='1,"evn":{"x":NaN}'),
        line(n='1,"' + "k" * 500 + '":1'),
    ]
    [chunk] = prove_lines(*texts)
    [[mail], typo, [long]] = chunk.rejects["reasons"].to_list()
    assert (mail["field"], mail["rule"]) == ("ja... (20 characters)", "unknown_field")
    assert "jane" not in str(mail)
    assert {reason["field"] for reason in typo} == {"ev... (3 characters)"}
    assert typo[0]["message"].endswith("did you mean env?")
    assert long["field"] == "kk... (500 characters)"
