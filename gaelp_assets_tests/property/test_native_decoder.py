"""The native decoder against the Python way: the same rows, bit by bit, the same rejects, and hardly a good line left to Python."""

from __future__ import annotations

import datetime as dt
import gc
import io
import json
import os
import random
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from gaelp_assets.catalog.load import load_catalog
from gaelp_assets.catalog.model import Field, Relation
from gaelp_assets.errors import GaelpError
from gaelp_assets.ingest.compiled import CompiledRelation
from gaelp_assets.ingest.decode import chunks as chunks_module
from gaelp_assets.ingest.decode import native
from gaelp_assets.ingest.decode.chunks import DecodedChunk
from gaelp_assets.ingest.read.lines import Block, LineReader
from gaelp_assets.ingest.validate import Validator
from gaelp_assets.validation.schema import ORIGIN_COLUMNS, staged_schema
from gaelp_assets_tests.property.test_proof_oracle import (
    ANY_VALUE,
    GENERATED,
    GOOD,
    MOMENTS,
    NUMBERS,
    RELATION,
    STRINGS,
    files,
)

pytestmark = pytest.mark.skipif(native.library() is None, reason="the native decoder has not been built")


def in_python(data: bytes, relation: Relation = RELATION) -> list[DecodedChunk]:
    return decoded(data, CompiledRelation(relation, natively=False))


def natively(data: bytes, relation: Relation = RELATION) -> list[DecodedChunk]:
    return decoded(data, CompiledRelation(relation, natively=True))


def decoded(data: bytes, compiled: CompiledRelation) -> list[DecodedChunk]:
    decoder = compiled.decoder
    return [decoder.chunk(block) for block in decoder.blocks(LineReader(io.BytesIO(data), "x.ndjson"))]


def fit(chunks: Sequence[DecodedChunk]) -> tuple[pl.DataFrame, list[bytes], pl.DataFrame, int]:
    """The rows that are not rejected yet, their lines, the rejects, and the number of lines."""
    frames: list[pl.DataFrame] = []
    raw: list[bytes] = []
    for chunk in chunks:
        frames.append(chunk.frame.filter(chunk.valid_rows))
        raw += chunk.raw.without(chunk.invalid_rows)
    rejects = pl.concat([chunk.rejects for chunk in chunks])
    return pl.concat(frames), raw, rejects, sum(chunk.lines for chunk in chunks)


def fine_in_rejects(chunks: Sequence[DecodedChunk]) -> list[tuple[int, dict[str, Any], frozenset[str]]]:
    """Of each rejected line of which something is kept: its number, what is, and which arrays rules must not blame."""
    return [
        (chunk.rejects["line_number"][reject], row, unreported)
        for chunk in chunks
        if (partial := chunk.partial_rows) is not None
        for reject, row, unreported in zip(
            partial.rejects.tolist(), partial.frame.to_dicts(), partial.unreported, strict=True
        )
    ]


def check(data: bytes, relation: Relation = RELATION) -> None:
    try:
        in_both = in_python(data, relation), natively(data, relation)
        expected = fit(in_both[0])
        assert repr(fine_in_rejects(in_both[1])) == repr(fine_in_rejects(in_both[0]))
    except GaelpError as error:
        with pytest.raises(GaelpError, match=str(error)[:20]):
            natively(data, relation)
        return
    rows, raw, rejects, lines = fit(natively(data, relation))
    assert rows.schema == staged_schema(relation) == expected[0].schema
    assert_frame_equal(rows, expected[0], check_exact=True)
    assert repr(rows.to_dicts()) == repr(
        expected[0].to_dicts()
    )  # -0.0 is not 0.0, and each double has a text of its own
    assert (raw, lines) == (expected[1], expected[3])
    assert_frame_equal(rejects, expected[2])


def refused(lines: Sequence[bytes], relation: Relation = RELATION) -> list[bytes]:
    """The lines that the native decoder leaves to Python."""
    decoded = native.NativeRelation(relation).decode(Block(b"".join(line + b"\n" for line in lines)))
    assert decoded.line_count == len(lines) == decoded.rows.height + decoded.refused.shape[1]
    return [lines[number] for number in decoded.refused[0].tolist()]


@settings(GENERATED, max_examples=80)
@given(files())
def test_generated_and_mutated_files_decode_the_same_on_both_ways(data: bytes) -> None:
    check(data)


@pytest.mark.thorough
@settings(GENERATED, max_examples=2000)
@given(files())
def test_many_more_files_decode_the_same_on_both_ways(data: bytes) -> None:
    check(data)


