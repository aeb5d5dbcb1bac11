"""Warehouses: what one must be able to do (`protocol`), the engines that do it, and which one the settings mean."""

from gaelp_assets.warehouse.open import open_warehouse
from gaelp_assets.warehouse.protocol import (
    DEAD_LETTER,
    LEDGER,
    Capabilities,
    Cost,
    LineCounts,
    QueryResult,
    RelationState,
    SliceChanged,
    SliceWrite,
    StagedBatch,
    Warehouse,
    WriteMode,
)

__all__ = [
    "DEAD_LETTER",
    "LEDGER",
    "Capabilities",
    "Cost",
    "LineCounts",
    "QueryResult",
    "RelationState",
    "SliceChanged",
    "SliceWrite",
    "StagedBatch",
    "Warehouse",
    "WriteMode",
    "open_warehouse",
]
