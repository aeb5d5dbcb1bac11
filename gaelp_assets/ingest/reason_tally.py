"""How many lines each reason rejected, in bounded memory: messages may name places, and then each line has a reason of its own."""

from __future__ import annotations

from typing import Final

import polars as pl

from gaelp_assets.ingest.report import REASON_SCHEMA

MOST_REASONS: Final = 1_000
OTHERS: Final = ("(others)", "other messages of this rule")
_LINES_AT_ONCE: Final = 5_000


class ReasonTally:
    """The tally of one file. Beyond `MOST_REASONS` different ones, further reasons count together with those of their rule."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str, str], int] = {}

    def add(self, counted: pl.DataFrame) -> None:
        """Adds counts (`REASON_SCHEMA`)."""
        for field, rule, message, lines in counted.iter_rows():
            reason = (field, rule, message)
            if reason not in self._lines and len(self._lines) >= MOST_REASONS:
                reason = (OTHERS[0], rule, OTHERS[1])
            self._lines[reason] = self._lines.get(reason, 0) + lines

    @property
    def frame(self) -> pl.DataFrame:
        """The counts (`REASON_SCHEMA`), the commonest reason first."""
        rows = [(*reason, lines) for reason, lines in self._lines.items()]
        return tally(pl.DataFrame(rows, schema=REASON_SCHEMA, orient="row"))


def counted(reasons: pl.Series) -> pl.DataFrame:
    """How many of some rejected lines have each reason (`REASON_SCHEMA`), from the reasons of each line (`REASONS`)."""
    parts = [
        part.select(pl.col(reasons.name).explode().struct.unnest())
        .group_by("field", "rule", "message")
        .agg(pl.len().cast(pl.Int64).alias("lines"))
        for part in reasons.to_frame().iter_slices(_LINES_AT_ONCE)
    ]
    return tally(pl.concat(parts)) if parts else pl.DataFrame(schema=REASON_SCHEMA)


def tally(reasons: pl.DataFrame) -> pl.DataFrame:
    """Adds up the `lines` of equal reasons (`REASON_SCHEMA`), the commonest first."""
    return (
        reasons.group_by("field", "rule", "message")
        .agg(pl.col("lines").sum())
        .sort("lines", "field", "rule", descending=[True, False, False])
    )
