"""Files of `training.transitions` rows, as a CartPole run writes them: about 280 bytes a line, the same for the same arguments.

Bad lines are spread evenly among the good ones, and take turns through `DEFECTS`: each is a kind of line that real producers write.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

TABLE: Final = "training.transitions"
DATE: Final = "2026-11-01"
ENVIRONMENT: Final = "CartPole-v1"
EPISODE_STEPS: Final = 200

Defect = Callable[[str], bytes]


def _replace(old: str, new: str) -> Defect:
    def defect(line: str) -> bytes:
        assert old in line
        return line.replace(old, new, 1).encode()

    return defect


DEFECTS: Final[dict[str, Defect]] = {
    "cut off": lambda line: line[:120].encode(),
    "garbage": lambda _: b"Traceback (most recent call last):",
    "invalid UTF-8": lambda line: line.replace("q-learning", "q-l\x00", 1).encode().replace(b"\x00", b"\xff"),
    "trailing comma": _replace('"info":{}}', '"info":{},}'),
    "NaN": _replace('"reward":1.0', '"reward":NaN'),
    "string for a number": _replace('"reward":1.0', '"reward":"1.0"'),
    "fraction for an integer": _replace('"step_index":', '"step_index":0.5,"_":'),
    "boolean for an integer": _replace('"global_step":', '"global_step":true,"_":'),
    "integer beyond 64 bits": _replace('"global_step":', '"global_step":9223372036854775808'),
    "missing field": _replace('"reward":1.0,', ""),
    "null for a required field": _replace('"reward":1.0', '"reward":null'),
    "unknown field": _replace('"info":{}', '"infos":{}'),
    "key twice": _replace('"reward":1.0', '"reward":1.0,"reward":1.0'),
    "key twice in JSON": _replace('"info":{}', '"info":{"a":1,"a":2}'),
    "date that does not exist": _replace(f'"date":"{DATE}"', '"date":"2026-02-30"'),
    "another slice": _replace(f'"date":"{DATE}"', '"date":"2026-11-02"'),
    "lone surrogate": _replace('"agent_id":"', '"agent_id":"\\ud800'),
    "lost digits": _replace('"reward":1.0', '"reward":9007199254740993'),
    "broken rule": _replace('"step_index":', '"step_index":-1'),
    "two broken rules": lambda line: (
        line.replace('"agent_id":"q-learning"', '"agent_id":""')
        .replace('"action_probability":0', '"action_probability":-1')
        .encode()
    ),
}


def lines(rows: int, bad: float = 0.0, seed: int = 1) -> Iterator[bytes]:
    """`rows` lines with their line ends, of which that share is bad."""
    defects = list(DEFECTS.values())
    written = 0
    for i, line in enumerate(_good(rows, seed)):
        if written < int((i + 1) * bad):
            yield defects[written % len(defects)](line) + b"\n"
            written += 1
        else:
            yield line.encode() + b"\n"


def _good(rows: int, seed: int) -> Iterator[str]:
    chance = random.Random(seed)
    gauss, uniform = chance.gauss, chance.random
    for i in range(rows):
        episode, step = divmod(i, EPISODE_STEPS)
        last = step == EPISODE_STEPS - 1
        seen = f"{gauss(0, 1):.5g},{gauss(0, 1):.5g},{gauss(0, 0.1):.5g},{gauss(0, 1):.5g}"
        final = f'"final_observation":[{seen}],' if last else ""
        yield (
            f'{{"episode_id":"r7-e{episode:06d}","step_index":{step},"date":"{DATE}","environment_id":"{ENVIRONMENT}",'
            f'"agent_id":"q-learning","training_run_id":"r7","global_step":{i + 1},"observation":[{seen}],"action":[{i & 1}],'
            f'"action_probability":{uniform():.4f},"reward":1.0,"terminated":{"true" if last else "false"},"truncated":false,'
            f'{final}"info":{{}}}}'
        )


def write(path: Path, rows: int, bad: float = 0.0, seed: int = 1) -> None:
    """Writes a file of `lines`."""
    with path.open("wb") as file:
        stream = lines(rows, bad, seed)
        while part := b"".join(islice(stream, 10_000)):
            file.write(part)


def main() -> None:
    """`python -m benchmarks.transitions FILE [--rows N] [--bad SHARE]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bad", type=float, default=0.0, help="share of bad lines, 0 to 1")
    arguments = parser.parse_args()
    write(arguments.file, arguments.rows, arguments.bad)


if __name__ == "__main__":
    main()
