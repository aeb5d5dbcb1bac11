"""What a line has to be, type by type and mistake by mistake: the rule that each bad one breaks, and the words of the reason."""

from __future__ import annotations

import base64
import datetime as dt
import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from gaelp_assets.catalog.model import Relation
from gaelp_assets.ingest.compiled import CompiledRelation
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets.ingest.validate import Validator
from gaelp_assets.validation.schema import ORIGIN_COLUMNS

FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "INTEGER", "mode": "REQUIRED"},
    {"name": "f", "type": "FLOAT"},
    {"name": "s", "type": "STRING"},
    {"name": "b", "type": "BOOLEAN"},
    {"name": "n", "type": "NUMERIC"},
    {"name": "by", "type": "BYTES"},
    {"name": "d", "type": "DATE"},
    {"name": "t", "type": "TIME"},
    {"name": "dtm", "type": "DATETIME"},
    {"name": "ts", "type": "TIMESTAMP"},
    {"name": "j", "type": "JSON"},
    {"name": "fs", "type": "FLOAT", "mode": "REPEATED"},
    {"name": "js", "type": "JSON", "mode": "REPEATED"},
    {
        "name": "rec",
        "type": "RECORD",
        "fields": [{"name": "x", "type": "INTEGER", "mode": "REQUIRED"}, {"name": "y", "type": "STRING"}],
    },
    {"name": "recs", "type": "RECORD", "mode": "REPEATED", "fields": [{"name": "k", "type": "DATE"}]},
]
pytestmark = pytest.mark.usefixtures("each_way")


def decode(
    data: bytes, fields: Sequence[dict[str, Any]] = FIELDS
) -> tuple[list[dict[str, Any]], list[tuple[int, str, str, str]]]:
    """The rows, and (line, field, rule, message) of each reason."""
    relation = {"dataset": "d", "name": "t", "description": "x", "owner": "team:x", "fields": fields}
    validator = Validator(
        CompiledRelation(Relation.model_validate(relation)), first_date=dt.date.min, last_date=dt.date.max
    )
    rows, reasons = [], []
    for chunk in validator.validate(LineReader(io.BytesIO(data), "x.ndjson")):
        rows += chunk.rows.drop(ORIGIN_COLUMNS).to_dicts()
        reasons += [
            (reject["line_number"], r["field"], r["rule"], r["message"])
            for reject in chunk.rejects.to_dicts()
            for r in reject["reasons"]
        ]
    return rows, reasons


def value(name: str, text: str) -> Any:
    """What the field's value becomes; the line stands between others, of which one has a mistake of its own."""
    lines = ['{"id":1}', f'{{"id":2,"{name}":{text}}}', '{"id":3,"zz":1}', '{"id":4}']
    rows, reasons = decode("\n".join(lines).encode())
    assert [line for line, *_ in reasons] == [3], reasons
    assert [row["id"] for row in rows] == [1, 2, 4]
    return rows[1][name]


def same(got: Any, expected: Any) -> bool:
    """Equal, of the same type and, where zero, of the same sign."""
    if isinstance(expected, float):
        return repr(got) == repr(expected)
    return type(got) is type(expected) and got == expected


def broken(name: str, text: str) -> tuple[str, str, str]:
    """Field, rule and message of the one reason why the field's value is refused, between good lines."""
    others = "" if name == "id" else '"id":2,'
    rows, reasons = decode(f'{{"id":1}}\n{{{others}"{name}":{text}}}\n{{"id":3}}\n'.encode())
    assert [row["id"] for row in rows] == [1, 3]
    [(line, *reason)] = reasons
    assert line == 2
    return reason[0], reason[1], reason[2]


