"""What is told of the rejected lines of a file that is set aside, from what was staged of it: bounded, and never a value.

The warehouse learns nothing of such a file. It lies whole in `failed/`, and its lines are open for as long as it does: so there is nothing
to count twice when it is retried, nothing to take back, and nothing that a killed process could leave half done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway import Gateway, GatewayFile, Stage
from gaelp_assets.gateway.explanation import LINES_TOLD, REASONS_TOLD, Reason, RejectedLine, RejectedLines
from gaelp_assets.ingest.origins import SortedLine, origins, stem_of
from gaelp_assets.ingest.reason_tally import OTHERS

_TOLD: Final = ["line_number", "byte_offset", "reasons"]


class LinesRefused(GaelpError):
    """A file that is set aside for its lines."""

    def __init__(self, problem: Problem, rejected: RejectedLines) -> None:
        super().__init__(problem)
        self.rejected: Final = rejected


def rejected_of(error: GaelpError) -> RejectedLines | None:
    """The rejected lines of the file that the error is about, if it is about lines."""
    return error.rejected if isinstance(error, LinesRefused) else None


def rejected_lines(
    gateway: Gateway,
    file: GatewayFile,
    rejects: Sequence[Path],
    reasons: pl.DataFrame,
    *,
    read: int,
    rejected: int,
    to_the_end: bool = True,
) -> RejectedLines:
    """What is told of the lines.

    Args:
        gateway: that the file is in.
        file: what is set aside.
        rejects: the Parquet files of its rejected lines (`REJECT_SCHEMA`), in the file's order.
        reasons: how many of them each reason rejected (`REASON_SCHEMA`), the commonest first.
        read: how many lines were read.
        rejected: how many of them were rejected.
        to_the_end: whether no line is left unread.
    """
    numbers = dict(_chosen(rejects, reasons))
    told = RejectedLines(
        file.relation.id,
        file.path,
        read,
        rejected,
        to_the_end,
        tuple((Reason(field or None, rule, text), lines) for field, rule, text, lines in reasons.iter_rows()),
        tuple(numbers.values()),
    )
    # A raw file is the producer's own.
    return (
        _with_origins(gateway, file, rejects, told)
        if told.lines and file.stage is Stage.CLOUD_READY
        else told
    )


def _chosen(rejects: Sequence[Path], reasons: pl.DataFrame) -> Iterator[tuple[int, RejectedLine]]:
    """The first lines, and of each further rule the first line that breaks it."""
    untold = {(field or None, rule) for field, rule, _, _ in reasons.iter_rows() if field != OTHERS[0]}
    lines = told = 0
    for path in rejects:
        if not untold and (lines >= LINES_TOLD or told >= REASONS_TOLD):
            return
        frame = pl.read_parquet(path, columns=_TOLD)
        room = LINES_TOLD - lines if told < REASONS_TOLD else 0
        for row in pl.concat(
            [frame.head(max(room, 0)), _first_of(frame.slice(max(room, 0)), untold)]
        ).iter_rows():
            line = _line(*row)
            own = {(reason.field, reason.rule) for reason in line.reasons}
            if (lines >= LINES_TOLD or told >= REASONS_TOLD) and not own & untold:
                continue
            untold -= own
            lines, told = lines + 1, told + len(line.reasons)
            yield line.line, line


def _first_of(frame: pl.DataFrame, untold: set[tuple[str | None, str]]) -> pl.DataFrame:
    """The first line of each field and rule that no line was told of."""
    if frame.is_empty() or not untold:
        return frame.clear()
    reason = pl.col("reasons").struct
    first = (
        frame.lazy()
        .explode("reasons")
        .group_by(reason.field("field"), reason.field("rule"))
        .agg(pl.col("line_number").min())
        .collect()
    )
    numbers = {number for field, rule, number in first.iter_rows() if (field or None, rule) in untold}
    return frame.filter(pl.col("line_number").is_in(list(numbers)))


def _line(number: int, byte: int, reasons: list[dict[str, Any]]) -> RejectedLine:
    return RejectedLine(
        number, byte, tuple(Reason(r["field"] or None, r["rule"], r["message"]) for r in reasons)
    )


def _with_origins(
    gateway: Gateway, file: GatewayFile, rejects: Sequence[Path], told: RejectedLines
) -> RejectedLines:
    numbers = [line.line for line in told.lines]
    raw = (
        pl.scan_parquet(list(rejects))
        .select("line_number", "raw")
        .filter(pl.col("line_number").is_in(numbers))
        .sort("line_number")
        .collect(engine="streaming")["raw"]
        .to_list()
    )
    sorted_ = [SortedLine(file.slice, None, text) for text in raw]
    places = origins(gateway, file.relation, stem_of(file.path), sorted_)
    lines = tuple(replace(line, origin=place) for line, place in zip(told.lines, places, strict=True))
    return replace(told, lines=lines)
