"""The demo's learners learn: known values on small problems, and tile coding as the textbook has it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from gaelp_assets.demo.agents import (
    Learner,
    OneHot,
    QLearning,
    RandomPolicy,
    SarsaLambda,
    Tiles,
    checkpoint_bytes,
    make_learner,
)

OPTIONS = {"learning_rate": 0.5, "discount": 0.9, "trace_decay": 0.8}


def state(number: int) -> np.ndarray:
    return np.array([float(number)])


def walk_corridor(learner: Learner, episodes: int, cells: int = 5) -> None:
    """Action 1 goes right, action 0 left; the end on the right pays 1 and is terminal."""
    for _ in range(episodes):
        cell, over = 0, False
        action, _ = learner.begin(state(cell))
        while not over:
            cell = max(0, cell + (1 if action == 1 else -1))
            over = cell == cells
            action, _ = learner.learn(1.0 if over else 0.0, state(min(cell, cells - 1)), over)


@pytest.mark.parametrize("algorithm", ["q_learning", "sarsa_lambda"])
def test_a_learner_finds_the_way_through_a_corridor(algorithm: str) -> None:
    learner = make_learner(algorithm, OPTIONS, OneHot(5), 2, np.random.default_rng(0))
    learner.exploration = 0.3
    walk_corridor(learner, 200)
    assert [learner.best(state(cell)) for cell in range(5)] == [1] * 5
    assert learner.updates > 1000


def test_q_learning_reaches_the_discounted_optimum() -> None:
    learner = QLearning(OneHot(5), 2, np.random.default_rng(0), learning_rate=0.5, discount=0.9)
    learner.exploration = 0.5
    walk_corridor(learner, 500)
    # Going right from cell k ends 4 - k steps later with a reward of 1.
    assert learner.state()["weights"][1] == pytest.approx([0.9**4, 0.9**3, 0.9**2, 0.9, 1.0], abs=1e-6)


@pytest.mark.parametrize(("terminated", "expected"), [(True, 1.0), (False, 1.9)])
def test_a_truncated_episode_still_has_a_value_and_a_terminated_one_has_none(
    terminated: bool, expected: float
) -> None:
    learner = QLearning(OneHot(2), 1, np.random.default_rng(0), learning_rate=1.0, discount=0.9)
    learner.state()["weights"][:] = [[0.0, 1.0]]
    learner.begin(state(0))
    learner.learn(1.0, state(1), terminated)
    assert learner.state()["weights"][0, 0] == pytest.approx(expected)


def test_sarsa_lambda_credits_earlier_steps_by_their_traces() -> None:
    learner = SarsaLambda(
        OneHot(3), 1, np.random.default_rng(0), learning_rate=0.5, discount=0.9, trace_decay=0.8
    )
    learner.state()["weights"][:] = 0.0
    learner.begin(state(0))
    learner.learn(0.0, state(1), terminated=False)
    learner.learn(0.0, state(2), terminated=False)
    learner.learn(1.0, state(2), terminated=True)
    decay = 0.9 * 0.8
    assert learner.state()["weights"][0] == pytest.approx([0.5 * decay**2, 0.5 * decay, 0.5])


@pytest.mark.parametrize("exploration", [0.0, 0.4, 1.0])
def test_the_reported_probability_is_that_of_the_action(exploration: float) -> None:
    learner = QLearning(OneHot(1), 4, np.random.default_rng(0), learning_rate=0.1, discount=0.9)
    learner.exploration = exploration
    choices = [learner.begin(state(0)) for _ in range(4000)]
    for action, probability in set(choices):
        frequency = sum(choice[0] == action for choice in choices) / len(choices)
        assert frequency == pytest.approx(probability, abs=0.03)


def test_the_random_policy_learns_nothing() -> None:
    learner = RandomPolicy(4, np.random.default_rng(0))
    before = checkpoint_bytes(learner.state())
    actions = {learner.begin(state(0))[0]} | {learner.learn(1.0, state(0), False)[0] for _ in range(100)}
    assert actions == {0, 1, 2, 3}
    assert checkpoint_bytes(learner.state()) == before
    assert learner.updates == 0


def test_tiles_are_one_cell_in_each_grid_and_never_out_of_bounds() -> None:
    tiles = Tiles((-1.0, 0.0), (1.0, 10.0), (4, 5), grids=8)
    rng = np.random.default_rng(0)
    points = [*rng.uniform((-3.0, -5.0), (3.0, 20.0), (500, 2)), np.array([1.0, 10.0]), np.array([-1.0, 0.0])]
    cells_per_grid = tiles.size // 8
    for point in points:
        cells = tiles(point)
        assert (cells // cells_per_grid == np.arange(8)).all()


def test_close_points_share_more_tiles_than_distant_ones() -> None:
    tiles = Tiles((0.0,), (1.0,), (10,), grids=8)
    shared = [
        int((tiles(np.array([0.5])) == tiles(np.array([0.5 + d]))).sum()) for d in (0.0, 0.03, 0.06, 0.2)
    ]
    assert shared[0] == 8
    assert shared == sorted(shared, reverse=True)
    assert shared[-1] == 0


def test_one_grid_is_a_plain_discretisation() -> None:
    tiles = Tiles((0.0, 0.0), (1.0, 1.0), (2, 3), grids=1)
    cells = [int(tiles(np.array([x, y]))[0]) for y in (0.1, 0.5, 0.9) for x in (0.1, 0.9)]
    assert cells == list(range(6))
    assert tiles.size == 6


def test_a_checkpoint_is_the_same_bytes_and_can_be_read_back() -> None:
    arrays = {"weights": np.arange(6.0).reshape(2, 3), "trace": np.zeros(2)}
    content = checkpoint_bytes(arrays)
    assert (
        hashlib.sha256(content).digest()
        == hashlib.sha256(checkpoint_bytes(dict(reversed(arrays.items())))).digest()
    )
    import io

    with np.load(io.BytesIO(content)) as loaded:
        assert sorted(loaded.files) == ["trace", "weights"]
        assert (loaded["weights"] == arrays["weights"]).all()


def test_an_unknown_algorithm_is_an_error() -> None:
    with pytest.raises(KeyError, match="ppo"):
        make_learner("ppo", OPTIONS, OneHot(2), 2, np.random.default_rng(0))
