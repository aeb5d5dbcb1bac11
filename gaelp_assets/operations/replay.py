"""Puts rejected lines back into the gateway, as they were sent, once a rule or a producer is mended.

The replayed file's name and bytes depend only on the lines, so that a replay that was killed and runs again makes the same batch, which
the ledger knows: no line comes in twice.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass

import polars as pl

from gaelp_assets.catalog import Relation
from gaelp_assets.operations.rejects import open_conditions
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.protocol import DEAD_LETTER


@dataclass(frozen=True)
class Replayed:
    """The lines of one batch that went back into the gateway, and the file that they went into."""

    relation_id: str
    batch_id: str
    lines: int
    file: str


def replay(
    platform: Platform, *, relation: Relation | None = None, rule: str | None = None
) -> list[Replayed]:
    """Replays dead letters that are open: all, or those of one table, or those that one rule rejected."""
    platform.warehouse.ensure([platform.catalog[DEAD_LETTER]])
    conditions, parameters = open_conditions(relation, rule)
    batches = platform.warehouse.query(
        f"SELECT dataset, `table`, batch_id FROM {DEAD_LETTER} WHERE {conditions} "
        "GROUP BY dataset, `table`, batch_id ORDER BY dataset, `table`, batch_id",
        parameters,
    ).frame
    replayed = (
        _replay_batch(platform, platform.catalog[f"{dataset}.{table}"], batch_id, rule)
        for dataset, table, batch_id in batches.iter_rows()
        if f"{dataset}.{table}" in platform.catalog.relations
    )
    return [batch for batch in replayed if batch is not None]


def dead_letters(
    platform: Platform, *, relation: Relation | None = None, limit: int = 50, raw: bool = False
) -> pl.DataFrame:
    """Open rejected lines (see `rejects`), newest first: where they stood and why; with `raw`, what they said."""
    platform.warehouse.ensure([platform.catalog[DEAD_LETTER]])
    conditions, parameters = open_conditions(relation, None)
    frame = platform.warehouse.query(
        "SELECT rejected_at, CONCAT(dataset, '.', `table`) AS relation_id, batch_id, file, line_number, byte_offset, reasons"
        f"{', raw' if raw else ''} FROM {DEAD_LETTER} WHERE {conditions} ORDER BY rejected_at DESC, file, line_number",
        parameters,
        row_limit=limit,
    ).frame.with_columns(pl.col("batch_id").str.head(12))
    reason = pl.element().struct
    text = pl.concat_str(
        pl.element().struct.field("field").fill_null("line"),
        pl.lit(": "),
        reason.field("rule"),
        pl.lit(", "),
        reason.field("message"),
    )
    return frame.with_columns(reasons=pl.col("reasons").list.eval(text).list.join("; "))


def _replay_batch(platform: Platform, relation: Relation, batch_id: str, rule: str | None) -> Replayed | None:
    conditions, parameters = open_conditions(relation, rule)
    letters = platform.warehouse.query(
        f"SELECT line_number, raw FROM {DEAD_LETTER} WHERE {conditions} AND batch_id = @batch_id ORDER BY line_number",
        {**parameters, "batch_id": batch_id},
    ).frame
    # The same file can have been loaded into two slices, or raw and into its slice.
    letters = letters.unique("line_number", keep="first", maintain_order=True)
    if letters.is_empty():
        return None  # somebody else has replayed them since
    content = b"".join(raw + b"\n" for raw in letters["raw"])
    name = f"replay~{hashlib.sha256(content).hexdigest()[:12]}.ndjson"
    # Through raw/, whatever slice they were in: a mended rule may well decide on another one.
    platform.gateway.submit(relation, name, [content])
    platform.warehouse.mark_replayed(
        relation, batch_id, letters["line_number"].to_list(), dt.datetime.now(dt.UTC)
    )
    return Replayed(relation.id, batch_id, letters.height, name)
