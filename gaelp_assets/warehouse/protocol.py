"""What a warehouse must be able to do. Two engines keep this protocol, and one contract suite holds them to it.

Rows travel as Parquet files ("staged"), written outside of any lock or transaction. A `SliceWrite` says everything that one
transaction has to do, so that an engine can hold its lock, or its transaction, for that alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import polars as pl

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.warehouse.quotas import Limits, QuotaLeft
from gaelp_assets.warehouse.schema.model import Dataset, ObjectType, RelationPlan, SchemaScope

if TYPE_CHECKING:
    import pandas as pd

# The relations that the platform itself writes: the only catalogue names that code knows.
LEDGER: Final = "ops.import_logs"
DEAD_LETTER: Final = "ops.dead_letter"
REFRESHES: Final = "ops.refreshes"


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do, as data."""

    engine: str
    dialect: str
    """sqlglot's name of its SQL dialect."""
    incremental_materialized_views: bool
    requires_partition_filter: bool
    bounds_bytes: bool
    """Whether a statement can be given a limit of bytes to read."""
    parallel_changes: bool
    """Whether several relations can be made or changed at the same time."""
    limits: Limits | None = None
    """What can be loaded in a day, and at a time; None for an engine that sets no limits."""


class WriteMode(StrEnum):
    """What a `SliceWrite` does with the rows that the slice holds already."""

    APPEND = "append"
    REBUILD = "rebuild"
    SORT = "sort"
    """No rows: only the rejected lines and the ledger row of a raw file whose other lines go on as files of one slice each."""


@dataclass(frozen=True)
class StagedBatch:
    """One gateway file, read and proven: its clean rows and its rejected lines, staged as Parquet."""

    batch_id: str
    """SHA-256 of the file's bytes, in hexadecimal."""
    file: str
    """The object's name in the gateway, without the stage: `training/episodes/date=.../part-0.ndjson`."""
    size: int
    """In bytes, as stored (compressed where it is)."""
    lines: int
    """Lines that are not blank. `lines = staged rows + rejected + sorted`."""
    rejected: int
    sorted: int = 0
    """Lines of a raw file that went on, proven and unaltered, into files of one slice each."""
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


@dataclass(frozen=True)
class LineCounts:
    """What became of a batch's lines. The accounting law: `lines = loaded + duplicate + rejected + sorted`."""

    batch_id: str
    lines: int
    loaded: int
    duplicate: int
    rejected: int
    sorted: int = 0
    already_in_ledger: bool = False
    """The ledger held the batch for this slice, and nothing was written (never so in a rebuild); the counts are the ledger's.
    Also true of a batch that stands in `batches` a second time."""

    @property
    def balanced(self) -> bool:
        """Whether every line has exactly one fate."""
        return self.lines == self.loaded + self.duplicate + self.rejected + self.sorted


class SliceChanged(Exception):
    """A rebuild was overtaken: the ledger holds batches of the slice that the rebuild does not know. Read again, and rebuild."""


@dataclass(frozen=True)
class Cost:
    """What a statement cost, as far as the engine tells."""

    seconds: float
    bytes_read: int | None = None
    slot_seconds: float | None = None


@dataclass(frozen=True)
class QueryResult:
    """The rows of a query, and what it cost."""

    frame: pl.DataFrame
    cost: Cost


@dataclass(frozen=True)
class RelationState:
    """What the warehouse holds of a relation: its columns (name, engine's type) in order, and its rows."""

    columns: Mapping[str, str]
    rows: int


