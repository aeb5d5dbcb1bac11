"""What is recorded of a run beside its steps: metrics, evaluations, checkpoints."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from gaelp_assets.errors import GaelpError, unknown
from gaelp_assets.record.compiling import File, References
from gaelp_assets.record.options import ID
from gaelp_assets.record.values import Row, count, day, plain, stamp, text

if TYPE_CHECKING:
    from gaelp_assets.record.recording import Recording

NAME_LENGTH: Final = 500
FORMAT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}")
_TOLD: Final = (
    "checkpoint", "deterministic", "evaluation_seed", "lengths", "normalisation", "policy_version", "step", "terminated", "truncated",
)  # fmt: skip


class Measures:
    """Rows that wait for the next flush. `steps` is the last step of each metric that was handed on: a key is written once."""

    def __init__(self, steps: Mapping[str, int]) -> None:
        self.steps: dict[str, int] = dict(steps)
        self._metrics: dict[tuple[str, int], tuple[float, float]] = {}
        self._rows: dict[str, list[tuple[float, Row]]] = defaultdict(list)
        self._numbers: dict[str, int] = defaultdict(int)
        self._parent: str | None = None

    def metric(self, name: Any, value: Any, step: Any) -> str:
        """Takes a value; the reason why it cannot be a row, or nothing."""
        if not isinstance(name, str) or not 1 <= len(name) <= NAME_LENGTH:
            return f"a name is a text of 1 to {NAME_LENGTH} characters"
        if text(name) != name:
            return "a name has half of a surrogate pair, which UTF-8 lacks"
        try:
            number, at = float(value), int(step)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            return "a value or a step is no number"
        if not 0 <= at < 2**63:
            return "a step is less than 0, or no 64-bit number"
        if at <= self.steps.get(name, -1):
            return "a step is not later than the last one of its name that was written"
        self._metrics[(name, at)] = (number, time.time())
        return ""

    def taken(self, refs: References, environment: str) -> list[tuple[str, str, str, list[Row]]]:
        """What waits, as table, date, environment and rows; it waits no longer."""
        slices: dict[tuple[str, str], list[Row]] = defaultdict(list)
        shared: Row = {"environment_id": environment, "agent_id": refs.agent, "training_run_id": refs.run}
        for (name, step), (value, at) in self._metrics.items():
            self.steps[name] = max(step, self.steps.get(name, -1))
            finite = math.isfinite(value)
            no_number = (
                None if finite else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
            )
            row: Row = {
                "name": name,
                "global_step": step,
                "value": value if finite else None,
                "non_finite": no_number,
            }
            slices[("metrics", day(at))].append({**shared, **row, "date": day(at), "measured_at": stamp(at)})
        self._metrics = {}
        for table, waiting in self._rows.items():
            for at, row in waiting:
                slices[(table, day(at))].append({**shared, "date": day(at), **row})
        self._rows = defaultdict(list)
        return [(table, date, environment, rows) for (table, date), rows in slices.items()]

    def _next_id(self, refs: References, letter: str) -> str:
        number = self._numbers[letter]
        self._numbers[letter] = number + 1
        return f"{refs.run}.a{refs.attempt}.{letter}{number:06d}"

    def evaluation(
        self, recorder: Recording, returns: Sequence[float], told: Mapping[str, Any]
    ) -> str | None:
        """See `Recorder.evaluation`."""
        wrong = [unknown("option", name, _TOLD, where="evaluation") for name in told if name not in _TOLD]
        if wrong:
            raise GaelpError(*wrong)
        refs = recorder.references
        try:
            row = _evaluation_row(recorder, [float(value) for value in returns], told)
        except (TypeError, ValueError, OverflowError) as error:
            recorder.lost("evaluations", 1, str(error))
            return None
        if refs is None:
            recorder.lost("evaluations", 1, "no environment is known yet")
            return None
        row["evaluation_id"] = self._next_id(refs, "m")
        at = time.time()
        self._rows["evaluations"].append((at, {**row, "evaluated_at": stamp(at)}))
        return str(row["evaluation_id"])

    def checkpoint(
        self,
        recorder: Recording,
        content: bytes,
        kind: object,
        policy_version: int | None,
        metrics: object,
        parent: str | None,
        step: int | None,
    ) -> tuple[str, File] | None:
        """The id of a new checkpoint and the file that keeps it; None where it cannot be a row."""
        refs = recorder.references
        why = "" if content else "there is nothing in it"
        why = why or (
            ""
            if isinstance(kind, str) and FORMAT.fullmatch(kind)
            else "its format is no word of letters, digits, '_' and '-'"
        )
        why = why or ("no environment is known yet" if refs is None else "")
        why = why or ("" if metrics is None or isinstance(metrics, Mapping) else "its metrics have no names")
        try:
            version = _whole("policy_version", policy_version, recorder.policy_version)
            at_step = _whole("step", step, recorder.global_step)
            parent = _identity("parent", parent)
        except ValueError as error:
            why = why or str(error)
        if why or refs is None:
            recorder.lost("checkpoints", 1, why)
            return None
        identity = self._next_id(refs, "c")
        file = File(f"{refs.folder}/checkpoints/{identity}.{kind}", content)
        at = time.time()
        row: Row = {
            "checkpoint_id": identity,
            "policy_version": version,
            "global_step": at_step,
            "uri": f"{refs.url}/{file.name}",
            "format": kind,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "parent_checkpoint_id": parent or self._parent,
            "metrics": plain(metrics) if metrics else None,
            "created_at": stamp(at),
        }
        self._parent = identity
        self._rows["checkpoints"].append((at, row))
        recorder.make_due()
        return identity, file


def _whole(name: str, value: object, otherwise: int | None = None) -> int | None:
    """The number that a row can hold, or `otherwise` where none is told. Raises ValueError: it is none."""
    if value is None:
        return otherwise
    number = count(value)
    if number is None:
        raise ValueError(f"{name} is no whole number from 0 to 2**63 - 1")
    return number


def _identity(name: str, value: object) -> str | None:
    """The id that a row can refer to. Raises ValueError: it is none."""
    if value is not None and not (isinstance(value, str) and ID.fullmatch(value)):
        raise ValueError(f"{name} is no id")
    return value


def _evaluation_row(recorder: Recording, returns: list[float], told: Mapping[str, Any]) -> Row:
    if not returns:
        raise ValueError("an evaluation has no episodes")
    if not all(map(math.isfinite, returns)):
        raise ValueError("a return is no finite number")
    lengths = told.get("lengths")
    low, high = told.get("normalisation") or (None, None)

    def counted(name: str) -> int | None:
        flags = told.get(name)
        if flags is not None and len(flags) != len(returns):
            raise ValueError(f"{name} and returns are not equally many")
        return None if flags is None else sum(map(bool, flags))

    if lengths is not None and len(lengths) != len(returns):
        raise ValueError("lengths and returns are not equally many")
    if lengths is not None and not all(count(length) for length in lengths):
        raise ValueError("a length is no whole number greater than 0")
    if low is not None and high is not None and not -math.inf < float(low) < float(high) < math.inf:
        raise ValueError("normalisation is not two finite numbers, the lower one first")
    cut_off = counted("truncated")
    if cut_off is not None and counted("terminated") is not None:
        # One that a time limit cuts off in its terminal state has ended once.
        both = zip(told["truncated"], told["terminated"], strict=True)
        cut_off = sum(bool(cut) and not bool(end) for cut, end in both)
    deterministic = told.get("deterministic")
    mean = math.fsum(returns) / len(returns)
    return {
        "checkpoint_id": _identity("checkpoint", told.get("checkpoint")),
        "seed": recorder.seed,
        "evaluation_seed": _whole("evaluation_seed", told.get("evaluation_seed")),
        "policy_version": _whole("policy_version", told.get("policy_version"), recorder.policy_version),
        "global_step": _whole("step", told.get("step"), recorder.global_step),
        "deterministic": None if deterministic is None else bool(deterministic),
        "episode_count": len(returns),
        "episode_returns": returns,
        "mean_return": mean,
        "min_return": min(returns),
        "max_return": max(returns),
        "mean_length": None if lengths is None else float(sum(lengths) / len(lengths)),
        "terminated_count": counted("terminated"),
        "truncated_count": cut_off,
        "normalisation_low": None if low is None else float(low),
        "normalisation_high": None if high is None else float(high),
    }
