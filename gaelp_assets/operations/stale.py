"""Which slices of stored derived relations are older than what they read, or were computed by other code: only questions."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.catalog.derivation import slice_dimensions
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.ledger import LEDGER, REFRESHES
from gaelp_assets.warehouse.refreshes import Why, stale_query

ALL: Final = 1_000_000_000


@dataclass(frozen=True)
class StaleSlice:
    """A slice of a derived relation that wants computing, and why."""

    relation: Relation
    slice: Slice
    why: Why


@dataclass(frozen=True)
class StaleCount:
    """How many slices of a derived relation want computing for one reason."""

    relation_id: str
    why: Why
    slices: int

    def __str__(self) -> str:
        return f"{self.slices} {'slice' if self.slices == 1 else 'slices'} of {self.relation_id} ({self.why})"


def stale_slices(platform: PlatformReader, limit: int = ALL) -> list[StaleSlice]:
    """The stale slices of stored derived relations, at most `limit` of each; none where the catalogue lacks what tells of them.

    In a warehouse that is older than `ops.refreshes`, no slice has been computed by a known code: each is stale that has a source's rows.

    Those whose sources have other rows come before those that were computed by other code, and new dates before old ones.

    Raises:
        GaelpError: the warehouse cannot be asked.
    """
    query = stale_query(platform.catalog, limit, dt.datetime.now(dt.UTC).date(), platform.settings.first_date)
    if query is None or not {LEDGER, REFRESHES} <= platform.catalog.relations.keys():
        return []
    found = []
    for row in platform.warehouse.query(query).frame.iter_rows(named=True):
        relation = platform.catalog[f"{row['dataset']}.{row['table']}"]
        slice_ = Slice(row["slice_date"], row["slice_environment"])
        if is_slice_of(relation, slice_):
            found.append(StaleSlice(relation, slice_, Why(row["why"])))
    return found


def count_stale(stale: Iterable[StaleSlice]) -> list[StaleCount]:
    """The same, counted by relation and reason."""
    counts = Counter((found.relation.id, found.why) for found in stale)
    return [StaleCount(relation_id, why, count) for (relation_id, why), count in sorted(counts.items())]


def is_slice_of(relation: Relation, slice_: Slice) -> bool:
    """Whether the slice has the relation's dimensions; one that was written under another partitioning has not."""
    return slice_dimensions(relation) == (slice_.date is not None, slice_.environment is not None)
