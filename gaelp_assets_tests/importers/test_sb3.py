"""Files of Stable-Baselines3, as it wrote them, and as they come when they are cut off, grow, or are no such files."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaelp_assets.errors import GaelpError, TransientError
from gaelp_assets.importers import sb3_evaluations, sb3_monitor
from gaelp_assets.importers.kinds import kind
from gaelp_assets.importers.source import Options, Tally
from gaelp_assets.operations.importing import import_rows, out_of_reach
from gaelp_assets.platform import open_platform
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.platforms import platform_in, rows

FIXTURES = Path(__file__).parent / "fixtures" / "sb3"
MINE = Options(agent="mine", run="run-1", algorithm="PPO")


def read(
    path: Path, options: Options = MINE, module: Any = sb3_monitor
) -> tuple[dict[str, list[Any]], Tally]:
    """The rows of a source by table, and the tally."""
    tally, found = Tally(), dict[str, list[Any]]()
    for table, row in module.rows(path, options, tally):
        found.setdefault(table, []).append(row)
    return found, tally


def lines(file: Path) -> list[dict[str, str]]:
    """An independent reading: the lines of a Monitor file."""
    with file.open(newline="") as stream:
        next(stream)
        return list(csv.DictReader(stream))


def test_a_vectors_episodes_are_those_of_its_files_in_order_of_time() -> None:
    found, tally = read(FIXTURES / "vector")
    told = [line for name in ("0", "1") for line in lines(FIXTURES / "vector" / f"{name}.monitor.csv")]
    episodes = found["training.episodes"]
    assert tally.read == len(episodes) == len(told)
    assert sorted((e["episode_return"], e["episode_length"]) for e in episodes) == sorted(
        (float(line["r"]), int(line["l"])) for line in told
    )
    assert [e["ended_at"] for e in episodes] == sorted(e["ended_at"] for e in episodes)
    assert [e["episode_index"] for e in episodes] == list(range(len(told)))
    assert [e["global_step"] for e in episodes] == np.cumsum([e["episode_length"] for e in episodes]).tolist()
    assert {e["environment_id"] for e in episodes} == {"CartPole-v1"}
    assert not any(
        {"terminated", "truncated", "seed", "policy_version", "started_at"} & e.keys() for e in episodes
    )
    [run] = found["training.training_runs"]
    assert (run["global_step"], run["episode_count"]) == (episodes[-1]["global_step"], len(told))
    assert any("6 digits" in note for note in tally.notes)


def test_a_resumed_file_was_read_in_order_of_its_times() -> None:
    """Its second part counts from 0 again: sorted by time, as the tool's own reader does it, the parts mix."""
    found, tally = read(FIXTURES / "resumed")
    told = lines(FIXTURES / "resumed" / "monitor.csv")
    episodes = found["training.episodes"]
    assert [e["episode_length"] for e in episodes] == [int(line["l"]) for line in told]
    assert [e["ended_at"] for e in episodes] == sorted(e["ended_at"] for e in episodes)
    assert any("restart" in note for note in tally.notes)
    metrics = found["training.metrics"]
    assert [(m["name"], m["value"]) for m in metrics[:2]] == [
        ("monitor/is_success", 0.0),
        ("monitor/energy", 0.5),
    ]
    assert len({(m["name"], m["global_step"]) for m in metrics}) == len(metrics) == 2 * len(told)


def test_a_file_that_is_cut_off_says_at_which_byte(tmp_path: Path) -> None:
    whole = (FIXTURES / "vector" / "0.monitor.csv").read_bytes()
    complete, _ = read(FIXTURES / "vector" / "0.monitor.csv")
    ends = {index + 1 for index, byte in enumerate(whole) if byte == ord("\n")}
    file = tmp_path / "0.monitor.csv"
    for cut in range(len(whole) + 1):
        file.write_bytes(whole[:cut])
        found, tally = read(file, dataclasses.replace(MINE, environment="CartPole-v1"))
        episodes = found.get("training.episodes", [])
        assert episodes == complete["training.episodes"][: len(episodes)]
        if cut in ends or cut == 0:
            assert not tally.damage
        else:
            start = max((end for end in ends if end <= cut), default=0)
            assert [problem.where for problem in tally.damage] == [f"byte {start:,} of 0.monitor.csv"]


