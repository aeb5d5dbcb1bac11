"""From columns to lines: the rows that a recorder writes, encoded in bulk. Pure.

A line of a transition costs well under a microsecond: what is the same for an episode is encoded once, columns of numbers are encoded
as one array and cut at their commas, and the pieces are joined.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaelp_assets.record.values import Row, plain

Array = NDArray[Any]
_ENCODER: Final = msgspec.json.Encoder(enc_hook=plain)
ROWS_AT_ONCE: Final = 2048
_FEW: Final = 32
"""A column with at most so many different values has each of them encoded once."""
KEPT_INDEXES: Final = 100_000
_INDEXES: list[bytes] = []


@dataclass(frozen=True)
class Stretch:
    """So many steps of one episode that lie together in the columns, from its step `first` on."""

    constants: bytes
    """The fields that are the same for each of its rows, encoded: `{"episode_id":...,` without an end."""
    first: int
    length: int
    last: Mapping[str, object] | None
    """`terminated`, `truncated` and `final_observation` of its last row; None where the episode goes on."""


def lines(rows: Iterable[Row]) -> bytes:
    """Rows as NDJSON."""
    return _ENCODER.encode_lines(list(rows))


def constants(row: Row) -> bytes:
    """Fields that many rows have in common, as the beginning of an object.

    >>> constants({"episode_id": "run.a1.e000000"})
    b'{"episode_id":"run.a1.e000000",'
    """
    return _ENCODER.encode(row)[:-1] + b","


def transitions(
    stretches: Sequence[Stretch],
    global_steps: NDArray[np.int64],
    observations: Array | None,
    actions: Array,
    rewards: NDArray[np.float64],
    training_rewards: NDArray[np.float64] | None = None,
) -> bytes:
    """The lines of transitions, in the order of their stretches.

    Args:
        stretches: what the rows belong to; their lengths add up to n.
        global_steps: shape (n,).
        observations: shape (n, ...), before the action; None where they are kept by reference.
        actions: shape (n, ...).
        rewards: shape (n,), as the environment gave them.
        training_rewards: shape (n,), as the learner got them, where that differs.
    """
    pieces: list[bytes] = []
    start = 0
    for group in _grouped(stretches):
        stop = start + sum(stretch.length for stretch in group)
        rows = slice(start, stop)
        pieces.append(
            _lines(
                group,
                global_steps[rows],
                None if observations is None else observations[rows],
                actions[rows],
                rewards[rows],
                None if training_rewards is None else training_rewards[rows],
            )
        )
        start = stop
    return b"".join(pieces)


def _grouped(stretches: Sequence[Stretch]) -> Iterator[list[Stretch]]:
    """Stretches of some thousand rows together: what is made of them at once stays in the processor's cache."""
    group: list[Stretch] = []
    size = 0
    for stretch in stretches:
        group.append(stretch)
        size += stretch.length
        if size >= ROWS_AT_ONCE:
            yield group
            group, size = [], 0
    if group:
        yield group


def _lines(
    stretches: Sequence[Stretch],
    global_steps: NDArray[np.int64],
    observations: Array | None,
    actions: Array,
    rewards: NDArray[np.float64],
    training_rewards: NDArray[np.float64] | None,
) -> bytes:
    n = len(rewards)
    starts: list[bytes] = []
    indexes: list[bytes] = []
    ends = [b',"terminated":false,"truncated":false}\n'] * n
    stop = 0
    for stretch in stretches:
        starts += [stretch.constants] * stretch.length
        indexes += _indexes(stretch.first, stretch.length)
        stop += stretch.length
        if stretch.last is not None:
            ends[stop - 1] = b"," + _ENCODER.encode(stretch.last)[1:] + b"\n"
    pieces: list[list[bytes] | bytes] = [starts]
    if observations is not None:
        pieces += [b'"observation":[', _vectors(observations), b"],"]
    if math.prod(actions.shape[1:]) == 1:
        pieces += _between(b'"action":[', actions.reshape(n).astype(np.float64, copy=False), b'],"reward":')
    else:
        pieces += [b'"action":[', _vectors(actions), b'],"reward":']
    if training_rewards is not None:
        pieces += [*_between(b"", rewards, b',"training_reward":'), *_between(b"", training_rewards, b"")]
    else:
        pieces += _between(b"", rewards, b"")
    pieces += [b',"step_index":', indexes, b',"global_step":', _numbers(global_steps), ends]
    return _joined([piece for piece in pieces if piece != b""], n)


def _between(before: bytes, values: Array, after: bytes) -> list[list[bytes] | bytes]:
    """A column of numbers with what stands before and after each: one piece where the values are few, so that joining is cheaper."""
    few = _few(values)
    if few is None:
        return [before, _ENCODER.encode(values.tolist())[1:-1].split(b","), after]
    distinct, places = few
    table = [before + _ENCODER.encode(value) + after for value in distinct.tolist()]
    return [table * len(values) if len(table) == 1 else [table[place] for place in places.tolist()]]


def _joined(pieces: Sequence[list[bytes] | bytes], n: int) -> bytes:
    """The pieces of each row, one row after the other."""
    width = len(pieces)
    flat: list[bytes] = [b""] * (n * width)
    for place, piece in enumerate(pieces):
        flat[place::width] = [piece] * n if isinstance(piece, bytes) else piece
    return b"".join(flat)


def _indexes(first: int, length: int) -> list[bytes]:
    _INDEXES.extend(b"%d" % number for number in range(len(_INDEXES), min(first + length, KEPT_INDEXES)))
    if first + length <= len(_INDEXES):
        return _INDEXES[first : first + length]
    return [b"%d" % number for number in range(first, first + length)]


def _vectors(values: Array) -> list[bytes]:
    """Each row's numbers, with commas between them and without brackets."""
    n = len(values)
    flat = values.reshape(n, -1)
    if flat.shape[1] == 1:
        return _numbers(flat[:, 0].astype(np.float64, copy=False))
    encoded = _ENCODER.encode(flat.astype(np.float64, copy=False).tolist())
    return encoded[2:-2].split(b"],[")


def _numbers(values: Array) -> list[bytes]:
    return _ENCODER.encode(values.tolist())[1:-1].split(b",")


def _few(values: Array) -> tuple[Array, Array] | None:
    """The different values and where each row's stands among them, if they are few: looked for in a part first."""
    if len(values) > 4 * _FEW and len(np.unique(values[: 4 * _FEW])) > _FEW:
        return None
    distinct, places = np.unique(values, return_inverse=True)
    # -0.0 and 0.0 are one value to `unique`.
    if len(distinct) > _FEW or (0.0 in distinct and bool(np.signbit(values[values == 0]).any())):
        return None
    return distinct, places
