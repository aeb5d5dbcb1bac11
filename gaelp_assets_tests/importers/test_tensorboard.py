"""Event files as tensorboardX and torch wrote them, against TensorBoard's own reading of them; cut off, with flipped bits, and grown."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import google_crc32c
import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.importers import event_files
from gaelp_assets.importers.event_files import BrokenEventsError, Reader
from gaelp_assets.importers.kinds import kind
from gaelp_assets.importers.source import Options, Tally, moment
from gaelp_assets.operations.importing import import_rows
from gaelp_assets_tests.importers import sources
from gaelp_assets_tests.importers.test_sb3 import load_all
from gaelp_assets_tests.platforms import platform_in, rows

FIXTURES = sources.FIXTURES / "tensorboard"
RESTARTED = FIXTURES / "restarted" / "PPO_1"
MINE = Options(environment="CartPole-v1", agent="mine", algorithm="PPO")
NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}

Point = tuple[str, int, float, str]


def read(path: Path, options: Options = MINE) -> tuple[dict[str, list[dict[str, Any]]], Tally]:
    """The rows of a source by table, and the tally."""
    return sources.read("tensorboard", path, options)


def told(folder: Path) -> list[list[Point]]:
    """What TensorBoard reads, by file."""
    return [
        [tuple(point) for point in points]
        for points in json.loads((folder / "read_by_tensorboard.json").read_text())
    ]


def as_points(metrics: list[Any]) -> list[Point]:
    """Rows in the form of TensorBoard's reading, without their moments."""
    names = {name: text for text, name in NOT_FINITE.items()}
    return sorted(
        (
            m["name"],
            m["global_step"],
            m["measured_at"],
            names[m["non_finite"]] if "non_finite" in m else repr(m["value"]),
        )
        for m in metrics
    )


def with_moments(points: list[Point]) -> list[Any]:
    return sorted((name, step, moment(at), value) for name, step, at, value in points)


def test_every_scalar_is_a_row_and_what_is_none_is_counted() -> None:
    found, tally = read(FIXTURES / "mixed")
    [points] = told(FIXTURES / "mixed")
    assert as_points(found["training.metrics"]) == with_moments(points)
    assert {m.get("non_finite") for m in found["training.metrics"]} == {None, *NOT_FINITE.values()}
    assert tally.dropped == {
        "not a scalar: a histogram": 1,
        "not a scalar: a text": 1,
        "not a scalar: an image": 1,
    }
    assert tally.read == len(points) + 3
    [run] = found["training.training_runs"]
    assert run["training_run_id"] == "mixed"
    assert run["started_at"] == min(m["measured_at"] for m in found["training.metrics"])
    assert not {"seed", "global_step", "status"} & run.keys()
    [agent] = found["training.agents"]
    assert agent["algorithm"] == "ppo"


def test_of_a_restarted_run_the_later_files_steps_stay() -> None:
    found, tally = read(FIXTURES / "restarted")
    first, second = told(RESTARTED)
    later = {(name, step) for name, step, _, _ in second}
    kept = [point for point in first if (point[0], point[1]) not in later] + second
    assert as_points(found["training.metrics"]) == with_moments(kept)
    assert tally.dropped == {
        "a step that a later file of the run has as well": len(first) + len(second) - len(kept)
    }
    assert {m["training_run_id"] for m in found["training.metrics"]} == {"restarted.PPO_1"}


def test_a_value_that_stands_twice_at_a_step_of_one_file_is_one_row(tmp_path: Path) -> None:
    """The first: the second may not have been there yet when the file was imported before."""
    file = tmp_path / "events.out.tfevents.1.twice"
    [whole] = [path.read_bytes() for path in sorted(RESTARTED.glob("*tfevents*"))[:1]]
    file.write_bytes(whole + whole)
    found, tally = read(file)
    once, _ = read(sorted(RESTARTED.glob("*tfevents*"))[0])
    assert as_points(found["training.metrics"]) == as_points(once["training.metrics"])
    assert tally.dropped == {
        "a second value of a name at one step of one file": len(once["training.metrics"])
    }


def points_of(file: Path) -> tuple[list[Any], BrokenEventsError | None]:
    reader, points = Reader(), []
    try:
        for some in reader.points(file):
            points += [
                (reader.names[n], s, a, repr(v))
                for n, s, a, v in zip(
                    some.name.tolist(), some.step.tolist(), some.at.tolist(), some.value.tolist(), strict=True
                )
            ]
    except BrokenEventsError as error:
        return points, error
    return points, None


@pytest.mark.parametrize("name", ["mixed", "restarted/PPO_1"])
def test_a_file_that_is_cut_off_says_where_its_last_record_starts(tmp_path: Path, name: str) -> None:
    source = sorted((FIXTURES / name).glob("*tfevents*"))[0]
    whole, complete = source.read_bytes(), told(FIXTURES / name)[0]
    starts = record_starts(whole)
    file = tmp_path / "events.out.tfevents.1.cut"
    for cut in [*range(0, len(whole), 61), *starts[::5]]:
        file.write_bytes(whole[:cut])
        points, error = points_of(file)
        assert points == complete[: len(points)]
        begun = max(start for start in starts if start <= cut)
        assert (error.offset if error else cut) == begun


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path) -> None:
    source = sorted(RESTARTED.glob("*tfevents*"))[0]
    whole, complete = bytearray(source.read_bytes()), told(RESTARTED)[0]
    starts = record_starts(bytes(whole))
    file = tmp_path / "events.out.tfevents.1.flipped"
    chosen = random.Random(1)
    for place in [*range(80), *chosen.sample(range(len(whole)), 100)]:
        bit = 1 << chosen.randrange(8)
        whole[place] ^= bit
        file.write_bytes(whole)
        whole[place] ^= bit
        points, error = points_of(file)
        assert error is not None
        assert error.offset == max(start for start in starts if start <= place)
        assert points == complete[: len(points)]


