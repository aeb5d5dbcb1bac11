"""What the demo publishes: the same bytes each time, rows that the catalogue takes, and curves that rise."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog import WHOLE, Slice, load_catalog
from gaelp_assets.demo import orchestrator
from gaelp_assets.demo.equipment import registry_rows
from gaelp_assets.demo.orchestrator import DayReport, ProducedFile, Progress, default_dates, produce
from gaelp_assets.demo.tasks import AGENTS, DEMO_ENVIRONMENTS, SIZES, Size
from gaelp_assets.ingest.compiled import CompiledRelation
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets.ingest.validate import Validator

DATES = default_dates(dt.date(2026, 3, 2), days=2)
FACTS = ("episodes", "transitions", "checkpoints", "evaluations")


class Demo:
    """A finished demo: its files, its checkpoints' bytes and its reports."""

    def __init__(
        self, *, seeds: Sequence[int] = (0,), size: Size = SIZES["quick"], dates: Sequence[dt.date] = DATES
    ) -> None:
        self.files: list[ProducedFile] = []
        self.saved: dict[str, bytes] = {}
        self.progress: list[Progress] = []
        self.reports: list[DayReport] = list(
            produce(
                self.files.append,
                self._save,
                dates=dates,
                seeds=seeds,
                size=size,
                on_progress=self.progress.append,
            )
        )

    def _save(self, name: str, content: bytes) -> str:
        assert name not in self.saved
        self.saved[name] = content
        return f"file:///checkpoints/{name}"

    def rows(self, table: str) -> list[dict[str, Any]]:
        return [row for file in self.files if file.table == table for row in file.rows]


@pytest.fixture(scope="module")
def demo() -> Demo:
    return Demo()


def as_bytes(file: ProducedFile) -> bytes:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in file.rows).encode()


def place(file: ProducedFile) -> tuple[str, ...]:
    return (file.stage, file.dataset, file.table, file.slice.path if file.slice else "", file.name)


def test_the_same_arguments_give_the_same_bytes(demo: Demo) -> None:
    again = Demo()
    assert [(place(f), hashlib.sha256(as_bytes(f)).hexdigest()) for f in again.files] == [
        (place(f), hashlib.sha256(as_bytes(f)).hexdigest()) for f in demo.files
    ]
    assert again.saved == demo.saved


def test_no_two_files_have_one_name(demo: Demo) -> None:
    assert len({place(file) for file in demo.files}) == len(demo.files)


def test_another_seed_or_date_is_other_files_and_other_keys(demo: Demo) -> None:
    later = Demo(seeds=(1,), dates=[date + dt.timedelta(days=1) for date in DATES])
    facts = {place(f) for f in demo.files if f.table in FACTS}
    assert not facts & {place(f) for f in later.files}
    keys = {row["episode_id"] for row in demo.rows("episodes")}
    assert not keys & {row["episode_id"] for row in later.rows("episodes")}


CATALOG = load_catalog()


@cache
def compiled(relation_id: str) -> CompiledRelation:
    return CompiledRelation(CATALOG[relation_id])


def rejected(file: ProducedFile) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    validator = Validator(
        compiled(f"{file.dataset}.{file.table}"),
        first_date=DATES[0],
        last_date=DATES[-1],
        slice_=file.slice or WHOLE,
    )
    for chunk in validator.validate(LineReader(io.BytesIO(as_bytes(file)), f"{file.name}.ndjson")):
        for row in chunk.rejects.to_dicts():
            yield row["line_number"], [(reason["field"], reason["rule"]) for reason in row["reasons"]]


def test_the_catalogue_takes_every_row_that_a_trainer_writes(demo: Demo) -> None:
    training = [file for file in demo.files if file.dataset == "training"]
    assert {file.table for file in training} == {"environments", "agents", "training_runs", *FACTS}
    assert [(place(file), bad) for file in training for bad in rejected(file)] == []


def test_the_equipment_registry_has_five_bad_rows_each_for_its_own_reason(demo: Demo) -> None:
    (file,) = (file for file in demo.files if file.table == "universal_equipment_registry")
    found = dict(rejected(file))
    assert len(file.rows) == 17
    assert {number: [field for field, _ in reasons] for number, reasons in found.items()} == {
        13: ["primary_id_value"],
        14: ["primary_id_value"],
        15: ["equipment_category"],
        16: ["primary_id_type"],
        17: ["model"],
    }
    assert registry_rows(DATES[0]) == file.rows


