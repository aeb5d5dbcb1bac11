"""The files that are measured: a million lines of each of three tables, the same for the same arguments.

`transitions` are long lines of numbers, `episodes` are flat lines with two timestamps, the equipment registry is text with rules that
depend on other fields.
"""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from benchmarks import transitions


@dataclass(frozen=True)
class Benchmark:
    """A table's file, and the slice that its rows belong to (as a path in the gateway)."""

    table: str
    slice_path: str
    lines: Callable[[int, float], Iterator[bytes]]
    """Of a number of rows, of which a share is bad: the lines with their line ends."""

    def write(self, path: Path, rows: int, bad: float = 0.0) -> None:
        """Writes the file."""
        with path.open("wb") as file:
            stream = self.lines(rows, bad)
            while part := b"".join(islice(stream, 10_000)):
                file.write(part)


def episodes(rows: int, bad: float = 0.0) -> Iterator[bytes]:
    """Episodes of one slice, each with an id of its own; a bad one lasts no step."""
    chance = random.Random(1)
    day = dt.datetime.fromisoformat(transitions.DATE)
    written = 0
    for i in range(rows):
        start = day + dt.timedelta(milliseconds=80 * i)
        end = start + dt.timedelta(milliseconds=chance.randrange(1, 5000))
        steps = chance.randrange(8, 500)
        if written < int((i + 1) * bad):
            written += 1
            steps = 0
        yield (
            f'{{"episode_id":"r{i % 64}-e{i:07d}","date":"{transitions.DATE}","environment_id":"{transitions.ENVIRONMENT}",'
            f'"agent_id":"q-learning","training_run_id":"r{i % 64}","purpose":"training",'
            f'"episode_index":{i // 64},"seed":{chance.getrandbits(40)},'
            f'"policy_version":{i},"global_step":{i * 21},"episode_return":{steps}.0,"discounted_return":{chance.uniform(0, 100):.6f},'
            f'"episode_length":{steps},"terminated":true,"truncated":false,"exploration_rate":{chance.random():.4f},'
            f'"transitions_recorded":false,"started_at":"{start.isoformat(timespec="milliseconds")}Z",'
            f'"ended_at":"{end.isoformat(timespec="milliseconds")}Z"}}\n'
        ).encode()


_VIN_LETTERS: Final = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
_MAKERS: Final = ("Ford", "Caterpillar", "John Deere", "Siemens", "Cessna", "Škoda", "Example Marine")
_CATEGORIES: Final = ("passenger_vehicle", "construction", "agricultural", "industrial", "medical", "boat")


def equipment(rows: int, bad: float = 0.0) -> Iterator[bytes]:
    """Equipment under identifiers of five types; a bad one has a VIN with the letter O."""
    chance = random.Random(1)
    written = 0
    for i in range(rows):
        id_type, value = _identifier(i, chance)
        if written < int((i + 1) * bad):
            written += 1
            id_type, value = "VIN", f"O{i:016d}"
        yield (
            f'{{"primary_id_type":"{id_type}","primary_id_value":"{value}","equipment_category":"{chance.choice(_CATEGORIES)}",'
            f'"manufacturer":"{chance.choice(_MAKERS)}","model":"M-{i % 977}","model_year":{1985 + i % 40},"fuel_type":"diesel",'
            f'"diagnostic_protocols":["OBD-II","J1939"],"firmware_version":"{i % 9}.{i % 31}","country":"DE",'
            f'"operating_hours":{chance.uniform(0, 9e4):.1f},"commissioned_on":"20{10 + i % 15}-0{1 + i % 9}-1{i % 10}",'
            f'"attributes":{{"site":"S{i % 40}","colour":"yellow"}},"source":"benchmark","recorded_at":"2026-11-01T05:00:00Z"}}\n'
        ).encode()


def _identifier(i: int, chance: random.Random) -> tuple[str, str]:
    match i % 5:
        case 0:
            return "VIN", "".join(chance.choices(_VIN_LETTERS, k=9)) + f"{i:08d}"
        case 1:
            return "IMEI", _with_check_digit(f"{35209900000000 + i}")
        case 2:
            return "MAC", ":".join(f"{byte:02X}" for byte in (i + 0x001B44000000).to_bytes(6, "big"))
        case 3:
            return "UUID", str(uuid.UUID(int=chance.getrandbits(128), version=4))
        case _:
            return "Serial", f"SN-{i:09d}"


def _with_check_digit(digits: str) -> str:
    """The digits with Luhn's check digit behind them (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return f"{digits}{-total % 10}"


_SLICE: Final = f"date={transitions.DATE}/environment={transitions.ENVIRONMENT}"
BENCHMARKS: Final = {
    "transitions": Benchmark("training.transitions", _SLICE, transitions.lines),
    "episodes": Benchmark("training.episodes", _SLICE, episodes),
    "equipment": Benchmark("diagnostics.universal_equipment_registry", "", equipment),
}
