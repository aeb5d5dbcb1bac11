"""The fused verdicts are plain Pandera's, for every rule and every table of the catalogue."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from typing import Any, cast

import pandera.errors
import pandera.polars as pa
import polars as pl
import pyarrow  # noqa: ICN001 - pa is Pandera here
import pytest

from gaelp_assets.catalog.load import load_catalog
from gaelp_assets.catalog.model import Field, Relation
from gaelp_assets.errors import GaelpError
from gaelp_assets.validation.registry import RULES, Rule
from gaelp_assets.validation.row_rules import RowRule
from gaelp_assets.validation.schema import (
    arrow_schema,
    pandera_schema,
    polars_schema,
    schema_for,
    staged_schema,
)
from gaelp_assets.validation.verdict import Verdict

STORED = [relation for relation in load_catalog() if relation.sql is None]
WORDS = [
    "VIN",
    "IMEI",
    "1HGCM82633A004352",
    "490154203237518",
    "490154203237519",
    "",
    "cpu",
    "a b",
    "x" * 250,
    "a0" * 32,
    "gs://b/c",
    "DE",
    "training",
    "CartPole-v1",
    "a\n",
    "00:1b:44:11:3A:B7",
    "123e4567-e89b-12d3-a456-426614174000",
    "{}",
    "[]",
    "é",
    "none",
]
POOLS: dict[str, list[Any]] = {
    "STRING": WORDS,
    "JSON": WORDS,
    "BYTES": [b"", b"a"],
    "INTEGER": [-1, 0, 1, 7, 2026, 2**63 - 1, -(2**63)],
    "FLOAT": [-1.0, -0.0, 0.5, 1.0, 1e300, float("inf"), float("-inf"), float("nan")],
    "NUMERIC": [Decimal(0), Decimal("-1.5"), Decimal(10) ** 12],
    "BOOLEAN": [True, False],
    "DATE": [dt.date(2026, 1, 1), dt.date(2026, 11, 20)],
    "TIMESTAMP": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)],
    "DATETIME": [dt.datetime(2026, 1, 1), dt.datetime(2026, 11, 20, 12)],  # noqa: DTZ001 - has no zone
    "TIME": [dt.time(0), dt.time(23, 59)],
}


def value_of(field: Field, choose: random.Random, *, element: bool = False) -> Any:
    if field.repeated and not element:
        return (
            None
            if choose.random() < 0.05
            else [value_of(field, choose, element=True) for _ in range(choose.randrange(4))]
        )
    if choose.random() < 0.1:
        return None
    if field.type == "RECORD":
        return {child.name: value_of(child, choose) for child in field.fields}
    listed = [check.arguments.get("allowed_values", ()) for check in field.checks]
    allowed = [value for values in listed if isinstance(values, list | tuple) for value in values]
    return choose.choice(allowed) if allowed and choose.random() < 0.8 else choose.choice(POOLS[field.type])


def rows_of(relation: Relation, count: int, seed: int) -> pl.DataFrame:
    choose = random.Random(seed)
    rows = [{field.name: value_of(field, choose) for field in relation.fields} for _ in range(count)]
    table = pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(list(arrow_schema(relation))[:-3]))
    return cast("pl.DataFrame", pl.from_arrow(table)).cast(polars_schema(relation))


def plain_failures(schema: pa.DataFrameSchema, frame: pl.DataFrame) -> set[tuple[int, str]]:
    """Row and message of everything that Pandera finds, check by check.

    `schema.validate(lazy=True)` finds the same, but panics while it gathers failing arrays and records for its report.
    """
    checks = [(name, name, check) for name, column in schema.columns.items() for check in column.checks]
    checks += [(schema.name, None, check) for check in schema.checks]
    found = set()
    for owner, key, check in checks:
        passed = check(frame.lazy(), key).check_output.collect().to_series().to_list()
        found |= {(row, f"{owner} {check.error}") for row, ok in enumerate(passed) if not ok}
    bare = {
        name: pa.Column(column.dtype, nullable=column.nullable) for name, column in schema.columns.items()
    }
    try:
        pa.DataFrameSchema(bare).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        for error in errors.schema_errors:
            passed = error.check_output.to_series().to_list()
            found |= {(row, f"{error.schema.name} {error.check}") for row, ok in enumerate(passed) if not ok}
    return found


def _is_nan(value: Any, rule: str) -> bool:
    return rule == "not_null" and isinstance(value, float) and value != value


def fused_failures(
    relation: Relation, schema: pa.DataFrameSchema, frame: pl.DataFrame
) -> set[tuple[int, str]]:
    rows, reasons = Verdict.of(relation).failing(frame)
    found = set()
    for row, broken in zip(rows.to_list(), reasons.to_list(), strict=True):
        for reason in broken:
            column = reason["field"].split(".")[0]
            if (reason["rule"] == "not_null" and frame[column][row] is None) or _is_nan(
                frame[column][row], reason["rule"]
            ):
                found.add((row, f"{column} not_nullable"))
                continue
            table_wide = any(check.name == reason["rule"] for check in relation.checks)
            found.add((row, f"{schema.name if table_wide else column} {reason['message']}"))
    return found


@pytest.mark.parametrize("relation", STORED, ids=[relation.id for relation in STORED])
def test_fused_verdict_is_panderas_for_every_table(relation: Relation) -> None:
    frame, schema = rows_of(relation, 300, seed=5), pandera_schema(relation)
    fused, plain = fused_failures(relation, schema, frame), plain_failures(schema, frame)
    assert len(fused) > 100
    assert fused == plain


def renamed(rule: Rule, key: str, value: Any) -> Any:
    """An argument of a row rule's example where each field bears the rule's name as well."""
    if isinstance(value, dict):
        return {**value, "field": f"{rule.name}_{value['field']}"}
    if isinstance(value, list):
        return [f"{rule.name}_{name}" for name in value]
    assert isinstance(rule.example.passes, dict)
    return f"{rule.name}_{value}" if value in rule.example.passes and key != "equals" else value


def every_rule() -> Relation:
    """A relation that uses every rule of the registry on every type that it fits, where its example's arguments do."""
    fields: list[dict[str, Any]] = []
    checks: list[dict[str, Any]] = []
    for rule in RULES.values():
        example = rule.example
        check: dict[str, Any] = {"name": rule.name, "arguments": dict(example.arguments)}
        if isinstance(example.passes, dict):
            types = example.type
            fields += [
                {"name": f"{rule.name}_{name}", "type": types if isinstance(types, str) else types[name]}
                for name in example.passes
            ]
            arguments = {key: renamed(rule, key, v) for key, v in check["arguments"].items()}
            checks.append({"name": rule.name, "arguments": arguments})
            continue
        numeric = {"INTEGER", "FLOAT", "NUMERIC"}
        assert isinstance(example.type, str)
        fitting = (rule.types & numeric) if example.type in numeric else {example.type}
        for kind in sorted(fitting):
            for mode in ("REPEATED",) if rule.scope == "array" else ("NULLABLE", "REPEATED"):
                fields.append(
                    {
                        "name": f"{rule.name}_{kind}_{mode}".lower(),
                        "type": kind,
                        "mode": mode,
                        "checks": [check],
                    }
                )
    return Relation.model_validate(
        {
            "dataset": "d",
            "name": "rules",
            "description": "x",
            "owner": "team:x",
            "fields": fields,
            "checks": checks,
        }
    )