UTC = dt.UTC
GOOD: list[tuple[str, str, Any]] = [
    ("id", "2", 2),
    ("f", "1", 1.0),
    ("f", "-0.0", -0.0),
    ("f", "1e308", 1e308),
    ("f", "5e-324", 5e-324),
    ("f", "9007199254740992", 2.0**53),
    ("f", "10000000000000000000000", 1e22),
    ("f", "null", None),
    ("s", '""', ""),
    ("s", r'"\u0000"', "\0"),
    ("s", r'"\ud83d\ude00"', "😀"),
    ("s", '"é\\n\\\\n"', "é\n\\n"),
    ("s", r'"a\":b"', 'a":b'),
    ("s", '"NaN"', "NaN"),
    ("b", "true", True),
    ("b", "false", False),
    ("b", "null", None),
    ("n", "12.50", Decimal("12.50")),
    ("n", '"12.50"', Decimal("12.50")),
    ("n", "99999999999999999999999999999.999999999", Decimal("99999999999999999999999999999.999999999")),
    ("n", "0.000000001", Decimal("0.000000001")),
    ("n", "1e28", Decimal(10) ** 28),
    ("by", '"/+8="', b"\xff\xef"),
    ("by", '""', b""),
    ("d", '"0001-01-01"', dt.date.min),
    ("d", '"9999-12-31"', dt.date.max),
    ("d", '"2024-02-29"', dt.date(2024, 2, 29)),
    ("t", '"00:00:00"', dt.time()),
    ("t", '"23:59:59.999999"', dt.time(23, 59, 59, 999999)),
    ("dtm", '"2026-11-20T10:00:00.5"', dt.datetime.fromisoformat("2026-11-20T10:00:00.500000")),
    ("dtm", '"2026-11-20 10:00:00"', dt.datetime.fromisoformat("2026-11-20T10:00:00")),
    ("ts", '"2026-11-20T10:00:00Z"', dt.datetime(2026, 11, 20, 10, tzinfo=UTC)),
    ("ts", '"2026-11-20T10:00:00.000001+05:30"', dt.datetime(2026, 11, 20, 4, 30, 0, 1, UTC)),
    ("ts", '"1969-12-31T23:59:59Z"', dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ("ts", '"9999-12-31T23:59:59.999999Z"', dt.datetime.max.replace(tzinfo=UTC)),
    ("j", r'{"a":1.0,"b":"C:\\new","c":"\u00e9"}', r'{"a":1.0,"b":"C:\\new","c":"\u00e9"}'),
    ("j", "null", None),
    ("j", "12345678901234567890123", "12345678901234567890123"),
    ("j", '{"a":{"b":1},"b":[{"b":2}]}', '{"a":{"b":1},"b":[{"b":2}]}'),
    ("fs", "[1,2.5]", [1.0, 2.5]),
    ("fs", "[]", []),
    ("fs", "null", []),
    ("js", "[null,{}]", ["null", "{}"]),
    ("rec", '{"x":1}', {"x": 1, "y": None}),
    ("rec", "null", None),
    ("recs", '[{"k":"2026-11-20"},{}]', [{"k": dt.date(2026, 11, 20)}, {"k": None}]),
]


@pytest.mark.parametrize(("name", "text", "expected"), GOOD, ids=[f"{n} {t[:20]}" for n, t, _ in GOOD])
def test_good_value_arrives_as_it_was_sent(name: str, text: str, expected: Any) -> None:
    if name == "id":
        assert decode(f'{{"id":{text}}}'.encode())[0][0]["id"] == expected
    else:
        assert same(value(name, text), expected)


@pytest.mark.parametrize("number", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)])
def test_no_digit_of_an_integer_is_lost(number: int) -> None:
    [row], reasons = decode(f'{{"id":{number}}}'.encode())
    assert (row["id"], reasons) == (number, [])


@pytest.mark.parametrize("name", [field["name"] for field in FIELDS if field["name"] != "id"])
def test_missing_optional_field_is_null_or_an_empty_array(name: str) -> None:
    repeated = name in {"fs", "js", "recs"}
    assert [row[name] for row in decode(b'{"id":1}\n{"id":2}')[0]] == [[] if repeated else None] * 2


