"""What is open: rejected lines that were neither replayed nor acknowledged, files set aside, and the ledger's sums of a table.

A line is open whichever way it came in, sorted from `raw/` or straight into its slice, and whichever run rejected it. A file set aside is
open for as long as it lies in `failed/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from gaelp_assets.catalog import WHOLE, Relation, Slice
from gaelp_assets.gateway import FailedFile
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.ledger import DEAD_LETTER, LEDGER
from gaelp_assets.warehouse.parameters import ParameterValue

OPEN: Final = "replayed_at IS NULL AND acknowledged_at IS NULL"
"""The GoogleSQL condition of open dead letters."""
# How many runs one query asks about: BigQuery takes 10,000 parameters.
_RUNS_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Accounts:
    """The ledger of one table, added up over all of its batches. `lines = loaded + duplicate + rejected + superseded + withdrawn`."""

    batches: int
    lines: int
    """Without lines of raw files that went on into files of slices: those are counted there."""
    loaded: int
    duplicate: int
    rejected: int
    rejected_while_sorting: int
    """Those of `rejected` that were rejected while `raw/` was sorted."""
    superseded: int
    withdrawn: int
    unbalanced: tuple[str, ...]
    """The files of batches whose lines do not add up, in order of name."""


@dataclass(frozen=True)
class OpenRejects:
    """The open lines of one table, by slice, and its files in `failed/`."""

    slices: tuple[tuple[Slice, int], ...]
    """Lines by slice, most first. Lines of a sliced table that were rejected while sorting are in no slice: `WHOLE`."""
    files: tuple[FailedFile, ...]

    @property
    def lines(self) -> int:
        """The number of open lines."""
        return sum(lines for _, lines in self.slices)


def accounts(platform: PlatformReader, relation: Relation) -> Accounts:
    """Adds up the ledger of a table: every batch, sorted from `raw/` or loaded into its slice."""
    where = "WHERE dataset = @dataset AND `table` = @table_name"
    unequal = "l.`lines` <> l.loaded + l.duplicate + l.rejected + l.sorted + COALESCE(l.superseded, 0) + COALESCE(l.withdrawn, 0)"
    [row] = platform.warehouse.query(
        "SELECT COUNT(*) AS batches, COALESCE(SUM(l.`lines` - l.sorted), 0) AS line_count, COALESCE(SUM(l.loaded), 0) AS loaded, "
        "COALESCE(SUM(l.duplicate), 0) AS duplicate, COALESCE(SUM(l.rejected), 0) AS rejected, "
        "COALESCE(SUM(IF(l.mode = 'sort', l.rejected, 0)), 0) AS rejected_while_sorting, "
        "COALESCE(SUM(l.superseded), 0) AS superseded, COALESCE(SUM(l.withdrawn), 0) AS withdrawn, "
        f"COALESCE(SUM(IF({unequal}, 1, 0)), 0) AS unbalanced FROM {LEDGER} AS l {where}",
        _of(relation),
    ).frame.to_dicts()
    unbalanced: tuple[str, ...] = ()
    if row.pop("unbalanced"):
        frame = platform.warehouse.query(
            f"SELECT DISTINCT l.file FROM {LEDGER} AS l {where} AND {unequal} ORDER BY file", _of(relation)
        ).frame
        unbalanced = tuple(frame["file"])
    return Accounts(lines=row.pop("line_count"), unbalanced=unbalanced, **row)


def open_rejects(platform: PlatformReader, relation: Relation) -> OpenRejects:
    """The open lines of a table and its files in `failed/`."""
    frame = platform.warehouse.query(
        f"SELECT slice_date, slice_environment, COUNT(*) AS n FROM {DEAD_LETTER} "
        f"WHERE dataset = @dataset AND `table` = @table_name AND {OPEN} "
        "GROUP BY slice_date, slice_environment ORDER BY n DESC, slice_date, slice_environment",
        _of(relation),
    ).frame
    slices = tuple((Slice(date, environment), n) for date, environment, n in frame.iter_rows())
    return OpenRejects(slices, tuple(platform.gateway.failed(relation)))


def open_reasons(platform: PlatformReader, relation: Relation) -> pl.DataFrame:
    """Why the open lines of a table were rejected.

    Returns:
        `field`, `rule`, `message`, `lines`; the commonest first. A line with several reasons counts for each.
    """
    conditions, parameters = open_conditions(relation)
    return platform.warehouse.query(
        "SELECT r.field, r.rule, r.message, COUNT(*) AS `lines` "
        f"FROM {DEAD_LETTER} AS d CROSS JOIN UNNEST(d.reasons) AS r WHERE {conditions} "
        "GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3",
        parameters,
    ).frame


def dead_letters(
    platform: PlatformReader, *, relation: Relation | None = None, limit: int = 50, raw: bool = False
) -> pl.DataFrame:
    """Open rejected lines, newest first: where they stood and why; with `raw`, what they said."""
    conditions, parameters = open_conditions(relation, None)
    frame = platform.warehouse.query(
        "SELECT rejected_at, CONCAT(dataset, '.', `table`) AS relation_id, batch_id, file, line_number, byte_offset, reasons"
        f"{', raw' if raw else ''} FROM {DEAD_LETTER} WHERE {conditions} ORDER BY rejected_at DESC, file, line_number",
        parameters,
        row_limit=limit,
    ).frame.with_columns(pl.col("batch_id").str.head(12))
    reason = pl.element().struct
    text = pl.concat_str(
        pl.element().struct.field("field").fill_null("line"),
        pl.lit(": "),
        reason.field("rule"),
        pl.lit(", "),
        reason.field("message"),
    )
    return frame.with_columns(reasons=pl.col("reasons").list.eval(text).list.join("; "))


def rejected_by(platform: PlatformReader, run_ids: Sequence[str]) -> dict[str, int]:
    """The lines that these runs rejected, sorted from `raw/` or loaded into slices, by relation id; tables without any are left out."""
    found: dict[str, int] = {}
    for start in range(0, len(run_ids), _RUNS_AT_ONCE):
        parameters = {f"run_{i}": run for i, run in enumerate(run_ids[start : start + _RUNS_AT_ONCE])}
        among = ", ".join(f"@{name}" for name in parameters)
        frame = platform.warehouse.query(
            f"SELECT CONCAT(dataset, '.', `table`) AS relation_id, SUM(rejected) AS n FROM {LEDGER} "
            f"WHERE run_id IN ({among}) AND rejected > 0 GROUP BY 1 ORDER BY 1",
            parameters,
        ).frame
        for relation_id, lines in frame.iter_rows():
            found[relation_id] = found.get(relation_id, 0) + lines
    return found


def open_lines(platform: PlatformReader, relation: Relation | None = None) -> int:
    """The number of open lines of a table, or of all."""
    conditions, parameters = open_conditions(relation)
    frame = platform.warehouse.query(
        f"SELECT COUNT(*) AS n FROM {DEAD_LETTER} WHERE {conditions}", parameters
    ).frame
    return int(frame.item())


def open_conditions(
    relation: Relation | None, rule: str | None = None, batch: str | None = None
) -> tuple[str, dict[str, ParameterValue]]:
    """The GoogleSQL condition of open lines, and its parameters."""
    conditions = [OPEN]
    parameters: dict[str, ParameterValue] = {}
    if relation is not None:
        conditions.append("dataset = @dataset AND `table` = @table_name")
        parameters |= _of(relation)
    if rule is not None:
        conditions.append("EXISTS (SELECT 1 FROM UNNEST(reasons) AS reason WHERE reason.rule = @rule)")
        parameters["rule"] = rule
    if batch is not None:
        conditions.append("STARTS_WITH(batch_id, @batch)")
        parameters["batch"] = batch
    return " AND ".join(conditions), parameters


def _of(relation: Relation) -> dict[str, ParameterValue]:
    return {"dataset": relation.dataset, "table_name": relation.name}


def slice_words(relation: Relation, slice_: Slice) -> str:
    """The slice as people read it; lines of a sliced table that were rejected while sorting have none yet."""
    return "sorted from raw/" if slice_ == WHOLE and relation.partitioning is not None else str(slice_)