def test_a_flipped_bit_is_damage_or_another_number_and_never_a_crash(tmp_path: Path) -> None:
    whole = (FIXTURES / "vector" / "1.monitor.csv").read_bytes()
    file = tmp_path / "1.monitor.csv"
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        try:
            found, tally = read(file)
        except GaelpError:
            continue
        assert len(found.get("training.episodes", [])) + tally.dropped.total() <= tally.read


def test_a_file_that_grew_gives_the_rows_that_it_gave_before(tmp_path: Path) -> None:
    whole = (FIXTURES / "resumed" / "monitor.csv").read_bytes()
    file = tmp_path / "monitor.csv"
    complete, _ = read(FIXTURES / "resumed" / "monitor.csv")
    for end in [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")][1:]:
        file.write_bytes(whole[:end])
        found, _ = read(file)
        episodes = found.get("training.episodes", [])
        assert episodes == complete["training.episodes"][: len(episodes)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(), "Add --agent ID"),
        (Options(agent="mine", run="r"), None),
    ],
)
def test_what_neither_the_source_nor_the_user_says_is_asked_for(options: Options, said: str | None) -> None:
    if said is None:
        read(FIXTURES / "vector", options)
        return
    with pytest.raises(GaelpError, match=said):
        read(FIXTURES / "vector", options)


def test_evaluations_are_those_of_the_arrays() -> None:
    options = dataclasses.replace(MINE, environment="CartPole-v1")
    found, tally = read(FIXTURES / "evaluations", options, sb3_evaluations)
    with np.load(FIXTURES / "evaluations" / "evaluations.npz") as arrays:
        steps, returns, lengths = (arrays[name] for name in ("timesteps", "results", "ep_lengths"))
    evaluations = found["training.evaluations"]
    assert [e["global_step"] for e in evaluations] == steps.tolist()
    assert [e["episode_returns"] for e in evaluations] == returns.tolist()
    assert [e["mean_length"] for e in evaluations] == lengths.mean(axis=1).tolist()
    assert all(e["min_return"] <= e["mean_return"] <= e["max_return"] for e in evaluations)
    assert not any(
        {"seed", "policy_version", "deterministic", "checkpoint_id"} & e.keys() for e in evaluations
    )
    with pytest.raises(GaelpError, match="Add --environment ID"):
        read(FIXTURES / "evaluations", MINE, sb3_evaluations)
    assert tally.read == len(steps)


def test_evaluations_of_a_file_that_was_copied_or_grew_were_other_rows(tmp_path: Path) -> None:
    """Without times in it, the file's own time stood for them, and changed."""
    options = Options(environment="CartPole-v1", agent="mine", run="run-1")
    file = tmp_path / "evaluations.npz"
    with np.load(FIXTURES / "evaluations" / "evaluations.npz") as arrays:
        np.savez(file, **{name: arrays[name][:2] for name in arrays})
        first, _ = read(file, options, sb3_evaluations)
        np.savez(file, **{name: arrays[name] for name in arrays})

    os.utime(file, (1_800_000_000, 1_800_000_000))
    second, _ = read(file, options, sb3_evaluations)
    assert second["training.evaluations"][:2] == first["training.evaluations"]
    assert second["training.evaluations"][2]["evaluated_at"].startswith("2027-01-15")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not", b"\x93NUMPY", b"text"])
def test_what_is_no_npz_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "evaluations.npz"
    file.write_bytes(content)
    with pytest.raises(GaelpError, match=r"evaluations\.npz"):
        read(file, dataclasses.replace(MINE, environment="CartPole-v1"), sb3_evaluations)


