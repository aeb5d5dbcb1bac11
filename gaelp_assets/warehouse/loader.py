"""How rows come into a warehouse. The relations are there already: a `Migrator` has made them.

Rows travel as Parquet files ("staged"), written outside of any lock or transaction. A `SliceWrite` says everything that one
transaction has to do, so that an engine can hold its lock, or its transaction, for that alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.warehouse.ledger import LineCounts, Note, WriteMode

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class StagedBatch:
    """One gateway file, read and validated: its clean rows and its rejected lines, staged as Parquet."""

    batch_id: str
    """SHA-256 of the file's bytes, in hexadecimal."""
    file: str
    """The object's name in the gateway, without the stage: `training/episodes/date=.../part-0.ndjson`."""
    size: int
    """In bytes, as stored (compressed where it is)."""
    lines: int
    """Lines that are not blank. `lines = staged rows + rejected + sorted + superseded + withdrawn`."""
    rejected: int
    sorted: int = 0
    """Lines of a raw file that went on, validated and unaltered, into files of one slice each."""
    superseded: int = 0
    """Lines in whose place a revision stands."""
    withdrawn: int = 0
    """Lines whose rows a withdrawal took out."""
    revision: int | None = None
    """The number of the revision or withdrawal that the batch is; None for one that corrects nothing."""
    superseded_by: str | None = None
    """The id of the batch in whose favour this one counts no more."""
    note: Note | None = None
    """Who made the correction, and why. A rebuild that does not say keeps what the ledger says."""
    rows: tuple[Path, ...] = ()
    """Parquet: the relation's fields (see `validation.schema.arrow_schema`), `_row_hash`, `_line_number`, `_byte_offset`."""
    rejects: tuple[Path, ...] = ()
    """Parquet: `line_number`, `byte_offset`, `raw` (bytes), `reasons` (list of `{field, rule, message}`)."""
    raw_line: Callable[[int], bytes] = field(default=lambda _: b"", repr=False, compare=False)
    """The raw line that starts at a byte offset of the (decompressed) file: for lines rejected because of their key."""


@dataclass(frozen=True)
class SliceWrite:
    """One transaction on one slice of a loaded table, its dead letters and its ledger rows."""

    relation: Relation
    slice: Slice
    mode: WriteMode
    batches: Sequence[StagedBatch]
    """In the order in which their rows win a key: for a rebuild, the ledger's order, then that in which appends take files."""
    loaded_at: dt.datetime
    """UTC. A batch that the ledger holds already keeps its first `loaded_at`."""
    run_id: str = ""
    accept_loss: bool = False
    """Whether a rebuild may lose rows that the slice holds."""


class SliceChanged(Exception):
    """The slice is not as the write takes it to be: read again, and rebuild.

    A rebuild was overtaken: the ledger holds batches of the slice that the rebuild does not know. Or an append has met a slice with
    corrections, in which only a rebuild settles what is in force.
    """


class Loader(Protocol):
    """A warehouse as rows are written to it.

    Every operation raises `TransientError` where trying again may help (a locked file, a full disk, a busy server), and
    `GaelpError` where it cannot.
    """

    def write(self, write: SliceWrite) -> list[LineCounts]:
        """Carries out a `SliceWrite` in one transaction; a fate count for each batch, in their order.

        APPEND skips batches that the ledger holds for the slice; it raises `SliceChanged` if there are others and the ledger holds
        corrections of the slice (batches with a `revision`). Of the rest, a row whose key is new is loaded (new to the slice or,
        where the key reaches over slices, to the table: see `warehouse.keys`); one whose key and content are there already is a
        duplicate; one with other content is rejected with the reason `key_conflict`, or (where the relation keeps the `latest`)
        replaces the row of the smaller version, whose line then counts as a duplicate of its batch.
        Raises `losses.DefinitionChanged` if it would add to rows that were loaded under another definition.
        REBUILD does the same on the emptied slice. Raises `SliceChanged` if the ledger holds batches that `batches` lacks,
        and `losses.RowsLost` if rows that the slice holds would be lost, unless the write accepts that.
        """
        ...

    def write_all(self, writes: Sequence[SliceWrite]) -> list[list[LineCounts]]:
        """Carries out appends to several slices of one relation, as `write` would one after the other.

        In as few transactions as the engine can: after an error some may be carried out, and can be tried again.
        """
        ...

    def refresh(self, relation: Relation, *slices: Slice, run_id: str = "") -> int:
        """Computes slices of a stored derived relation again, in one transaction; the number of rows that they then hold.

        The same transaction enters into `ops.refreshes` what was read, and the version of the code that computed it, for each slice.
        """
        ...

    def replace_rows(
        self,
        relation: Relation,
        slices: Sequence[Slice],
        rows: pl.DataFrame,
        entries: pl.DataFrame,
        *,
        run_id: str = "",
    ) -> int:
        """Puts rows that were computed outside in the place of slices of a stored derived relation, in one transaction; their number.

        Args:
            relation: the derived relation.
            slices: those that are replaced.
            rows: its columns, in the types of `validation.schema.polars_schema`; all of these slices.
            entries: what `refreshes.refresh_entries` gave before the sources were read; the same transaction enters it.
            run_id: the run that computed them.
        """
        ...

    def mark_replayed(
        self, relation: Relation, batch_id: str, lines: Sequence[int], replayed_at: dt.datetime
    ) -> None:
        """Notes on dead letters of a loaded table that their lines went back into the gateway, whichever slices they are of."""
        ...

    def mark_acknowledged(
        self, relation: Relation, batch_id: str, lines: Sequence[int], acknowledged_at: dt.datetime
    ) -> None:
        """Notes on dead letters of a loaded table that their lines stay rejected, and are no open matter any more."""
        ...
