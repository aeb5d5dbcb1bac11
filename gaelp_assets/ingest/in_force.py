"""What of a slice's files is in force, where some of them correct others: the batches that a rebuild writes.

Whole files first: a revision stands in the place of every earlier version of its file, whose lines are `superseded`. Then single keys: a
row gives way to a revision of any file, or to a withdrawal, that has its key and a greater number. Each line that gives way is counted,
so that the lines of every batch still add up. The numbers alone decide, never the order of arrival: every rebuild ends with the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import Problem
from gaelp_assets.gateway import GatewayFile, Stage
from gaelp_assets.gateway.corrections import Version, version
from gaelp_assets.gateway.paths import archived_name
from gaelp_assets.ingest.staging import StagedFile
from gaelp_assets.ingest.withdrawals import EVERY_ROW_OF
from gaelp_assets.warehouse.ledger import Note
from gaelp_assets.warehouse.protocol import StagedBatch

_NUMBER: Final = "_number"
_WITHDRAWS: Final = "_withdraws"


@dataclass(frozen=True)
class _Item:
    """A batch, and the version that its file is: of several files with the same bytes, the last word that they have."""

    batch: StagedBatch
    version: Version
    whole: bool
    """Whether it has the last word on a whole file: a revision, or a withdrawal of every row."""


class InForce:
    """The batches of a slice, each with what is in force of it.

    Args:
        relation: the table.
        staged: the slice's staged files in the order in which their rows win a key.
        ledger: the ledger's rows of the slice.
    """

    def __init__(self, relation: Relation, staged: Sequence[StagedFile], ledger: pl.DataFrame) -> None:
        self._relation = relation
        self._items: list[_Item] = []
        by_batch: dict[str, list[StagedFile]] = {}
        for staged_file in staged:
            by_batch.setdefault(staged_file.batch.batch_id, []).append(staged_file)
        for same in by_batch.values():
            last = max(same, key=lambda s: version(s.file.path).number)
            self._items.append(_item(relation, last))
        self._heads = [item for item in self._items if item.whole]
        rows = ledger.to_dicts()
        not_staged = [row for row in rows if row["batch_id"] not in by_batch]
        self._unread = [row for row in not_staged if self._head(version(row["file"])) is not None]
        numbers = {item.batch.batch_id: item.version.number for item in self._items}
        found = {row["batch_id"] for row in self._unread} | {
            row["batch_id"] for row in rows if numbers.get(row["batch_id"], 0) >= (row["revision"] or 1)
        }
        self.missing: Final = ledger.filter(~pl.col("batch_id").is_in(list(found)))
        """The ledger's rows of batches that are neither staged, as the revisions that they are, nor superseded: a rebuild would lose what
        they say."""

    def batches(self, folder: Path, notes: Mapping[str, Note]) -> list[StagedBatch]:
        """What a rebuild writes, in order: every batch, also those that contribute no row.

        Args:
            folder: where rows that stay in force are staged, if others of their batch do not.
            notes: who made which correction, and why, by batch id.
        """
        judged = [self._whole(item) for item in self._items]
        in_force = [item for item in judged if item.batch.superseded_by is None]
        claims = self._claims(in_force)
        written = [
            replace(
                self._of_keys(item, claims, folder) if item.batch.superseded_by is None else item.batch,
                revision=item.version.number if item.version.corrects else None,
                note=notes.get(item.batch.batch_id),
            )
            for item in judged
        ]
        return [*(self._from_ledger(row) for row in self._unread), *written]

    def _head(self, of: Version) -> _Item | None:
        """What makes a file of that version count no more, as a whole: the last of its later versions."""
        later = [
            item
            for item in self._heads
            if not of.withdraws and item.version.stem == of.stem and item.version.number > of.number
        ]
        return max(later, key=lambda item: item.version.number, default=None)

    def _whole(self, item: _Item) -> _Item:
        head = self._head(item.version)
        if head is None:
            return item
        gone = replace(item.batch, rows=(), rejects=(), rejected=0, superseded_by=head.batch.batch_id)
        return replace(item, batch=_given_way(gone, item.batch.lines, head), whole=False)

    def _from_ledger(self, row: Mapping[str, Any]) -> StagedBatch:
        """A batch that counts no more, without its file being read."""
        head = self._head(version(row["file"]))
        assert head is not None
        batch = StagedBatch(
            row["batch_id"], row["file"], row["bytes"], row["lines"], rejected=0, revision=row["revision"],
            superseded_by=head.batch.batch_id,
        )  # fmt: skip
        return _given_way(batch, row["lines"], head)

    def _claims(self, in_force: Iterable[_Item]) -> pl.DataFrame | None:
        """The keys that corrections have the last word on: its number, and whether it is that the row is withdrawn."""
        keys = list(self._relation.primary_key)
        frames = [
            pl.scan_parquet(list(item.batch.rows))
            .select(keys)
            .drop_nulls()
            .with_columns(
                pl.lit(item.version.number).alias(_NUMBER), pl.lit(item.version.withdraws).alias(_WITHDRAWS)
            )
            for item in in_force
            if item.version.corrects and item.batch.rows
        ]
        if not frames:
            return None
        last = pl.col(_NUMBER) == pl.col(_NUMBER).max()
        return (
            pl.concat(frames)
            .group_by(keys)
            .agg(pl.col(_WITHDRAWS).filter(last).all(), pl.col(_NUMBER).max())
            .collect(engine="streaming")
        )

    def _of_keys(self, item: _Item, claims: pl.DataFrame | None, folder: Path) -> StagedBatch:
        """The batch with those rows whose keys no later word is about."""
        batch = item.batch
        if item.version.withdraws:
            return replace(batch, rows=())
        later = claims.filter(pl.col(_NUMBER) > item.version.number) if claims is not None else None
        if later is None or later.is_empty() or not batch.rows:
            return batch
        keys = list(self._relation.primary_key)
        rows = pl.scan_parquet(list(batch.rows))
        gone = rows.select(keys).join(later.lazy(), on=keys).collect(engine="streaming")[_WITHDRAWS]
        if gone.is_empty():
            return batch
        path = folder / f"in-force-{batch.batch_id}.parquet"
        rows.join(later.lazy(), on=keys, how="anti").sink_parquet(path)
        withdrawn = int(gone.sum())
        return replace(batch, rows=(path,), withdrawn=withdrawn, superseded=gone.len() - withdrawn)


def unread(files: Sequence[GatewayFile], ledger: pl.DataFrame) -> set[str]:
    """The names of files in `sent/` that need not be read: a revision there supersedes them, and the ledger has their lines."""
    sent = [(file, version(file.path)) for file in files if file.stage is Stage.SENT]
    return {
        file.stored.name
        for file, of in sent
        if any(later.supersedes(of) for _, later in sent)
        and any(archived_name(file, batch_id) == file.stored.name for batch_id in ledger["batch_id"])
    }


def refusal(staged: StagedFile, others: Sequence[StagedFile], ledger: pl.DataFrame) -> Problem | None:
    """Why a revision that has just come is not to be taken: more of its lines are rejected than of what it stands in the place of."""
    own = version(staged.file.path)
    if own.withdraws or not own.corrects:
        return None
    before = {
        row["batch_id"]: row["rejected"] for row in ledger.to_dicts() if own.supersedes(version(row["file"]))
    }
    for other in others:
        if own.supersedes(version(other.file.path)):
            before[other.batch.batch_id] = max(before.get(other.batch.batch_id, 0), other.batch.rejected)
    return too_many_rejected(staged.batch.rejected, sum(before.values()))


def too_many_rejected(rejected: int, before: int) -> Problem | None:
    """The problem of a revision of which more lines are rejected than of the versions before it; None if they are no more."""
    if rejected <= before:
        return None
    return Problem(
        f"{rejected} lines of the revision are rejected, {before} of what it stands in the place of",
        expected="a revision that loses no row",
        remedy="Mend the lines, or leave them out, and send it again; what it revises stays in force.",
    )


def is_known(staged: StagedFile, ledger: pl.DataFrame) -> bool:
    """Whether the ledger holds the file's batch with the last word that the file has."""
    own = version(staged.file.path)
    return any(
        row["batch_id"] == staged.batch.batch_id and (row["revision"] or 1) >= own.number
        for row in ledger.select("batch_id", "revision").to_dicts()
    )


def _item(relation: Relation, staged: StagedFile) -> _Item:
    own = version(staged.file.path)
    whole = own.corrects and (not own.withdraws or _withdraws_every_row(relation, staged.batch))
    return _Item(staged.batch, own, whole)


def _withdraws_every_row(relation: Relation, batch: StagedBatch) -> bool:
    if EVERY_ROW_OF in relation.primary_key or not batch.rows:
        return False
    named = pl.scan_parquet(list(batch.rows)).select(pl.col(EVERY_ROW_OF).is_not_null().any())
    return bool(named.collect().item())


def _given_way(batch: StagedBatch, lines: int, head: _Item) -> StagedBatch:
    return replace(batch, withdrawn=lines) if head.version.withdraws else replace(batch, superseded=lines)
