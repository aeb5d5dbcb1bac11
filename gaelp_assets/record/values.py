"""Values as the gateway's lines write them: nested NumPy values, moments, words. Pure."""

from __future__ import annotations

import datetime as dt
import math
import operator
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np

Row = dict[str, object]
ALGORITHM_LENGTH: Final = 100
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


def plain(value: object) -> object:
    """A nested value with arrays and NumPy's numbers as JSON knows them; what is no finite number is None, what JSON lacks its text.

    >>> plain({"lr": np.float64(0.5), "clip": float("inf"), "net": (64, 64), "act": np.float32})
    {'lr': 0.5, 'clip': None, 'net': [64, 64], 'act': "<class 'numpy.float32'>"}

    Another process makes the same of it: sets are sorted, and no address of an object is told.
    """
    if isinstance(value, Mapping):
        return {word(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    # An integer that no 64 bits hold would be a number that readers of JSON round.
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return str(value)
    if value is None or isinstance(value, bool | int):
        return value
    return word(value)


def word(value: object) -> str:
    """A value as a text, or what names one: no address of an object is told."""
    return text(value if isinstance(value, str) else _ADDRESS.sub("", str(value)))


def text(value: str) -> str:
    r"""A text that UTF-8 can hold: the names of files can have halves of surrogate pairs, each of which becomes a '?'.

    >>> text("a\udc80")
    'a?'
    """
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def count(value: Any) -> int | None:
    """A whole number from 0 to 2**63 - 1, whichever library's number it is; None for anything else.

    >>> count(np.int64(3)), count(3.0), count(-1), count(2**70), count("3"), count(float("nan"))
    (3, 3, None, None, None, None)
    """
    try:
        number = operator.index(value)
    except TypeError:
        if not isinstance(value, float | np.floating) or not float(value).is_integer():
            return None
        number = int(value)
    return number if 0 <= number < 2**63 else None


def timestamp(moment: dt.datetime) -> str:
    """A UTC moment as RFC 3339 writes it, with microseconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def stamp(seconds: float) -> str:
    """The UTC moment of so many seconds since 1970, as `timestamp` writes it: cheaper for many that are close together.

    >>> stamp(1_795_826_096.25)
    '2026-11-28T00:34:56.250000Z'
    """
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{micros:06d}Z"


def day(seconds: float) -> str:
    """The UTC day of that moment, as `stamp` writes it: YYYY-MM-DD."""
    return stamp(seconds)[:10]


def lower_snake(name: str) -> str:
    """A name in small letters, digits and underscores: an algorithm's in `training`.

    >>> [lower_snake(name) for name in ("PPO", "Double DQN", "SARSA(lambda)")]
    ['ppo', 'double_dqn', 'sarsa_lambda']
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:ALGORITHM_LENGTH]
