"""The engines that the warehouse contract runs on, and what its tests load: relations, lines, and batches staged from them."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
import xxhash

from gaelp_assets.catalog import WHOLE, Catalog, Relation, Slice
from gaelp_assets.catalog.folders import FOLDER
from gaelp_assets.catalog.validate import upstream_of
from gaelp_assets.warehouse.protocol import (
    DEAD_LETTER,
    LEDGER,
    REFRESHES,
    LineCounts,
    SliceWrite,
    StagedBatch,
    Warehouse,
    WriteMode,
)

DAY: Final = dt.date(2026, 11, 20)
CARTPOLE: Final = Slice(DAY, "CartPole-v1")
NOW: Final = dt.datetime(2026, 11, 21, 8, 30, tzinfo=dt.UTC)


LETTERS: Final = "SELECT batch_id, line_number, byte_offset, raw, reasons, replayed_at, acknowledged_at FROM ops.dead_letter ORDER BY 1, 2"
"""All dead letters."""


def _duckdb(place: Path, catalog: Catalog, lock_timeout: float) -> Warehouse:
    from gaelp_assets.warehouse.duckdb.warehouse import DuckDBWarehouse

    file = place / "warehouse.duckdb"
    return DuckDBWarehouse(file, catalog, lock_timeout=lock_timeout, holder_timeout=lock_timeout)


def _bigquery(place: Path, catalog: Catalog, _: float) -> Warehouse:
    """On the emulator; a place is a prefix of datasets."""
    from gaelp_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
    from gaelp_assets_tests.emulators.bigquery import NoPython, address

    prefix = f"t{hashlib.sha256(str(place).encode()).hexdigest()[:12]}_"
    try:
        return BigQueryWarehouse(address(prefix), catalog)
    except NoPython as reason:
        pytest.skip(str(reason))


ENGINES: Final[Mapping[str, Callable[[Path, Catalog, float], Warehouse]]] = {
    "duckdb": _duckdb,
    "bigquery": _bigquery,
}
"""An engine's name, and how it is opened at a place; an engine is added here, and every promise is asked of it."""


GAPS: Final[Mapping[tuple[str, str], str]] = {
    (
        "bigquery",
        "test_other_content_under_a_key_is_a_dead_letter_and_the_first_row_stays[bigquery-{'rewards': [1.0, None]}]",
    ): ("never: BigQuery stores no NULL in an array, and the row is rejected as null_element"),
    ("bigquery", "test_ensure_is_idempotent_and_every_type_survives[bigquery]"): (
        "never: BigQuery stores no NULL in an array, nor a JSON number of 30 digits"
    ),
    ("bigquery", "test_a_new_nullable_field_is_added_and_old_rows_lack_it[bigquery]"): (
        "emulator: a nested field that was added is in the schema, and no query finds it"
    ),
    ("bigquery", "test_a_view_of_a_table_that_is_gone_is_there_and_has_no_rows[bigquery]"): (
        "emulator: a view whose table is gone is not found any more"
    ),
}
"""What an engine does not do, by the test that asks for it: strictly, so that a gap that closes is noticed."""


def open_engine(name: str, place: Path, lock_timeout: float = 60) -> Warehouse:
    """The engine at that place, with every relation of this module in its catalogue."""
    return ENGINES[name](place, CATALOG, lock_timeout)


