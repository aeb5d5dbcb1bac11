"""The prover against a slow oracle of its own making: the standard `json` module and plain Python rules, line by line."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gaelp_assets.catalog.model import Check, Field, Relation
from gaelp_assets.errors import GaelpError
from gaelp_assets.ingest.compiled import CompiledRelation
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets.ingest.validate import Validator


def check(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def field(name: str, kind: str, *checks: dict[str, Any], mode: str = "NULLABLE", **more: Any) -> Field:
    return Field.model_validate({"name": name, "type": kind, "mode": mode, "checks": checks, **more})


RELATION = Relation(
    dataset="training",
    name="everything",
    description="a field of every type",
    owner="team:tests",
    fields=(
        field("id", "INTEGER", check("in_range", min_value=-5, max_value=10**6), mode="REQUIRED"),
        field("f", "FLOAT", check("finite"), check("less_than", max_value=100)),
        field("s", "STRING", check("str_length", max_value=5), check("notin", forbidden_values=["NaN"])),
        field("b", "BOOLEAN"),
        field("ts", "TIMESTAMP", check("greater_than", min_value="2000-01-01T00:00:00Z")),
        field("d", "DATE", check("not_equal_to", value="2026-02-28")),
        field("dtm", "DATETIME", check("less_than", max_value="2026-11-20T10:00:00.3")),
        field("t", "TIME", check("less_than_or_equal_to", max_value="10:00:00")),
        field("n", "NUMERIC", check("in_range", min_value="-1.5", max_value="1.0")),
        field("by", "BYTES"),
        field("j", "JSON", check("json_object")),
        field("js", "JSON", check("array_length", max_value=2), mode="REPEATED"),
        field("class", "FLOAT", check("array_length", min_value=1), check("equal_to", value=1), mode="REPEATED"),
        field(
            "rec",
            "RECORD",
            fields=[
                field("x", "INTEGER", check("greater_than", min_value=0), mode="REQUIRED"),
                field("y", "STRING", check("str_endswith", string="s")),
            ],
        ),
        field(
            "recs",
            "RECORD",
            check("array_length", max_value=1),
            mode="REPEATED",
            fields=[
                field("k", "STRING", check("isin", allowed_values=["a"]), mode="REQUIRED"),
                field("v", "FLOAT", check("less_than", max_value=1)),
            ],
        ),
        field("e", "DATE"),
        field("u", "BOOLEAN"),
    ),
    checks=tuple(
        map(
            Check.model_validate,
            (
                check("compare", left="d", operator="<=", right="e"),
                check("not_both", first="b", second="u"),
                check("when", field="s", equals="a", then={"name": "less_than", "field": "f", "arguments": {"max_value": 2}}),
            ),
        )
    ),
)  # fmt: skip
# What each of the checks means: the fields that it looks at, which it blames, its name, and whether values that are there keep it. A record
# that is there has all its fields, those of no value as None.
MEANING: list[tuple[str, str, str, Callable[..., bool]]] = [
    ("id", "id", "in_range", lambda v: -5 <= v <= 10**6),
    ("f", "f", "less_than", lambda v: v < 100),
    ("s", "s", "str_length", lambda v: len(v) <= 5),
    ("s", "s", "notin", lambda v: v != "NaN"),
    ("ts", "ts", "greater_than", lambda v: v > dt.datetime(2000, 1, 1, tzinfo=dt.UTC)),
    ("d", "d", "not_equal_to", lambda v: v != dt.date(2026, 2, 28)),
    ("dtm", "dtm", "less_than", lambda v: v < dt.datetime(2026, 11, 20, 10, 0, 0, 300_000)),  # noqa: DTZ001
    ("t", "t", "less_than_or_equal_to", lambda v: v <= dt.time(10)),
    ("n", "n", "in_range", lambda v: Decimal("-1.5") <= v <= 1),
    ("j", "j", "json_object", lambda v: isinstance(v, dict)),
    ("js", "js", "array_length", lambda v: len(v) <= 2),
    ("class", "class", "array_length", lambda v: len(v) >= 1),
    ("class", "class", "equal_to", lambda v: all(x == 1 for x in v)),
    ("rec.x", "rec.x", "greater_than", lambda v: v > 0),
    ("rec.y", "rec.y", "str_endswith", lambda v: v.endswith("s")),
    ("recs", "recs", "array_length", lambda v: len(v) <= 1),
    ("recs.k", "recs.k", "isin", lambda v: all(k == "a" for k in v)),
    ("recs.v", "recs.v", "less_than", lambda v: all(x is None or x < 1 for x in v)),
    ("d e", "d", "compare", lambda d, e: d <= e),
    ("b u", "b", "not_both", lambda b, u: not (b and u)),
    ("s f", "f", "when", lambda s, f: s != "a" or f < 2),
]
STRUCTURAL = {
    "missing_field",
    "unknown_field",
    "duplicate_key",
    "wrong_type",
    "out_of_range",
    "lost_precision",
    "lone_surrogate",
    "not_finite",
    "bad_base64",
    "bad_date",
    "bad_datetime",
    "bad_time",
    "bad_timestamp",
    "malformed_json",
    "truncated_line",
    "not_an_object",
    "invalid_utf8",
    "too_deep",
}
pytestmark = pytest.mark.usefixtures("each_way")


class Bad(Exception):
    pass


class Num(str):
    __slots__ = ()


def require(condition: object) -> None:
    if not condition:
        raise Bad


def refuse(_: object) -> None:
    raise Bad


def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    require(len(dict(items)) == len(items))
    return dict(items)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def oracle(line: bytes) -> dict[str, Any]:
    """The row that the line is; Bad if it is none."""
    try:
        text = line.decode()
        value = json.loads(
            text, parse_int=Num, parse_float=Num, parse_constant=refuse, object_pairs_hook=pairs
        )
    except (ValueError, RecursionError):
        raise Bad from None
    require(isinstance(value, dict) and depth(value) <= 200)
    require(not re.search("[\ud800-\udfff]", str(value)) and not has_surrogate(value))
    return record(value, RELATION.fields, text)


def has_surrogate(value: Any) -> bool:
    if isinstance(value, dict):
        return any(has_surrogate(v) for kv in value.items() for v in kv)
    if isinstance(value, list):
        return any(map(has_surrogate, value))
    return isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value)


def record(value: Any, fields: Any, text: str) -> dict[str, Any]:
    require(isinstance(value, dict) and set(value) <= {f.name for f in fields})
    row: dict[str, Any] = {}
    for f in fields:
        v = value.get(f.name)
        if f.mode == "REPEATED":
            require(v is None or isinstance(v, list))
            row[f.name] = [scalar(e, f, text) for e in v or []]
        else:
            require(v is not None or f.mode != "REQUIRED")
            row[f.name] = None if v is None else scalar(v, f, text)
    return row


MOMENT = r"\d{4}-\d\d-\d\d[T ]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?"


def scalar(v: Any, f: Field, text: str) -> Any:
    kind = f.type
    if kind == "RECORD":
        return record(v, f.fields, text)
    if kind == "JSON":
        return v
    if kind == "BOOLEAN":
        require(isinstance(v, bool))
        return v
    if kind in {"INTEGER", "FLOAT"}:
        require(isinstance(v, Num))
        if kind == "INTEGER":
            require(re.fullmatch("-?[0-9]{1,19}", v) and -(2**63) <= int(v) < 2**63)
            return int(v)
        require(abs(float(v)) != float("inf"))
        require(not re.fullmatch("-?[0-9]+", v) or Fraction(float(v)) == Fraction(v))
        return float(v)
    require(isinstance(v, str))
    if kind == "NUMERIC":
        require(re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", v, re.ASCII))
        require((len(v) < 100 and abs(Decimal(v).adjusted()) < 60) or Decimal(v) == 0)
        if Decimal(v) == 0:
            return Decimal(0)
        exact = Fraction(v) * 10**9
        require(exact.denominator == 1 and abs(exact) < 10**38)
        return Decimal(v)
    require(not isinstance(v, Num))
    try:
        if kind == "BYTES":
            raw = base64.b64decode(v, validate=True)
            require(base64.b64encode(raw).decode() == v)
            return raw
        if kind == "DATE":
            require(re.fullmatch(r"\d{4}-\d\d-\d\d", v, re.ASCII))
            return dt.date.fromisoformat(v)
        if kind == "TIME":
            require(re.fullmatch(r"\d\d:\d\d:\d\d(\.\d{1,6})?", v, re.ASCII))
            return dt.time.fromisoformat(v)
        if kind == "DATETIME":
            require(re.fullmatch(MOMENT, v, re.ASCII))
            return dt.datetime.fromisoformat(v)
        if kind == "TIMESTAMP":
            require(re.fullmatch(MOMENT + r"(Z|[+-]\d\d(:?[0-5]\d)?)", v, re.ASCII))
            return dt.datetime.fromisoformat(v).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise Bad from None
    return v


class Loose(dict[str, Any]):
    """An object as it stands, duplicate keys and all."""

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        super().__init__(items)
        names = [name for name, _ in items]
        self.twice = {name for name in names if names.count(name) > 1}
        self.all_values = [value for _, value in items]


class Constant:
    """NaN or Infinity."""


def is_clean(value: Any) -> bool:
    """Whether JSON has no key twice, no NaN and no half characters anywhere."""
    if isinstance(value, Loose):
        return not value.twice and not has_surrogate(list(value)) and all(map(is_clean, value.all_values))
    if isinstance(value, list):
        return all(map(is_clean, value))
    return not isinstance(value, Constant) and not has_surrogate(value)


def loose_depth(value: Any) -> int:
    inner = value.all_values if isinstance(value, Loose) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(loose_depth, inner), default=0)


def fine_parts(value: Any, fields: Any, prefix: str, spoilt: set[str]) -> dict[str, Any]:
    """The values of the fields; the paths of those that are not fine go into `spoilt`."""
    row: dict[str, Any] = {}
    for f in fields:
        path = prefix + f.name
        found = value.get(f.name)
        row[f.name] = [] if f.mode == "REPEATED" else None
        if f.name in value.twice or (found is None and f.mode == "REQUIRED"):
            spoilt.add(path)
        if found is None:
            continue
        if f.mode == "REPEATED" and not isinstance(found, list):
            spoilt.add(path)
            continue
        fine = []
        for element in found if f.mode == "REPEATED" else [found]:
            try:
                if f.type == "RECORD":
                    require(isinstance(element, Loose))
                    fine.append(fine_parts(element, f.fields, f"{path}.", spoilt))
                else:
                    require(is_clean(element) and (element is not None or f.type == "JSON"))
                    fine.append(scalar(element, f, ""))
            except Bad:
                spoilt.add(path)
        row[f.name] = fine if f.mode == "REPEATED" else next(iter(fine), None)
    return row


def broken_rules(line: bytes) -> tuple[list[tuple[str, str]], set[str]]:
    """The field and rule of each check that the line breaks, as far as its fields are fine, and the paths of those that are not."""
    nothing: tuple[list[tuple[str, str]], set[str]] = [], set()
    try:
        value = json.loads(
            line.decode(),
            parse_int=Num,
            parse_float=Num,
            parse_constant=lambda _: Constant(),
            object_pairs_hook=Loose,
        )
    except (ValueError, RecursionError):
        return nothing
    if not isinstance(value, Loose) or loose_depth(value) > 200:
        return nothing
    spoilt: set[str] = set()
    row = fine_parts(value, RELATION.fields, "", spoilt)
    broken = []
    for looked_at, blamed, rule, holds in MEANING:
        paths = looked_at.split()
        if any(path in spoilt or path.split(".")[0] in spoilt for path in paths):
            continue
        values = [value_at(row, path) for path in paths]
        if None not in values and not holds(*values):
            broken.append((blamed, rule))
    return broken, spoilt


def value_at(row: dict[str, Any], path: str) -> Any:
    name, _, inner = path.partition(".")
    if not inner or row[name] is None:
        return row[name]
    return [part[inner] for part in row[name]] if isinstance(row[name], list) else row[name][inner]


def check_file(data: bytes) -> None:
    """Every line that is not blank has the oracle's verdict and values, its number, offset and bytes."""
    start = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    expected = []
    offset = start
    for number, line in enumerate(data[start:].split(b"\n"), 1):
        if line.strip(b" \t\r"):
            expected.append((number, offset, line.rstrip(b"\r"), line.strip(b" \t\r")))
        offset += len(line) + 1
    validator = Validator(CompiledRelation(RELATION), first_date=dt.date.min, last_date=dt.date.max)
    reader = LineReader(io.BytesIO(data), "training/everything/x.ndjson")
    rows: dict[int, Any] = {}
    rejects: dict[int, Any] = {}
    lines = 0
    try:
        for chunk in validator.validate(reader):
            lines += chunk.lines
            for row, raw in zip(chunk.rows.to_dicts(), chunk.raw, strict=True):
                rows[row["_line_number"]] = (row, raw)
            rejects |= {reject["line_number"]: reject for reject in chunk.rejects.to_dicts()}
    except GaelpError as error:
        assert "has no lines" in str(error) or "UTF-16" in str(error), error  # noqa: PT017
        assert not expected or data[start:].startswith((b"{\0", b"\0{", b"\xff\xfe", b"\xfe\xff"))
        return
    assert lines == len(expected) == len(rows) + len(rejects)
    for number, offset, raw, text in expected:
        try:
            want = oracle(text)
        except Bad:
            assert number in rejects, f"should be rejected: {text!r}"
            reject = rejects[number]
            assert (reject["byte_offset"], reject["raw"]) == (offset, raw)
            check_reasons(text, reject["reasons"], structural=True)
            continue
        if number in rejects:
            check_reasons(text, rejects[number]["reasons"], structural=False)
            continue
        assert not broken_rules(text)[0], f"should break a rule: {text!r}"
        assert number in rows, f"should be a row: {text!r}, {rejects.get(number)}"
        got, line = rows[number]
        assert (got["_byte_offset"], line) == (offset, raw)
        for name in ("j", "js"):
            sent = got[name]
            parsed = [
                json.loads(s, parse_int=Num, parse_float=Num)
                for s in ([sent] if name == "j" and sent else sent or [])
            ]
            assert all(s in text.decode() for s in ([sent] if name == "j" and sent else sent or []))
            assert parsed == ([want[name]] if name == "j" and want[name] is not None else want[name] or [])
        assert {k: got[k] for k in want if k not in {"j", "js"}} == {
            k: v for k, v in want.items() if k not in {"j", "js"}
        }


