"""A change of the catalogue, killed with SIGKILL at any step or instant and followed again, ends as a fresh load of all files does."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import pytest

from gaelp_assets_tests.assets.test_asset_runs import FIELDS, row, rows
from gaelp_assets_tests.chaos import killed_changes
from gaelp_assets_tests.chaos.killed_runs import small_platform
from gaelp_assets_tests.chaos.processes import DEADLINE_SECONDS
from gaelp_assets_tests.chaos.test_killed_runs import fill, ingest, outcome
from gaelp_assets_tests.chaos.workloads import put
from gaelp_assets_tests.platforms import ndjson
from gaelp_assets_tests.processes import FORKED

ENVIRONMENTS: Final = ("CartPole-v1", "Taxi-v3")
LEDGER: Final = (
    "SELECT batch_id, slice_date, slice_environment, lines, loaded, duplicate, rejected FROM ops.import_logs "
    "WHERE dataset = 'lab' ORDER BY 1, 2, 3"
)
LETTERS: Final = "SELECT batch_id, line_number FROM ops.dead_letter ORDER BY 1, 2"

Edit = Callable[[Path], None]
"""Makes another catalogue of a home's, or gives it more files."""


@dataclass(frozen=True)
class Change:
    """What is done to a platform that has loaded its files: edits, each followed before the next one as far as it comes."""

    edits: tuple[Edit, ...]
    rebuild: bool = False
    queries: tuple[str, ...] = ()
    """What else shows whether the change was followed."""
    reverts: bool = False
    """Whether all is as before in the end."""


def edited_json(home: Path, name: str, **keys: Any) -> None:
    path = home / "catalog" / "lab" / f"{name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def curve_of(score: str) -> Edit:
    """The sliced derived table with that expression for its score."""

    def edit(home: Path) -> None:
        (home / "catalog" / "lab" / "curve.sql").write_text(
            f"SELECT date, environment, player, step, {score} AS score FROM lab.scores GROUP BY date, environment, player, step"
        )

    return edit


def weights(home: Path) -> None:
    """A new nullable field, rows that have it, and a derived table that has it too."""
    fields = [*FIELDS, {"name": "weight", "type": "FLOAT"}]
    edited_json(home, "scores", fields=fields)
    edited_json(home, "curve", fields=fields)
    (home / "catalog" / "lab" / "curve.sql").write_text(
        "SELECT date, environment, player, step, MAX(score) AS score, MAX(weight) AS weight FROM lab.scores "
        "GROUP BY date, environment, player, step"
    )
    for environment in ENVIRONMENTS:
        lines = [row(2, environment, step, weight=step / 2) for step in (8, 9)]
        put(home, f"{folder_of(environment)}/weighed.ndjson", ndjson(lines))


def lenient(home: Path) -> None:
    """The rule takes what it has rejected."""
    check = {"name": "greater_than_or_equal_to", "arguments": {"min_value": -5}}
    declared = cast("Sequence[dict[str, Any]]", FIELDS)
    fields = [{**each, "checks": [check]} if each["name"] == "step" else each for each in declared]
    edited_json(home, "scores", fields=fields)


def folder_of(environment: str) -> str:
    return f"cloud_ready/lab/scores/date=2026-11-02/environment={environment}"


CHANGES: Final = {
    "changed SQL": Change((curve_of("MIN(score) + 1"),)),
    "new field": Change(
        (weights,), queries=("SELECT step, weight FROM lab.curve ORDER BY environment, step",)
    ),
    "rebuild by another rule": Change((lenient,), rebuild=True),
    "reverted SQL": Change((curve_of("MIN(score) + 1"), curve_of("MAX(score)")), reverts=True),
}