def on_this_emulator(work: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """A process, not yet started, that does the work with the emulator that this one uses, if it uses one."""
    from gaelp_assets_tests.emulators.bigquery import HOST_VARIABLE
    from gaelp_assets_tests.processes import FORKED

    return FORKED.Process(
        target=_work_on, args=(HOST_VARIABLE, os.environ.get(HOST_VARIABLE), work, arguments)
    )


def _work_on(
    variable: str, emulator: str | None, work: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    if emulator is not None:
        os.environ[variable] = emulator
    work(*arguments)


def relation(dataset: str, name: str, fields: Sequence[Mapping[str, Any]], **keys: Any) -> Relation:
    content = {
        "description": "for tests",
        "owner": "team:tests",
        "fields": fields,
        "dataset": dataset,
        "name": name,
    }
    return Relation.model_validate({**content, **keys})


def _field(name: str, type_: str, mode: str = "NULLABLE", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": type_, "mode": mode, **more}


def _platform_relation(relation_id: str) -> Relation:
    dataset, name = relation_id.split(".")
    content = json.loads((FOLDER / dataset / f"{name}.json").read_text(encoding="utf-8"))
    content.pop("$schema", None)
    return Relation.model_validate({**content, "dataset": dataset, "name": name})


EPISODES: Final = relation(
    "lab",
    "episodes",
    [
        _field("environment_id", "STRING", "REQUIRED"),
        _field("date", "DATE", "REQUIRED"),
        _field("episode_id", "STRING", "REQUIRED"),
        _field("step", "INTEGER", "REQUIRED"),
        _field("score", "FLOAT"),
        _field("rewards", "FLOAT", "REPEATED"),
        _field("info", "JSON"),
        _field("table", "RECORD", fields=[_field("group", "STRING"), _field("order", "INTEGER")]),
    ],
    primary_key=["episode_id", "step"],
    partitioning={"date": "date", "environment": "environment_id"},
)
VERSIONS: Final = relation(
    "lab",
    "versions",
    [
        _field("batch", "STRING", "REQUIRED"),
        _field("version", "INTEGER", "REQUIRED"),
        _field("rank", "STRING"),
    ],
    primary_key=["batch"],
    on_key_conflict={"latest": "version"},
)
EVENTS: Final = relation(
    "lab",
    "events",
    [_field("event_id", "INTEGER", "REQUIRED"), _field("at", "TIMESTAMP", "REQUIRED")],
    primary_key=["event_id"],
    partitioning={"date": "at"},
)
EVERY_TYPE: Final = relation(
    "lab",
    "every_type",
    [
        _field("id", "INTEGER", "REQUIRED"),
        *(
            _field(f"{type_.lower()}_value", type_)
            for type_ in (
                "STRING", "BYTES", "INTEGER", "FLOAT", "NUMERIC", "BOOLEAN", "TIMESTAMP", "DATE", "DATETIME", "TIME", "JSON",
            )
        ),
        _field("many", "RECORD", "REPEATED", fields=[_field("name", "STRING"), _field("values", "INTEGER", "REPEATED")]),
    ],
    primary_key=["id"],
)  # fmt: skip
BEST: Final = relation(
    "lab_views",
    "best",
    [
        _field("environment_id", "STRING", "REQUIRED"),
        _field("date", "DATE", "REQUIRED"),
        _field("best", "FLOAT"),
        _field("steps", "INTEGER"),
    ],
    kind="derived_table",
    partitioning={"date": "date", "environment": "environment_id"},
    sql="SELECT MAX(score) AS best, SUM(step) AS steps, environment_id, date FROM lab.episodes "
    "GROUP BY environment_id, date",
)
GOOD: Final = relation(
    "lab_views",
    "good",
    [_field("date", "DATE"), _field("environment_id", "STRING"), _field("best", "FLOAT")],
    kind="view",
    sql="SELECT b.date, b.environment_id, b.best FROM lab_views.best AS b WHERE b.best > 0.5",
)

RELATIONS: Final = (
    _platform_relation(LEDGER),
    _platform_relation(DEAD_LETTER),
    _platform_relation(REFRESHES),
    EPISODES,
    VERSIONS,
    EVENTS,
    EVERY_TYPE,
    BEST,
    GOOD,
)
CATALOG: Final = Catalog(RELATIONS, upstream_of(RELATIONS))


def episode(number: int, **more: Any) -> dict[str, Any]:
    """The row of an episode, different for each number."""
    row = {
        "environment_id": "CartPole-v1",
        "date": DAY.isoformat(),
        "episode_id": f"episode-{number // 10}",
        "step": number % 10,
        "score": number / 10,
        "rewards": [1.0, number / 4],
        "info": {"lives": number},
        "table": {"group": "a", "order": number},
    }
    return {**row, **more}


def episodes(numbers: Sequence[int]) -> list[dict[str, Any]]:
    return [episode(number) for number in numbers]


def encode(rows: Sequence[Mapping[str, Any]], *, indent: bool = False) -> list[bytes]:
    """The rows as lines; with `indent`, of the same content in other bytes."""
    separators = (" , ", " : ") if indent else (",", ":")
    return [json.dumps(row, separators=separators).encode() for row in rows]


@dataclass(frozen=True)
class RawLines:
    """A file's lines by their byte offset. A class, so that a batch can be sent to another process."""

    lines: Mapping[int, bytes]

    def __call__(self, offset: int) -> bytes:
        return self.lines[offset]


@dataclass
class Stager:
    """Stages batches as the ingest does, below a folder of the test."""

    folder: Path
    count: int = field(default=0)

    def __call__(
        self,
        relation_: Relation,
        lines: Sequence[bytes],
        *,
        rejects: Sequence[bytes] = (),
        parts: int = 1,
        mode: WriteMode = WriteMode.APPEND,
    ) -> StagedBatch:
        """A file of these lines, then of these rejected ones; the rows staged in that many Parquet files."""
        self.count += 1
        everything = [*lines, *rejects]
        offsets = [0]
        for line in everything:
            offsets.append(offsets[-1] + len(line) + 1)
        content = b"".join(line + b"\n" for line in everything)
        batch_id = hashlib.sha256(content).hexdigest()
        frame = stage_frame(relation_, lines).with_columns(
            pl.Series("_line_number", range(1, len(lines) + 1), dtype=pl.Int64),
            pl.Series("_byte_offset", offsets[: len(lines)], dtype=pl.Int64),
        )
        prefix = self.folder / f"{self.count:04}"
        paths = []
        size = -(-len(lines) // parts) or 1
        for part, start in enumerate(range(0, len(lines), size)):
            paths.append(Path(f"{prefix}-rows-{part}.parquet"))
            frame[start : start + size].write_parquet(paths[-1])
        reject_path = Path(f"{prefix}-rejects.parquet")
        if rejects:
            _stage_rejects(rejects, offsets, len(lines)).write_parquet(reject_path)
        sorts = mode is WriteMode.SORT
        return StagedBatch(
            batch_id=batch_id,
            file=f"{relation_.dataset}/{relation_.name}/{batch_id[:8]}.ndjson",
            size=len(content),
            lines=len(everything),
            rejected=len(rejects),
            sorted=len(lines) if sorts else 0,
            rows=() if sorts else tuple(paths),
            rejects=(reject_path,) if rejects else (),
            raw_line=RawLines(dict(zip(offsets, everything, strict=False))),
        )


def stage_frame(relation_: Relation, lines: Sequence[bytes]) -> pl.DataFrame:
    rows = [json.loads(line) for line in lines]
    columns = {
        f.name: pl.Series(
            f.name, [_staged(row.get(f.name), f.type) for row in rows], dtype=_DTYPES.get(f.type)
        )
        if not f.repeated and f.type != "RECORD"
        else pl.Series(f.name, [row.get(f.name) for row in rows], dtype=_nested(f))
        for f in relation_.fields
    }
    hashes = [xxhash.xxh3_64_intdigest(line) - 2**63 for line in lines]
    return pl.DataFrame(columns).with_columns(pl.Series("_row_hash", hashes, dtype=pl.Int64))


_DTYPES: Final[Mapping[str, pl.DataType]] = {
    "STRING": pl.String(),
    "BYTES": pl.Binary(),
    "INTEGER": pl.Int64(),
    "FLOAT": pl.Float64(),
    "NUMERIC": pl.Decimal(38, 9),
    "BOOLEAN": pl.Boolean(),
    "TIMESTAMP": pl.Datetime("us", "UTC"),
    "DATE": pl.Date(),
    "DATETIME": pl.Datetime("us"),
    "TIME": pl.Time(),
    "JSON": pl.String(),
}


def _nested(field_: Any) -> pl.DataType:
    inner = (
        pl.Struct([pl.Field(f.name, _nested(f)) for f in field_.fields])
        if field_.type == "RECORD"
        else _DTYPES[field_.type]
    )
    return pl.List(inner) if field_.repeated else inner


def _staged(value: Any, type_: str) -> Any:
    if value is None:
        return None
    match type_:
        case "DATE":
            return dt.date.fromisoformat(value)
        case "TIMESTAMP":
            return dt.datetime.fromisoformat(value).astimezone(dt.UTC)
        case "DATETIME":
            return dt.datetime.fromisoformat(value)
        case "TIME":
            return dt.time.fromisoformat(value)
        case "JSON":
            return value if isinstance(value, str) else json.dumps(value)
        case "BYTES":
            return value.encode()
        case "NUMERIC":
            import decimal

            return decimal.Decimal(value)
        case _:
            return value


def _stage_rejects(rejects: Sequence[bytes], offsets: Sequence[int], first: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "line_number": range(first + 1, first + 1 + len(rejects)),
            "byte_offset": offsets[first : first + len(rejects)],
            "raw": list(rejects),
            "reasons": [[{"field": "score", "rule": "type", "message": "expected FLOAT, found a string"}]]
            * len(rejects),
        },
        schema_overrides={"line_number": pl.Int64, "byte_offset": pl.Int64, "raw": pl.Binary},
    )


def write(
    warehouse: Warehouse,
    relation_: Relation,
    batches: Sequence[StagedBatch],
    slice_: Slice = WHOLE,
    mode: WriteMode = WriteMode.APPEND,
    loaded_at: dt.datetime = NOW,
    run_id: str = "run",
    *,
    accept_loss: bool = False,
) -> list[LineCounts]:
    """One write; every fate must be balanced."""
    counts = warehouse.write(
        SliceWrite(relation_, slice_, mode, batches, loaded_at, run_id, accept_loss=accept_loss)
    )
    assert [f.batch_id for f in counts] == [b.batch_id for b in batches]
    assert all(f.balanced for f in counts)
    return counts


def rows_of(warehouse: Warehouse, relation_: Relation) -> list[tuple[Any, ...]]:
    """All rows with everything that the platform adds, in an order of their own."""
    frame = warehouse.query(f"SELECT * FROM {relation_.id}").frame
    return sorted(frame.rows(), key=repr)


def counts(counts: LineCounts) -> tuple[int, int, int]:
    """Loaded, duplicate, rejected."""
    return counts.loaded, counts.duplicate, counts.rejected