@pytest.mark.parametrize("length", [2**40, 2**64 - 1])
def test_a_length_beyond_the_file_is_its_end(tmp_path: Path, length: int) -> None:
    """With a checksum that fits: nobody has memory for such a record."""
    source = sorted(RESTARTED.glob("*tfevents*"))[0]
    whole, head = source.read_bytes(), length.to_bytes(8, "little")
    crc = google_crc32c.value(head)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFF_FFFF
    file = tmp_path / "events.out.tfevents.1.long"
    file.write_bytes(whole + head + masked.to_bytes(4, "little") + b"rest")
    points, error = points_of(file)
    assert error is not None
    assert (error.offset, error.what) == (len(whole), "the file ends within a record")
    assert points == told(RESTARTED)[0]


def record_starts(content: bytes) -> list[int]:
    """Where records start, and the end: from their lengths alone."""
    starts, at = [0], 0
    while at < len(content):
        at += 16 + int.from_bytes(content[at : at + 8], "little")
        starts.append(at)
    return starts


def test_blocks_may_end_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    source = sorted((FIXTURES / "mixed").glob("*tfevents*"))[0]
    monkeypatch.setattr(event_files, "POINTS_AT_ONCE", 5)
    for size in (13, 64, 1000):
        monkeypatch.setattr(event_files, "_READ_AT_ONCE", size)
        points, error = points_of(source)
        assert error is None
        assert points == told(FIXTURES / "mixed")[0]


def test_a_folder_gives_a_run_for_each_folder_with_events(tmp_path: Path) -> None:
    for name in ("dqn/PPO 1", "dqn/PPO-2"):
        shutil.copytree(RESTARTED, tmp_path / name)
    found, _ = read(tmp_path)
    assert [run["training_run_id"] for run in found["training.training_runs"]] == [
        f"{tmp_path.name}.dqn.PPO-1",
        f"{tmp_path.name}.dqn.PPO-2",
    ]
    with pytest.raises(GaelpError, match="--run names one"):
        read(tmp_path, dataclasses.replace(MINE, run="one"))
    shutil.copytree(RESTARTED, tmp_path / "dqn.PPO-2")
    with pytest.raises(GaelpError, match=r"two runs the id .*PPO-2"):
        read(tmp_path)


@pytest.mark.parametrize("missing", ["environment", "agent"])
def test_what_the_source_does_not_say_is_asked_for(missing: str) -> None:
    without = Options(agent="mine") if missing == "environment" else Options(environment="CartPole-v1")
    with pytest.raises(GaelpError, match=f"Add --{missing} ID"):
        read(FIXTURES / "mixed", without)


def test_other_files_are_damage_or_an_error(tmp_path: Path) -> None:
    with pytest.raises(GaelpError, match="nothing of the kind tensorboard"):
        read(tmp_path)
    file = tmp_path / "events.out.tfevents.1.text"
    file.write_text("this is no event file at all")
    _, tally = read(file)
    assert [problem.where for problem in tally.damage] == ["byte 0 of events.out.tfevents.1.text"]
    file.write_bytes(b"")
    found, tally = read(file)
    assert not found
    assert not tally.damage


def test_importing_twice_is_importing_once_and_a_grown_log_adds_its_rows(tmp_path: Path) -> None:
    platform = platform_in(tmp_path / "home")
    source = tmp_path / "PPO_1"
    source.mkdir()
    whole = sorted(RESTARTED.glob("*tfevents*"))[0].read_bytes()
    file = source / "events.out.tfevents.1.grown"
    half = record_starts(whole)[20]
    file.write_bytes(whole[: half + 5])
    with pytest.raises(GaelpError, match=rf"byte {half:,} of .*--allow-damaged"):
        import_rows(platform.gateway, kind("tensorboard"), source, MINE)
    assert platform.gateway.pending().files == []
    file.write_bytes(whole[:half])
    first = import_rows(platform.gateway, kind("tensorboard"), source, MINE)
    again = import_rows(platform.gateway, kind("tensorboard"), source, MINE)
    assert (again.written, sorted(again.known)) == ([], sorted(first.written))
    counts = load_all(platform)
    assert (counts["rejected"], counts["loaded"]) == (0, first.rows.total())
    file.write_bytes(whole)
    grown = import_rows(platform.gateway, kind("tensorboard"), source, MINE)
    assert load_all(platform)["rejected"] == 0
    [stored] = rows(
        platform, "SELECT COUNT(*) AS n, SUM(value) AS total FROM training.metrics WHERE date > '2026-01-01'"
    )
    points = told(RESTARTED)[0]
    assert stored["n"] == grown.rows["training.metrics"] == len(points)
    assert math.isclose(stored["total"], math.fsum(float(value) for *_, value in points))