@dataclass
class Follower:
    """Follows a change in processes of their own, and kills them."""

    change: Change
    chance: random.Random
    steps: dict[bool, int] = field(default_factory=dict)
    """How many steps an undisturbed process takes, in Dagster's runs and without them."""
    seconds: dict[bool, float] = field(default_factory=dict)
    """How long it takes, for kills at an instant."""
    kills: int = 0

    def follow(
        self, home: Path, *, in_runs: bool = True, fatal_step: int | None = None, seconds: float | None = None
    ) -> list[str] | None:
        """The steps of the process; None if it was killed: at that step, or after as many seconds."""
        told = home / "steps"
        told.unlink(missing_ok=True)
        process = FORKED.Process(
            target=killed_changes.follow,
            args=(home, fatal_step, told),
            kwargs={"rebuild": self.change.rebuild, "in_runs": in_runs},
        )
        process.start()
        process.join(DEADLINE_SECONDS if seconds is None else seconds)
        if process.is_alive():
            process.kill()
            process.join(DEADLINE_SECONDS)
            assert seconds is not None, "it hangs"
        if process.exitcode == -signal.SIGKILL:
            self.kills += 1
            return None
        assert process.exitcode == 0, "it failed"
        return told.read_text().splitlines()

    def measure(self, home: Path, *, in_runs: bool) -> None:
        """Follows the change undisturbed; of several edits, the longest counts."""
        started = time.monotonic()
        steps = self.follow(home, in_runs=in_runs)
        assert steps is not None
        self.steps[in_runs] = max(self.steps.get(in_runs, 1), len(steps))
        self.seconds[in_runs] = max(self.seconds.get(in_runs, 0.0), time.monotonic() - started)

    def killed(self, home: Path) -> bool:
        """Has a process follow the change and die at a step or an instant that is drawn; whether it was killed."""
        in_runs = self.chance.random() < 0.2
        if self.chance.random() < 0.7:
            fatal = self.chance.randrange(self.steps[in_runs])
            return self.follow(home, in_runs=in_runs, fatal_step=fatal) is None
        seconds = self.chance.uniform(0, self.seconds[in_runs])
        return self.follow(home, in_runs=in_runs, seconds=seconds) is None


def ending(home: Path, *queries: str) -> list[list[tuple[Any, ...]]]:
    """All rows of the home, and what the ledger and the dead letter say of its files."""
    query = small_platform(home).warehouse.query
    return [*outcome(home), *(query(sql).frame.rows() for sql in (LEDGER, LETTERS, *queries))]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose files are still to be loaded, some lines of which its rule rejects."""
    home = tmp_path_factory.mktemp("files") / "home"
    fill(home)
    for environment in ENVIRONMENTS:
        lines = [*rows(2, environment, count=2), row(2, environment, -1)]
        put(home, f"{folder_of(environment)}/early.ndjson", ndjson(lines))
    return home


@pytest.fixture(scope="module")
def loaded(files: Path) -> Path:
    """The same once they are loaded."""
    home = files.with_name("loaded")
    shutil.copytree(files, home)
    assert ingest(home)
    return home


@pytest.mark.parametrize("name", CHANGES)
def test_changes_killed_between_any_two_steps(
    name: str, files: Path, loaded: Path, tmp_path: Path, seed: int, kills: int
) -> None:
    change = CHANGES[name]
    fresh, home = tmp_path / "fresh", tmp_path / "home"
    shutil.copytree(files, fresh)
    for edit in change.edits:
        edit(fresh)
    assert ingest(fresh)
    expected = ending(fresh, *change.queries)
    assert (ending(loaded) == expected[: -len(change.queries) or None]) is change.reverts
    follower = Follower(change, random.Random(f"{seed} {name}"))
    for in_runs in (False, True):
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(loaded, home)
        for edit in change.edits:
            edit(home)
            follower.measure(home, in_runs=in_runs)
    assert ending(home, *change.queries) == expected
    while follower.kills < max(kills // len(CHANGES), 1):
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(loaded, home)
        for edit in change.edits:
            edit(home)
            for _ in range(follower.chance.randint(1, 12)):
                if not follower.killed(home):
                    break
        assert follower.follow(home) is not None
        assert ending(home, *change.queries) == expected, f"after {follower.kills} kills"
        print(f"{name}: {follower.kills} kills, of {follower.steps} steps")
