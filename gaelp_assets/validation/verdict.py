"""One pass over a frame that finds every broken rule of every row.

The checks of a Pandera schema are asked for their expressions, by calling each with a stand-in for the LazyFrame that records what is
selected. All of them are evaluated in one `select`, as bit masks: 63 rules to a word. Reasons are spelled out for failing rows only.
Uniqueness is not a rule of a row, and is left to the load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast

import polars as pl

from gaelp_assets.catalog.model import Relation
from gaelp_assets.validation.schema import pandera_schema

if TYPE_CHECKING:
    import pandera.polars as pa

RULES_PER_WORD: Final = 63
REASON: Final = pl.Struct({"field": pl.String(), "rule": pl.String(), "message": pl.String()})
REASONS: Final = pl.List(REASON)


@dataclass(frozen=True)
class RowRule:
    """A rule that a frame's rows keep where `holds` is true: the field that it blames, its name, and what is expected."""

    field: str
    rule: str
    message: str
    holds: pl.Expr

    @property
    def reason(self) -> dict[str, str]:
        """The reason why a row that breaks the rule is rejected."""
        return {"field": self.field, "rule": self.rule, "message": self.message}


class Verdict:
    """The rules of a relation, ready to judge frames of its columns."""

    def __init__(self, rules: Sequence[RowRule]) -> None:
        self.rules = tuple(rules)

    @classmethod
    def of(cls, relation: Relation) -> Verdict:
        """The verdict that a relation's Pandera schema gives."""
        return cls(row_rules(pandera_schema(relation)))

    @cached_property
    def _words(self) -> list[pl.Expr]:
        words: list[pl.Expr] = []
        for start in range(0, len(self.rules), RULES_PER_WORD):
            bits = [
                pl.when(rule.holds.fill_null(value=True)).then(0).otherwise(1 << bit).cast(pl.UInt64)
                for bit, rule in enumerate(self.rules[start : start + RULES_PER_WORD])
            ]
            words.append(pl.sum_horizontal(bits).alias(f"_broken_{len(words)}"))
        return words

    def failing(self, frame: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
        """The indices (UInt32, ascending) of the rows that break a rule, and the reasons of each (`REASONS`)."""
        nothing = pl.Series("row", [], pl.UInt32), pl.Series("reasons", [], REASONS)
        if not self.rules or not frame.height:
            return nothing
        masks = frame.select(*self._words)
        broken = masks.select(pl.any_horizontal(pl.all() != 0)).to_series()
        if not broken.any():
            return nothing
        rows = broken.arg_true()
        return rows.alias("row"), self._reasons(masks[rows])

    def _reasons(self, masks: pl.DataFrame) -> pl.Series:
        """Spelled out once for each combination of broken rules: there are far fewer of those than of rows."""
        seen: dict[tuple[int, ...], list[dict[str, str]]] = {}
        reasons = []
        for mask in masks.iter_rows():
            if mask not in seen:
                seen[mask] = [
                    rule.reason
                    for number, rule in enumerate(self.rules)
                    if mask[number // RULES_PER_WORD] >> number % RULES_PER_WORD & 1
                ]
            reasons.append(seen[mask])
        return pl.Series("reasons", reasons, REASONS)


def row_rules(schema: pa.DataFrameSchema) -> list[RowRule]:
    """The nullability and the checks of a Pandera schema, as rules of single rows.

    Raises:
        TypeError: a check is not of the kind `lambda data: data.lazyframe.select(expression)`.
    """
    rules = []
    for name, column in schema.columns.items():
        if not column.nullable:
            value = pl.col(name)
            holds = value.is_not_null()
            if column.dtype is not None and column.dtype.type in (pl.Float64(), pl.Float32()):
                holds &= value.is_not_nan().fill_null(value=True)  # as Pandera has it: a NaN is no value
            rules.append(RowRule(name, "not_null", "expected a value, not null", holds))
        rules += [_row_rule(check, name) for check in column.checks]
    rules += [_row_rule(check, "*") for check in schema.checks]
    return rules


class _Recorder:
    """Stands in for the LazyFrame that a check selects from, and keeps what it selects."""

    def select(self, expression: pl.Expr) -> pl.Expr:
        """The expression itself."""
        return expression


def _row_rule(check: Any, key: str) -> RowRule:
    from pandera.api.polars.types import PolarsData

    recorded = None
    if not check.element_wise:
        data = PolarsData(cast("pl.LazyFrame", _Recorder()), key)
        recorded = check._check_fn(data, **check._check_kwargs)
    if not isinstance(recorded, pl.Expr):
        raise TypeError(f"check {check.name!r} of {key!r} is not the selection of one expression")
    holds = recorded if check.ignore_na else recorded.fill_null(value=False)
    return RowRule(check.title or key, check.name, check.error or str(check.name), holds)
