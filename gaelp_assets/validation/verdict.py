"""One pass over a frame that finds every broken rule of every row.

All rules are evaluated in one `select`, as bit masks: 63 rules to a word. Reasons are written out for failing rows only. Which rules there
are stands in `row_rules`; what becomes of the rows is up to the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import polars as pl

from gaelp_assets.catalog.model import Relation
from gaelp_assets.validation.row_rules import RowRule, row_rules

RULES_PER_WORD: Final = 63
REASON: Final = pl.Struct({"field": pl.String(), "rule": pl.String(), "message": pl.String()})
REASONS: Final = pl.List(REASON)


class Verdict:
    """The rules of a relation, ready to judge frames of its columns."""

    def __init__(self, rules: Sequence[RowRule]) -> None:
        self.rules = tuple(rules)

    @classmethod
    def of(cls, relation: Relation) -> Verdict:
        """The verdict that a relation's Pandera schema gives."""
        return cls(row_rules(relation))

    @cached_property
    def _masks(self) -> list[pl.Expr]:
        masks: list[pl.Expr] = []
        for start in range(0, len(self.rules), RULES_PER_WORD):
            bits = [
                pl.when(rule.holds.fill_null(value=True)).then(0).otherwise(1 << bit).cast(pl.UInt64)
                for bit, rule in enumerate(self.rules[start : start + RULES_PER_WORD])
            ]
            masks.append(pl.sum_horizontal(bits).alias(f"_broken_{len(masks)}"))
        return masks

    def failing(
        self, frame: pl.DataFrame, unreported: Sequence[frozenset[str]] = ()
    ) -> tuple[pl.Series, pl.Series]:
        """The rows that break a rule, and why.

        Args:
            frame: has the columns that the rules look at.
            unreported: for each row, the dotted paths of fields that no rule may blame, nor what is nested in them; empty: none of any.

        Returns:
            The indices of the rows (UInt32, ascending), and the reasons of each (`REASONS`), in the order of the rules.
        """
        nothing = pl.Series("row", [], pl.UInt32), pl.Series("reasons", [], REASONS)
        if not self.rules or not frame.height:
            return nothing
        masks = frame.select(*self._masks)
        if any(unreported):
            allowed = self._allowed(unreported)
            masks = masks.select(mask & allowed[mask.name] for mask in masks)
        broken = masks.select(pl.any_horizontal(pl.all() != 0)).to_series()
        if not broken.any():
            return nothing
        rows = broken.arg_true()
        return rows.alias("row"), self._reasons(masks[rows])

    def _allowed(self, unreported: Sequence[frozenset[str]]) -> pl.DataFrame:
        """The rules, as bits, that may blame each row."""
        seen: dict[frozenset[str], int] = {}
        which = [seen.setdefault(paths, len(seen)) for paths in unreported]
        masks = []
        for paths in seen:
            broken = [0] * len(self._masks)
            for number, rule in enumerate(self.rules):
                if not any(f"{rule.field}.".startswith(f"{path}.") for path in paths):
                    broken[number // RULES_PER_WORD] |= 1 << number % RULES_PER_WORD
            masks.append(broken)
        schema = [(f"_broken_{word}", pl.UInt64()) for word in range(len(self._masks))]
        return pl.DataFrame(masks, schema=schema, orient="row")[which]

    def _reasons(self, masks: pl.DataFrame) -> pl.Series:
        """Written out once for each combination of broken rules: there are far fewer of those than of rows."""
        seen: dict[tuple[int, ...], int] = {}
        combinations = [seen.setdefault(mask, len(seen)) for mask in masks.iter_rows()]
        spelled = [
            [
                (rule.field, rule.rule, rule.message)
                for number, rule in enumerate(self.rules)
                if mask[number // RULES_PER_WORD] >> number % RULES_PER_WORD & 1
            ]
            for mask in seen
        ]
        return reason_lists(spelled).gather(combinations)


def reason_lists(reasons: Sequence[Sequence[tuple[str, str, str]]]) -> pl.Series:
    """The reasons of rows as one series (`REASONS`); each reason is a field, a rule and a message, and each row has at least one."""
    flat = pl.DataFrame(
        [reason for found in reasons for reason in found],
        schema=list(REASON.to_schema().items()),
        orient="row",
    )
    owners = pl.Series("row", [row for row, found in enumerate(reasons) for _ in found], pl.UInt32)
    lists = flat.select(pl.struct(pl.all()).alias("reasons")).with_columns(owners)
    return lists.group_by("row", maintain_order=True).agg("reasons")["reasons"]
