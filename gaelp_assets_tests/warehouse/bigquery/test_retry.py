"""Trying again when others come first: what is returned, what passes, how long is waited, and what is said at the end."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.warehouse.bigquery import retry
from gaelp_assets.warehouse.bigquery.errors import WriteConflict

PROBLEM = Problem("others came first", "lab.episodes", "a turn")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def _acts(*outcomes: object) -> tuple[list[object], Callable[[], object]]:
    left = list(outcomes)

    def act() -> object:
        outcome = left.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return left, act


def test_the_first_undisturbed_round_is_returned_after_a_pause_for_each_before(pauses: list[float]) -> None:
    left, act = _acts(WriteConflict("x"), WriteConflict("x"), "done", "never asked for")
    assert retry.until_undisturbed(act, PROBLEM, rounds=5) == "done"
    assert left == ["never asked for"]
    assert len(pauses) == 2


def test_when_no_round_is_undisturbed_the_problem_is_said_and_can_pass(pauses: list[float]) -> None:
    last = WriteConflict("the last")
    _, act = _acts(WriteConflict("x"), WriteConflict("x"), last)
    with pytest.raises(TransientError, match="others came first") as caught:
        retry.until_undisturbed(act, PROBLEM, rounds=3)
    assert caught.value.__cause__ is last
    assert len(pauses) == 2, "there is nothing to wait for after the last round"


def test_every_other_error_passes_at_once(pauses: list[float]) -> None:
    error = GaelpError(Problem("refused"))
    left, act = _acts(error, "never")
    with pytest.raises(GaelpError) as caught:
        retry.until_undisturbed(act, PROBLEM, rounds=3)
    assert (caught.value, left, pauses) == (error, ["never"], [])


def test_what_counts_as_disturbed_is_the_callers_choice(pauses: list[float]) -> None:
    _, act = _acts(ValueError("stale"), 7)
    assert retry.until_undisturbed(act, PROBLEM, rounds=3, disturbed=lambda e: isinstance(e, ValueError)) == 7
    assert len(pauses) == 1


@pytest.mark.parametrize(("attempt", "longest"), [(1, 1.0), (2, 2.0), (4, 8.0), (5, 16.0), (30, 16.0)])
def test_pauses_double_up_to_sixteen_seconds(attempt: int, longest: float) -> None:
    found = [retry.pause_after(attempt) for _ in range(500)]
    assert 0 <= min(found) <= max(found) <= longest
    assert max(found) > 0.9 * longest, "up to the longest, by chance"
