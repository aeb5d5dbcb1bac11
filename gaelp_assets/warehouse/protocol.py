"""What a warehouse must be able to do: to be read, to be loaded, to follow the catalogue. One contract suite holds each engine to it.

What only reads asks for a `Reader` and imports `warehouse.reader`; import contracts in `pyproject.toml` keep it from the rest.
"""

from __future__ import annotations

from typing import Protocol

from gaelp_assets.warehouse.ledger import DEAD_LETTER, LEDGER, REFRESHES, LineCounts, WriteMode
from gaelp_assets.warehouse.loader import Loader, SliceChanged, SliceWrite, StagedBatch
from gaelp_assets.warehouse.migrator import Migrator
from gaelp_assets.warehouse.reader import Capabilities, Cost, QueryResult, Reader, RelationState


class Warehouse(Reader, Loader, Migrator, Protocol):
    """All of a warehouse."""


__all__ = [
    "DEAD_LETTER",
    "LEDGER",
    "REFRESHES",
    "Capabilities",
    "Cost",
    "LineCounts",
    "Loader",
    "Migrator",
    "QueryResult",
    "Reader",
    "RelationState",
    "SliceChanged",
    "SliceWrite",
    "StagedBatch",
    "Warehouse",
    "WriteMode",
]