VALUES = st.lists(st.tuples(st.sampled_from(list(GOOD)), ANY_VALUE), max_size=30)
LINE_ENDS = st.sampled_from([b"\n", b"\r\n"])


@settings(GENERATED, max_examples=80)
@given(VALUES, LINE_ENDS)
def test_any_value_in_any_field_decodes_the_same_on_both_ways(
    values: list[tuple[str, str]], end: bytes
) -> None:
    check_values(values, end)


@pytest.mark.thorough
@settings(GENERATED, max_examples=2000)
@given(VALUES, LINE_ENDS)
def test_many_more_values_decode_the_same_on_both_ways(values: list[tuple[str, str]], end: bytes) -> None:
    check_values(values, end)


def check_values(values: list[tuple[str, str]], end: bytes) -> None:
    lines = [
        f'{{"id":{i},"{name}":{value}}}'.encode("utf-8", "surrogatepass")
        for i, (name, value) in enumerate(values)
    ]
    check(end.join(lines) + end)


@settings(GENERATED, max_examples=100)
@given(st.binary(max_size=200), st.integers(0, 10_000), st.integers(0, 200))
def test_stray_bytes_anywhere_change_nothing_but_their_lines(stray: bytes, place: int, removed: int) -> None:
    data = bytearray(
        b"".join(
            b"{%s}\n"
            % b",".join(
                f'"{name}":{random.Random(i).choice(values)}'.encode() for name, values in GOOD.items()
            )
            for i in range(20)
        )
    )
    place %= len(data)
    data[place : place + removed] = stray
    check(bytes(data))


def test_all_corner_cases_decode_the_same_on_both_ways() -> None:
    values = [*STRINGS, *NUMBERS, *map(json.dumps, MOMENTS)]
    check("\n".join(f'{{"id":1,"{name}":{value}}}' for name in GOOD for value in values).encode())


def test_doubles_are_the_nearest_whatever_their_digits() -> None:
    chance = random.Random(5)
    texts = [repr(np.frombuffer(chance.randbytes(8), np.float64)[0].item()) for _ in range(3000)]
    texts += [
        f"{chance.randrange(10 ** chance.randrange(1, 40))}e{chance.randrange(-345, 320)}"
        for _ in range(3000)
    ]
    texts += [f"{chance.uniform(-1, 1):.{chance.randrange(1, 25)}f}" for _ in range(3000)]
    texts += [f"{chance.getrandbits(53)}.{chance.getrandbits(chance.randrange(1, 60))}" for _ in range(1000)]
    texts = [text for text in texts if "n" not in text]
    check("\n".join(f'{{"id":1,"f":{text}}}' for text in texts).encode())


def test_integers_and_decimals_are_exact_at_their_limits() -> None:
    numbers = [sign * 10**power + more for power in range(31) for sign in (1, -1) for more in (-1, 0, 1)]
    numbers += [2**power + more for power in range(66) for more in (-1, 0, 1)]
    lines = [f'{{"id":{number},"f":{number},"n":{number}.{abs(number) % 10**9}}}' for number in numbers]
    check("\n".join([*lines, *(f'{{"id":{number}}}' for number in numbers)]).encode())


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_every_month_of_four_centuries_or_each_of_its_days_and_every_zone_is_right(every: bool) -> None:
    found = pl.date_range(pl.date(1899, 1, 1), pl.date(2301, 1, 1), eager=True)
    days = found.filter(every | found.dt.day().is_in([1, 28, 29, 30, 31])).dt.to_string().to_list()
    zones = [
        f"{sign}{hour:02}:{minute:02}" for sign in "+-" for hour in range(25) for minute in (0, 30, 59, 60)
    ]
    lines = [f'{{"id":1,"d":"{day}","dtm":"{day} 23:59:59.5"}}' for day in days]
    lines += [
        f'{{"id":1,"ts":"{day}T00:30:00{zone}"}}'
        for day in ("0001-01-01", "2024-02-29", "9999-12-31")
        for zone in zones
    ]
    check("\n".join(lines).encode())


def test_lines_that_python_accepts_stand_in_their_places_among_the_others() -> None:
    """An escaped key is left to Python, which takes it: its row must not end up behind the native ones."""
    lines = [b'{"id":%d,"s":"some longer text %d"}' % (i, i) for i in range(500)]
    lines[7] = b'{"\\u0069d":7}'
    lines[490] = b'{"id":490,"j":{"\\u0061":1}}'
    lines[491] = b"[]"
    assert refused(lines) == [lines[7], lines[490], lines[491]]
    check(b"\n".join(lines))
    [chunk] = natively(b"\n".join(lines))
    assert chunk.frame["id"].to_list() == [i for i in range(500) if i != 491]
    assert list(chunk.raw) == [line for i, line in enumerate(lines) if i != 491]


