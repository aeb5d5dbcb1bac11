"""Gateways full of work, made from a seed: resent, overlapping, contradicting, bad and damaged files in every form that is taken."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import zstandard

from gaelp_assets_tests.platforms import EARLY, checkpoint, ndjson, platform_in

CHECKPOINTS: Final = "training.checkpoints"
AGENTS: Final = "training.agents"
TABLES: Final = (CHECKPOINTS, AGENTS)
SLICES: Final = (
    ("2026-11-01", "CartPole-v1"),
    ("2026-11-01", "Taxi-v4"),
    ("2026-11-02", "CartPole-v1"),
)
BAD: Final[tuple[Any, ...]] = ("{", "nonsense", b'{"checkpoint_id": "\xff"}', "[]", '{"checkpoint_id": 1.7}')


def zipped(content: bytes) -> bytes:
    """A gzip archive that is the same for the same content: without the time of day."""
    return gzip.compress(content, mtime=0)


ENDINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "ndjson": bytes,
    "ndjson.gz": zipped,
    "ndjson.zst": zstandard.compress,
}


def member(number: int, **changes: Any) -> dict[str, Any]:
    """A checkpoint of one of the slices, which its number decides."""
    date, environment = SLICES[number % len(SLICES)]
    return checkpoint(number, date=date, environment_id=environment, **changes)


def agent(number: int, version: int) -> dict[str, Any]:
    """A row that `training.agents` takes; of those with a number, the one of the greatest version stays."""
    return {
        "agent_id": f"agent-{number}",
        "algorithm": "q_learning",
        "hyperparameters": {"alpha": version},
        "code_version": str(version),
        "created_at": "2026-11-01T00:00:00Z",
        "updated_at": f"2026-11-01T00:00:{version:02}Z",
    }


def files(seed: int, *, conflicts: bool = True, rows: int = 240) -> Iterator[tuple[str, bytes]]:
    """Names below the gateway, and their bytes, in the order in which their producers write them.

    Without `conflicts`, the order in which they are loaded decides of nothing but which of equal rows stays.
    """
    chance = random.Random(seed)
    numbers = list(range(rows))
    chance.shuffle(numbers)
    for index in range(chance.randint(5, 8)):
        some = chance.sample(numbers, rows // 3)
        lines: list[Any] = [member(number) for number in some]
        lines += chance.sample(lines, rows // 12)
        if conflicts:
            lines += [member(number, bytes=index) for number in chance.sample(some, 2)]
        for _ in range(chance.randint(0, 6)):
            lines.insert(chance.randint(0, len(lines)), chance.choice(BAD))
        yield from _places(chance, f"part-{index}", lines)
    for index in range(3):
        lines = [agent(chance.randint(0, 20), chance.randint(0, 9)) for _ in range(30)]
        ending = chance.choice(list(ENDINGS))
        stage = "cloud_ready" if index else "raw"
        yield f"{stage}/training/agents/agents-{index}.{ending}", ENDINGS[ending](ndjson(lines))
    folder = f"cloud_ready/training/checkpoints/date={SLICES[0][0]}/environment={SLICES[0][1]}"
    yield f"{folder}/empty.ndjson", b""
    yield f"{folder}/cut-off.ndjson.gz", zipped(ndjson([member(0)]))[:-9]


def _places(chance: random.Random, name: str, lines: list[Any]) -> Iterator[tuple[str, bytes]]:
    """The lines as a raw file, or as a file of each slice in the queue; now and then a second time under another name."""
    ending = chance.choice(list(ENDINGS))
    encode = ENDINGS[ending]
    if chance.random() < 0.4:
        # After `part-` in the order of names, as sorting comes before loading in the order of time.
        made = [(f"raw/training/checkpoints/{name}-raw.{ending}", encode(ndjson(lines)))]
    else:
        made = []
        for date, environment in SLICES:
            own = [
                line
                for line in lines
                if not isinstance(line, dict) or (line["date"], line["environment_id"]) == (date, environment)
            ]
            folder = f"cloud_ready/training/checkpoints/date={date}/environment={environment}"
            made.append((f"{folder}/{name}.{ending}", encode(ndjson(own))))
    for path, content in made:
        yield path, content
        if chance.random() < 0.3:
            yield path.replace(name, f"{name}-resent"), content


def fill(home: Path, seed: int, *, conflicts: bool = True, rows: int = 240) -> None:
    """A home whose gateway holds all of the seed's files."""
    platform_in(home)
    for name, content in files(seed, conflicts=conflicts, rows=rows):
        put(home, name, content)


def put(home: Path, name: str, content: bytes) -> None:
    """Writes a file into the gateway as a producer does: under a hidden name, then renamed."""
    path = home / "export_gateway" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}")
    hidden.write_bytes(content)
    hidden.rename(path)


def broken_rows(count: int) -> bytes:
    """Lines that are rejected until a rule is mended: too early for the platform's first date."""
    return b"".join(
        json.dumps(checkpoint(1_000_000 + number, date=EARLY.isoformat())).encode() + b"\n"
        for number in range(count)
    )
