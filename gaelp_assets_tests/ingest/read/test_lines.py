"""Files as blocks of lines: places, compression, damage, and files that are not what their ending says."""

from __future__ import annotations

import gzip
import hashlib
import io

import pytest
import zstandard

from gaelp_assets.errors import GaelpError
from gaelp_assets.ingest.read.limits import FREE_BYTES, TextLimit
from gaelp_assets.ingest.read.lines import Block, LineReader
from gaelp_assets.ingest.read.streams import BLOCK_BYTES

TEXT = b"".join(b'{"a":%d}\n' % i for i in range(100_000))
NAMES = {
    "x.ndjson": lambda b: b,
    "x.ndjson.gz": gzip.compress,
    "x.ndjson.zst": zstandard.ZstdCompressor().compress,
}


def read(data: bytes, name: str = "training/t/x.ndjson") -> list[tuple[int, int, bytes]]:
    reader = LineReader(io.BytesIO(data), name)
    found = [
        (int(number), int(offset), line)
        for block in reader
        for number, offset, line in zip(block.numbers, block.offsets, block.lines, strict=True)
    ]
    assert (reader.digest, reader.size) == (hashlib.sha256(data).hexdigest(), len(data))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_lines_of_every_compression_have_number_and_offset(name: str) -> None:
    found = read(NAMES[name](TEXT), name)
    assert b"".join(line for _, _, line in found) == TEXT
    assert [number for number, _, _ in found] == list(range(1, 100_001))
    assert all(TEXT.startswith(line, offset) for _, offset, line in found[::997])


@pytest.mark.parametrize("name", NAMES)
def test_archive_of_several_members_is_read_whole(name: str) -> None:
    pack = NAMES[name]
    assert len(read(pack(TEXT) + pack(b'{"z":1}\n'), name)) == 100_001


@pytest.mark.parametrize("name", ["x.ndjson.gz", "x.ndjson.zst"])
@pytest.mark.parametrize("cut", [1, 5, 10_000, -9])
def test_cut_off_archive_is_an_error_and_never_a_quiet_end(name: str, cut: int) -> None:
    data = NAMES[name](TEXT)
    with pytest.raises(GaelpError, match="cut off or damaged"):
        read(data[:-cut], name)


@pytest.mark.parametrize("name", ["x.ndjson.gz", "x.ndjson.zst"])
def test_archive_with_something_behind_it_is_an_error(name: str) -> None:
    with pytest.raises(GaelpError, match="cut off or damaged"):
        read(NAMES[name](TEXT) + b"garbage", name)


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (gzip.compress(TEXT, mtime=0), "x.ndjson", "is gzip"),
        (NAMES["x.ndjson.zst"](TEXT), "x.ndjson.gz", "is Zstandard"),
        (TEXT, "x.ndjson.gz", "is not gzip"),
        (TEXT, "x.ndjson.zst", "is not Zstandard"),
        (gzip.compress(gzip.compress(TEXT, mtime=0), mtime=0), "x.ndjson.gz", "is gzip"),
        ('{"a":1}'.encode("utf-16"), "x.ndjson", "UTF-16"),
        ('{"a":1}'.encode("utf-16-le"), "x.ndjson", "UTF-16"),
        (b"PK\x03\x04....", "x.ndjson", "zip"),
        (b"PAR1....", "x.ndjson", "Parquet"),
        (TEXT, "x.csv", "ending that is not known"),
        (b"", "x.ndjson", "no lines"),
        (b"\xef\xbb\xbf", "x.ndjson", "no lines"),
        (b"\n \r\n\t\n", "x.ndjson", "no lines"),
        (b"", "x.ndjson.gz", "cut off"),
        (gzip.compress(b"", mtime=0), "x.ndjson.gz", "no lines"),
        (b"[]", "x.json", "no lines"),
        (b'[{"a":1},', "x.json", "cut off"),
        (b'[{"a":1},]', "x.json", "empty element before byte 10"),
        (b'[{"a":1}, ,{"a":2}]', "x.json", "empty element before byte 11"),
        (b'[,{"a":1}]', "x.json", "empty element before byte 2"),
        (b'[{"a":1}] {"a":2}', "x.json", "something after the array, at byte 10"),
        (b"[{}]]", "x.json", "something after the array"),
    ],
)
def test_file_that_is_not_what_it_should_be_is_refused(data: bytes, name: str, said: str) -> None:
    with pytest.raises(GaelpError, match=said):
        read(data, name)


