"""Rows for any loaded table of a catalogue, made from its fields alone: of each type the values that engines treat differently."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import polars as pl

from gaelp_assets.catalog import WHOLE, Catalog, Relation, Slice
from gaelp_assets.catalog.model import Field, Latest
from gaelp_assets.validation.schema import staged_schema
from gaelp_assets.warehouse.protocol import StagedBatch

TEXTS: Final = (
    "", " ", "a", "A", "Zürich", "ß", "ẞ", "İstanbul", "日本語", "🚗🏁", "e\u0301", "é", "Ω", "it's", 'say "so"', "back\\slash",
    "line\nbreak", "tab\there", "100%", "a_b", "NULL", "null", "NaN", "0", "2024-02-29", "x" * 300,
)  # fmt: skip
# Sums of a few hundred of them stay in INT64: beyond it, both engines end with an error.
INTEGERS: Final = (0, 1, -1, 7, -7, 1000, 2**31, -(2**31) - 1, 2**53 + 1, -(2**53) - 1, 10**15)
LARGEST: Final = (2**63 - 1, -(2**63))
FLOATS: Final = (0.0, -0.0, 0.1, -2.5, 1e-300, 1e15, 123456.785, float("nan"), float("inf"), float("-inf"))
DATES: Final = (
    dt.date(1, 1, 1), dt.date(1582, 10, 15), dt.date(1900, 2, 28), dt.date(1969, 12, 31), dt.date(2000, 2, 29),
    dt.date(2024, 2, 29), dt.date(2024, 12, 31), dt.date(2027, 1, 3), dt.date(9999, 12, 31),
)  # fmt: skip
TIMES: Final = (dt.time(0), dt.time(23, 59, 59, 999_999), dt.time(12, 30, 0, 1))
DOCUMENTS: Final = (
    "{}", "[]", "null", "true", '"text"', "0", "-1.5", '{"a":1}', '{"a":null,"b":[1,2,{"c":"日本語"}]}', '{"ß":"\\"quoted\\""}',
    '{"n":9007199254740993}', '{"f":0.1}',
)  # fmt: skip
NUMBERS: Final = (
    Decimal("0"),
    Decimal("-0.000000001"),
    Decimal("12345678901234567890.123456789"),
    Decimal("1.5"),
)
SLICES: Final = tuple(
    Slice(day, environment)
    for day in (dt.date(2024, 2, 29), dt.date(2026, 12, 31))
    for environment in ("CartPole-v1", "Taxi-v4")
)


def moments() -> list[dt.datetime]:
    """Moments around midnight in UTC and elsewhere, around a change of clocks, before 1970 and at the ends of time."""
    vienna = dt.timezone(dt.timedelta(hours=2))
    return [
        dt.datetime(2024, 2, 29, 23, 59, 59, 999_999, dt.UTC),
        dt.datetime(2024, 3, 1, tzinfo=dt.UTC),
        dt.datetime(2024, 3, 31, 2, 30, tzinfo=vienna),
        dt.datetime(2024, 12, 31, 20, 0, tzinfo=dt.timezone(dt.timedelta(hours=-5, minutes=-30))),
        dt.datetime(1969, 12, 31, 23, 59, 59, 500_000, dt.UTC),
        dt.datetime(1, 1, 2, tzinfo=dt.UTC),
        dt.datetime(9999, 12, 30, 23, 59, 59, 999_999, dt.UTC),
    ]


class Rows:
    """Makes rows of one catalogue; the same seed makes the same rows."""

    def __init__(self, catalog: Catalog, seed: int, count: int = 40) -> None:
        self._catalog = catalog
        self._count = count
        self._random = random.Random(seed)
        self._keys = {relation.id: self._key_values(relation) for relation in catalog.loaded}

    def slices(self, relation: Relation) -> Sequence[Slice]:
        """The slices that the table gets rows in."""
        if relation.partitioning is None:
            return (WHOLE,)
        if relation.partitioning.environment is None:
            return tuple(dict.fromkeys(Slice(found.date) for found in SLICES))
        return SLICES

    def frame(self, relation: Relation, slice_: Slice) -> pl.DataFrame:
        """Rows of a slice as a load stages them. Each slice has keys of its own: a key stands once in its table."""
        foreign = {
            name: self._keys[self._catalog.find(key.references).id].get(target, ())
            for key in relation.foreign_keys
            for name, target in zip(key.fields, key.targets, strict=True)
        }
        rows = []
        first = self._count * list(self.slices(relation)).index(slice_)
        for number in range(self._count):
            row = {field.name: self._value(field, foreign.get(field.name, ())) for field in relation.fields}
            row |= {name: values[first + number] for name, values in self._keys[relation.id].items()}
            if isinstance(relation.on_key_conflict, Latest):
                row[relation.on_key_conflict.latest] = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
            if relation.partitioning is not None and slice_.date is not None:
                row[relation.partitioning.date] = self._day(relation, slice_.date)
                if relation.partitioning.environment is not None:
                    row[relation.partitioning.environment] = slice_.environment
            row |= {
                "_row_hash": self._random.getrandbits(60),
                "_line_number": number + 1,
                "_byte_offset": 10 * number,
            }
            rows.append(row)
        return pl.DataFrame(rows, schema=staged_schema(relation), orient="row")

    def batch(self, relation: Relation, slice_: Slice, folder: Path) -> StagedBatch:
        """A file of those rows and of one rejected line."""
        frame = self.frame(relation, slice_)
        name = f"{relation.name}-{slice_.path.replace('/', '-')}"
        rows, rejects = folder / f"{name}.parquet", folder / f"{name}-rejects.parquet"
        frame.write_parquet(rows)
        pl.DataFrame(
            {
                "line_number": [frame.height + 1],
                "byte_offset": [10 * frame.height],
                "raw": ["{ü".encode()],
                "reasons": [[{"field": "ü", "rule": "malformed", "message": "not JSON: 日本語"}]],
            }
        ).write_parquet(rejects)
        return StagedBatch(
            batch_id=hashlib.sha256(name.encode()).hexdigest(),
            file=f"{relation.dataset}/{relation.name}/{name}.ndjson",
            size=10 * frame.height + 3,
            lines=frame.height + 1,
            rejected=1,
            rows=(rows,),
            rejects=(rejects,),
        )

    def _key_values(self, relation: Relation) -> Mapping[str, Sequence[Any]]:
        """The values of the key's fields, of which each row has another combination; those of the slice come from the slice."""
        placed = relation.partitioning
        own = {placed.date, placed.environment} if placed is not None else set()
        fields = [relation.field(name) for name in relation.primary_key if name not in own]
        count = self._count * len(self.slices(relation))
        return {field.name: [_distinct(field, number) for number in range(count)] for field in fields}

    def _day(self, relation: Relation, day: dt.date) -> dt.date | dt.datetime:
        assert relation.partitioning is not None
        if relation.field(relation.partitioning.date).type == "DATE":
            return day
        return dt.datetime.combine(day, self._random.choice(TIMES), dt.UTC)

    def _value(self, field: Field, known: Sequence[Any] = ()) -> Any:
        if field.repeated:
            single = field.model_copy(update={"mode": "REQUIRED"})
            return [self._value(single) for _ in range(self._random.choice((0, 0, 1, 3)))]
        if not field.required and self._random.random() < 0.25:
            return None
        if known and self._random.random() < 0.8:
            return self._random.choice(known)
        if field.type == "RECORD":
            return {inner.name: self._value(inner) for inner in field.fields}
        allowed = next((c.arguments["allowed_values"] for c in field.checks if c.name == "isin"), None)
        return self._random.choice(
            allowed if isinstance(allowed, list | tuple) else _VALUES[field.type](self._random)
        )


_VALUES: Final[Mapping[str, Callable[[random.Random], Sequence[Any]]]] = {
    "STRING": lambda _: TEXTS,
    "BYTES": lambda _: (b"", b"\x00\xff", "ü".encode()),
    "INTEGER": lambda chance: (*INTEGERS, *(chance.randrange(10_000) for _ in range(20))),
    "FLOAT": lambda chance: (*FLOATS, *(chance.uniform(-100, 100) for _ in range(40))),
    "NUMERIC": lambda _: NUMBERS,
    "BOOLEAN": lambda _: (True, False),
    "TIMESTAMP": lambda _: moments(),
    "DATE": lambda _: DATES,
    "DATETIME": lambda _: [moment.replace(tzinfo=None) for moment in moments()],
    "TIME": lambda _: TIMES,
    "JSON": lambda _: DOCUMENTS,
}


def _distinct(field: Field, number: int) -> Any:
    if field.type == "INTEGER":
        return (*INTEGERS, *LARGEST)[number] if number < len(INTEGERS) + 2 else number
    if field.type == "STRING":
        return f"{TEXTS[number % len(TEXTS)]}{number // len(TEXTS) or ''}"
    raise NotImplementedError(f"keys of type {field.type}")
