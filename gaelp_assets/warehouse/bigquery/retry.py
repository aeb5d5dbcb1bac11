"""Trying again when others come first: of writers that meet, one wins each round, and the others plan again after a pause."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception, stop_after_attempt

from gaelp_assets.errors import Problem, TransientError
from gaelp_assets.warehouse.bigquery.errors import WriteConflict

T = TypeVar("T")
WRITE_ROUNDS: Final = 30
# Seconds.
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 16.0


def pause_after(attempt: int) -> float:
    """Seconds to wait after that many attempts: ever more, up to 16 s, by chance, so that those who met once do not meet again."""
    return random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))  # noqa: S311 - not a secret


def until_undisturbed(
    act: Callable[[], T],
    problem: Problem,
    *,
    rounds: int,
    disturbed: Callable[[BaseException], bool] = lambda error: isinstance(error, WriteConflict),
) -> T:
    """What the call returns, made again with pauses as long as others come first.

    Args:
        act: One round: it plans and writes, or writes nothing.
        problem: What is said when no round was undisturbed.
        rounds: How often it is called at most.
        disturbed: Whether an exception of the call means that others came first. Every other exception passes.

    Raises:
        TransientError: others came first in every round.
    """
    retrying = Retrying(
        retry=retry_if_exception(disturbed), wait=_wait, stop=stop_after_attempt(rounds), reraise=False
    )
    try:
        return retrying(act)
    except RetryError as error:
        raise TransientError(problem) from error.last_attempt.exception()


def _wait(state: RetryCallState) -> float:
    return pause_after(state.attempt_number)
