"""Every rule has an example that it passes and one that it rejects, and the catalogue's mistakes with rules are named."""

from __future__ import annotations

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
        relation = relation_of([{"name": name, "type": example.type} for name in example.passes], [check])
        rows = [example.passes, example.rejects, dict.fromkeys(example.passes)]
    else:
        mode = "REPEATED" if rule.scope == "array" else "NULLABLE"
        relation = relation_of([{"name": "v", "type": example.type, "mode": mode, "checks": [check]}])

        def typed(value: Any) -> Any:
            return typed_value(value, example.type) if example.type in {"DATE", "NUMERIC"} else value

        rows = [
            {"v": typed(example.passes)},
            {"v": typed(example.rejects)},
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
    return typed_value(value, kind) if kind in {"DATE", "NUMERIC"} else value


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


def test_messages_never_quote_a_value() -> None:
    relation = relation_of([field(checks=[{"name": "str_length", "arguments": {"max_value": 3}}])])
    _, reasons = Verdict.of(relation).failing(pl.DataFrame({"v": ["a secret"]}))
    assert "secret" not in str(reasons.to_list())


def test_check_models_are_what_the_registry_takes() -> None:
    assert check_problems(Check(name="finite"), Field(name="v", type="FLOAT"), relation_of([field()])) == []
