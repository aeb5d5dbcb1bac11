"""Every rule has an example that it passes and one that it rejects, and the catalogue's mistakes with rules are named."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest

from gaelp_assets.catalog.model import Check, Field, Relation
from gaelp_assets.validation.registry import RULES, Rule
from gaelp_assets.validation.rules import check_problems
from gaelp_assets.validation.schema import pandera_schema, polars_schema
from gaelp_assets.validation.values import typed_value
from gaelp_assets.validation.verdict import Verdict


def relation_of(fields: list[dict[str, Any]], checks: list[dict[str, Any]] | None = None) -> Relation:
    return Relation.model_validate(
        {
            "dataset": "d",
            "name": "t",
            "description": "x",
            "owner": "team:x",
            "fields": fields,
            "checks": checks or [],
        }
    )


def example_of(rule: Rule) -> tuple[Relation, pl.DataFrame]:
    """A relation with that rule alone, and the rows that pass, fail, and hold NULL."""
    example = rule.example
    check = {"name": rule.name, "arguments": dict(example.arguments)}
    if isinstance(example.passes, dict):
        assert rule.scope == "row"
        assert isinstance(example.rejects, dict)
        types = example.type
        if isinstance(types, str):
            types = dict.fromkeys(example.passes, types)
        relation = relation_of([{"name": name, "type": of} for name, of in types.items()], [check])
        rows = [
            {name: typed_of(value, types[name]) for name, value in row.items()}
            for row in (example.passes, example.rejects)
        ]
        rows.append(dict.fromkeys(types))
    else:
        assert isinstance(example.type, str)
        mode = "REPEATED" if rule.scope == "array" else "NULLABLE"
        relation = relation_of([{"name": "v", "type": example.type, "mode": mode, "checks": [check]}])
        rows = [
            {"v": typed_of(example.passes, example.type)},
            {"v": typed_of(example.rejects, example.type)},
            {"v": None if mode == "NULLABLE" else [0.5]},
        ]
    return relation, pl.DataFrame(rows, schema=polars_schema(relation))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_rule_passes_and_rejects_its_examples_and_says_what_it_expects(rule: Rule) -> None:
    relation, frame = example_of(rule)
    checks = [(check, field) for field in relation.fields for check in field.checks] + [
        (check, None) for check in relation.checks
    ]
    assert [problem for check, field in checks for problem in check_problems(check, field, relation)] == []
    rows, reasons = Verdict.of(relation).failing(frame)
    assert rows.to_list() == [1]
    [[reason]] = reasons.to_list()
    assert reason["rule"] == rule.name
    assert reason["field"] in frame.columns
    assert reason["message"].startswith("expected ")


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_pandera_itself_agrees_with_the_example(rule: Rule) -> None:
    import pandera.errors

    relation, frame = example_of(rule)
    schema = pandera_schema(relation)
    schema.validate(frame[[0, 2]], lazy=True)
    with pytest.raises(pandera.errors.SchemaErrors):
        schema.validate(frame, lazy=True)


@pytest.mark.parametrize("rule", [r for r in RULES.values() if r.scope == "value"], ids=lambda r: r.name)
def test_rule_holds_for_elements_and_nested_fields_too(rule: Rule) -> None:
    example = rule.example
    assert isinstance(example.type, str)
    good, bad = typed_of(example.passes, example.type), typed_of(example.rejects, example.type)
    check = {"name": rule.name, "arguments": dict(example.arguments)}
    leaf = {"name": "v", "type": example.type, "checks": [check]}
    relation = relation_of(
        [
            {**leaf, "name": "a", "mode": "REPEATED"},
            {"name": "r", "type": "RECORD", "mode": "REPEATED", "fields": [leaf]},
        ]
    )
    frame = pl.DataFrame(
        [
            {"a": [good], "r": [{"v": good}, {"v": None}]},
            {"a": [good, bad], "r": []},
            {"a": [], "r": [{"v": good}, {"v": bad}]},
        ],
        schema=polars_schema(relation),
    )
    rows, reasons = Verdict.of(relation).failing(frame)
    assert rows.to_list() == [1, 2]
    assert [[r["field"] for r in found] for found in reasons.to_list()] == [["a"], ["r.v"]]


def typed_of(value: Any, kind: str) -> Any:
    return typed_value(value, kind) if kind in {"DATE", "NUMERIC", "TIMESTAMP"} else value


@pytest.mark.parametrize(
    ("imei", "good"),
    [
        ("490154203237518", True),
        ("356938035643809", True),
        ("356938035643808", False),
        ("49015420323751", False),
        ("4901542032375180", False),
        ("49015420323751８", False),
        ("490154203237518\n", False),
        ("", False),
        ("-90154203237518", False),
    ],
)
def test_imei_needs_15_digits_and_the_luhn_check_digit(imei: str, good: bool) -> None:
    assert pl.select(RULES["imei"].expression(pl.lit(imei))).item() is good


def field(**more: Any) -> dict[str, Any]:
    return {"name": "v", "type": "STRING", **more}


BOOLEAN: dict[str, Any] = {"name": "b", "type": "BOOLEAN"}


def when_true(then: dict[str, Any]) -> dict[str, Any]:
    return {"name": "when", "arguments": {"field": "b", "equals": True, "then": then}}


@pytest.mark.parametrize(
    ("fields", "checks", "said"),
    [
        ([field(checks=[{"name": "in_rang"}])], [], "did you mean 'in_range'"),
        ([field(checks=[{"name": "finite"}])], [], "finite does not fit a STRING"),
        ([field(checks=[{"name": "compare"}])], [], "belongs in the relation's checks"),
        ([field(checks=[{"name": "array_length", "arguments": {"min_value": 1}}])], [], "only a REPEATED"),
        ([field(checks=[{"name": "str_length"}])], [], "at least one of"),
        ([field(checks=[{"name": "str_length", "arguments": {"min_value": -1}}])], [], "not negative"),
        (
            [field(checks=[{"name": "str_matches", "arguments": {"pattern": "("}}])],
            [],
            "not a regular expression",
        ),
        (
            [field(checks=[{"name": "str_matches", "arguments": {"regex": "a"}}])],
            [],
            "unknown argument of str_matches 'regex'",
        ),
        (
            [field(checks=[{"name": "isin", "arguments": {"allowed_values": [1]}}])],
            [],
            "expected a value of the field's type STRING",
        ),
        ([field(checks=[{"name": "isin", "arguments": {"allowed_values": []}}])], [], "not empty"),
        (
            [
                field(
                    type="INTEGER",
                    checks=[{"name": "in_range", "arguments": {"min_value": 2, "max_value": 1}}],
                )
            ],
            [],
            "greater than max_value",
        ),
        (
            [
                field(
                    type="DATE",
                    checks=[
                        {
                            "name": "in_range",
                            "arguments": {"min_value": "2026-02-30", "max_value": "2026-03-01"},
                        }
                    ],
                )
            ],
            [],
            "field's type DATE",
        ),
        ([field()], [{"name": "vin"}], "belongs in that field's checks"),
        (
            [field()],
            [{"name": "compare", "arguments": {"left": "v", "operator": "=<", "right": "v"}}],
            "unknown operator",
        ),
        (
            [field()],
            [{"name": "compare", "arguments": {"left": "v", "operator": ["<"], "right": "v"}}],
            "unknown operator",
        ),
        (
            [field()],
            [
                {
                    "name": "when",
                    "arguments": {
                        "field": "v",
                        "equals": "a",
                        "then": {"name": "vin", "field": "v", "arguments": ["x"]},
                    },
                }
            ],
            "an object with name",
        ),
        (
            [field()],
            [{"name": "compare", "arguments": {"left": "w", "operator": "<", "right": "v"}}],
            "unknown field 'w'",
        ),
        (
            [field(), field(name="n", type="INTEGER")],
            [{"name": "compare", "arguments": {"left": "n", "operator": "<", "right": "v"}}],
            "fields of one type",
        ),
        (
            [field()],
            [
                {
                    "name": "when",
                    "arguments": {"field": "v", "equals": 1, "then": {"name": "vin", "field": "v"}},
                }
            ],
            "type STRING",
        ),
        (
            [field()],
            [
                {
                    "name": "when",
                    "arguments": {"field": "v", "equals": "a", "then": {"name": "finite", "field": "v"}},
                }
            ],
            "finite does not fit",
        ),
        (
            [field()],
            [{"name": "when", "arguments": {"field": "v", "equals": "a", "then": "vin"}}],
            "an object with name",
        ),
        (
            [field(), field(name="b", type="BOOLEAN")],
            [{"name": "not_both", "arguments": {"first": "v", "second": "b"}}],
            "not_both does not fit",
        ),
        ([field()], [{"name": "any_true", "arguments": {"fields": ["v"]}}], "at least two fields"),
        ([BOOLEAN], [{"name": "any_true", "arguments": {"fields": ["b", "c"]}}], "unknown field 'c'"),
        (
            [field(), BOOLEAN],
            [{"name": "any_true", "arguments": {"fields": ["b", "v"]}}],
            "any_true does not fit the NULLABLE STRING field v",
        ),
        (
            [field(mode="REPEATED"), field(name="w")],
            [{"name": "any_given", "arguments": {"fields": ["v", "w"], "where": "w"}}],
            "where: expected a BOOLEAN field, and w is NULLABLE STRING",
        ),
        (
            [field(), BOOLEAN],
            [{"name": "any_given", "arguments": {"fields": ["v", "b"], "where": "c"}}],
            "where: unknown field 'c'",
        ),
        (
            [field(type="DATE"), field(name="w", type="DATE")],
            [{"name": "utc_day", "arguments": {"date": "v", "of": "w"}}],
            "utc_day needs a DATE and a TIMESTAMP, found DATE and DATE",
        ),
        (
            [field(type="TIMESTAMP"), field(name="w", type="DATE")],
            [{"name": "utc_day", "arguments": {"date": "v", "of": "w"}}],
            "utc_day needs a DATE and a TIMESTAMP, found TIMESTAMP and DATE",
        ),
        (
            [field(mode="REPEATED"), BOOLEAN],
            [when_true({"name": "vin", "field": "v"})],
            "vin is a rule of one value, and field v is REPEATED",
        ),
        (
            [field(), BOOLEAN],
            [when_true({"name": "array_length", "field": "v", "arguments": {"min_value": 1}})],
            "fits only a REPEATED field",
        ),
    ],
)
def test_mistake_in_a_check_is_named(
    fields: list[dict[str, Any]], checks: list[dict[str, Any]], said: str
) -> None:
    relation = relation_of(fields, checks)
    found = [
        text for f in relation.fields for check in f.checks for text in check_problems(check, f, relation)
    ]
    found += [text for check in relation.checks for text in check_problems(check, None, relation)]
    assert len(found) == 1, found
    assert said in found[0]


def test_an_array_can_be_asked_for_where_another_field_has_a_value() -> None:
    then = {"name": "array_length", "field": "seen", "arguments": {"min_value": 1}}
    relation = relation_of(
        [BOOLEAN, {"name": "seen", "type": "FLOAT", "mode": "REPEATED"}], [when_true(then)]
    )
    frame = pl.DataFrame(
        {"b": [True, True, False, None], "seen": [[0.5], [], [], []]}, schema=polars_schema(relation)
    )
    rows, reasons = Verdict.of(relation).failing(frame)
    assert rows.to_list() == [1]
    assert reasons.to_list() == [
        [{"field": "seen", "rule": "when", "message": "expected at least 1 element where b is true"}]
    ]


@pytest.mark.parametrize(
    ("moment", "good"),
    [
        ("2026-11-20T00:00:00Z", True),
        ("2026-11-20T23:59:59.999999Z", True),
        ("2026-11-21T00:00:00Z", False),
        ("2026-11-19T23:59:59.999999Z", False),
        ("2026-11-20T23:50:00-08:00", False),
        ("2026-11-21T01:00:00+02:00", True),
    ],
)
def test_a_day_is_that_of_utc_and_of_no_other_zone(moment: str, good: bool) -> None:
    row = {"date": dt.date(2026, 11, 20), "at": typed_of(moment, "TIMESTAMP")}
    frame = pl.DataFrame([row], schema={"date": pl.Date(), "at": pl.Datetime("us", "UTC")})
    assert frame.select(RULES["utc_day"].expression(date="date", of="at")).item() is good


def test_messages_never_quote_a_value() -> None:
    relation = relation_of([field(checks=[{"name": "str_length", "arguments": {"max_value": 3}}])])
    _, reasons = Verdict.of(relation).failing(pl.DataFrame({"v": ["a secret"]}))
    assert "secret" not in str(reasons.to_list())


def test_check_models_are_what_the_registry_takes() -> None:
    assert check_problems(Check(name="finite"), Field(name="v", type="FLOAT"), relation_of([field()])) == []
