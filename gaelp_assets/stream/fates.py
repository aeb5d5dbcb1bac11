"""What the ledger says of batches that arrived: nobody else's word counts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from gaelp_assets.catalog import Relation
from gaelp_assets.gateway.paths import split_name
from gaelp_assets.stream.batch import Arrived, Fates
from gaelp_assets.warehouse.history import is_load
from gaelp_assets.warehouse.ledger import LEDGER, LineCounts
from gaelp_assets.warehouse.reader import Reader

REMEMBERED: Final = dt.timedelta(days=7)
"""So far back the ledger is asked for a batch. One that is older and arrives again ends as duplicates of its rows."""
_COUNTS: Final = ("lines", "loaded", "duplicate", "rejected", "sorted", "superseded", "withdrawn")
_QUERY: Final = f"""
SELECT file, batch_id, mode, {", ".join(f"`{name}`" for name in _COUNTS)}
FROM {LEDGER}
WHERE dataset = @dataset AND `table` = @table_name AND loaded_at >= @since
  AND (batch_id IN UNNEST(@digests) OR REGEXP_EXTRACT(file, r'[^/]*$') IN UNNEST(@names))
ORDER BY loaded_at, file
"""


class Sorts:
    """The ledger's rows of some batches of one table: of each file as it was sorted, and of what it became in slices."""

    def __init__(
        self, warehouse: Reader, relation: Relation, arrived: Sequence[Arrived], now: dt.datetime
    ) -> None:
        self._warehouse = warehouse
        self._relation = relation
        self._since = now - REMEMBERED
        digests = [one.digest for one in arrived]
        rows = self._ask(digests, [name for one in arrived for name in _names(one.stem)])
        self._sorted_as: dict[str, Mapping[str, Any]] = {}
        self._by_digest: dict[str, Mapping[str, Any]] = {}
        for row in rows:
            if not is_load(row):
                self._sorted_as.setdefault(_stem(row), row)
                self._by_digest.setdefault(row["batch_id"], row)
        known = {one.stem for one in arrived}
        # The same bytes under another name are the same batch: what became of it stands under the first name.
        others = {_stem(row) for row in self._by_digest.values()} - known
        if others:
            rows += self._ask([], [name for stem in others for name in _names(stem)])
        self._loads: dict[str, list[Mapping[str, Any]]] = {}
        for row in {(row["file"], row["batch_id"]): row for row in rows if is_load(row)}.values():
            self._loads.setdefault(_stem(row), []).append(row)

    def is_other(self, one: Arrived) -> bool:
        """Whether the batch's name stands for other bytes."""
        row = self._sorted_as.get(one.stem)
        return row is not None and row["batch_id"] != one.digest

    def told(self, one: Arrived) -> Fates | None:
        """What was told of the batch under its own name; None if it is new."""
        row = self._sorted_as.get(one.stem)
        return None if row is None else self._fates(row)

    def of(self, one: Arrived) -> Fates | None:
        """What became of the batch, under whichever name it came first; None as long as not all of its lines have a fate."""
        row = self._sorted_as.get(one.stem) or self._by_digest.get(one.digest)
        return None if row is None else self._fates(row)

    def load(self, path: str) -> Mapping[str, Any] | None:
        """The row of a file of one slice, by its path; None if the ledger has none of that name."""
        return next((row for row in self._loads.get(stem_of(path), []) if row["file"] == path), None)

    def _fates(self, row: Mapping[str, Any]) -> Fates | None:
        return fates(row["lines"], row["rejected"], row["sorted"], self._loads.get(_stem(row), []))

    def _ask(self, digests: Sequence[str], names: Sequence[str]) -> list[dict[str, Any]]:
        return self._warehouse.query(
            _QUERY,
            {
                "dataset": self._relation.dataset,
                "table_name": self._relation.name,
                "since": self._since,
                "digests": list(digests),
                "names": list(names),
            },
            labels={"asset": LEDGER, "purpose": "stream"},
        ).frame.to_dicts()


def fates(lines: int, rejected: int, went_on: int, loads: Sequence[Mapping[str, Any]]) -> Fates | None:
    """The fates of a batch's lines; None where loads do not tell of each line that went on.

    Args:
        lines: of the batch.
        rejected: of these, while they were sorted.
        went_on: the others.
        loads: the counts of the files in which they went on, as the ledger names them.
    """
    if sum(load["lines"] for load in loads) < went_on:
        return None
    return Fates(
        lines=lines,
        rejected=rejected + sum(load["rejected"] for load in loads),
        **{
            name: sum(load[name] or 0 for load in loads)
            for name in ("loaded", "duplicate", "superseded", "withdrawn")
        },
    )


def as_duplicates(counts: LineCounts) -> dict[str, int]:
    """The counts of a file whose bytes came before under another name: what was loaded then is there already."""
    told = asdict(counts)
    return {**told, "loaded": 0, "duplicate": counts.loaded + counts.duplicate}


def _names(stem: str) -> list[str]:
    return [f"{stem}.{ending}" for ending in ("ndjson", "ndjson.gz", "ndjson.zst", "json")]


def _stem(row: Mapping[str, Any]) -> str:
    return stem_of(row["file"])


def stem_of(path: str) -> str:
    """The name of a file without folders and ending, by its path (see `GatewayFile.path`)."""
    return split_name(path.rpartition("/")[2])[0]