def test_fused_verdict_is_panderas_for_every_rule_and_type() -> None:
    relation = every_rule()
    frame, schema = rows_of(relation, 400, seed=11), pandera_schema(relation)
    fused, plain = fused_failures(relation, schema, frame), plain_failures(schema, frame)
    assert fused == plain
    broken = {
        reason["rule"]
        for _, found in zip(*Verdict.of(relation).failing(frame), strict=True)
        for reason in found
    }
    assert broken >= set(RULES)


def test_more_than_63_rules_take_several_words() -> None:
    rules = [RowRule(f"c{i}", f"r{i}", f"e{i}", pl.col(f"c{i}") > 0) for i in range(70)]
    frame = pl.DataFrame({f"c{i}": [1, -1 if i in {0, 31, 62, 63, 69} else 1] for i in range(70)})
    rows, reasons = Verdict(rules).failing(frame)
    assert rows.to_list() == [1]
    assert [r["rule"] for r in reasons.to_list()[0]] == ["r0", "r31", "r62", "r63", "r69"]


@pytest.mark.parametrize("count", [1, 62, 63, 64, 126, 127, 190])
def test_a_partial_row_is_blamed_for_its_reported_fields_alone_in_whichever_word_their_rules_are(
    count: int,
) -> None:
    """Every row breaks every rule. Row n leaves out the rules of some fields, rows without any are among them."""
    rules = [RowRule(f"c{i}.v", f"r{i}", f"e{i}", pl.col("c") > 0) for i in range(count)]
    choose = random.Random(count)
    hidden = [set(choose.sample(range(count), choose.randint(0, count))) for _ in range(20)]
    hidden += [set(), set(range(count)), *({i} for i in {0, 62, 63, 126} if i < count)]
    unreported = [frozenset(f"c{i}" if i % 2 else f"c{i}.v" for i in found) for found in hidden]
    rows, reasons = Verdict(rules).failing(pl.DataFrame({"c": [-1] * len(hidden)}), unreported)
    found = dict(zip(rows.to_list(), reasons.to_list(), strict=True))
    for row, left_out in enumerate(hidden):
        expected = [f"r{i}" for i in range(count) if i not in left_out]
        assert [reason["rule"] for reason in found.get(row, [])] == expected


@pytest.mark.parametrize("relation", STORED, ids=[relation.id for relation in STORED])
def test_arrow_and_polars_schemas_say_the_same(relation: Relation) -> None:
    assert pl.DataFrame(arrow_schema(relation).empty_table()).schema == staged_schema(relation)
    assert list(staged_schema(relation))[-3:] == ["_row_hash", "_line_number", "_byte_offset"]


def test_schema_of_a_table_by_name_is_strict_and_typed() -> None:
    schema = schema_for("episodes")
    with pytest.raises(pandera.errors.SchemaErrors):
        schema.validate(pl.DataFrame({"episode_id": [1]}), lazy=True)
    with pytest.raises(GaelpError, match="unknown relation"):
        schema_for("episode")
