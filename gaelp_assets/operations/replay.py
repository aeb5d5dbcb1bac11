"""Puts rejected lines back into the gateway, as they were sent, once a rule or a producer is mended.

Only lines that today's rules take go back, each into its slice; the others stay the open dead letters that they are. So a replay never
makes things worse, whenever it is run and however often.

The name and bytes of a replayed file depend only on the lines and on how often they were replayed before. A replay that was killed and
runs again makes the same batch, which the ledger knows: no line comes in twice. And a line that was replayed, and rejected once more
because a rule has changed back, makes another batch when it is replayed again: no line is taken for loaded that is not.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

import polars as pl

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.keys import spans_slices
from gaelp_assets.catalog.model import Latest
from gaelp_assets.gateway.paths import replay_name, times_replayed
from gaelp_assets.ingest.compiled import slice_columns
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets.ingest.sort import rows_by_slice
from gaelp_assets.ingest.validate import ValidatedChunk, Validators
from gaelp_assets.operations.rejects import open_conditions
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.ledger import DEAD_LETTER
from gaelp_assets.warehouse.parameters import ParameterValue

KEY_CONFLICT: Final = "key_conflict"
# How many keys one query looks up: BigQuery takes 10,000 parameters.
_KEYS_AT_ONCE: Final = 500
# Before the lines, so that none of them is taken for the start of a file of another kind.
_FIRST_LINE: Final = b"{}\n"


@dataclass(frozen=True)
class Replayed:
    """What became of the open lines of one batch."""

    relation_id: str
    batch_id: str
    lines: int
    """Lines that went back into the gateway."""
    still_rejected: int
    """Lines that are no rows by today's rules either: they stay open."""
    files: tuple[str, ...]
    """The names of the files that the lines went into, one for each slice."""


def replay(
    platform: Platform, *, relation: Relation | None = None, rule: str | None = None
) -> list[Replayed]:
    """Replays dead letters that are open: all, or those of one table, or those that one rule rejected."""
    conditions, parameters = open_conditions(relation, rule)
    batches = platform.warehouse.query(
        f"SELECT dataset, `table`, batch_id FROM {DEAD_LETTER} WHERE {conditions} "
        "GROUP BY dataset, `table`, batch_id ORDER BY dataset, `table`, batch_id",
        parameters,
    ).frame
    if batches.height:
        # The column that notes a replay, in a dead letter of an earlier version.
        platform.warehouse.ensure([platform.catalog[DEAD_LETTER]])
    replayed = (
        _replay_batch(platform, platform.catalog[f"{dataset}.{table}"], batch_id, rule)
        for dataset, table, batch_id in batches.iter_rows()
        if f"{dataset}.{table}" in platform.catalog.relations
    )
    return [batch for batch in replayed if batch is not None]


def _replay_batch(platform: Platform, relation: Relation, batch_id: str, rule: str | None) -> Replayed | None:
    conditions, parameters = open_conditions(relation, rule)
    letters = platform.warehouse.query(
        f"SELECT line_number, raw, file, reasons FROM {DEAD_LETTER} WHERE {conditions} AND batch_id = @batch_id "
        "ORDER BY line_number",
        {**parameters, "batch_id": batch_id},
    ).frame
    # The same file can have been loaded into two slices, or raw and into its slice.
    times = 1 + max((times_replayed(file) for file in letters["file"]), default=0)
    letters = letters.unique("line_number", keep="first", maintain_order=True)
    if letters.is_empty():
        return None  # somebody else has replayed them since
    in_conflict = pl.Series([any(r["rule"] == KEY_CONFLICT for r in found) for found in letters["reasons"]])
    files: list[str] = []
    accepted: list[int] = []
    for chunk in _validated(platform, relation, letters["raw"].to_list()):
        rows = chunk.rows.with_columns(_letter=pl.col("_line_number") - 2, _place=pl.int_range(pl.len()))
        conflicting = rows.filter(in_conflict.gather(rows["_letter"]))
        if conflicting.height:
            still = _still_in_conflict(platform, relation, conflicting)
            rows = rows.filter(~pl.col("_letter").is_in(still.implode()))
        for slice_, places in rows_by_slice(slice_columns(relation), rows):
            # Blank lines make another batch of the same lines.
            lines = [chunk.raw[place] + b"\n" for place in rows["_place"].gather(places)]
            content = b"".join(lines) + b"\n" * times
            name = replay_name(letters["file"][0], times, hashlib.sha256(content).hexdigest())
            platform.gateway.publish(relation, slice_, name, [content])
            files.append(name)
        accepted += letters["line_number"].gather(rows["_letter"]).to_list()
    if accepted:
        platform.warehouse.mark_replayed(relation, batch_id, accepted, dt.datetime.now(dt.UTC))
    return Replayed(relation.id, batch_id, len(accepted), letters.height - len(accepted), tuple(files))


