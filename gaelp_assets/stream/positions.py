"""How far a source has been read, as the ledger and the gateway tell it: the names of live files hold it, and nothing else keeps it.

The ledger's row of a file is written in the transaction of its rows; a file that waits is as durable. So what names a position is in the
warehouse or will be, and what a broker was told, or has forgotten, is of no account.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gaelp_assets.catalog import WHOLE, Relation
from gaelp_assets.gateway import Stage
from gaelp_assets.gateway.paths import RAW_FOLDER, folder
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.ledger import LEDGER, WriteMode

_QUERY: Final = f"""
SELECT MAX(file) AS newest
FROM {LEDGER}
WHERE dataset = @dataset AND `table` = @table_name AND mode = @sort AND STARTS_WITH(file, @prefix)
"""


def newest(platform: PlatformReader, relation: Relation, prefix: str) -> str | None:
    """The last of the names of a table's live files that start with a prefix, in order of text; None if there is none.

    Args:
        platform: its ledger is asked, and its gateway's stages.
        relation: the table.
        prefix: what the names start with.

    Raises:
        TransientError: the gateway or the warehouse is out of reach.
    """
    start = f"{folder(relation, WHOLE)}/"
    found = platform.warehouse.query(
        _QUERY,
        {
            "dataset": relation.dataset,
            "table_name": relation.name,
            "sort": WriteMode.SORT.value,
            "prefix": f"{start}{prefix}",
        },
        labels={"asset": LEDGER, "purpose": "stream"},
    ).frame["newest"][0]
    names = [*_waiting(platform, start, prefix), *([] if found is None else [str(found).removeprefix(start)])]
    return max(names, default=None)


def _waiting(platform: PlatformReader, start: str, prefix: str) -> Iterator[str]:
    """The names of files that the ledger need not hold yet, or whose bytes it knows under the name of others."""
    places = [f"{stage}/{start}" for stage in (Stage.RAW, Stage.TRANSFORMED, Stage.FAILED)]
    for place in (*places, f"{Stage.SENT}/{start}{RAW_FOLDER}/"):
        for stored in platform.gateway.store.list(f"{place}{prefix}"):
            yield stored.name.removeprefix(place)