class Warehouse(Protocol):
    """A warehouse. SQL handed in is GoogleSQL (names quoted, values as `@parameters`); the engine translates it.

    Every operation raises `TransientError` where trying again may help (a locked file, a full disk, a busy server), and
    `GaelpError` where it cannot.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        ...

    @property
    def location(self) -> str:
        """Where the warehouse is, for people."""
        ...

    def ensure(self, relations: Sequence[Relation]) -> None:
        """Brings these relations and what they read as far as rows need it (`Scope.ROWS`): made where missing, with new fields.

        Idempotent, and safe to call at the same time from several processes. Stored derived relations are created empty.

        Raises:
            GaelpError: rows of the catalogue's shape cannot be written to one of them; nothing is changed then.
        """
        ...

    def object_type(self, relation: Relation) -> ObjectType:
        """What this engine makes of the relation."""
        ...

    def survey(self, datasets: Sequence[str]) -> Mapping[str, Dataset]:
        """Those datasets of the catalogue, and everything that lies in each."""
        ...

    def diff(
        self, relations: Sequence[Relation], *, scope: SchemaScope = SchemaScope.ALL, jobs: int = 1
    ) -> list[RelationPlan]:
        """What brings each of these relations up to the catalogue, in their order, looked up by up to `jobs` threads. Changes nothing."""
        ...

    def make_dataset(self, dataset: str) -> None:
        """Makes a dataset of the catalogue; nothing happens if it is there."""
        ...

    def changing(self) -> AbstractContextManager[Callable[[RelationPlan], RelationPlan]]:
        """What carries out plans, each for one relation whose dataset is there, and tells what was done; for as long as the context lasts.

        A relation is compared again first: what others did to it since it was planned is neither undone nor done twice. A failure
        leaves the relation as it was, and further plans can follow. Threads may share it where the engine has `parallel_changes`.

        Raises (the callable):
            GaelpError: the plan has refusals, or has some by now, or the engine refuses the change.
        """
        ...

    def ledger(self, relation: Relation, slice_: Slice) -> pl.DataFrame:
        """The ledger's rows of the batches that a slice holds, in order of loading: the fields of `ops.import_logs`.

        Without the rows of `SORT`: a raw file that was sorted has, by that, not been loaded.
        """
        ...

    def write(self, write: SliceWrite) -> list[LineCounts]:
        """Carries out a `SliceWrite` in one transaction; a fate count for each batch, in their order.

        APPEND skips batches that the ledger holds for the slice. Of the rest, a row whose key is new to the slice is loaded; one whose
        key and content are there already is a duplicate; one with other content is rejected with the reason `key_conflict`, or (where the
        relation keeps the `latest`) replaces the row of the smaller version, whose line then counts as a duplicate of its batch.
        REBUILD does the same on the emptied slice. Raises `SliceChanged` if the ledger holds batches that `batches` lacks.
        """
        ...

    def refresh(self, relation: Relation, slice_: Slice, *, run_id: str = "") -> int:
        """Computes a stored derived relation again for a slice, in one transaction; the number of rows that it then holds there.

        The same transaction enters into `ops.refreshes` what was read, and the version of the code that computed it.
        """
        ...

    def query(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        row_limit: int | None = None,
    ) -> QueryResult:
        """The result of one GoogleSQL SELECT. `labels` (asset, slice, run) go to the engine's job where it has such."""
        ...

    def to_pandas(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
    ) -> pd.DataFrame:
        """The same as a pandas frame, with the types that `pandas-gbq` chooses: a FLOAT's NULL is NaN."""
        ...

    def quota_left(self) -> QuotaLeft | None:
        """What is left today of the engine's limits, as it was known a few minutes ago; None without limits. Raises nothing."""
        ...

    def mark_replayed(
        self, relation: Relation, batch_id: str, lines: Sequence[int], replayed_at: dt.datetime
    ) -> None:
        """Notes on dead letters of a loaded table that their lines went back into the gateway, whichever slices they are of."""
        ...

    def describe(self, relation: Relation) -> RelationState | None:
        """What the warehouse holds under the relation's name; None if nothing."""
        ...

    def drop(self, relation: Relation) -> None:
        """Removes the relation, its rows and what the ledger and the dead letter say of them; nothing happens if it is not there.

        Its files in `sent/` can be loaded again afterwards. The ledger's rows of sorted raw files stay.
        """
        ...