def test_mark_crlf_blank_lines_and_an_unfinished_last_line() -> None:
    data = b'\xef\xbb\xbf{"a":1}\r\n\r\n  \n{"a":2}\n\n{"a":3}'
    assert read(data) == [(1, 3, b'{"a":1}\r\n'), (4, 17, b'{"a":2}\n'), (6, 26, b'{"a":3}')]


def test_line_longer_than_many_blocks_is_one_line() -> None:
    long = b'"' + b"x" * (BLOCK_BYTES * 9) + b'"\n'
    assert [(offset, len(line)) for _, offset, line in read(b"{}\n" + long + b"{}")] == [
        (0, 3),
        (3, len(long)),
        (3 + len(long), 2),
    ]


def test_bomb_is_read_in_blocks() -> None:
    for name in ("x.ndjson.gz", "x.ndjson.zst"):
        data = NAMES[name](b"{}\n" * 5_000_000)
        assert max(len(block.data) for block in LineReader(io.BytesIO(data), name)) <= 2 * BLOCK_BYTES


@pytest.mark.parametrize("piece", [b" " * 1023 + b"\n", b" " * 1024, b'"' + b"x" * 1022 + b"\n"])
def test_a_bomb_was_unfolded_to_its_end(piece: bytes) -> None:
    data = NAMES["x.ndjson.zst"](b"{}\n" + piece * (2 * FREE_BYTES // 1024))
    limit = TextLimit("x.ndjson.zst", len(data), 1 << 40)
    with pytest.raises(
        GaelpError, match=r"unfolds to more than 1,000 times its .* bytes; reading ended after line"
    ):
        for _ in LineReader(io.BytesIO(data), limit.name, limit):
            pass


@pytest.mark.parametrize("name", [*NAMES, "x.json"])
def test_text_may_be_as_long_as_the_limit_and_no_longer(name: str) -> None:
    text = b"[{}]" if name == "x.json" else TEXT
    data = NAMES.get(name, bytes)(text)
    for most, fits in ((len(text), True), (len(text) - 1, False)):
        limit = TextLimit(name, len(data), most)
        reader = LineReader(io.BytesIO(data), name, limit)
        if fits:
            assert sum(map(len, reader)) == (1 if name == "x.json" else 100_000)
            assert limit.possible >= len(text)
        else:
            with pytest.raises(GaelpError, match=f"more than {most:,} bytes of text; .* max_unfolded_bytes"):
                list(reader)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 20, 1000])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_parts_of_a_block_have_its_lines_with_their_numbers_and_places(size: int, end: bytes) -> None:
    text = b'{"a":1}\r\n\r\n   \n{"a":22222222}\n{}\n\n\n{"b":"\xc3\xa9"}' + end
    whole = Block(memoryview(text), 5, 100)
    apart = Block(whole.packed, apart=(whole.lines, whole.numbers, whole.offsets))
    for block in (whole, apart):
        parts = list(block.parts(size))
        assert [line for part in parts for line in part.lines] == whole.lines
        assert [n for part in parts for n in part.numbers.tolist()] == whole.numbers.tolist()
        assert [o for part in parts for o in part.offsets.tolist()] == whole.offsets.tolist()
        assert all(len(part) == 1 or len(part.data) <= size for part in parts)
        assert all(part.packed == b"".join(part.lines) for part in parts)


def test_json_file_yields_its_objects_as_lines() -> None:
    assert read(b' {\n "a": "}\\"[,",\r\n "b": [1,\n2]}\n', "x.json") == [
        (1, 1, b'{  "a": "}\\"[,",   "b": [1, 2]}\n')
    ]
    data = b'\n[{"a":1}, {"b":\n{}} ,[3]\n, "x,]"]\n'
    assert read(data, "x.json") == [
        (1, 2, b'{"a":1}\n'),
        (2, 11, b'{"b": {}}\n'),
        (3, 22, b"[3]\n"),
        (4, 28, b'"x,]"\n'),
    ]
    assert read(b'{"a":"x\ny"}', "x.json") == [(1, 0, b'{"a":"x\ny"}\n')]


def test_digest_is_not_told_before_the_end() -> None:
    with pytest.raises(ValueError, match="not been read"):
        _ = LineReader(io.BytesIO(TEXT), "x.ndjson").digest