def check_reasons(text: bytes, reasons: list[dict[str, str]], *, structural: bool) -> None:
    """First why the line as such is no row, then every check that the rest of it breaks; nothing twice."""
    broken, spoilt = broken_rules(text)
    told = [(reason["field"], reason["rule"]) for reason in reasons]
    before = told[: len(told) - len(broken)]
    assert told[len(before) :] == broken, f"{text!r}: {told}"
    assert bool(before) == structural, f"{text!r}: {told}"
    assert {rule for _, rule in before} <= STRUCTURAL, f"{text!r}: {told}"
    assert spoilt <= {path for path, _ in before}, f"{text!r}: {told}"
    assert len({tuple(reason.values()) for reason in reasons}) == len(reasons), f"{text!r}: {reasons}"


STRINGS = [
    '""',
    '"a"',
    r'"\u0000"',
    r'"\ud83d\ude00"',
    r'"\ud800"',
    r'"\udc00x"',
    r'"\ud800\u0041"',
    r'"x\ud83dyyyyyyyyyyyyyyyyyy"',
    '"é😀"',
    r'"a\":b\\"',
    '"\t"',
    r'"\x"',
    '"\\',
    r'"\\"',
    r'"{\"k\":1}"',
    '"\x7f"',
    '" : "',
    '"\\u00e9"',
    '"NaN"',
]
NUMBERS = [
    "0",
    "-0",
    "7",
    "1.7",
    "1.0",
    "1e3",
    "1E+2",
    "-1.5e-3",
    "01",
    "1.",
    ".5",
    "+1",
    "-",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "9007199254740992",
    "9007199254740993",
    "18446744073709551616",
    "1e308",
    "1e309",
    "-1e999",
    "1e-400",
    "123456789012345678901234567890",
    "9" * 400,
    "1" * 25,
    "1e22",
    "10000000000000000000000",
    "0.1234567891",
    "0.123456789",
    "99999999999999999999999999999.999999999",
    "1e29",
    "1e28",
    "1.0000000000",
    "NaN",
    "Infinity",
    "-Infinity",
    "0e99999999",
    "1e99999999",
]
MOMENTS = [
    "2026-11-20T10:00:00Z",
    "2026-11-20 10:00:00.123456+05:30",
    "2026-11-20T10:00:00",
    "2026-11-20T10:00:00.1234567Z",
    "2026-02-30T00:00:00Z",
    "2024-02-29T23:59:59.9Z",
    "2026-11-20T24:00:00Z",
    "2026-11-20T23:59:60Z",
    "0001-01-01T00:00:00+01:00",
    "0001-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-01:00",
    "2026-11-20T10Z",
    "2026-11-20T10:00Z",
    "2026-11-20Z",
    "2026-11-20",
    "2026-02-29",
    "20261120",
    "2026-11-20T10:00:00+0530",
    "2026-11-20T10:00:00+05",
    "2026-11-20T10:00:00+24:00",
    "2026-11-20T10:00:00+5:30",
    "2026-11-20t10:00:00z",
    "2026-11-20T10:00:00 Z",
    "10:00:00",
    "10:00:00.5",
    "24:00:00",
    "10:00",
    "10:00:00.1234567",
    "1969-12-31T23:59:59.999999",
    "0001-01-01",
    "0000-12-31",
    "9999-12-31",
    "２026-11-20",
    "YQ==",
    "YR==",
    "YQ",
    "_w==",
    "12.5",
    "1_0",
    " 1",
    "2026-11-20T10:00:00.Z",
    "2026-11-20T10:00:00,5Z",
    "2026-11-20\n",
    "2026-11-20T10:00:00-00:60",
]
DEEP = [
    "[" * 150 + "]" * 150,
    "[" * 250 + "]" * 250,
    '{"a":' * 199 + "1" + "}" * 199,
    "[" * 5000 + "]" * 5000,
]
OTHER = [
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "[null]",
    "[1,2.5]",
    "[1,NaN]",
    '[1,"x"]',
    '{"a":1,"a":2}',
    r'{"a":1,"\u0061":2}',
    '{"a":{"b":1},"b":2}',
    '{"a" :1}',
    '{"a" :1,"a":2}',
    '[{"a":1},{"a":2}]',
    '[{"a":1,"a":1}]',
    '{"":1}',
    '{"x":1}',
    '{"x":1,"y":"s"}',
    '{"x":null}',
    '{"x":1,"z":2}',
    '[{"k":"a"},{"k":"b","v":1}]',
    '[{"k":null}]',
    "[{}]",
    r'{"a":"C:\\new"}',
    '{"a":1.0,"b":1e2}',
    r'{"a":"\ud800"}',
    '{"a":"\\":"}',
    '{"a\\\\":1}',
    "[1,]",
    "[01]",
    "nul",
    "{ }",
    *DEEP,
]
GOOD = {
    "id": ["7", "-3"],
    "f": ["1.5", "2", "-1e3", "null"],
    "s": ['"a"', '"é"', r'"a\":b"'],
    "b": ["true", "null"],
    "ts": ['"2026-11-20T10:00:00.5Z"'],
    "d": ['"2026-11-20"', '"2026-11-21"'],
    "dtm": ['"2026-11-20T10:00:00"'],
    "t": ['"10:00:00"'],
    "n": ["1.5", '"2.25"'],
    "by": ['"YQ=="'],
    "j": ["{}", '{"a":1,"b":[1]}', "[1]", "null"],
    "js": ['[{"a":1},null]', "[]"],
    "class": ["[1,2.5]", "[]"],
    "rec": ['{"x":1}', "null"],
    "recs": ['[{"k":"a","v":1}]', '[{"k":"a","v":0.5},{"k":"b"}]'],
    "e": ['"2026-11-20"', "null"],
    "u": ["true", "false"],
}
ANY_VALUE = st.one_of(
    st.sampled_from(STRINGS),
    st.sampled_from(NUMBERS),
    st.sampled_from(MOMENTS).map(json.dumps),
    st.sampled_from(OTHER),
    st.floats().map(json.dumps),
    st.integers().map(str),
    st.text(max_size=5).map(json.dumps),
)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """An object's text: mostly good values, some bad ones; keys missing, unknown, twice; spaces."""
    members = []
    names = draw(st.lists(st.sampled_from([name for name in GOOD if name != "id"]), max_size=5, unique=True))
    wrong = draw(st.integers(0, 6))
    for position, name in enumerate(["id", *names]):
        value = draw(ANY_VALUE if position == wrong else st.sampled_from(GOOD[name]))
        members.append((name, value))
    twist = draw(st.integers(0, 9))
    if twist == 0:
        members.append(draw(st.sampled_from(members)))
    elif twist == 1:
        members.append((draw(st.sampled_from(["nope", "", "ID", r"\u0069d", "s\\\\"])), draw(ANY_VALUE)))
    elif twist == 2:
        members.pop(0)
    colon = draw(st.sampled_from([":", ":", ":", ": ", " :", "\t: "]))
    space = draw(st.sampled_from(["", "", " ", "\t"]))
    text = space + "{" + ",".join(f'"{name}"{colon}{value}' for name, value in members) + "}" + space
    return text.encode("utf-8", "surrogatepass")