def test_ordinary_lines_are_never_left_to_python() -> None:
    ordinary = [
        f'{{"id":1,"{name}":{value}}}'.encode()
        for name, values in GOOD.items()
        if name != "id"
        for value in values
    ]
    ordinary += [
        b'{"id":-9223372036854775808}',
        b' { "id" : 1 , "class" : [ 1 , 2.5e-3 ] }\r',
        b'{"id":1,"f":0.1234567890123456789}',
        b'{"id":1,"s":"\xc3\xa9 \xf0\x9f\x98\x80 \\u00e9 \\ud83d\\ude00 \\n"}',
        b'{"id":1,"ts":"2026-11-20T10:00:00.123456+05:30","by":"AAEC","n":"-12.500","t":"23:59:59.999999"}',
        b'{"id":1,"j":{"a":[{"b":1e400},{"b":[]}],"c":"\\ud83d\\ude00"},"rec":{"y":"s","x":7},"recs":[{"k":"a"},{"v":1,"k":"b"}]}',
    ]
    assert refused(ordinary) == []


def test_hash_of_a_row_is_xxh3_of_its_line_at_every_length() -> None:
    chance = random.Random(3)
    sizes = [*range(520), *range(1000, 1100), *range(2030, 2120), 8192, 100_000]
    texts = ["".join(chance.choices(string.ascii_letters, k=size)) for size in sizes]
    lines = [b'{"id":1}', *(f'{{"id":1,"s":"{text}"}}'.encode() for text in texts)]
    decoded = native.NativeRelation(RELATION).decode(Block(b"".join(b" %b\t\r\n" % line for line in lines)))
    expected = [xxhash.xxh3_64_intdigest(line) for line in lines]
    assert decoded.hashes.view(np.uint64).tolist() == expected


@pytest.mark.parametrize(
    "text",
    [r"\udc00\udc01", r"\udc00", r"\ud83d", r"\ud83dx", r"\ud83d\ud83d", r"\ud83d\u0041", r"\ude00\ud83d"],
)
@pytest.mark.parametrize(
    "line",
    ['{"id":1,"j":"%s"}', '{"id":1,"j":{"a":["%s"]}}', '{"id":1,"js":["%s"]}', '{"id":1,"s":"%s"}'],
)
def test_half_of_a_surrogate_pair_is_left_to_python(line: str, text: str) -> None:
    lines = [b'{"id":0}', (line % text).encode(), (line % r"\ud83d\ude00").encode()]
    assert refused(lines) == [lines[1]]
    check(b"\n".join(lines))


@pytest.mark.parametrize(
    "broken",
    [
        b'{"id":2,"class":[1.5,2.5',
        b'{"id":2,"js":["some longer text",{"a":[1,',
        b'{"id":2,"recs":[{"k":"some longer text","v":1.5},{"k":"b"',
        b'{"id":2,"recs":[{"k":"a","v":1.5},{"k":"b","v":2.5}],"class":[1,2',
        b'{"id":2,"rec":{"x":7,"y":"some longer text"},"class":[1,',
    ],
)
def test_array_that_breaks_off_leaves_nothing_in_the_next_row(broken: bytes) -> None:
    before = b'{"id":1,"class":[0.5],"recs":[{"k":"first"}],"js":[1]}'
    after = b'{"id":3,"class":[3.5],"recs":[{"k":"another text"}],"js":[{"b":2}],"rec":{"x":8}}'
    assert refused([before, broken, after]) == [broken]
    check(b"\n".join([before, broken, after]))
    decoded = native.NativeRelation(RELATION).decode(Block(b"\n".join([before, broken, after, b""])))
    rows = decoded.rows.select("id", "class", "recs", "js").rows()
    assert rows == [
        (1, [0.5], [{"k": "first", "v": None}], ["1"]),
        (3, [3.5], [{"k": "another text", "v": None}], ['{"b":2}']),
    ]


def test_what_producers_do_wrong_is_explained_natively() -> None:
    lines = [
        '{"id":1,"s":5}', '{"s":"x"}', '{"id":null}', '{"id":1,"nope":2}', '{"id":1,"id":2}', '{"id":1,"f":NaN}',
        '{"id":1,"s":"\\ud800"}', '{"id":1,"j":{"a":1,"a":2}}',
    ]  # fmt: skip
    text = "".join(f"{line}\n" for line in lines).encode()
    explained = native.NativeRelation(RELATION).explain(text + b'{"id":1}\n{"id":1\n')
    assert explained.places[0].tolist() == list(range(len(lines)))
    assert explained.refused[0].tolist() == [len(lines), len(lines) + 1]
    check(text)