def test_importing_twice_is_importing_once(tmp_path: Path) -> None:
    platform = platform_in(tmp_path / "home")
    monitor = kind("sb3-monitor")
    source = tmp_path / "logs"
    shutil.copytree(FIXTURES / "vector", source)
    first = import_rows(platform.gateway, monitor, source, MINE)
    again = import_rows(platform.gateway, monitor, source, MINE)
    assert (len(first.written), again.written, sorted(again.known)) == (3, [], sorted(first.written))
    loaded = load_all(platform)
    assert loaded["rejected"] == 0
    # The log grows, and is imported again: what is known is a duplicate, what is new is loaded.
    with (source / "1.monitor.csv").open("ab") as stream:
        stream.write(b"7.0,7,99.5\n")
    grown = import_rows(platform.gateway, monitor, source, MINE)
    assert len(grown.written) == 2
    assert load_all(platform)["rejected"] == 0
    [counted] = rows(
        platform,
        "SELECT COUNT(*) AS n, SUM(episode_length) AS steps FROM training.episodes WHERE date > '2026-01-01'",
    )
    [run] = rows(platform, "SELECT global_step, episode_count FROM training.training_runs")
    assert (counted["n"], counted["steps"]) == (run["episode_count"], run["global_step"])


def test_a_damaged_source_hands_nothing_over(tmp_path: Path) -> None:
    platform = platform_in(tmp_path / "home")
    file = tmp_path / "monitor.csv"
    file.write_bytes((FIXTURES / "resumed" / "monitor.csv").read_bytes()[:-3])
    with pytest.raises(GaelpError, match=r"byte 215 of monitor\.csv.*--allow-damaged"):
        import_rows(platform.gateway, kind("sb3-monitor"), file, MINE)
    assert platform.gateway.pending().files == []
    done = import_rows(platform.gateway, kind("sb3-monitor"), file, MINE, allow_damaged=True)
    assert done.rows["training.episodes"] == 5
    assert done.tally.damage


def test_the_mount_point_of_a_share_was_made_a_gateway(tmp_path: Path) -> None:
    settings = load_settings({"GAELP_HOME": str(tmp_path), "GAELP_GATEWAY": (tmp_path / "share").as_uri()})
    (tmp_path / "share").mkdir()
    gateway = open_platform(settings).gateway
    with pytest.raises(TransientError, match="no gateway in this folder"):
        import_rows(gateway, kind("sb3-monitor"), FIXTURES / "vector", MINE)
    assert list((tmp_path / "share").iterdir()) == []


def test_rows_that_no_load_takes_are_told(tmp_path: Path) -> None:
    platform = platform_in(tmp_path / "home")
    file = tmp_path / "monitor.csv"
    file.write_text('#{"t_start": 1600000000.0, "env_id": "CartPole-v1"}\nr,l,t\n1.0,1,0.5\n')
    done = import_rows(platform.gateway, kind("sb3-monitor"), file, MINE, dry_run=True)
    early, kept = out_of_reach(platform.catalog, done, platform.settings.first_date, platform.last_date)
    assert "GAELP_FIRST_DATE" in early
    assert "2020-09-13" in early
    assert "retention_days" in kept
    assert list(platform.gateway.store.list("raw/")) == []
    assert not list((tmp_path / "home").rglob("*.json"))


def test_runs_of_folders_with_one_name_became_one(tmp_path: Path) -> None:
    for folder in ("a/seed1", "b/seed1"):
        shutil.copytree(FIXTURES / "vector", tmp_path / "logs" / folder)
    found, _ = read(tmp_path / "logs", Options(agent="mine"))
    assert {run["training_run_id"] for run in found["training.training_runs"]} == {
        "logs.a.seed1",
        "logs.b.seed1",
    }
    with pytest.raises(GaelpError, match="2 runs"):
        read(tmp_path / "logs", MINE)


