"""The run x task matrix: what is one, and what becomes of the cells that it lacks.

A cell that is NaN is missing: that run was not evaluated on that task. Each task is judged by the runs that it has; a task without any
is an error. What is missing is told: by a warning, or, where a caller tells it in another way, by the counts of the results.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from gaelp_assets.errors import GaelpError, Problem

Floats: TypeAlias = npt.NDArray[np.float64]
Scores: TypeAlias = npt.ArrayLike
OnMissing: TypeAlias = Literal["warn", "allow", "refuse"]
_NAMED: Final = 10


class ScoresError(GaelpError):
    """These are no scores: what is wrong, and what was expected."""


class MissingScoresWarning(UserWarning):
    """Runs were not evaluated on all tasks, and the result goes by those that were."""


def matrix(scores: Scores, *, name: str = "scores", on_missing: OnMissing = "warn") -> Floats:
    """The scores as runs x tasks, of float64.

    Args:
        scores: numbers of two dimensions; of one dimension, they are the runs of one task.
        name: what messages call them.
        on_missing: whether NaN is told by a warning, passes, or is an error.

    Raises:
        ScoresError: they have other dimensions, no run or no task, an infinite value, or a task without any run.
    """
    try:
        found = np.asarray(scores, np.float64)
    except (TypeError, ValueError):
        raise _refused(name, "what is no array of numbers", "numbers in rows of the same length") from None
    if found.ndim == 1:
        found = found[:, np.newaxis]
    if found.ndim != 2:
        raise _refused(name, f"{found.ndim} dimensions", "runs x tasks, or the runs of one task")
    if not found.size:
        raise _refused(name, f"{found.shape[0]} runs and {found.shape[1]} tasks", "at least one of each")
    if np.isinf(found).any():
        run, task = np.argwhere(np.isinf(found))[0]
        raise _refused(
            name, f"an infinite score of run {run} on task {task}", "finite scores; NaN where there is none"
        )
    there = ~np.isnan(found)
    empty = np.flatnonzero(~there.any(axis=0))
    if empty.size:
        tasks = _listed(empty.tolist())
        raise _refused(name, f"no run at all on task {tasks}", "a run on each task", "Leave the task out.")
    missing = int((~there).sum())
    if missing and on_missing != "allow":
        counts = there.sum(axis=0)
        fewest = int(counts.argmin())
        text = f"{missing} of {found.size} cells are missing; task {fewest} has {counts[fewest]} of {found.shape[0]} runs"
        if on_missing == "refuse":
            raise _refused(name, text, "each run on each task")
        warnings.warn(
            f"{name}: {text}: each task goes by the runs that it has", MissingScoresWarning, stacklevel=3
        )
    return found


def missing_cells(scores: Scores) -> list[tuple[int, int]]:
    """Run and task of each missing cell, in order.

    >>> missing_cells([[1.0, 2.0], [float("nan"), 3.0]])
    [(1, 0)]
    """
    found = matrix(scores, on_missing="allow")
    return [(int(run), int(task)) for run, task in np.argwhere(np.isnan(found))]


def runs_of_tasks(found: Floats) -> tuple[int, ...]:
    """How many runs stand behind each task."""
    return tuple(int(count) for count in (~np.isnan(found)).sum(axis=0))


def same_tasks(x: Floats, y: Floats) -> None:
    """Nothing, if both have the same number of tasks.

    Raises:
        ScoresError: they have not; which task is which cannot be told.
    """
    if x.shape[1] != y.shape[1]:
        raise _refused("x and y", f"{x.shape[1]} and {y.shape[1]} tasks", "the same tasks in the same order")


def _refused(name: str, found: str, expected: str, remedy: str = "") -> ScoresError:
    return ScoresError(Problem(f"{name}: {found}", expected=expected, remedy=remedy))


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_NAMED]))
    return f"{shown} and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else shown
