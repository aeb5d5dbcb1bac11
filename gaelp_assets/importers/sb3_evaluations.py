"""`evaluations.npz` of Stable-Baselines3's EvalCallback: returns and lengths of the episodes of each evaluation.

A resumed run replaces the file. What was imported before stays: an evaluation is known by its run and step.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.importers.source import (
    Kind,
    Options,
    Rows,
    Tally,
    agent_row,
    day,
    files_of,
    required,
    run_id,
    written,
)


def rows(path: Path, options: Options, tally: Tally) -> Rows:
    """The evaluations of a file, or of the folder of one."""
    [file, *more] = files_of(path, "evaluations.npz", "sb3-evaluations")
    if more:
        raise GaelpError(
            Problem(
                f"holds {len(more) + 1} files evaluations.npz",
                str(path),
                "one",
                "Import each of them by itself.",
            )
        )
    steps, returns, lengths = _arrays(file)
    run = run_id(options, file.resolve().parent, file.resolve().parent)
    owner = {
        "environment_id": required(options.environment, "environment", "environment", file),
        "agent_id": required(options.agent, "agent", "agent", file),
        "training_run_id": run,
    }
    tally.note(
        "the file does not tell seeds, policy versions, endings, and whether actions were drawn: these are NULL"
    )
    first = None
    for step, totals, taken in zip(steps.tolist(), returns, lengths, strict=True):
        tally.read += 1
        if not np.isfinite(totals).all():
            tally.drop("an evaluation with a return that is no finite number")
            continue
        at = written(file, options, tally, f"{run}@{step}")
        yield (
            "training.evaluations",
            {
                "evaluation_id": f"{run}.evaluation.{step:012d}",
                "date": day(at),
                **owner,
                "global_step": step,
                "episode_count": len(totals),
                "episode_returns": totals.tolist(),
                # The mean of equal numbers can differ from them in its last digit.
                "mean_return": float(np.clip(totals.mean(), totals.min(), totals.max())),
                "min_return": float(totals.min()),
                "max_return": float(totals.max()),
                "mean_length": float(taken.mean()),
                "evaluated_at": at,
            },
        )
        first = min(first or at, at)
    if first is not None:
        yield from agent_row(owner["agent_id"], options, first)


def _arrays(file: Path) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    try:
        # NumPy leaves a file open that it cannot read.
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            arrays = {name: found[name] for name in ("timesteps", "results", "ep_lengths")}
    except KeyError as error:
        raise GaelpError(
            Problem(
                f"lacks the array {error.args[0].split()[0]}",
                str(file),
                "timesteps, results and ep_lengths, as EvalCallback writes",
            )
        ) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise GaelpError(
            Problem(
                f"cannot be read as NumPy's .npz: {error}",
                f"{file}, {_damage(file)}",
                "a whole file",
                "Copy it again from where it was written.",
            )
        ) from None
    steps, returns, lengths = arrays["timesteps"], arrays["results"], arrays["ep_lengths"]
    shapes = f"shapes {steps.shape}, {returns.shape} and {lengths.shape}"
    if steps.ndim != 1 or returns.ndim != 2 or lengths.shape != returns.shape or len(steps) != len(returns):
        raise GaelpError(
            Problem(f"has arrays of {shapes}", str(file), "(n,), (n, episodes) and (n, episodes)")
        )
    if any(array.dtype.kind not in "iuf" for array in (steps, returns, lengths)):
        raise GaelpError(Problem("has arrays that are no numbers", str(file), "numbers"))
    return steps.astype(np.int64), returns.astype(np.float64), lengths.astype(np.float64)


def _damage(file: Path) -> str:
    try:
        with zipfile.ZipFile(file) as archive:
            bad = archive.testzip()
            return f"byte {archive.getinfo(bad).header_offset if bad else 0:,}"
    except (OSError, zipfile.BadZipFile):
        return f"which ends at byte {file.stat().st_size:,} without a directory of its arrays"


KIND: Final = Kind("sb3-evaluations", "`evaluations.npz` of Stable-Baselines3's EvalCallback", rows)
