"""Lines with former names of fields, by both decoders: rows as sent, under today's names."""

from __future__ import annotations

import io
from typing import Any

import pytest
from xxhash import xxh3_64_intdigest

from gaelp_assets.ingest.compiled import CompiledRelation
from gaelp_assets.ingest.decode import native
from gaelp_assets.ingest.decode.chunks import row_hash
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets_tests.contract.warehouses import relation

RENAMED = relation(
    "lab",
    "renamed",
    [
        {"name": "id", "type": "STRING", "mode": "REQUIRED", "was": ["key"]},
        {"name": "number", "type": "INTEGER", "was": ["n", "count"]},
        {"name": "info", "type": "JSON"},
        {"name": "part", "type": "RECORD", "fields": [{"name": "n", "type": "INTEGER"}]},
    ],
    primary_key=["id"],
)


@pytest.fixture(params=[False, True], ids=["python", "native"])
def natively(request: pytest.FixtureRequest) -> bool:
    if request.param and native.library() is None:
        pytest.skip("the native decoder has not been built")
    return bool(request.param)


def decode(natively: bool, *lines: bytes) -> Any:
    decoder = CompiledRelation(RENAMED, natively=natively).decoder
    (block,) = decoder.blocks(LineReader(io.BytesIO(b"".join(line + b"\n" for line in lines)), "a.ndjson"))
    return decoder.chunk(block)


def test_a_line_with_former_names_is_a_row_with_its_own_bytes_and_hash(natively: bool) -> None:
    lines = [
        b'{"id": "a", "number": 1}',
        b'{"key": "b", "n": 9007199254740993, "info": {"n":  1.50, "key" : "n"}, "part": {"n": 2}}',
        b'  {"count" : 3, "id": "\\"n\\": x"}  ',
    ]
    chunk = decode(natively, *lines)
    assert not chunk.rejects.height
    assert chunk.frame.select("id", "number", "info").rows() == [
        ("a", 1, None),
        ("b", 2**53 + 1, '{"n":  1.50, "key" : "n"}'),
        ('"n": x', 3, None),
    ]
    assert chunk.frame["part"].to_list()[1] == {"n": 2}
    assert [bytes(line).rstrip() for line in chunk.raw] == [line.rstrip() for line in lines]
    assert chunk.frame["_row_hash"].to_list() == [row_hash(line) for line in lines]
    assert {h % 2**64 for h in chunk.frame["_row_hash"]} == {
        xxh3_64_intdigest(line.strip()) for line in lines
    }
    assert chunk.frame["_byte_offset"].to_list() == [0, len(lines[0]) + 1, len(lines[0]) + len(lines[1]) + 2]


@pytest.mark.parametrize(
    ("line", "reasons"),
    [
        (b'{"id": "a", "number": 1, "n": 1}', [("number", "duplicate_key")]),
        (b'{"id": "a", "n": 1, "count": 1}', [("number", "duplicate_key")]),
        (b'{"id": "a", "n": "x"}', [("number", "wrong_type")]),
        (b'{"n": 1}', [("id", "missing_field")]),
        (b'{"id": "a", "N": 1}', [("N", "unknown_field")]),
        (b'{"id": "a", "n": 1, "part": {"count": 1}}', [("part.co... (5 characters)", "unknown_field")]),
        (b'{"id": "a", "n": 1', [("", "malformed_json")]),
    ],
)
def test_a_bad_line_with_former_names_is_rejected_as_it_was_sent(
    natively: bool, line: bytes, reasons: list[tuple[str, str]]
) -> None:
    chunk = decode(natively, line, b'{"id": "z", "n": 1}')
    assert chunk.frame.filter(chunk.valid_rows)["id"].to_list() == ["z"]
    ((raw, found),) = chunk.rejects.select("raw", "reasons").iter_rows()
    assert raw == line
    assert [(reason["field"] or "", reason["rule"]) for reason in found] == reasons