def test_the_catalogue_takes_every_diagnostic_session(demo: Demo) -> None:
    sessions = [file for file in demo.files if file.table == "diagnostic_sessions"]
    assert len(sessions) == len(DATES)
    assert [rejected(file) for file in sessions if list(rejected(file))] == []
    assert any(row["codes"] for file in sessions for row in file.rows)


def test_rows_lie_in_the_slice_that_their_file_says(demo: Demo) -> None:
    for file in demo.files:
        if file.table == "diagnostic_sessions":
            assert {Slice(dt.date.fromisoformat(str(row["date"]))) for row in file.rows} == {file.slice}
        elif file.table not in FACTS:
            assert file.slice == WHOLE
        elif file.stage == "raw":
            assert file.slice is None
        else:
            found = {
                Slice(dt.date.fromisoformat(str(r["date"])), str(r["environment_id"])) for r in file.rows
            }
            assert found == {file.slice}


def test_on_the_first_date_each_environment_is_published_before_the_next_is_trained() -> None:
    """Who has just started the demo waits for the first curve, not for the training of all environments."""
    events: list[tuple[str, str]] = []

    def publish(file: ProducedFile) -> None:
        if file.table == "episodes" and file.slice is not None:
            events.append((str(file.slice.date), file.slice.environment or ""))

    def progress(found: Progress) -> None:
        events.append(("trained", found.label.partition(" ")[0]))

    size = SIZES["quick"]
    list(produce(publish, lambda name, _: name, dates=DATES, seeds=(0,), size=size, on_progress=progress))
    names = [environment.id for environment in DEMO_ENVIRONMENTS]
    of_each = [(first, name) for name in names for first in ["trained"] * 3 + [str(DATES[0])] * 3]
    trained = [("trained", name) for name in names for _ in AGENTS]
    published = [(str(DATES[1]), name) for name in names for _ in AGENTS]
    assert events == of_each + trained + published


def test_evaluations_of_all_environments_come_unsorted_through_raw(demo: Demo) -> None:
    raw = [file for file in demo.files if file.stage == "raw"]
    assert [file.table for file in raw] == ["evaluations"] * len(DATES)
    assert {row["environment_id"] for row in raw[0].rows} == {
        environment.id for environment in DEMO_ENVIRONMENTS
    }


def test_each_date_is_published_before_it_is_reported() -> None:
    files: list[ProducedFile] = []
    days = produce(
        files.append, lambda name, _: f"file:///{name}", dates=DATES, seeds=(0,), size=SIZES["quick"]
    )
    first = next(days)
    assert first.date == DATES[0]
    assert first.files == len(files) > 0
    assert first.rows == sum(len(file.rows) for file in files)
    assert {row["date"] for file in files if file.table in FACTS for row in file.rows} == {
        DATES[0].isoformat()
    }
    assert next(days).files == len(files) - first.files
    assert list(days) == []


def test_progress_counts_every_run_of_every_date(demo: Demo) -> None:
    runs = len(DEMO_ENVIRONMENTS) * len(AGENTS)
    assert [(p.date, p.done, p.total) for p in demo.progress] == [
        (date, done, runs) for date in DATES for done in range(1, runs + 1)
    ]


def test_foreign_keys_are_met_and_keys_are_unique(demo: Demo) -> None:
    catalog = load_catalog()
    for relation in catalog.loaded:
        if relation.dataset != "training":
            continue
        rows = demo.rows(relation.name)
        for foreign in relation.foreign_keys:
            known = {
                tuple(row[f] for f in foreign.targets)
                for row in demo.rows(catalog.find(foreign.references).name)
            }
            used = {tuple(row.get(f) for f in foreign.fields) for row in rows} - {(None,)}
            assert used <= known, (relation.id, foreign)
        # A run's row is sent again on each date.
        dated = relation.name == "training_runs"
        keys = [(*(row[f] for f in relation.primary_key), row["updated_at"] if dated else "") for row in rows]
        assert len(set(keys)) == len(keys), relation.id


def test_a_recorded_episode_has_all_its_transitions_and_they_add_up(demo: Demo) -> None:
    by_episode = defaultdict(list)
    for row in demo.rows("transitions"):
        by_episode[row["episode_id"]].append(row)
    recorded = {row["episode_id"]: row for row in demo.rows("episodes") if row["transitions_recorded"]}
    assert by_episode.keys() == recorded.keys()
    assert {row["purpose"] for row in recorded.values()} == {"training", "evaluation"}
    for episode_id, episode in recorded.items():
        steps = by_episode[episode_id]
        assert [row["step_index"] for row in steps] == list(range(episode["episode_length"]))
        assert sum(row["reward"] for row in steps) == pytest.approx(episode["episode_return"])
        *before, last = steps
        assert (last["terminated"], last["truncated"]) == (episode["terminated"], episode["truncated"])
        assert last["terminated"] or last["truncated"]
        assert len(last["final_observation"]) == len(last["observation"])
        assert not any(row["terminated"] or row["truncated"] or row["final_observation"] for row in before)
        if episode["purpose"] == "training":
            assert last["global_step"] == episode["global_step"]


