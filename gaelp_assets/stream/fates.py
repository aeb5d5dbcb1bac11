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

    def of(self, one: Arrived, loaded: Sequence[LineCounts] = ()) -> Fates | None:
        """What became of the batch; None as long as not all of its lines have a fate.

        Args:
            one: the batch.
            loaded: what a load has just told of the files that its lines went on in. Where these hold what other files held before, the
                ledger knows them by the others' names.
        """
        row = self._by_digest.get(one.digest)
        if row is None:
            return None
        loads = self._loads.get(_stem(row), [])
        if _lines(loads) < row["sorted"]:
            loads = [asdict(counts) for counts in loaded]
        if _lines(loads) < row["sorted"]:
            return None
        return Fates(
            lines=row["lines"],
            rejected=row["rejected"] + sum(load["rejected"] for load in loads),
            **{
                name: sum(load[name] or 0 for load in loads)
                for name in ("loaded", "duplicate", "superseded", "withdrawn")
            },
        )

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


def _lines(loads: Sequence[Mapping[str, Any]]) -> int:
    return sum(load["lines"] for load in loads)


def _names(stem: str) -> list[str]:
    return [f"{stem}.{ending}" for ending in ("ndjson", "ndjson.gz", "ndjson.zst", "json")]


def _stem(row: Mapping[str, Any]) -> str:
    return stem_of(row["file"])


def stem_of(path: str) -> str:
    """The name of a file without folders and ending, by its path (see `GatewayFile.path`)."""
    return split_name(path.rpartition("/")[2])[0]