BAD: list[tuple[str, str, str, str]] = [
    ("id", "1.7", "wrong_type", "an integer without quotes, fraction or exponent, found a number with a fraction"),
    ("id", "1.0", "wrong_type", "found a number with a fraction or exponent"),
    ("id", "1e3", "wrong_type", "found a number with a fraction or exponent"),
    ("id", "true", "wrong_type", "found a boolean"),
    ("id", '"7"', "wrong_type", "found a string"),
    ("id", "null", "missing_field", "expected a value, found null"),
    ("id", "9223372036854775808", "out_of_range", "an integer of 64 bits"),
    ("id", "-9223372036854775809", "out_of_range", "an integer of 64 bits"),
    ("id", "9" * 400, "out_of_range", "an integer of 64 bits"),
    ("id", "NaN", "not_finite", "NaN and Infinity are no JSON"),
    ("f", "NaN", "not_finite", "a finite number"),
    ("f", "-Infinity", "not_finite", "a finite number"),
    ("f", "1e309", "out_of_range", "at most about 1.8e308"),
    ("f", "9007199254740993", "lost_precision", "holds without loss"),
    ("f", '"1.5"', "wrong_type", "a number without quotes, found a string"),
    ("f", "false", "wrong_type", "found a boolean"),
    ("s", "7", "wrong_type", "expected a string, found an integer"),
    ("s", "{}", "wrong_type", "found an object"),
    ("s", r'"\ud800"', "lone_surrogate", "half of a surrogate pair"),
    ("b", "1", "wrong_type", "true or false, found an integer"),
    ("b", '"true"', "wrong_type", "found a string"),
    ("n", "0.1234567891", "out_of_range", "at most 29 digits before the point and 9 after it"),
    ("n", "1e29", "out_of_range", "at most 29 digits"),
    ("n", '"1,5"', "wrong_type", "a decimal number, such as 12.50"),
    ("n", "[]", "wrong_type", "found an array"),
    ("by", '"YR=="', "bad_base64", "standard alphabet with its padding"),
    ("by", '"YQ"', "bad_base64", "standard alphabet"),
    ("by", '"_w=="', "bad_base64", "standard alphabet"),
    ("d", '"2026-02-30"', "bad_date", "a date that exists"),
    ("d", '"0000-12-31"', "bad_date", "a date that exists"),
    ("d", '"20261120"', "bad_date", "written as YYYY-MM-DD"),
    ("d", '"2026-11-20\\n"', "bad_date", "written as YYYY-MM-DD"),
    ("d", '"２026-11-20"', "bad_date", "written as YYYY-MM-DD"),
    ("d", "20261120", "wrong_type", "a date as a string, found an integer"),
    ("t", '"24:00:00"', "bad_time", "HH:MM:SS"),
    ("t", '"10:00:00.1234567"', "bad_time", "at most microseconds"),
    ("dtm", '"2026-11-20T10:00:00Z"', "bad_datetime", "no zone at the end"),
    ("dtm", '"2026-11-20"', "bad_datetime", "a date and time"),
    ("ts", '"2026-11-20T10:00:00"', "bad_timestamp", "a zone, Z or an offset"),
    ("ts", '"2026-02-30T00:00:00Z"', "bad_timestamp", "a date that exists"),
    ("ts", '"2026-11-20T10:00:00.1234567Z"', "bad_timestamp", "at most 6 digits"),
    ("ts", '"2026-11-20T23:59:60Z"', "bad_timestamp", "a timestamp with a zone"),
    ("ts", '"0001-01-01T00:00:00+01:00"', "out_of_range", "the year 1 to the year 9999 of UTC"),
    ("ts", "1763632800", "wrong_type", "found an integer"),
    ("j", '{"a":1,"a":2}', "duplicate_key", "each key once"),
    ("j", r'{"a":1,"\u0061":2}', "duplicate_key", "each key once"),
    ("j", '{"b":{"a":1,"a" :2}}', "duplicate_key", "each key once"),
    ("j", r'{"a":"\ud800"}', "lone_surrogate", "half of a surrogate pair"),
    ("j", "[NaN]", "not_finite", "NaN and Infinity are no JSON"),
    ("fs", "[1,null]", "wrong_type", "no null in an array"),
    ("fs", '[1,"2"]', "wrong_type", "a number without quotes"),
    ("fs", "[9007199254740993]", "lost_precision", "without loss"),
    ("fs", "1.5", "wrong_type", "expected an array"),
    ("js", '[{"a":1,"a":1}]', "duplicate_key", "each key once"),
    ("rec", "[]", "wrong_type", "expected an object, found an array"),
    ("zz", "1", "unknown_field", "expected only the fields id, f, s"),
    ("j", "[" * 250 + "]" * 250, "too_deep", "at most 200 levels"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "rule", "words"), BAD, ids=[f"{n} {t[:20]} {r}" for n, t, r, _ in BAD]
)
def test_bad_value_is_refused_for_its_reason(name: str, text: str, rule: str, words: str) -> None:
    field, found, message = broken(name, text)
    assert (field, found) == ("" if rule == "too_deep" else name, rule)
    assert words in message


@pytest.mark.parametrize(
    ("line", "field", "rule", "words"),
    [
        (b'{"id":1', "", "malformed_json", "a mistake at character 8"),
        (b'{"id":1,}', "", "malformed_json", "one JSON object, found a mistake"),
        (b'{"id":1} {"id":2}', "", "malformed_json", "a mistake at character 10"),
        (b"Traceback", "", "malformed_json", "a mistake at character 1"),
        (b'{"id":01}', "", "malformed_json", "a mistake"),
        (b"{'id':1}", "", "malformed_json", "a mistake"),
        (b'{"id":1,"s":"\xff"}', "", "invalid_utf8", "another byte at position 13"),
        (b'{"id":1,"s":"\xed\xa0\x80"}', "", "invalid_utf8", "another byte at position 13"),
        (b'\xef\xbb\xbf{"id":1}', "", "malformed_json", "a mistake at character 1"),
        (b"[1]", "", "not_an_object", "found an array"),
        (b"null", "", "not_an_object", "found null"),
        (b"{}", "id", "missing_field", "found no such key"),
        (b'{"id":1,"id":1}', "id", "duplicate_key", "each key once"),
        (b'{"id":1,"\\u0069d":1}', "id", "duplicate_key", "each key once"),
        (b'{"id" :1,"id":1}', "id", "duplicate_key", "each key once"),
        (b'{"id":1,"rec":{"x":1,"x":1}}', "rec.x", "duplicate_key", "each key once"),
        (b'{"id":1,"rec":{"y":"a"}}', "rec.x", "missing_field", "found no such key"),
        (b'{"id":1,"rec":{"x":1,"z":1}}', "rec.z", "unknown_field", "only the fields x, y"),
        (b'{"id":1,"rec":{"x":9223372036854775808}}', "rec.x", "out_of_range", "64 bits"),
        (b'{"id":1,"recs":[{},{"k":"2026-02-30"}]}', "recs.k", "bad_date", "that exists"),
        (b'{"id":1,"":1}', "", "unknown_field", "only the fields"),
    ],
)
def test_bad_line_is_refused_for_its_reason_and_alone(line: bytes, field: str, rule: str, words: str) -> None:
    rows, reasons = decode(b'{"id":1}\n' + line + b'\n{"id":3}\n')
    assert [row["id"] for row in rows] == [1, 3]
    [(number, *reason)] = reasons
    assert (number, reason[0], reason[1]) == (2, field, rule)
    assert words in reason[2]