def test_an_episode_ends_on_its_date_and_a_run_goes_on_from_day_to_day(demo: Demo) -> None:
    by_run = defaultdict(list)
    for row in demo.rows("episodes"):
        assert row["ended_at"][:10] == row["date"]
        if row["purpose"] == "training":
            by_run[row["training_run_id"]].append(row)
    assert len(by_run) == len(DEMO_ENVIRONMENTS) * len(AGENTS)
    for episodes in by_run.values():
        assert [row["episode_index"] for row in episodes] == list(range(len(episodes)))
        steps = 0
        for row in episodes:
            steps += row["episode_length"]
            assert row["global_step"] == steps
        assert {row["date"] for row in episodes} == {date.isoformat() for date in DATES}


def test_a_run_is_running_until_its_last_date(demo: Demo) -> None:
    rows = demo.rows("training_runs")
    assert {(row["updated_at"][:10], row["status"], row["finished_at"] is None) for row in rows} == {
        (DATES[0].isoformat(), "running", True),
        (DATES[1].isoformat(), "succeeded", False),
    }


def test_checkpoints_name_the_bytes_that_were_saved_and_their_parents(demo: Demo) -> None:
    rows = demo.rows("checkpoints")
    assert len(rows) == len(demo.saved) == len(DEMO_ENVIRONMENTS) * len(AGENTS) * len(DATES)
    by_id = {row["checkpoint_id"]: row for row in rows}
    for row in rows:
        content = demo.saved[row["uri"].removeprefix("file:///checkpoints/")]
        assert (row["bytes"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        if row["date"] == DATES[0].isoformat():
            assert row["parent_checkpoint_id"] is None
        else:
            parent = by_id[row["parent_checkpoint_id"]]
            assert parent["training_run_id"] == row["training_run_id"]
            assert parent["global_step"] < row["global_step"]


def test_evaluations_use_the_same_seeds_for_every_run(demo: Demo) -> None:
    seeds = defaultdict(set)
    for row in demo.rows("episodes"):
        if row["purpose"] == "evaluation":
            seeds[row["training_run_id"], row["date"]].add(row["seed"])
    assert len({frozenset(found) for found in seeds.values()}) == 1
    for row in demo.rows("evaluations"):
        assert row["mean_return"] == pytest.approx(sum(row["episode_returns"]) / row["episode_count"])
        assert row["min_return"] <= row["mean_return"] <= row["max_return"]


def test_a_learner_rises_and_the_random_policy_stays_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    lake = [environment for environment in DEMO_ENVIRONMENTS if environment.id == "FrozenLake-v1"]
    monkeypatch.setattr(orchestrator, "DEMO_ENVIRONMENTS", lake)
    first, last = Demo(seeds=(0, 1), size=Size(2500, 5, 1000)).reports
    for agent in ("q-learning", "sarsa-lambda"):
        assert first.mean_returns["FrozenLake-v1", agent] < last.mean_returns["FrozenLake-v1", agent] - 0.2
        assert last.mean_returns["FrozenLake-v1", agent] > 0.5
    assert (
        abs(first.mean_returns["FrozenLake-v1", "random"] - last.mean_returns["FrozenLake-v1", "random"])
        < 0.03
    )


@pytest.mark.parametrize("dates", [[], [DATES[1], DATES[0]], [DATES[0], DATES[0]]])
def test_dates_that_do_not_rise_are_refused_at_once(dates: list[dt.date]) -> None:
    with pytest.raises(ValueError, match="dates"):
        produce(lambda _: None, lambda *_: "", dates=dates, size=SIZES["quick"])


@pytest.mark.parametrize("seeds", [[], [1, 1]])
def test_no_seed_or_one_twice_is_refused_at_once(seeds: list[int]) -> None:
    with pytest.raises(ValueError, match="seeds"):
        produce(lambda _: None, lambda *_: "", dates=DATES, seeds=seeds, size=SIZES["quick"])


def test_importing_the_demo_does_not_import_gymnasium() -> None:
    import subprocess
    import sys

    code = "import sys, gaelp_assets.demo.orchestrator; sys.exit('gymnasium' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode
        == 0
    )
