"""Messages become lines: each format exactly, and what says no row is a line that is rejected, whatever its bytes."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gaelp_assets.stream.sources.messages import MESSAGE_BYTES, lines_of

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def one(format_: str, value: bytes | None) -> bytes:
    [line] = lines_of(format_, value)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return line[:-1]


def why(format_: str, value: bytes | None) -> str:
    """Why the message says no row, as its line tells it."""
    found = json.loads(one(format_, value))
    assert isinstance(found, list)
    return str(found[0])


def arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (b'{"a": 12345678901234567890.1230}', b'{"a": 12345678901234567890.1230}'),
        (b'  {\r\n\t"a": "x\\ny",\n"b": 1}\n', b'{  \t"a": "x\\ny", "b": 1}'),
        (b'{"a": "\xff"}', b'{"a": "\xff"}'),
        (b'{"a": 1} {"b": 2}', b'{"a": 1} {"b": 2}'),
    ],
)
def test_json_goes_on_as_it_is_written(message: bytes, line: bytes) -> None:
    assert one("json", message) == line


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (None, "without a value"),
        (b"", "an empty message"),
        (b" \n\t", "an empty message"),
        (b'{"a": "x\ny"}', "a line break inside a text"),
        (b'{"a": "x\\\ny"}', "a line break inside a text"),
        (b"hello", "no JSON object"),
        (b"\xef\xbb\xbf{}", "no JSON object"),
        (b"{\x00}\x00", "no JSON object"),
        (b"PAR1", "no JSON object"),
        (b"[1]", "no JSON object"),
        (b'{"a": "' + b"x" * MESSAGE_BYTES + b'"}', "1,048,585 bytes"),
    ],
)
def test_a_message_that_says_no_row_is_a_line_that_tells_why(message: bytes | None, expected: str) -> None:
    assert expected in why("json", message)


def test_what_a_refused_message_held_is_kept() -> None:
    assert json.loads(one("json", b'say "\n"'))[1] == 'say "\n"'
    assert json.loads(one("json", b"\xff\x00"))[1] == {"base64": "/wA="}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["json", "msgpack", "arrow"]), st.binary(max_size=60))
@example("msgpack", b"\x91" * 60)
def test_no_bytes_raise_or_make_another_number_of_lines(format_: str, value: bytes) -> None:
    for line in lines_of(format_, value):
        assert line.strip(b" \t\r\n")
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), JSON_VALUES, max_size=4))
def test_what_msgpack_says_json_says(row: dict[str, Any]) -> None:
    message = msgspec.msgpack.encode(row)
    assert json.loads(one("msgpack", message)) == row
    # As a map with a length of 16 bits, which no library writes for so few keys, it is read in another way.
    assert lines_of("msgpack", b"\xde" + len(row).to_bytes(2, "big") + message[1:]) == lines_of(
        "msgpack", message
    )


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"at": dt.datetime(2026, 11, 28, 1, 2, 3, 40, dt.UTC)}, b'{"at":"2026-11-28T01:02:03.000040Z"}'),
        ({"at": dt.datetime(1960, 1, 1, tzinfo=dt.UTC)}, b'{"at":"1960-01-01T00:00:00Z"}'),
        ({"b": b"\x00\xff"}, b'{"b":"AP8="}'),
        ({"f": 0.1}, b'{"f":0.1}'),
    ],
)
def test_msgpack_says_more_than_json_as_bigquery_writes_it(value: object, line: bytes) -> None:
    assert one("msgpack", msgspec.msgpack.encode(value)) == line


def test_nanoseconds_were_cut_off() -> None:
    """Nine digits are written, which the validator refuses for a column of microseconds."""
    moment = (7).to_bytes(4, "big") + (1).to_bytes(8, "big")
    assert one("msgpack", b"\x81\xa1a\xc7\x0c\xff" + moment) == b'{"a":"1970-01-01T00:00:01.000000007Z"}'


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"\x82\xa1a\x01\xa1a\x02", "a key that stands twice"),
        (b"\x81\x01\x02", "a key that is no text"),
        (b"\x81\xa1a\xa1\xff", "not UTF-8"),
        (b"\x81\xa1a", "it ends too early"),
        (b"\x81\xa1a\x01\x01", "more than one value"),
        (b"\x81\xa1a\xc1", "reserved"),
        (b"\x81\xa1a\xd4\x05\x00", "an extension type"),
        (b"\x81\xa1a\xd6\xff\x00", "it ends too early"),
        (b"\xdd\xff\xff\xff\xff", "it ends too early"),
        (b"\x91" * 100, "levels of nesting"),
        (msgspec.msgpack.encode({"a": float("nan")}), "not finite"),
        (msgspec.msgpack.encode({"a": [float("inf")]}), "not finite"),
    ],
)
def test_what_a_library_of_msgpack_settles_quietly_is_refused(message: bytes, expected: str) -> None:
    assert expected in why("msgpack", message)


def test_an_arrow_message_is_as_many_lines_as_rows() -> None:
    table = pa.table(
        {
            "i": pa.array([2**63 - 1, None], pa.int64()),
            "d": pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)),
            "t": pa.array([1_795_826_096_000_000_001, 0], pa.timestamp("ns", "UTC")),
            "s": pa.array(["x\ny", "z"]).dictionary_encode(),
            "n": pa.array([{"a": [1]}, None]),
            "b": pa.array([b"\xff", b""]),
            "day": pa.array([dt.date(2026, 11, 28), None]),
        }
    )
    first, second = (json.loads(line) for line in lines_of("arrow", arrow(table)))
    assert first == {
        "i": 2**63 - 1, "d": "1.5", "t": "2026-11-28T00:34:56.000000001Z", "s": "x\ny",
        "n": {"a": [1]}, "b": "/w==", "day": "2026-11-28",
    }  # fmt: skip
    assert second["t"] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (arrow(pa.table({"a": pa.array([], pa.int64())})), "without rows"),
        (arrow(pa.table({"a": pa.array([1], pa.duration("s"))})), "'a' is of a type"),
        (arrow(pa.table({"a": [{"b": 1}]}).append_column("a", pa.array([1]))), "stands twice"),
        (arrow(pa.table({"a": [1]}))[:-30][:100], "no Arrow stream"),
        (arrow(pa.table([pa.nulls(100_001)], names=["a"])), "rows in a message"),
    ],
)
def test_an_arrow_message_that_says_no_rows_is_one_line(message: bytes, expected: str) -> None:
    assert expected in why("arrow", message)


def test_of_arrow_rows_only_the_one_that_json_cannot_say_is_refused() -> None:
    good, bad = (json.loads(line) for line in lines_of("arrow", arrow(pa.table({"a": [1.0, float("nan")]}))))
    assert good == {"a": 1.0}
    assert bad == ["a number that is not finite", '{"a": NaN}']
