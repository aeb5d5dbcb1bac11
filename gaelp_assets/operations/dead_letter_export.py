"""Gives rejected lines back, byte for byte, in a file that can be mended and handed over again, with the reasons beside it.

Of files that are set aside whole, it has the lines that their explanations tell; such a file lies in `failed/` with its good lines, too.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.model import walk_fields
from gaelp_assets.errors import GaelpError, Problem, of_the_system, unknown
from gaelp_assets.gateway import StoredObject
from gaelp_assets.gateway.explanation import Explanation, RejectedLine
from gaelp_assets.operations.rejects import lines_set_aside, open_conditions, told_by_origin
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.ledger import DEAD_LETTER

ENDING: Final = ".ndjson"
REASONS_ENDING: Final = ".reasons.jsonl"
"""What is added to the name of the file; no ending that a gateway takes."""
# How many lines are in memory at a time.
_PAGE: Final = 5_000


@dataclass(frozen=True)
class Exported:
    """What was written."""

    relation: Relation
    lines: int
    path: Path
    reasons: Path
    files_set_aside: int
    """Files of the table in `failed/`: only some of their lines are among these, or none."""
    lines_set_aside: int
    """Lines among these that are of such files."""


def export_lines(
    platform: PlatformReader,
    path: Path,
    *,
    relation: Relation | None = None,
    rule: str | None = None,
    batch: str | None = None,
    raw: bool = False,
) -> Exported:
    """Writes the open lines of a table as they were sent, batch by batch and in the order of each, and their reasons beside them.

    Then come those of files that are set aside whole, as many as `gaelp dead-letter list` tells of each; with a `batch` none of them.

    Args:
        platform: where the dead letter is.
        path: of the new file, which ends in `.ndjson`.
        relation: the table; None where the open lines are all of one.
        rule: only lines that this rule rejected.
        batch: only lines of batches whose id starts so.
        raw: whether lines may be written that can hold sensitive values.

    Raises:
        GaelpError: no open line is meant, or lines of several tables are; the table has sensitive fields, and `raw` is not said; the
            file is there already, or cannot be written.
        TransientError: warehouse or gateway are out of reach.
    """
    if path.suffix.lower() != ENDING:
        raise GaelpError(unknown("ending", path.suffix, [ENDING], where=str(path)))
    if path.exists():
        what = "there is such a file already, in which lines may be mended"
        raise GaelpError(Problem(what, str(path), "a new one", "Name another, or remove it."))
    relation = relation or _only_table(platform, rule, batch)
    sensitive = [name for name, field in walk_fields(relation.fields) if field.sensitive]
    if sensitive and not raw:
        raise GaelpError(
            Problem(
                f"the lines can hold sensitive values, of {', '.join(sensitive)}",
                relation.id,
                "--raw",
                "Say --raw, and keep the file where such values may lie.",
            )
        )
    batches = _batches(platform, relation, rule, batch)
    aside = [] if batch is not None else _set_aside(platform, relation, rule)
    if not batches and not aside:
        raise GaelpError(
            Problem(
                "no open line is meant",
                relation.id,
                "a rule or a batch of lines that are open",
                f"See: gaelp dead-letter list --table {relation.id}",
            )
        )
    reasons = path.with_name(path.name.removesuffix(path.suffix) + REASONS_ENDING)
    pages = itertools.chain(
        (
            page.iter_rows(named=True)
            for batch_id in batches
            for page in _pages(platform, relation, rule, batch_id)
        ),
        (
            [row]
            for stored, found, lines in aside
            for row in lines_set_aside(platform, stored, found, lines, raw=True)
        ),
    )
    lines, of_files = _write(itertools.chain.from_iterable(pages), path, reasons)
    return Exported(relation, lines, path, reasons, len(platform.gateway.failed(relation)), of_files)


def _set_aside(
    platform: PlatformReader, relation: Relation, rule: str | None
) -> list[tuple[StoredObject, Explanation, list[RejectedLine]]]:
    """The files of a table that are set aside for their lines, with those that are told and that the rule rejected."""
    files = []
    for stored, found in platform.gateway.rejected(relation):
        assert found.rejected is not None
        told = [
            line for line in found.rejected.lines if rule is None or rule in {r.rule for r in line.reasons}
        ]
        if told and found.rejected.table == relation.id:
            files.append((stored, found, told))
    return files


def _only_table(platform: PlatformReader, rule: str | None, batch: str | None) -> Relation:
    conditions, parameters = open_conditions(None, rule, batch)
    found = platform.warehouse.query(
        f"SELECT CONCAT(dataset, '.', `table`) AS relation_id, COUNT(*) AS n FROM {DEAD_LETTER} WHERE {conditions} "
        "GROUP BY 1 ORDER BY 1",
        parameters,
    ).frame
    counts = Counter(dict(found.iter_rows()))
    for _, of_file in platform.gateway.rejected() if batch is None else ():
        if of_file.rejected is not None:
            counts[of_file.rejected.table] += len(of_file.rejected.lines)
    if len(counts) == 1:
        return platform.catalog.find(next(iter(counts)))
    tables = ", ".join(f"{relation_id} ({lines})" for relation_id, lines in sorted(counts.items()))
    raise GaelpError(
        Problem(
            "open lines of several tables are meant" if tables else "no open line is meant",
            expected=f"one of {tables}" if tables else "a rule or a batch of lines that are open",
            remedy="Name the table: gaelp dead-letter export DATASET.TABLE"
            if tables
            else "See: gaelp dead-letter list",
        )
    )


def _batches(platform: PlatformReader, relation: Relation, rule: str | None, batch: str | None) -> list[str]:
    conditions, parameters = open_conditions(relation, rule, batch)
    frame = platform.warehouse.query(
        f"SELECT batch_id, MIN(file) AS first_file FROM {DEAD_LETTER} WHERE {conditions} "
        "GROUP BY batch_id ORDER BY first_file, batch_id",
        parameters,
    ).frame
    return frame["batch_id"].to_list()


def _pages(
    platform: PlatformReader, relation: Relation, rule: str | None, batch_id: str
) -> Iterator[pl.DataFrame]:
    """The open lines of one batch in their order, each once: the same file can have been loaded into two slices."""
    conditions, parameters = open_conditions(relation, rule)
    after = 0
    while True:
        page = platform.warehouse.query(
            "SELECT CONCAT(dataset, '.', `table`) AS relation_id, batch_id, slice_date, slice_environment, file, line_number, "
            f"byte_offset, rejected_at, reasons, raw FROM {DEAD_LETTER} "
            f"WHERE {conditions} AND batch_id = @batch_id AND line_number > @after ORDER BY line_number",
            {**parameters, "batch_id": batch_id, "after": after},
            row_limit=_PAGE,
        ).frame
        if page.is_empty():
            return
        after = page["line_number"][-1]
        yield told_by_origin(platform, page.unique("line_number", keep="first", maintain_order=True))


def _write(rows: Iterable[dict[str, Any]], path: Path, reasons: Path) -> tuple[int, int]:
    """Writes lines and reasons; how many there are, and how many are of no batch."""
    unfinished = [path.with_name(f".{uuid.uuid4().hex}.tmp") for _ in range(2)]
    count = of_files = 0
    try:
        unfinished[0].touch(0o600)
        with unfinished[0].open("wb") as lines, unfinished[1].open("w", encoding="utf-8") as told:
            for row in rows:
                if row["raw"] is None:  # its file has been moved since
                    continue
                count += 1
                of_files += row["batch_id"] is None
                lines.write(row["raw"] + b"\n")
                said = {
                    name: row[name] for name in ("file", "line_number", "byte_offset", "batch_id", "reasons")
                }
                told.write(
                    json.dumps({"line": count, **said, "rejected_at": row["rejected_at"].isoformat()}) + "\n"
                )
        unfinished[1].replace(reasons)
        unfinished[0].replace(path)
    except OSError as error:
        problem = Problem(f"cannot write: {error.strerror or type(error).__name__}", str(path))
        raise of_the_system(error, problem) from error
    finally:
        for left in unfinished:
            with suppress(OSError):
                left.unlink(missing_ok=True)
    return count, of_files