def test_rows_outlive_the_block_and_the_relation_that_they_came_from() -> None:
    """Long texts stay in the block's bytes: those must be kept as long as a column is, and no longer."""
    texts = [f"some text that is kept where it stands {i}" for i in range(1000)]
    data = bytearray("".join(f'{{"id":{i},"s":"{text}"}}\n' for i, text in enumerate(texts)).encode())
    gc.collect()  # what other tests have left
    before = pa.total_allocated_bytes()
    rows = native.NativeRelation(RELATION).decode(Block(memoryview(data))).rows
    some = rows["s"].slice(10, 900)
    with pytest.raises(BufferError):
        data.clear()  # still exported
    del rows
    gc.collect()
    assert some.to_list() == texts[10:910]
    del some
    gc.collect()
    data.clear()
    assert pa.total_allocated_bytes() == before


def test_blocks_that_are_decoded_and_dropped_leave_no_memory_behind() -> None:
    lines = b"".join(
        b'{"id":%d,"s":"some longer text","class":[1,2],"by":"AAEC"}\n[]\n' % i for i in range(5000)
    )
    relation = native.NativeRelation(RELATION)

    def resident() -> int:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    for _ in range(20):
        relation.decode(Block(lines))
    before = resident()
    for _ in range(200):
        relation.decode(Block(lines))
    assert resident() - before < 20 * len(lines)  # a leak of each block's columns would be ten times as much


@pytest.mark.parametrize(
    "relation", [r for r in load_catalog().relations.values() if r.is_loaded], ids=lambda r: r.id
)
def test_every_table_has_the_same_columns_on_both_ways(relation: Relation) -> None:
    def value(field: Field, *, element: bool = False) -> Any:
        if field.repeated and not element:
            return [value(field, element=True)] * 2
        if field.type == "RECORD":
            return {part.name: value(part) for part in field.fields}
        values = {
            "INTEGER": 7,
            "FLOAT": 1.5,
            "BOOLEAN": True,
            "NUMERIC": "1.5",
            "BYTES": "YQ==",
            "DATE": "2026-11-20",
        }
        values |= {"TIMESTAMP": "2026-11-20T10:00:00Z", "DATETIME": "2026-11-20T10:00:00", "TIME": "10:00:00"}
        return values.get(field.type, {"a": 1} if field.type == "JSON" else "text of some length")

    full = {field.name: value(field) for field in relation.fields}
    least = {field.name: value(field) for field in relation.fields if field.required}
    lines = [json.dumps(row).encode() for row in (full, least, dict(reversed(full.items())))]
    assert refused(lines, relation) == []
    check(b"\n".join([*lines, b"{}", b"[]"]), relation)


def test_chunks_of_a_large_file_are_bounded_and_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "CHUNK_BYTES", 300_000)
    data = b"".join(b'{"id":%d,"s":"%s"}\n' % (i, b"x" * (i % 50)) for i in range(40_000))
    chunks = natively(data)
    assert len(chunks) > 3
    assert pl.concat([chunk.frame for chunk in chunks])["id"].to_list() == list(range(40_000))
    numbers = pl.concat([chunk.frame for chunk in chunks]).select(ORIGIN_COLUMNS)
    assert numbers["_line_number"].to_list() == list(range(1, 40_001))
    assert all(
        data.startswith(raw, offset)
        for chunk in chunks
        for raw, offset in zip(chunk.raw, chunk.frame["_byte_offset"], strict=True)
    )


def test_several_threads_prove_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "CHUNK_BYTES", 300_000)
    lines = [b'{"id":%d,"s":"%s","d":"2026-11-%02d"}' % (i, b"x" * (i % 50), i % 31) for i in range(40_000)]
    lines[::100] = [b'{"\\u0069d":%d}' % i for i in range(400)]
    chunks = []
    for threads in (1, 4):
        validator = Validator(
            CompiledRelation(RELATION, natively=True),
            first_date=dt.date.min,
            last_date=dt.date.max,
            threads=threads,
        )
        chunks.append(list(validator.validate(LineReader(io.BytesIO(b"\n".join(lines)), "x.ndjson"))))
    assert len(chunks[0]) > 3
    for one, several in zip(*chunks, strict=True):
        assert_frame_equal(one.rows, several.rows)
        assert_frame_equal(one.rejects, several.rejects)
        assert (list(one.raw), one.lines) == (list(several.raw), several.lines)
