"""Runs of MLflow, out of its database and its folder, as it wrote them and as they come when they are damaged."""

from __future__ import annotations

import math
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.importers.source import Options
from gaelp_assets_tests.importers.sources import FIXTURES, read

NOTHING = Options()
REPLACED = "a value that a later one at the same step replaced"
BEFORE = "a step below 0 or beyond 64 bits"
DELETED = "a run that was deleted in MLflow"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        dump = (FIXTURES / "mlflow" / "mlflow.sql").read_text()
        connection.executescript(f"BEGIN; {dump} COMMIT;")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "mlflow" / "mlruns", tmp_path / "mlruns"))


def values(metrics: list[dict[str, object]], run: object) -> dict[tuple[Any, Any], Any]:
    return {
        (m["name"], m["global_step"]): m.get("value", m.get("non_finite"))
        for m in metrics
        if m["training_run_id"] == run
    }


def test_each_value_of_the_database_is_a_row_or_counted(database: Path) -> None:
    found, tally = read("mlflow", database, NOTHING)
    with closing(sqlite3.connect(database)) as connection:
        query = (
            "SELECT m.key, m.step, m.value, m.is_nan, m.run_uuid FROM metrics m JOIN runs r USING (run_uuid)"
            " WHERE r.lifecycle_stage = 'active' ORDER BY m.timestamp"
        )
        told = connection.execute(query).fetchall()
    metrics = found["training.metrics"]
    assert tally.dropped == {REPLACED: 3, BEFORE: 3, DELETED: 1}
    assert len(metrics) + 6 == len(told)
    assert tally.read == len(told) + 1
    for run in {run for *_, run in told}:
        finite = {
            (name, step): value
            for name, step, value, _, of in told
            if of == run and name != "odd" and step >= 0
        }
        mine = values(metrics, run)
        assert {key: value for key, value in mine.items() if key[0] != "odd"} == finite
        assert [mine["odd", step] for step in (1, 2, 3)] == ["NaN", "Infinity", "-Infinity"]
        assert mine["twice", 5] == 2.0
    assert any("greatest finite number" in note for note in tally.notes)


def test_runs_have_status_times_and_parameters(database: Path) -> None:
    found, _ = read("mlflow", database, NOTHING)
    runs = found["training.training_runs"]
    assert [(r["status"], r["seed"]) for r in runs] == [("succeeded", 3), ("failed", 4), ("running", 5)]
    assert runs[0]["started_at"] == "2026-11-05T17:33:20.000000Z"
    assert runs[0]["finished_at"] == "2026-11-05T17:34:00.000000Z"
    assert runs[2]["finished_at"] is None
    assert all(r["updated_at"] >= (r["finished_at"] or "") for r in runs)
    assert runs[1]["config"]["parameters"]["lr"] == "0.01"
    assert runs[0]["config"]["source"]["name"] == "first run"
    # One agent of three runs has the parameters that they share.
    [agent] = found["training.agents"]
    assert (agent["agent_id"], agent["hyperparameters"]) == ("ppo", {"algo": "ppo", "env_id": "CartPole-v1"})
    assert {m["environment_id"] for m in found["training.metrics"]} == {"CartPole-v1"}


def test_each_value_of_the_folder_is_a_row_or_counted(folder: Path) -> None:
    found, tally = read("mlflow", folder, NOTHING)
    [run] = found["training.training_runs"]
    [metrics] = folder.glob(f"*/{run['training_run_id']}/metrics")
    told = {
        (path.relative_to(metrics).as_posix(), int(line.split()[2])): float(line.split()[1])
        for path in metrics.rglob("*")
        if path.is_file()
        for line in path.read_text().splitlines()
    }
    mine = {
        key: float(str(value))
        for key, value in values(found["training.metrics"], run["training_run_id"]).items()
    }
    del told["before", -5]
    assert mine.keys() == told.keys()
    assert all(
        value == told[key] or (math.isnan(value) and math.isnan(told[key])) for key, value in mine.items()
    )
    assert tally.dropped == {REPLACED: 1, BEFORE: 1, DELETED: 1}
    assert not any("greatest finite number" in note for note in tally.notes)
    assert run["config"]["source"]["experiment"] == "cartpole"


def test_a_run_or_an_experiment_can_be_imported_alone(folder: Path) -> None:
    found, _ = read("mlflow", folder, NOTHING)
    run = found["training.training_runs"][0]["training_run_id"]
    [alone] = folder.glob(f"*/{run}")
    assert read("mlflow", alone, NOTHING)[0] == found == read("mlflow", alone.parent, NOTHING)[0]
    named, _ = read("mlflow", alone, Options(run="mine", agent="my-agent"))
    assert {m["training_run_id"] for m in named["training.metrics"]} == {"mine"}


def test_one_name_for_several_runs_is_refused(database: Path) -> None:
    with pytest.raises(GaelpError, match="3 runs, and --run names one"):
        read("mlflow", database, Options(run="mine"))


def test_a_line_that_is_cut_off_says_at_which_byte(folder: Path) -> None:
    complete, _ = read("mlflow", folder, NOTHING)
    run = complete["training.training_runs"][0]["training_run_id"]
    [path] = folder.glob(f"*/{run}/metrics/train/loss")
    whole = path.read_bytes()
    for cut in range(0, len(whole), 5):
        path.write_bytes(whole[:cut])
        found, tally = read("mlflow", folder, NOTHING)
        if cut == 0 or whole[cut - 1 : cut] == b"\n":
            assert not tally.damage
        else:
            assert tally.damage[0].what == f"byte {cut}: the file ends within a line"
            assert tally.damage[0].where == f"{path}:{whole[:cut].count(b'%c' % 10) + 1}"
        assert len(found["training.metrics"]) <= len(complete["training.metrics"])


def test_a_database_that_is_cut_off_says_at_which_byte(database: Path) -> None:
    whole = database.read_bytes()
    for cut in random.Random(4).sample(range(100, len(whole)), 15):
        database.write_bytes(whole[:cut])
        found, tally = read("mlflow", database, NOTHING)
        assert tally.damage[0].what.startswith(f"byte {cut}: the file ends here")
        assert not found


def test_flipped_bits_are_damage_or_other_values_and_never_a_crash(database: Path) -> None:
    whole = database.read_bytes()
    for place in random.Random(5).sample(range(len(whole)), 80):
        database.write_bytes(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1 :])
        try:
            read("mlflow", database, NOTHING)
        except GaelpError:
            continue


def test_what_is_no_store_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no database")
    with pytest.raises(GaelpError, match="byte 0: no SQLite database"):
        read("mlflow", tmp_path / "file", NOTHING)
    with pytest.raises(GaelpError, match="no run of MLflow"):
        read("mlflow", tmp_path, NOTHING)
    with pytest.raises(GaelpError, match="no such file or folder"):
        read("mlflow", tmp_path / "none", NOTHING)
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.executescript("CREATE TABLE runs (a); INSERT INTO runs VALUES (1)")
    with pytest.raises(GaelpError, match="no table experiments"):
        read("mlflow", tmp_path / "other.db", NOTHING)


def test_names_that_the_run_does_not_give_are_asked_for(folder: Path) -> None:
    for path in folder.glob("*/*/params/*"):
        path.unlink()
    with pytest.raises(GaelpError, match="Add --agent ID"):
        read("mlflow", folder, NOTHING)
    with pytest.raises(GaelpError, match="Add --environment ID"):
        read("mlflow", folder, Options(agent="mine"))