def test_a_folder_named_by_a_dot_had_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(FIXTURES / "resumed", tmp_path / "my logs")
    monkeypatch.chdir(tmp_path / "my logs")
    for path in (Path(), Path("monitor.csv")):
        found, _ = read(path, Options(agent="mine"))
        assert found["training.training_runs"][0]["training_run_id"] == "my-logs"


def test_an_ale_environment_went_to_a_folder_of_another_name(tmp_path: Path) -> None:
    file = tmp_path / "monitor.csv"
    file.write_text('#{"t_start": 1795835880.5, "env_id": "ALE/Pong-v5"}\nr,l,t\n1.0,1,0.5\n')
    found, _ = read(file)
    assert found["training.episodes"][0]["environment_id"] == "ALE.Pong-v5"


def test_the_steps_of_an_episode_without_a_return_were_lost(tmp_path: Path) -> None:
    file = tmp_path / "monitor.csv"
    file.write_text(
        '#{"t_start": 1795835880.5, "env_id": "E-v0"}\nr,l,t\n1.0,10,0.5\nnan,20,0.6\n1.0,5,0.7\n'
    )
    found, tally = read(file)
    assert [e["global_step"] for e in found["training.episodes"]] == [10, 35]
    assert found["training.training_runs"][0]["global_step"] == 35
    assert tally.dropped == {"an episode whose return is no finite number": 1}


def test_a_text_with_a_line_break_was_damage(tmp_path: Path) -> None:
    file = tmp_path / "monitor.csv"
    file.write_text(
        '#{"t_start": 1795835880.5, "env_id": "E-v0"}\nr,l,t,note\n1.0,10,0.5,"a\nb"\n1.0,5,0.7,c\n'
    )
    found, tally = read(file)
    assert len(found["training.episodes"]) == 2
    assert not tally.damage
    assert tally.dropped == {"a column of an info that is no number": 2}


def test_all_that_is_wrong_in_what_the_user_says_comes_at_once(tmp_path: Path) -> None:
    options = Options(environment="a..b", agent="my agent", run="r" * 151, algorithm="?")
    with pytest.raises(GaelpError) as caught:
        import_rows(platform_in(tmp_path).gateway, kind("sb3-monitor"), FIXTURES / "vector", options)
    assert [problem.where.split()[0] for problem in caught.value.problems] == [
        "--run",
        "--agent",
        "--algorithm",
        "--environment",
    ]


def test_what_was_remembered_survives_a_second_import_at_once(tmp_path: Path) -> None:
    platform = platform_in(tmp_path)
    options = Options(environment="CartPole-v1", agent="mine", run="run-1")
    evaluations = kind("sb3-evaluations")
    import_rows(platform.gateway, evaluations, FIXTURES / "evaluations", options)
    at = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    other = dataclasses.replace(options, at=at)
    again = import_rows(platform.gateway, evaluations, FIXTURES / "evaluations", other)
    assert (again.written, len(again.known)) == ([], 1)
    assert any("keeps the time" in note for note in again.tally.notes)
    import_rows(
        platform.gateway, evaluations, FIXTURES / "evaluations", dataclasses.replace(other, run="run-2")
    )
    names = sorted(path.name for path in (tmp_path / "export_gateway/recordings/imports").iterdir())
    assert names == ["sb3-evaluations.000001.json", "sb3-evaluations.000002.json"]


def load_all(platform: Any) -> dict[str, int]:
    """Loads what is pending, slice by slice."""
    from gaelp_assets.ingest.load import load_slice

    counts = dict.fromkeys(("loaded", "duplicate", "rejected"), 0)
    for relation_id, slice_ in platform.gateway.pending_slices():
        report = load_slice(platform, platform.catalog[relation_id], slice_, run_id="test", rebuild=False)
        for name in counts:
            counts[name] += report.total(name)
    return counts
