"""Proves a gateway file before it is handed over: the reading and the rules are those of loading, without gateway and warehouse.

What only the warehouse can tell is not proved: whether a key comes twice, in the file or in the table, with the same content or another.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import polars as pl

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.errors import GaelpError, Problem, of_the_system
from gaelp_assets.gateway.corrections import version
from gaelp_assets.gateway.paths import STAGES, GatewayFile, Stage, parse_name, times_replayed
from gaelp_assets.gateway.store import StoredObject
from gaelp_assets.ingest.decode.places import column_of
from gaelp_assets.ingest.read.limits import TextLimit
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets.ingest.reason_tally import ReasonTally, counted
from gaelp_assets.ingest.validate import ValidatedChunk, Validators
from gaelp_assets.ingest.withdrawals import key_relation

_LONGEST_SEARCHED: Final = 1 << 20
"""In longer lines no column is looked for: it would take longer than to prove the file."""


class Finding(NamedTuple):
    """One reason why one line is no row."""

    line: int
    """Its number in the file, from 1; of the object, in a `.json` file."""
    column: int | None
    """The character of the line, from 1, where the field's value begins, or the mistake is; None where that cannot be told."""
    byte_offset: int
    """Where the line starts, in bytes of the decompressed file."""
    field: str
    """Its dotted path; empty for the line as a whole."""
    rule: str
    message: str


@dataclass(frozen=True)
class FileCheck:
    """What would become of the file. `lines = accepted + rejected`."""

    relation_id: str
    slice: Slice
    """What the file's path promises; WHOLE where it names none."""
    lines: int
    rejected: int
    reasons: pl.DataFrame
    """How many lines each reason rejects: `field`, `rule`, `message`, `lines`, the commonest first."""
    max_reject_fraction: float
    """The share of its lines that may be rejected before the whole file is set aside."""

    @property
    def set_aside(self) -> bool:
        """Whether the whole file would go to `failed/`, because too many of its lines are rejected."""
        return self.rejected > self.max_reject_fraction * self.lines

    @property
    def by_rule(self) -> dict[str, int]:
        """The number of lines that each rule rejects at most: a line may break a rule in several fields."""
        totals = (
            self.reasons.group_by("rule")
            .agg(pl.col("lines").sum())
            .sort("lines", "rule", descending=[True, False])
        )
        return dict(totals.iter_rows())


def gateway_file(path: Path, catalog: Catalog, table: str | None = None) -> GatewayFile:
    """The file as the gateway would take it.

    Args:
        path: of the file. If it lies in folders `DATASET/TABLE/[date=YYYY-MM-DD/][environment=ID/]`, these say what it holds.
        catalog: the relations.
        table: its table, if the folders do not say so, or say another.

    Raises:
        GaelpError: the file is not there, its name is not one of the gateway's, or its table is unknown or not loaded from files.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if path.is_dir():
        raise GaelpError(Problem("is a folder", str(path), "one file"))
    stage, folders = _place(path, catalog)
    if table is not None:
        relation = catalog.find(table)
        if folders[:2] != (relation.dataset, relation.name):
            folders = (relation.dataset, relation.name)
    if path.suffix == ".json":
        stage = Stage.RAW  # the only one that takes such files
    modified = dt.datetime.fromtimestamp(found.st_mtime, dt.UTC)
    stored = StoredObject("/".join((stage, *folders, path.name)), found.st_size, modified, "")
    parsed = parse_name(stored, catalog)
    if isinstance(parsed, Problem):
        remedy = parsed.remedy
        if not folders:
            remedy = f"{remedy} Name its table: gaelp check FILE --table DATASET.TABLE".strip()
        raise GaelpError(Problem(parsed.what, str(path), parsed.expected, remedy))
    return parsed


def check_file(
    path: Path,
    file: GatewayFile,
    validators: Validators,
    *,
    on_finding: Callable[[Finding], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> FileCheck:
    """Reads the file once and tells every reason why lines of it would be rejected. Memory does not grow with the file.

    Args:
        path: where its bytes are.
        file: what `gateway_file` made of its name.
        validators: those of the days that are taken.
        on_finding: called with each finding, in the order of lines. No finding quotes a value.
        on_progress: called with the number of lines, and of stored bytes, that are read.

    Raises:
        GaelpError: the file cannot be read as a whole: it is not what its ending says, damaged, cut off, or has no lines.
    """
    relation = _read_as(file)
    validator = (
        validators.of(relation, file.slice) if relation is file.relation else validators.of_variant(relation)
    )
    tally = ReasonTally()
    lines = rejected = 0
    with _opened(path) as stream:
        limit = TextLimit(path.name, file.stored.size, relation.max_unfolded_bytes)
        reader = LineReader(stream, str(path), limit)
        with closing(validator.map(_findings_of, reader)) as chunks:
            while (found := _next(chunks, path)) is not None:
                lines += found.lines
                rejected += found.rejects.height
                tally.add(counted(found.rejects["reasons"]))
                if on_finding is not None:
                    for finding in _findings(found.rejects):
                        on_finding(finding)
                if on_progress is not None:
                    on_progress(lines, reader.size)
    return FileCheck(relation.id, file.slice, lines, rejected, tally.frame, _may_be_rejected(file))


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise _unreadable(path, error) from error


def _next(chunks: Iterator[_Rejects], path: Path) -> _Rejects | None:
    """The next chunk, if there is one. Errors of who is told of it are none of the file's."""
    try:
        return next(chunks, None)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> GaelpError:
    return of_the_system(error, Problem(f"cannot be read: {error.strerror}", str(path)))


class _Rejects(NamedTuple):
    lines: int
    rejects: pl.DataFrame


def _findings_of(_: int, chunk: ValidatedChunk) -> _Rejects:
    """What is kept of a chunk: its clean rows are free at once."""
    return _Rejects(chunk.lines, chunk.rejects)


def _findings(rejects: pl.DataFrame) -> Iterator[Finding]:
    for number, offset, raw, reasons in rejects.iter_rows():
        for reason in reasons:
            field, rule, message = reason["field"] or "", reason["rule"], reason["message"]
            column = column_of(raw, field, rule) if len(raw) <= _LONGEST_SEARCHED else None
            yield Finding(number, column, offset, field, rule, message)


def _read_as(file: GatewayFile) -> Relation:
    """What the file's lines are rows of: its table or, of a withdrawal, the table's keys."""
    if version(file.path).withdraws:
        return key_relation(file.relation, sliced=not file.sorted)
    return file.relation


def _may_be_rejected(file: GatewayFile) -> float:
    """What is replayed is in the dead letter already, and never set aside; a withdrawal with a bad line always is."""
    if times_replayed(file.path):
        return 1.0
    return 0.0 if version(file.path).withdraws else file.relation.max_reject_fraction


def _place(path: Path, catalog: Catalog) -> tuple[Stage, tuple[str, ...]]:
    """The stage and the folders below it that a path names; no folders where none is a table's."""
    parts = path.absolute().parent.parts
    known = {(relation.dataset, relation.name) for relation in catalog}
    for at in range(len(parts) - 2, -1, -1):
        below = parts[at + 2 :]
        if parts[at : at + 2] in known and all(part.startswith(("date=", "environment=")) for part in below):
            above = parts[at - 1] if at else ""
            ready = above in STAGES and above != Stage.RAW
            return Stage.CLOUD_READY if ready or below else Stage.RAW, parts[at:]
    return Stage.RAW, ()
