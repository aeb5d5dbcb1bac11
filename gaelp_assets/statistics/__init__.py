"""What researchers ask of runs: statistics of scores, on NumPy and SciPy. Nothing here knows a file, a warehouse or Dagster.
`comparison` alone knows relations: it computes those that compare agents, with Polars, and is not imported with the package.

Scores are arrays of runs x tasks: a row for each run (seed), a column for each task (environment); an array of one dimension is the runs
of one task. A cell that is NaN is a run that there is not: see `scores`. Which formula is whose stands in each function.
"""

from gaelp_assets.statistics.aggregates import interquartile_mean, mean, median, optimality_gap
from gaelp_assets.statistics.improvement import improvement_interval, probability_of_improvement
from gaelp_assets.statistics.intervals import (
    Interval,
    bootstrap_interval,
    bootstrap_intervals,
    difference_interval,
)
from gaelp_assets.statistics.profiles import Curve, Profile, performance_profile, sample_efficiency
from gaelp_assets.statistics.scores import MissingScoresWarning, ScoresError, missing_cells
from gaelp_assets.statistics.sequential import Verdict, ab_verdict, holm

__all__ = [
    "Curve",
    "Interval",
    "MissingScoresWarning",
    "Profile",
    "ScoresError",
    "Verdict",
    "ab_verdict",
    "bootstrap_interval",
    "bootstrap_intervals",
    "difference_interval",
    "holm",
    "improvement_interval",
    "interquartile_mean",
    "mean",
    "median",
    "missing_cells",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
    "sample_efficiency",
]
