"""How far a source has been read, as the ledger and the gateway tell it: the names of live files hold it, and nothing else keeps it.

The ledger's row of a file is written in the transaction of its rows; a file that waits is as durable. So what names a position is in the
warehouse or will be, and what a broker was told, or has forgotten, is of no account.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from gaelp_assets.catalog import WHOLE, Relation
from gaelp_assets.gateway import Stage
from gaelp_assets.gateway.paths import RAW_FOLDER, folder
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.ledger import LEDGER, WriteMode

_QUERY: Final = f"""
SELECT MAX(file) AS newest
FROM {LEDGER}
WHERE dataset = @dataset AND `table` = @table_name AND mode = @sort AND STARTS_WITH(file, @common)
GROUP BY SUBSTR(file, 1, @length)
"""


def newest(platform: PlatformReader, relation: Relation, prefixes: Collection[str]) -> dict[str, str]:
    """For each prefix, the last of the names of a table's live files that start with it, in order of text; none where there is none.

    Args:
        platform: its ledger is asked, and its gateway's stages.
        relation: the table.
        prefixes: what the names start with: all of one length.

    Raises:
        TransientError: the gateway or the warehouse is out of reach.
    """
    if not prefixes:
        return {}
    start, [length] = f"{folder(relation, WHOLE)}/", {len(prefix) for prefix in prefixes}
    first, last = min(prefixes), max(prefixes)
    same = next((place for place in range(length) if first[place] != last[place]), length)
    common = first[:same]
    rows = platform.warehouse.query(
        _QUERY,
        {
            "dataset": relation.dataset,
            "table_name": relation.name,
            "sort": WriteMode.SORT.value,
            "common": f"{start}{common}",
            "length": len(start) + length,
        },
        labels={"asset": LEDGER, "purpose": "stream"},
    ).frame["newest"]
    names = [str(name).removeprefix(start) for name in rows]
    found = {name[:length]: name for name in names if name[:length] in prefixes}
    for name in list(_others(platform, start, common, prefixes, found)):
        if name[:length] in prefixes:
            found[name[:length]] = max(name, found.get(name[:length], ""))
    return found


def _others(
    platform: PlatformReader, start: str, common: str, prefixes: Collection[str], found: Mapping[str, str]
) -> Iterator[str]:
    """The names of files that the ledger need not hold yet, and of those whose bytes it knows under another name."""
    store = platform.gateway.store
    for stage in (Stage.RAW, Stage.TRANSFORMED, Stage.FAILED):
        place = f"{stage}/{start}"
        for stored in store.list(f"{place}{common}"):
            yield stored.name.removeprefix(place)
    place = f"{Stage.SENT}/{start}{RAW_FOLDER}/"
    for prefix in prefixes:
        after = found.get(prefix, prefix)
        for stored in store.list(f"{place}{prefix}", start_after=f"{place}{after}"):
            yield stored.name.removeprefix(place)
