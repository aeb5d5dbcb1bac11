"""What a warehouse answers. Nothing here changes it, and read rights are enough for all of it.

A relation of the catalogue that the warehouse does not hold reads as an empty one with the catalogue's columns; one that differs from
the catalogue is read as it is, and that is said once, as a warning of `logging`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import polars as pl

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.parameters import Parameters
from gaelp_assets.warehouse.quotas import Limits, QuotaLeft
from gaelp_assets.warehouse.schema.model import Dataset, ObjectType, RelationPlan, SchemaScope

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do, as data."""

    engine: str
    parallel_changes: bool
    """Whether several relations can be made or changed at the same time."""
    slices_at_once: int = 1
    """How many slices of a relation one `Loader.write_all` should append to."""
    limits: Limits | None = None
    """What can be loaded in a day, and at a time; None for an engine that sets no limits."""


@dataclass(frozen=True)
class Cost:
    """What a query cost, as far as the engine tells."""

    seconds: float
    """From the question to the last row."""
    bytes_read: int | None = None
    bytes_billed: int | None = None


class TooSlowError(GaelpError):
    """A query was given up after so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            Problem(
                f"the query was given up: it took longer than {seconds:g} s",
                expected="an answer within GAELP_QUERY_SECONDS",
                remedy="Read fewer days or columns, ask a relation that is computed already, or raise GAELP_QUERY_SECONDS.",
            )
        )


@dataclass(frozen=True)
class QueryResult:
    """The rows of a query, and what it cost."""

    frame: pl.DataFrame
    cost: Cost
    total: int | None = None
    """How many rows the whole result has; None where `frame` is a part of it and the others were not counted."""


@dataclass(frozen=True)
class RelationState:
    """What the warehouse holds of a relation: its columns (name, engine's type) in order, and its rows."""

    columns: Mapping[str, str]
    rows: int


class Reader(Protocol):
    """A warehouse as it is looked at. SQL handed in is GoogleSQL (names quoted, values as `@parameters`); the engine translates it.

    Every operation raises `TransientError` where trying again may help (a locked file, a busy server), and `GaelpError` where it
    cannot.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        ...

    @property
    def location(self) -> str:
        """Where the warehouse is, for people."""
        ...

    def query(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        row_limit: int | None = None,
        time_limit: float | None = None,
        counting: float | None = None,
    ) -> QueryResult:
        """The result of one GoogleSQL SELECT. `labels` (asset, slice, run) go to the engine's job where it has such.

        With `counting`, the rows beyond the `row_limit` are counted too, for so many seconds at most (see `QueryResult.total`).
        `time_limit` is in seconds, without what is waited for others; a query that takes longer is a `GaelpError`.
        """
        ...

    def to_pandas(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        time_limit: float | None = None,
    ) -> pd.DataFrame:
        """The same as a pandas frame, with the types that `pandas-gbq` chooses: a FLOAT's NULL is NaN."""
        ...

    def version(self) -> str | None:
        """Another text whenever the rows may be others; None where the engine does not tell without work. Costs next to nothing."""
        ...

    def ledger(self, relation: Relation, slice_: Slice) -> pl.DataFrame:
        """The ledger's rows of the batches that a slice holds, in order of loading: the fields of `ops.import_logs`.

        Without the rows of `SORT`: a raw file that was sorted has, by that, not been loaded.
        """
        ...

    def describe(self, relation: Relation) -> RelationState | None:
        """What the warehouse holds under the relation's name; None if nothing."""
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
        """What brings each of these relations up to the catalogue, in their order, looked up by up to `jobs` threads."""
        ...

    def quota_left(self) -> QuotaLeft | None:
        """What is left today of the engine's limits, as it was known a few minutes ago; None without limits. Raises nothing."""
        ...
