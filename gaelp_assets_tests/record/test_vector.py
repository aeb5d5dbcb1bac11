"""A vector environment's steps: none that is no step, none missing, whatever the mode, the flags, and the moment of a kill."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gaelp_assets.errors import GaelpError
from gaelp_assets.record import Recorder, RecordVectorEnv, recover
from gaelp_assets_tests.record.telling import ID, Step, Tally, Telling, lines, recorded

MODES = tuple(AutoresetMode)
ENDS = ((True, False), (False, True), (True, True))


def make(
    kind: Callable[..., Any], lanes: int, mode: AutoresetMode, ends: tuple[bool, bool], **more: Any
) -> Any:
    reuses = mode != AutoresetMode.SAME_STEP
    return kind(
        [partial(Telling, lane, ends, reuses=reuses) for lane in range(lanes)], autoreset_mode=mode, **more
    )


def open_recorder(folder: Path, **options: Any) -> Recorder:
    return Recorder(folder / "gateway", run="run", algorithm="none", environment=ID, **options)


def drive(envs: Any, tally: Tally, first: int, last: int) -> None:
    """Vector steps first to last; each action tells its step and lane."""
    for number in range(first, last):
        actions = [number * 4 % 1000 + lane for lane in range(envs.num_envs)]
        tally.step(actions)
        _, _, terminated, truncated, _ = envs.step(np.array(actions))
        if tally.mode == AutoresetMode.DISABLED and (terminated | truncated).any():
            envs.reset(options={"reset_mask": terminated | truncated})


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    mode=st.sampled_from(MODES),
    ends=st.sampled_from(ENDS),
    lanes=st.integers(1, 3),
    flushed=st.integers(0, 25),
    after=st.integers(0, 15),
    rows=st.integers(2, 40),
    killed=st.booleans(),
)
@example(AutoresetMode.NEXT_STEP, (True, True), 3, 20, 10, 6, True)
@example(AutoresetMode.SAME_STEP, (False, True), 2, 20, 10, 6, True)
@example(AutoresetMode.DISABLED, (True, False), 3, 20, 10, 6, True)
def test_every_step_is_a_row_once_and_nothing_else_is(
    mode: AutoresetMode,
    ends: tuple[bool, bool],
    lanes: int,
    flushed: int,
    after: int,
    rows: int,
    killed: bool,
) -> None:
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        recorder = open_recorder(folder, flush_rows=rows, flush_seconds=600)
        envs = RecordVectorEnv(make(SyncVectorEnv, lanes, mode, ends, copy=False), recorder)
        tally = Tally(lanes, mode, ends)
        envs.reset(seed=5)
        drive(envs, tally, 0, flushed)
        assert recorder.flush(wait=True)
        drive(envs, tally, flushed, flushed + after)
        if killed:
            recorder.abandon()
            recover(folder / "gateway", "run")
        else:
            recorder.close()
        assert recorder.dropped == {}
        sure = [step for done in tally.steps[: flushed if killed else None] for step in done]
        steps, unfinished = recorded(folder / "gateway")
        assert_same(steps, sure, [step for done in tally.steps for step in done])
        going = {(step.lane, step.episode) for step in steps} - {
            (step.lane, step.episode) for step in steps if step.terminated or step.truncated
        }
        assert set(unfinished) == going
        assert recover(folder / "gateway", "run") == []
        assert recorded(folder / "gateway") == (steps, unfinished)


def assert_same(steps: list[Step], sure: list[Step], possible: list[Step]) -> None:
    assert len(set(steps)) == len(steps)
    assert set(sure) <= set(steps) <= set(possible)
    # Of what came after the last flush, no step is there without those before it.
    for lane in {step.lane for step in steps}:
        own = [step for step in possible if step.lane == lane]
        assert {step for step in steps if step.lane == lane} == set(own[: sum(s.lane == lane for s in steps)])


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_processes_of_their_own_are_recorded_alike(mode: AutoresetMode, tmp_path: Path) -> None:
    tally = Tally(2, mode, (True, True))
    with open_recorder(tmp_path) as recorder:
        envs = RecordVectorEnv(make(AsyncVectorEnv, 2, mode, (True, True), copy=False), recorder)
        envs.reset()
        drive(envs, tally, 0, 15)
        envs.close()
    steps, _ = recorded(tmp_path / "gateway")
    assert set(steps) == {step for done in tally.steps for step in done}
    assert recorder.global_step == len(steps)


def test_a_seed_belongs_to_the_first_episode_of_each_environment(tmp_path: Path) -> None:
    with open_recorder(tmp_path) as recorder:
        envs = RecordVectorEnv(make(SyncVectorEnv, 2, AutoresetMode.SAME_STEP, (True, False)), recorder)
        envs.reset(seed=40)
        drive(envs, Tally(2, AutoresetMode.SAME_STEP, (True, False)), 0, 8)
    seeds = [
        row["seed"]
        for row in sorted(lines(tmp_path / "gateway", "episodes"), key=lambda r: r["episode_index"])
    ]
    assert seeds[:2] == [40, 41]
    assert set(seeds[2:]) == {None}


def test_a_vector_class_of_its_own_deals_out_no_seeds(tmp_path: Path) -> None:
    with Recorder(tmp_path / "gateway", run="run") as recorder:
        envs = RecordVectorEnv(gymnasium.make_vec("CartPole-v1", num_envs=2, max_episode_steps=3), recorder)
        envs.reset(seed=1)
        for _ in range(9):
            envs.step(np.array([0, 1]))
    assert {row["seed"] for row in lines(tmp_path / "gateway", "episodes")} == {None}
    [run] = [row for row in lines(tmp_path / "gateway", "training_runs") if row["status"] == "succeeded"]
    assert run["config"]["vectorization_mode"] == "vector_entry_point"
    environment = lines(tmp_path / "gateway", "environments")[0]
    assert (environment["max_episode_steps"], environment["parameters"]) == (3, {})
    assert all(row["truncated"] for row in lines(tmp_path / "gateway", "episodes"))


def test_the_callers_mask_is_read_before_gymnasium_takes_it(tmp_path: Path) -> None:
    with open_recorder(tmp_path) as recorder:
        envs = RecordVectorEnv(make(SyncVectorEnv, 2, AutoresetMode.DISABLED, (True, False)), recorder)
        envs.reset()
        envs.step(np.array([0, 0]))
        envs.reset(options={"reset_mask": np.array([False, True])})
        envs.step(np.array([0, 0]))
    found = {(row["episode_length"], row["unfinished"]) for row in lines(tmp_path / "gateway", "episodes")}
    assert found == {(2, True), (1, True), (1, None)} or found == {(2, True), (1, None), (1, True)}


def test_training_is_the_same_with_and_without_a_recorder(tmp_path: Path) -> None:
    def trained(recorder: Recorder | None) -> list[bytes]:
        envs = gymnasium.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
        if recorder is not None:
            envs = RecordVectorEnv(envs, recorder)
        envs.action_space.seed(3)
        seen = [envs.reset(seed=3)[0].tobytes()]
        for _ in range(100):
            observations, rewards, terminated, truncated, _ = envs.step(envs.action_space.sample())
            seen += [observations.tobytes(), rewards.tobytes(), terminated.tobytes(), truncated.tobytes()]
        return seen

    with Recorder(tmp_path / "gateway", run="run") as recorder:
        assert trained(recorder) == trained(None)


def test_texts_are_refused_with_a_way_out(tmp_path: Path) -> None:
    class Speaking(Telling):
        def __init__(self) -> None:
            super().__init__()
            self.observation_space = gymnasium.spaces.Text(5)

    with open_recorder(tmp_path) as recorder:
        envs = AsyncVectorEnv([Speaking])
        with pytest.raises(GaelpError, match=r"values of a Text space .* transitions=False"):
            RecordVectorEnv(envs, recorder)
        RecordVectorEnv(envs, recorder, transitions=False)
        envs.close()