def _validated(platform: Platform, relation: Relation, lines: list[bytes]) -> Iterator[ValidatedChunk]:
    """The lines as today's rules see them, whatever slice they came in; the first of them is line 2."""
    validator = Validators.for_run(platform).of(relation)
    content = _FIRST_LINE + b"".join(line + b"\n" for line in lines)
    for chunk in validator.validate(LineReader(io.BytesIO(content), "replay.ndjson")):
        sent = (chunk.rows["_line_number"] > 1).arg_true()
        yield ValidatedChunk(
            chunk.rows[sent], chunk.rejects, chunk.lines, [chunk.raw[place] for place in sent]
        )


def _still_in_conflict(platform: Platform, relation: Relation, rows: pl.DataFrame) -> pl.Series:
    """The `_letter` of those rows whose key another row still has, with other content (and, of a `latest` table, the same version)."""
    # Where a key stands once in the table, its rival can be of any slice.
    slices = {} if spans_slices(relation) else slice_columns(relation)
    keys = list(relation.primary_key)
    if isinstance(relation.on_key_conflict, Latest):
        keys.append(relation.on_key_conflict.latest)
    by = relation.partitioning
    sliced_by = [name for name in (by.date, by.environment) if name] if by else []
    names = list(dict.fromkeys([*keys, *sliced_by]))
    selected = ", ".join(f"t.`{name}`" for name in (*names, "_row_hash"))
    condition, bounds = _dates(relation, rows)
    found = []
    values = rows[keys[0]].unique().to_list()
    for start in range(0, len(values), _KEYS_AT_ONCE):
        parameters = {f"key_{i}": value for i, value in enumerate(values[start : start + _KEYS_AT_ONCE])}
        among = ", ".join(f"@{name}" for name in parameters)
        found.append(
            platform.warehouse.query(
                f"SELECT {selected} FROM {relation.quoted_id} AS t "
                f"WHERE {condition} AND t.`{keys[0]}` IN ({among})",
                {**parameters, **bounds},
            ).frame
        )
    types = {name: rows.schema[name] for name in (*names, "_row_hash")}
    held = pl.concat(found).with_columns(pl.col(name).cast(type_) for name, type_ in types.items())
    parts = {f"_slice_{name}": column for name, column in slices.items()}
    same = [*keys, *parts]
    other = rows.with_columns(**parts).join(held.with_columns(**parts), on=same, suffix="_held")
    return other.filter(pl.col("_row_hash") != pl.col("_row_hash_held"))["_letter"]


def _dates(relation: Relation, rows: pl.DataFrame) -> tuple[str, dict[str, ParameterValue]]:
    """A condition on the days of the rows that can be their rivals: BigQuery reads no more, and some of its tables insist on one."""
    if relation.partitioning is None:
        return "TRUE", {}
    column = relation.partitioning.date
    if spans_slices(relation) and column not in relation.primary_key:
        first_day = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
        of_days = relation.field(column).type == "DATE"
        return f"t.`{column}` >= @first", {"first": first_day.date() if of_days else first_day}
    first, last = cast("dt.date", rows[column].min()), cast("dt.date", rows[column].max())
    return f"t.`{column}` BETWEEN @first AND @last", {"first": first, "last": last}
