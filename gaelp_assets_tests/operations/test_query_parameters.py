"""Parameters of a query are values of the right type, and all that is wrong with them comes at once."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.operations.query_parameters import query_parameters

UTC = dt.UTC


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("p=7", 7),
        ("p=-0", 0),
        ("p=9223372036854775807", 2**63 - 1),
        ("p=007", "007"),  # an id: as a number it would lose its zeros
        ("p=0.5", 0.5),
        ("p=1e3", 1000.0),
        ("p=.5", 0.5),
        ("p=True", True),
        ("p=2026-11-20", dt.date(2026, 11, 20)),
        ("p=2026-11-20T07:00:00+02:00", dt.datetime(2026, 11, 20, 5, tzinfo=UTC)),
        ("p=2026-11-20 07:00Z", dt.datetime(2026, 11, 20, 7, tzinfo=UTC)),
        ("p=", ""),
        ("p=a=b", "a=b"),
        ("p='; DROP TABLE x", "'; DROP TABLE x"),
        ("p=nan", "nan"),
        ("p:STRING=7", "7"),
        ("p:string=true", "true"),
        ("p:INT64=007", 7),
        ("p:FLOAT64=7", 7.0),
        ("p:NUMERIC=0.1", Decimal("0.1")),
        (
            "p:NUMERIC=-99999999999999999999999999999.999999999",
            Decimal("-99999999999999999999999999999.999999999"),
        ),
        ("p:DATETIME=2026-11-20T07:00:00.5", dt.datetime.fromisoformat("2026-11-20T07:00:00.5")),
        ("p:TIME=07:00", dt.time(7)),
        ("P=7", 7),
    ],
)
def test_a_value_has_the_type_that_it_looks_like_or_that_is_named(text: str, value: object) -> None:
    [(name, found)] = query_parameters("SELECT @p, @P", [text]).items()
    assert (name, found, type(found)) == ("p", value, type(value))


def test_what_is_not_finite_is_a_number_where_that_is_said() -> None:
    found = query_parameters("SELECT @x, @y", ["x:FLOAT64=NaN", "y:FLOAT64=-Infinity"])
    assert math.isnan(float(str(found["x"])))
    assert found["y"] == -math.inf


def test_everything_that_is_wrong_comes_at_once_without_the_values() -> None:
    texts = [
        "d=2026-02-30",
        "hunter2",
        "n:INT=1",
        "n=3",
        "m:INT64=9223372036854775808",
        "big:NUMERIC=1e29",
        "fine:NUMERIC=0.0000000001",
        "endless:NUMERIC=1e999999999",
        "zz=1",
        "t=2026-11-20T25:00Z",
        "t2:TIMESTAMP=2026-11-20",
    ]
    with pytest.raises(GaelpError) as caught:
        query_parameters("SELECT @d, @n, @m, @big, @fine, @endless, @t, @t2, @missing", texts)
    told = [str(problem) for problem in caught.value.problems]
    for expected in (
        "-p d: the value is no DATE",
        "-p, number 2: is no parameter; expected name=value",
        "-p n: unknown type 'INT', did you mean 'INT64'?",
        "-p n: comes more than once",
        "-p m: the value is no INT64",
        "-p big: the value is no NUMERIC",
        "-p fine: the value is no NUMERIC",
        "-p endless: the value is no NUMERIC",
        "-p zz: unknown parameter 'zz'; expected one of big, d, endless, fine, m, missing, n, t, t2",
        "-p t: the value is no TIMESTAMP",
        "-p t2: the value is no TIMESTAMP",
        "@missing: has no value. Add: -p missing=...",
    ):
        assert any(text.startswith(expected) for text in told), expected
    assert "hunter2" not in str(caught.value)


def test_a_query_without_parameters_takes_none() -> None:
    assert query_parameters("SELECT 1", []) == {}
    with pytest.raises(GaelpError, match="the query has no parameters"):
        query_parameters("SELECT 1", ["x=1"])
    assert query_parameters("no query", []) == {}, "what is wrong with it is said where it is asked"
