"""Every view is bound against the declared fields of what it reads: names, types, modes and columns are those that its file declares."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from gaelp_assets.catalog import Catalog, Field, Kind, Relation, load_catalog
from gaelp_assets.catalog.model import FieldType, Partitioning
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.sql.analyzer import analyzer_problems
from gaelp_assets.sql.transpile import bind
from gaelp_assets.sql.types import is_assignable, type_of_field
from gaelp_assets.sql.views import view_problems
from gaelp_assets.warehouse.duckdb.binding import duckdb_problems
from gaelp_assets_tests.zetasql_gate import CACHE, Gate

SHIPPED = load_catalog()
SCALARS = [type_ for type_ in get_args(FieldType) if type_ != "RECORD"]


def view(name: str, sql: str, *fields: Field | str, kind: Kind = Kind.DERIVED_TABLE) -> Relation:
    """A derived relation `analytics.NAME` whose fields are given as they are, or as `name TYPE`."""
    declared = [
        field if isinstance(field, Field) else Field(name=field.split()[0], type=field.split()[1])  # type: ignore[arg-type]
        for field in fields
    ]
    return Relation(
        dataset="analytics",
        name=name,
        sql=sql,
        kind=kind,
        description="A case.",
        owner="team:research",
        fields=tuple(declared),
        file=f"analytics/{name}.json",
    )


def record(*fields: str) -> Field:
    """A record `x`."""
    return Field(name="x", type="RECORD", fields=view("r", "SELECT 1", *fields).fields)


def required(name: str) -> Field:
    return Field(name=name, type="STRING", mode="REQUIRED")


def found(*views: Relation) -> dict[str, list[str]]:
    """The problems of views beside the shipped catalogue, in words."""
    relations = [*SHIPPED, *views]
    problems = view_problems(Catalog(relations, upstream_of(relations)))
    return {relation_id.partition(".")[2]: list(map(str, texts)) for relation_id, texts in problems.items()}


FROM = "FROM training.episodes WHERE date >= DATE '2000-01-01' GROUP BY agent_id"


def test_the_shipped_views_have_no_problems() -> None:
    assert view_problems(SHIPPED) == {}


@pytest.mark.parametrize(
    ("relation", "words"),
    [
        pytest.param(
            view("intf", f"SELECT agent_id, AVG(episode_return) AS m {FROM}", "agent_id STRING", "m INTEGER"),
            [
                "analytics/intf.sql, line 1, column 18, field m: the query gives FLOAT64, the field is declared as INTEGER"
            ],
            id="a mean of 1.85 was stored as 2",
        ),
        pytest.param(
            view(
                "strnum",
                "SELECT agent_id, COUNT(*) AS n, MAX(ended_at) AS t, MAX(ended_at) AS d, COUNT(*) AS b,"
                f"\n  AVG(episode_return) / 3 AS num {FROM}",
                *("agent_id STRING", "n STRING", "t STRING", "d DATE", "b BOOLEAN", "num NUMERIC"),
            ),
            [
                "line 1, column 18, field n: the query gives INT64, the field is declared as STRING",
                "field t: the query gives TIMESTAMP, the field is declared as STRING",
                "field d: the query gives TIMESTAMP, the field is declared as DATE",
                "field b: the query gives INT64, the field is declared as BOOLEAN",
                "line 2, column 3, field num: the query gives FLOAT64, the field is declared as NUMERIC",
            ],
            id="numbers, moments and a mean were stored as other types",
        ),
        pytest.param(
            view(
                "alias",
                f"SELECT agent_id, AVG(episode_return) AS mean_ret {FROM}",
                *("agent_id STRING", "mean_return FLOAT"),
            ),
            [
                "field mean_return: the query gives no column mean_return, did you mean 'mean_ret'?",
                "line 1, column 18, field mean_ret: no field declares the column mean_ret, did you mean 'mean_return'?",
            ],
            id="a declared column failed when it was refreshed",
        ),
        pytest.param(
            view("extra", f"SELECT agent_id, COUNT(*) AS n {FROM}", "agent_id STRING"),
            ["line 1, column 18, field n: no field declares the column n"],
            id="a column that no field declares was dropped",
        ),
        pytest.param(
            view("nosuch", "SELECT agent_d AS a FROM training.agents", "a STRING", kind=Kind.VIEW),
            ["analytics/nosuch.sql, line 1, column 8: unrecognised name agent_d, did you mean agent_id?"],
            id="a column that its table does not have",
        ),
    ],
)
def test_a_view_that_was_stored_otherwise_than_declared_is_refused(
    relation: Relation, words: list[str]
) -> None:
    problems = found(relation)
    assert problems.keys() == {relation.name}
    assert len(problems[relation.name]) == len(words)
    for text, expected in zip(problems[relation.name], words, strict=True):
        assert expected in text


COLUMNS = [
    *(Field(name=f"c_{type_.lower()}", type=type_) for type_ in SCALARS),
    *(
        Field(name=f"a_{type_.lower()}", type=type_, mode="REPEATED")
        for type_ in ("INTEGER", "FLOAT", "STRING")
    ),
    *(
        Field(
            name=f"{mode[:3].lower()}_{first.lower()}_{last}",
            type="RECORD",
            mode=mode,
            fields=(Field(name="a", type=first), Field(name=last, type="STRING")),
        )
        for mode in ("NULLABLE", "REPEATED")
        for first in ("INTEGER", "FLOAT")
        for last in ("b", "c")
    ),
]


def test_what_a_field_takes_is_what_googles_analyzer_lets_be_inserted() -> None:
    """Except that records whose fields have other names are refused, which BigQuery pairs by place, and DuckDB by name."""
    table = Relation(dataset="lab", name="t", description="All types.", owner="team:a", fields=tuple(COLUMNS))
    gate = Gate(Catalog([table]))
    scalars, nested = COLUMNS[: len(SCALARS)], COLUMNS[len(SCALARS) :]
    literals = [(sql, sql) for sql in ("NULL", "1", "'x'", "[]")]
    differ = []
    pairs = [
        *product([*((field.name, field.name) for field in scalars), *literals], scalars),
        *product(
            [*((field.name, field.name) for field in nested), *literals, ("c_string", "c_string")], nested
        ),
    ]
    for (name, sql), field in pairs:
        [column] = bind(f"SELECT {sql} AS x FROM lab.t", {"lab.t": COLUMNS}).columns or ()
        query = f"INSERT INTO lab.t ({field.name}) SELECT x FROM (SELECT {sql} AS x FROM lab.t)"
        try:
            gate.accept(query)
            refused = ""
        except Exception as error:
            refused = str(error)
        assert not refused or "cannot be inserted" in refused
        if is_assignable(column.type, type_of_field(field)) != (not refused):
            differ.append((name, field.name))
    assert {frozenset({name[-1], field[-1]}) for name, field in differ} == {frozenset("bc")}
    assert all(name[:4] == field[:4] for name, field in differ if name[:3] == "rep")


@pytest.mark.parametrize(
    ("sql", "fields", "words"),
    [
        ("SELECT ['a'] AS x", ["x STRING"], "gives ARRAY<STRING>, the field is declared as STRING"),
        (
            "SELECT 'a' AS x",
            [Field(name="x", type="STRING", mode="REPEATED")],
            "gives STRING, the field is declared as STRING, mode REPEATED",
        ),
        (
            "SELECT [1] AS x",
            [Field(name="x", type="FLOAT", mode="REPEATED")],
            "gives ARRAY<INT64>, the field is declared as FLOAT, mode REPEATED",
        ),
        (
            "SELECT STRUCT(1 AS a, 'x' AS b) AS x",
            [record("b STRING", "a INTEGER")],
            "gives STRUCT<a INT64, b STRING>, the field is declared as RECORD (STRUCT<b STRING, a INT64>)",
        ),
        ("SELECT STRUCT(1.5 AS a) AS x", [record("a INTEGER")], "gives STRUCT<a FLOAT64>"),
        ("SELECT NULL AS x", ["x STRING"], "Write CAST(NULL AS STRING), or declare the field as INTEGER."),
        ("SELECT CAST(NULL AS STRING) AS x", [required("x")], "the query gives NULL, the field is REQUIRED"),
        ("SELECT 1 AS x WHERE 1 < @low", ["x INTEGER"], "the parameter @low; expected no parameters"),
        (
            "SELECT * FROM training.agents",
            ["agent_id STRING"],
            "no field declares the column _batch_id",
        ),
        ("SELECT COUNTT(agent_id) AS x FROM training.agents", ["x INTEGER"], "expected one of COUNT"),
        (
            "SELECT agent_id AS x, COUNT(*) AS n FROM training.agents",
            ["x STRING", "n INTEGER"],
            "column agent_id is neither grouped nor aggregated",
        ),
        (
            "(SELECT 1 AS x) UNION ALL SELECT 1.5",
            ["x INTEGER"],
            "analytics/v.sql, line 1, column 9, field x: the query gives FLOAT64",
        ),
        ("SELECT DATETIME '2026-01-01 00:00:00' AS x", ["x TIMESTAMP"], "gives DATETIME"),
        ("SELECT TO_JSON_STRING(STRUCT(1 AS a)) AS x", ["x JSON"], "gives STRING"),
        ("SELECT b'a' AS x", ["x STRING"], "gives BYTES"),
    ],
)
def test_a_difference_of_any_kind_is_refused(sql: str, fields: list[Field | str], words: str) -> None:
    assert any(words in problem for problem in found(view("v", sql, *fields))["v"])


@pytest.mark.parametrize(
    ("sql", "fields"),
    [
        ("SELECT 1 AS x, 2 AS y, NUMERIC '1.5' AS z", ["x FLOAT", "y NUMERIC", "z FLOAT"]),
        ("SELECT DATE '2026-01-01' AS x", ["x DATETIME"]),
        ("SELECT STRUCT(1 AS a) AS x", [record("a FLOAT")]),
        ("SELECT 'a' AS X", [required("x")]),
        ("SELECT 'a' AS y, 1 AS x", ["x INTEGER", "y STRING"]),
        ("SELECT agent_id AS x, _loaded_at AS t FROM training.agents", ["x STRING", "t TIMESTAMP"]),
        ("SELECT CAST(NULL AS STRING) AS x", ["x STRING"]),
    ],
)
def test_what_widens_or_is_named_in_another_order_is_taken(sql: str, fields: list[Field | str]) -> None:
    assert found(view("v", sql, *fields)) == {}


def test_all_problems_of_a_query_come_at_once() -> None:
    """Functions were looked at before names: the misspelt column was told only when the function was mended."""
    sql = "SELECT COUNTT(agent_id) AS x, agent_d AS y, 1.5 AS n FROM training.agents"
    text = "\n".join(found(view("v", sql, "x INTEGER", "y STRING", "n INTEGER", "z STRING"))["v"])
    for words in (
        "COUNTT is not used",
        "unrecognised name agent_d",
        "field n: the query gives FLOAT64",
        "no column z",
    ):
        assert words in text


def test_a_broken_view_breaks_none_that_reads_it() -> None:
    broken = view("a", "SELECT nothing AS x FROM training.agents", "x STRING")
    assert found(broken, view("b", "SELECT x AS y FROM analytics.a", "y STRING")).keys() == {"a"}
    # What it declares is what they are bound against.
    reader = view("b", "SELECT x AS y FROM analytics.a", "y INTEGER")
    assert found(broken, reader).keys() == {"a", "b"}


def test_duckdb_tells_of_each_view_what_it_would_cast_or_refuse() -> None:
    views = [
        view("casts", "SELECT AVG(seed) AS m FROM training.episodes", "m INTEGER"),
        view("reads", "SELECT x AS m FROM analytics.elsewhere", "m INTEGER"),
        view("right", "SELECT COUNT(*) AS m FROM training.episodes", "m FLOAT"),
    ]
    problems = duckdb_problems([*SHIPPED, *views], views)
    assert "DuckDB gives DOUBLE, the field is declared as INTEGER" in str(problems["analytics.casts"][0])
    assert problems.keys() == {"analytics.casts", "analytics.reads"}


def test_googles_analyzer_is_asked_of_each_view() -> None:
    views = [
        view("casts", "SELECT AVG(seed) AS m FROM training.episodes", "m INTEGER"),
        view("reads", "SELECT nothing AS m FROM training.agents", "m INTEGER"),
        view("right", "SELECT COUNT(*) AS m FROM training.episodes;", "m FLOAT"),
    ]
    problems = analyzer_problems(SHIPPED.relations, views, CACHE)
    assert {relation_id: str(found[0]) for relation_id, found in problems.items()} == {
        "analytics.casts": "analytics/casts.sql: Google's analyzer: Query column 1 has type FLOAT64 which cannot be inserted into"
        " column m, which has type INT64; expected a query that BigQuery takes",
        "analytics.reads": "analytics/reads.sql: Google's analyzer: Unrecognized name: nothing; expected a query that BigQuery takes",
    }


def test_other_slices_and_other_types_were_told_one_after_the_other() -> None:
    sql = "SELECT date, SUM(COUNT(*)) OVER (ORDER BY date) AS n FROM training.episodes WHERE date >= DATE '2000-01-01' GROUP BY date"
    sliced = {"partitioning": Partitioning(date="date")}
    both = view("v", sql, "date DATE", "n STRING").model_copy(update=sliced)
    text = "\n".join(found(both)["v"])
    assert "field n: the query gives INT64" in text
    assert "reads other slices: a window over several slices" in text
    without = view("v", sql.replace("SELECT date", "SELECT date AS day"), "date DATE", "n INTEGER")
    text = "\n".join(found(without.model_copy(update=sliced))["v"])
    assert "the query gives no column date" in text


def test_a_view_that_reads_the_platforms_columns_is_looked_at_for_slices() -> None:
    """Its columns were not found among those that are sliced, and it passed."""
    sql = "SELECT date, MAX(_loaded_at) OVER () AS t FROM training.episodes WHERE date >= DATE '2000-01-01'"
    relation = view("v", sql, "date DATE", "t TIMESTAMP")
    text = str(found(relation.model_copy(update={"partitioning": Partitioning(date="date")}))["v"])
    assert "reads other slices" in text