@st.composite
def files(draw: st.DrawFn) -> bytes:
    lines = draw(
        st.lists(
            st.one_of(
                objects(), objects(), st.sampled_from([b"", b"  ", b"[]", b"1", b"null", b"\x0b", b"\xff"])
            ),
            min_size=1,
            max_size=8,
        )
    )
    data = bytearray(
        draw(st.sampled_from([b"\n", b"\n", b"\r\n"])).join(lines) + draw(st.sampled_from([b"", b"\n"]))
    )
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        place = draw(st.integers(0, len(data)))
        data[place : place + draw(st.integers(0, 1))] = draw(
            st.sampled_from([b"", b"\xff", b'"', b":", b"}", b",", b"\0", b"\n", b"1", b" ", b"\xed\xa0\x80"])
        )
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + bytes(data)


GENERATED = settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@settings(GENERATED, max_examples=120)
@given(files())
@example(b'{"id":1,"f":9007199254740993}\n{"id":2,"f":1}')
@example(b'{"id" :1}\n{"id":2,"id":2}\n')
@example(
    b'{"id":true,"s":"a","f":3}\n{"id":1,"s":"a","f":"3"}\n{"id":1,"s":"abcdef","n":2,"no":0}\n{"id":-6,"id":1,"b":true,"u":true}\n'
)
@example(
    b'{"id":-6,"rec":{"x":"0","y":"t"}}\n{"id":1,"rec":{"x":0,"y":1}}\n{"id":1,"rec":{"x":0,"x":1,"y":"t","z":1,"z":2}}\n'
)
@example(
    b'{"id":1,"recs":[{"k":"b","v":2},{"k":1}]}\n{"id":1,"recs":[{"k":"b","v":2},{"k":"a","v":"1"}]}\n{"id":1,"recs":[{"k":"b"},null]}\n'
)
@example(b'{"id":1,"rec.x":1,"rec":{"x":0},"d":"2026-11-21","e":"2026-11-20","j":[{"a":NaN}],"js":[1,2,3]}\n')
@example(
    b'{"id":"1","n":"1.25","ts":"1999-12-31T23:59:59Z","t":"10:00:01","dtm":"2026-11-20 11","j":[],"class":[1,2]}\n'
)
@example(b'{"id":1,"no":1,"no":2,"no":3,"id":1,"id":1,"d":"2026-02-30","e":"2026-11-20","s":"NaN"}\n')
@example(b'{"id":1,"j":"\xff"}\n{"id":2,"j":{"\xed\xa0\x80":1}}\n{"id":3,"j":"\xc3\xa9"}')
def test_every_line_has_the_oracles_verdict_and_value(data: bytes) -> None:
    check_file(data)


@pytest.mark.thorough
@settings(GENERATED, max_examples=2000)
@given(files())
def test_the_lines_of_many_more_files_have_the_oracles_verdict_and_value(data: bytes) -> None:
    check_file(data)


@pytest.mark.parametrize("name", [f.name for f in RELATION.fields])
def test_every_corner_case_in_every_field(name: str) -> None:
    """All listed values in all fields, in one file each, between good lines."""
    values = [
        *STRINGS,
        *NUMBERS,
        *map(json.dumps, MOMENTS),
        *(json.dumps(m, ensure_ascii=False) for m in MOMENTS),
        *OTHER,
        f"[{','.join(OTHER[:3])}]",
    ]
    others = [values_ for other, values_ in GOOD.items() if other not in {name, "id"}]
    lines = []
    for i, value in enumerate(values):
        rest = "" if name == "id" else f'"id":{i},'
        good = ",".join(f'"{other}":{GOOD[other][0]}' for other in list(GOOD)[1:4] if other != name)
        lines.append(f'{{{rest}"{name}":{value},{good}}}'.encode())
        lines.append(b'{"id":1}')
    assert others
    check_file(b"\n".join(lines))
