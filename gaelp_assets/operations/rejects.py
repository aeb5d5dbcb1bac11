"""What is open: rejected lines that were neither replayed nor acknowledged, files set aside, and the ledger's sums of a table.

A line is open whichever way it came in, sorted from `raw/` or straight into its slice, and whichever run rejected it. A file set aside is
open for as long as it lies in `failed/`; its rejected lines are told from there, and are not in `ops.dead_letter`.

Lines are told by the producer's own file: what was sorted out of a raw file, and rejected later, is told by its place in that one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from gaelp_assets.catalog import WHOLE, Relation, Slice
from gaelp_assets.errors import TransientError
from gaelp_assets.gateway import FailedFile, ObjectChanged, StoredObject
from gaelp_assets.gateway.explanation import Explanation, Place, RejectedLine, RejectedLines
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.ledger import DEAD_LETTER, LEDGER
from gaelp_assets.warehouse.parameters import ParameterValue

_log: Final = logging.getLogger(__name__)
OPEN: Final = "replayed_at IS NULL AND acknowledged_at IS NULL"
"""The GoogleSQL condition of open dead letters."""
_LISTED: Final = [
    "rejected_at",
    "relation_id",
    "batch_id",
    "file",
    "line_number",
    "byte_offset",
    "reasons",
    "raw",
]
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
    """Open rejected lines, newest first: where they stood in the producer's file and why; with `raw`, what they said.

    Those of a file that is set aside are told by its name in `failed/`, as many as its error file tells; they are of no batch. A gateway
    out of reach is warned of: what only it knows is left out then.

    Returns:
        `rejected_at`, `relation_id`, `batch_id` (its first 12 digits), `file`, `line_number`, `byte_offset`, `reasons` (one text), `raw`.
    """
    conditions, parameters = open_conditions(relation, None)
    letters = platform.warehouse.query(
        "SELECT rejected_at, CONCAT(dataset, '.', `table`) AS relation_id, batch_id, file, line_number, byte_offset, reasons, raw, "
        f"slice_date, slice_environment FROM {DEAD_LETTER} WHERE {conditions} ORDER BY rejected_at DESC, file, line_number",
        parameters,
        row_limit=limit,
    ).frame
    frame = letters.select(_LISTED)
    try:
        frame = told_by_origin(platform, letters).select(_LISTED)
        frame = pl.concat([frame, _set_aside_lines(platform, relation, frame.schema, limit, raw=raw)])
    except TransientError as error:
        _log.warning("lines are told without what only the gateway knows: %s", error)
    frame = (
        frame.sort("rejected_at", descending=True, maintain_order=True)
        .head(limit)
        .with_columns(pl.col("batch_id").str.head(12))
    )
    reason = pl.element().struct
    text = pl.concat_str(
        reason.field("field").fill_null("line"),
        pl.lit(": "),
        reason.field("rule"),
        pl.lit(", "),
        reason.field("message"),
    )
    frame = frame.with_columns(reasons=pl.col("reasons").list.eval(text).list.join("; "))
    return frame if raw else frame.drop("raw")


def told_by_origin(platform: PlatformReader, letters: pl.DataFrame) -> pl.DataFrame:
    """Dead letters with `file`, `line_number` and `byte_offset` of the producer's own file, where that can be told.

    Args:
        platform: whose gateway holds the raw files.
        letters: `relation_id`, `slice_date`, `slice_environment`, `batch_id`, `file`, `line_number`, `byte_offset` and `raw`, among others.

    Returns:
        The same rows and columns.

    Raises:
        TransientError: the gateway is out of reach.
    """
    from gaelp_assets.ingest.origins import SortedLine, origins, stem_of

    own = letters.select("file", "line_number", "byte_offset")
    places = own.rows()
    by_name: dict[tuple[str, str], list[tuple[int, SortedLine]]] = {}
    keys = ("relation_id", "slice_date", "slice_environment", "batch_id", "file", "line_number", "raw")
    rows = letters.select(*keys).with_row_index("_row").sort("batch_id", "line_number")
    for number, relation_id, date, environment, batch_id, file, _, raw in rows.iter_rows():
        relation, slice_ = platform.catalog.relations.get(relation_id), Slice(date, environment)
        # Lines of a sliced table that are in no slice were rejected while sorting: their file is the producer's.
        if relation is not None and (slice_ != WHOLE or relation.partitioning is None):
            line = SortedLine(slice_, batch_id, raw)
            by_name.setdefault((relation_id, stem_of(file)), []).append((number, line))
    for (relation_id, stem), lines in by_name.items():
        relation = platform.catalog[relation_id]
        found = origins(platform.gateway, relation, stem, [line for _, line in lines])
        for (number, _), place in zip(lines, found, strict=True):
            places[number] = place or places[number]
    return letters.with_columns(pl.DataFrame(places, schema=own.schema, orient="row"))


def _set_aside_lines(
    platform: PlatformReader, relation: Relation | None, schema: pl.Schema, limit: int, *, raw: bool
) -> pl.DataFrame:
    """The rejected lines of files in `failed/` that their error files tell, those of the newest files first."""
    files = _files_with_lines(platform, relation)
    files.sort(key=lambda file: file[1].when or file[0].modified, reverse=True)
    rows: list[tuple[Any, ...]] = []
    for stored, found, rejected in files:
        lines = rejected.lines[: limit - len(rows)]
        rows += [tuple(row.values()) for row in lines_set_aside(platform, stored, found, lines, raw=raw)]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _files_with_lines(
    platform: PlatformReader, relation: Relation | None
) -> list[tuple[StoredObject, Explanation, RejectedLines]]:
    """The files in `failed/` whose error files tell rejected lines of the table, or of any."""
    return [
        (stored, found, found.rejected)
        for stored, found in platform.gateway.rejected(relation)
        if found.rejected is not None and (relation is None or found.rejected.table == relation.id)
    ]


def listed_lines(platform: PlatformReader, relation: Relation | None = None) -> int:
    """How many lines `dead_letters` has without a limit: open ones, and what is told of files that are set aside."""
    lines = open_lines(platform, relation)
    with suppress(TransientError):  # those of the gateway are then not listed either, which was warned of
        lines += sum(len(rejected.lines) for _, _, rejected in _files_with_lines(platform, relation))
    return lines


def lines_set_aside(
    platform: PlatformReader,
    stored: StoredObject,
    found: Explanation,
    lines: Sequence[RejectedLine],
    *,
    raw: bool,
) -> Iterator[dict[str, Any]]:
    """Rejected lines of a file in `failed/`, as dead letters are told: by `rejected_at`, `relation_id`, `batch_id` (None), ..., `raw`.

    Args:
        platform: whose gateway the file is in.
        stored: the file.
        found: its explanation.
        lines: of those that it tells.
        raw: whether to read what they said; None otherwise, and where the file has been moved since then.

    Raises:
        GaelpError: the file cannot be read.
    """
    assert found.rejected is not None
    texts = _texts(platform, stored, found, [line.byte for line in lines]) if raw else {}
    for line in lines:
        place = line.origin or Place(stored.name, line.line, line.byte)
        reasons = [reason._asdict() for reason in line.reasons]
        told = (
            found.when or stored.modified,
            found.rejected.table,
            None,
            *place,
            reasons,
            texts.get(line.byte),
        )
        yield dict(zip(_LISTED, told, strict=True))


def _texts(
    platform: PlatformReader, stored: StoredObject, found: Explanation, starts: Sequence[int]
) -> dict[int, bytes]:
    from gaelp_assets.ingest.origins import lines_at

    with suppress(ObjectChanged):  # it is retried at this moment
        return lines_at(platform.gateway, stored, found.original_name, set(starts))
    return {}


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