def test_last_line_that_is_cut_off_is_called_so() -> None:
    _, [(line, field, rule, message)] = decode(b'{"id":1}\n{"id":2,"s":"abc')
    assert (line, field, rule) == (2, "", "truncated_line")
    assert "cut off" in message


def test_crlf_blank_lines_and_spaces_change_nothing() -> None:
    rows, reasons = decode(b'\xef\xbb\xbf{"id":1}\r\n\r\n \t\n  { "id" : 2 , "s" : " : " }  \r\n{"id":3}')
    assert ([row["id"] for row in rows], reasons) == ([1, 2, 3], [])


def test_duplicate_hidden_by_a_spaced_key_is_found_in_whatever_line_it_stands() -> None:
    """Counts of key ends in the whole block cancel out here: one line has a key too many, another hides one."""
    data = b'{"id":1,"id":1}\n{"id" :2}\n{"id":3,"s":"\\":"}\n{"id" :4,"id":4}\n{"id":5,"s":"x"}\n'
    rows, reasons = decode(data)
    assert [row["id"] for row in rows] == [2, 3, 5]
    assert [(line, rule) for line, _, rule, _ in reasons] == [(1, "duplicate_key"), (4, "duplicate_key")]


def test_duplicate_is_found_among_rows_with_many_different_keys() -> None:
    lines = [
        f'{{"id":{i}{",".join(["", *(f"{chr(34)}{n}{chr(34)}:null" for n in ("f", "s", "b")[: i % 4])])}}}'
        for i in range(400)
    ]
    lines[123] = '{"id":123,"f":1,"f":1}'
    lines[321] = '{"id":321,"j":{"k":1,"k":1}}'
    rows, reasons = decode("\n".join(lines).encode())
    assert [(line, field) for line, field, *_ in reasons] == [(124, "f"), (322, "j")]
    assert len(rows) == 398


def test_block_with_mistakes_in_every_column_keeps_its_good_rows() -> None:
    """Values that do not fit get stand-ins until their rows are dropped: none may reach a good row."""
    bad = [f'{{"id":-1,"{name}":{text}}}' for name, text, *_ in BAD if name != "id"]
    good = [f'{{"id":{i},"{name}":{text}}}' for i, (name, text, _) in enumerate(GOOD) if name != "id"]
    lines = [line for i in range(len(bad)) for line in (bad[i], good[i % len(good)])]
    rows, reasons = decode("\n".join(lines).encode())
    assert len(rows) == len(bad)
    assert len({line for line, *_ in reasons}) == len(bad)
    for i, row in enumerate(rows):
        name, _, expected = GOOD[row["id"]]
        assert same(row[name], expected), i


def test_bytes_of_every_value_survive() -> None:
    raw = bytes(range(256))
    assert value("by", f'"{base64.b64encode(raw).decode()}"') == raw


@pytest.mark.parametrize("field", FIELDS[1:], ids=[field["name"] for field in FIELDS[1:]])
def test_missing_field_does_not_make_up_for_a_key_too_many(field: dict[str, Any]) -> None:
    """Keys are counted for the block as a whole: a field that is not there must not be counted as if it were."""
    rows, reasons = decode(b'{"id":1,"id":1}', [FIELDS[0], field])
    assert (rows, [rule for _, _, rule, _ in reasons]) == ([], ["duplicate_key"])


def test_duplicate_in_a_line_with_as_many_keys_as_the_others_is_found() -> None:
    rows, reasons = decode(b'{"id":1,"f":1}\n{"id":2,"id":2}\n{"id":3,"f":1}\n{"id":4}\n')
    assert [row["id"] for row in rows] == [1, 3, 4]
    assert [(line, rule) for line, _, rule, _ in reasons] == [(2, "duplicate_key")]
