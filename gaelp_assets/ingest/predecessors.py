"""The other versions of a file, wherever they are: in the ledger, loaded or sorted, or still in the load queue."""

from __future__ import annotations

from dataclasses import dataclass

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.gateway import GatewayFile
from gaelp_assets.gateway.corrections import Version, version
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.history import is_load, ledger_rows, slice_of


@dataclass(frozen=True)
class Predecessors:
    """What is known of a file's versions below a number, withdrawals left out."""

    slices: frozenset[Slice]
    """The slices in which one of them counts, or will once the queue is loaded."""
    known: frozenset[Slice]
    """All slices that they are or were of."""
    rejected: int
    """The lines that were rejected of them, while sorting and loading."""

    @classmethod
    def of(
        cls, platform: PlatformReader, relation: Relation, stem: str, *, below: int | None = None
    ) -> Predecessors:
        """Those of the file with that name, as it is without version and ending.

        Args:
            platform: where ledger and queue are.
            relation: the table.
            stem: what the producer calls the file.
            below: only versions below this number; all by default.
        """
        rows = [
            row for row in ledger_rows(platform.warehouse, relation) if _is_earlier(row["file"], stem, below)
        ]
        loads = [row for row in rows if is_load(row)]
        queued = {file.slice for file in _queued(platform, relation) if _is_earlier(file.path, stem, below)}
        return cls(
            frozenset({slice_of(row) for row in loads if row["superseded_by"] is None} | queued),
            frozenset({slice_of(row) for row in loads} | queued),
            sum(row["rejected"] for row in rows),
        )


@dataclass(frozen=True)
class Successor:
    """The raw revision that has the last word on a file that comes after it."""

    number: int
    slices: frozenset[Slice]
    """The slices in which a later version of the file is already."""

    @classmethod
    def of(cls, platform: PlatformReader, relation: Relation, own: Version) -> Successor | None:
        """The last of the revisions that were sorted before; None if there is none.

        Args:
            platform: where ledger and queue are.
            relation: the table.
            own: the version that is being sorted.
        """
        corrections = ledger_rows(platform.warehouse, relation, only_corrections=True)
        later = [row for row in corrections if version(row["file"]).supersedes(own)]
        sorted_ = [version(row["file"]).number for row in later if not is_load(row)]
        if not sorted_:
            return None
        queued = {file.slice for file in _queued(platform, relation) if version(file.path).supersedes(own)}
        return cls(max(sorted_), frozenset({slice_of(row) for row in later if is_load(row)} | queued))


def _queued(platform: PlatformReader, relation: Relation) -> list[GatewayFile]:
    return [file for file in platform.gateway.pending().files if file.relation.id == relation.id]


def _is_earlier(path: str, stem: str, below: int | None) -> bool:
    own = version(path)
    return own.stem == stem and not own.withdraws and (below is None or own.number < below)
