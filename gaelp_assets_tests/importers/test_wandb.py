"""Offline runs of W&B, as it wrote them, and as they come when they are cut off or damaged."""

from __future__ import annotations

import io
import json
import random
import shutil
import struct
import zlib
from pathlib import Path

import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.importers import record_log
from gaelp_assets.importers.source import Options
from gaelp_assets.importers.wandb_files import Log, entries, name_of
from gaelp_assets_tests.importers.sources import FIXTURES, read, unpacked

NOTHING = Options()
NAME = "run-cartpole1.wandb"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return unpacked(FIXTURES / "wandb", tmp_path) / NAME


def messages(content: bytes) -> list[bytes]:
    """An independent reading: the records of the log, whose checksums are not looked at."""
    found, piece, at = [], b"", 7
    while at < len(content):
        if 32_768 - at % 32_768 < 7:
            at += 32_768 - at % 32_768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        piece += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:
            found.append(piece)
            piece = b""
    return found


def test_each_number_that_was_logged_is_a_row(log: Path) -> None:
    found, tally = read("wandb", log, NOTHING)
    metrics = {
        (m["name"], m["global_step"]): m.get("value", m.get("non_finite")) for m in found["training.metrics"]
    }
    logged = {name: value for name, value in metrics.items() if name[0] != "_runtime"}
    told: dict[tuple[str, int], object] = {}
    for step in range(12):
        told[r"train/loss", step] = 1.0 / (step + 1)
        told["n.a", step] = step * 0.5
        told[r"n\.a", step] = float(-step)
        told["count", step] = step * 3.0
        told[r"eval\.reward", step] = 10.0 * step
    told |= {("train/loss", 40): "NaN", ("up", 40): "Infinity", ("down", 40): "-Infinity"}
    told |= {("late", 41): 2.5, ("after", 50): 7.0}
    assert logged == told
    assert len(found["training.metrics"]) == len(metrics) == tally.read - tally.dropped.total()
    assert tally.dropped == {
        "no number but a part of the kind histogram": 3,
        "no number but a text": 2,
        "no number but a list": 1,
        "no number but true or false": 1,
        "no number but null": 1,
    }


def test_the_run_has_its_configuration_and_its_end(log: Path) -> None:
    found, tally = read("wandb", log, NOTHING)
    [run] = found["training.training_runs"]
    assert (run["training_run_id"], run["status"], run["seed"]) == ("cartpole1", "succeeded", 3)
    assert run["config"]["parameters"]["n"] == {"a": 1, "b": "Infinity"}
    assert run["config"]["source"]["name"] == "ppo cartpole"
    assert run["started_at"] < run["finished_at"] < run["updated_at"]
    [agent] = found["training.agents"]
    assert (agent["algorithm"], agent["hyperparameters"]["lr"]) == ("ppo", 0.001)
    assert {m["environment_id"] for m in found["training.metrics"]} == {"CartPole-v1"}
    assert any("summary" in note for note in tally.notes)


def test_records_cross_the_blocks_of_the_log(log: Path) -> None:
    content = log.read_bytes()
    assert [record for _, record in record_log.records(io.BytesIO(content), start=7)] == messages(content)
    assert len(content) > 2 * record_log.BLOCK


def test_a_file_that_is_cut_off_says_at_which_byte(log: Path) -> None:
    whole = log.read_bytes()
    starts = [offset for offset, _ in record_log.records(io.BytesIO(whole), start=7)]
    complete = [entry.values for entry in entries(log, Log(log))]
    for cut in random.Random(6).sample(range(7, len(whole)), 60):
        log.write_bytes(whole[:cut])
        found, tally = read("wandb", log, Options(environment="CartPole-v1", agent="mine"))
        at = max((start for start in starts if start < cut), default=7)
        if cut in starts or cut == 7:
            assert not tally.damage
        else:
            assert [problem.what for problem in tally.damage] == [
                f"byte {at} of {cut}: the file ends within a record"
            ]
        names = {(m["name"], m["global_step"]) for m in found.get("training.metrics", [])}
        assert len(names) <= sum(map(len, complete))


def test_a_flipped_bit_is_found_wherever_it_is(log: Path) -> None:
    whole = log.read_bytes()
    chance = random.Random(7)
    for place in chance.sample(range(7, len(whole)), 60):
        log.write_bytes(
            whole[:place] + bytes([whole[place] ^ (1 << chance.randrange(8))]) + whole[place + 1 :]
        )
        _, tally = read("wandb", log, Options(environment="CartPole-v1", agent="mine"))
        assert len(tally.damage) == 1, place
    for place in range(7):
        log.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(GaelpError, match=f"byte {place}: no W&B log"):
            read("wandb", log, NOTHING)


def test_a_run_without_an_end_goes_on_and_gets_the_same_metrics(log: Path) -> None:
    whole = log.read_bytes()
    complete, _ = read("wandb", log, NOTHING)
    starts = [offset for offset, _ in record_log.records(io.BytesIO(whole), start=7)]
    log.write_bytes(whole[: starts[-2]])
    found, tally = read("wandb", log, NOTHING)
    [run], [ended] = found["training.training_runs"], complete["training.training_runs"]
    assert (run["status"], run["finished_at"]) == ("running", None)
    assert any("does not tell of the run's end" in note for note in tally.notes)
    assert found["training.metrics"] == complete["training.metrics"][: len(found["training.metrics"])]
    assert run["updated_at"] < ended["updated_at"]  # else the row of the ended run would not replace this one


def test_folders_of_runs_are_read_and_links_are_not(log: Path, tmp_path: Path) -> None:
    wandb = tmp_path / "logs" / "wandb"
    for name in ("offline-run-20261120_120000-one", "offline-run-20261120_130000-two"):
        (wandb / name).mkdir(parents=True)
        shutil.copyfile(log, wandb / name / NAME)
    (wandb / "latest-run").symlink_to("offline-run-20261120_130000-two")
    found, _ = read("wandb", wandb.parent, NOTHING)
    assert len(found["training.training_runs"]) == 2
    with pytest.raises(GaelpError, match="2 runs, and --run names one"):
        read("wandb", wandb, Options(run="mine"))
    with pytest.raises(GaelpError, match=r"no run-ID\.wandb file"):
        read("wandb", tmp_path / "logs" / "wandb" / "none", NOTHING)


def written(*steps: tuple[int, dict[str, float]]) -> bytes:
    """A log of a run with that history."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2]) + bytes([len(content)]) + content

    run = b"\x8a\x01" + bytes([5]) + field(1, b"mine"[:3])
    records = [run]
    for step, values in steps:
        items = b"".join(
            field(1, field(1, key.encode()) + b"\x82\x01" + bytes([len(text)]) + text)
            for key, value in values.items()
            for text in [json.dumps(value).encode()]
        )
        records.append(field(2, items + field(2, bytes([8, step]) if step else b"")))
    content = b":W&B\xe1\xbe\x00"
    for record in records:
        content += struct.pack("<IHB", zlib.crc32(b"\x01" + record), len(record), 1) + record
    return content


def test_a_value_that_a_later_one_replaced_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "run-mine.wandb"
    path.write_bytes(written((0, {"a": 1.0, "b": 2.0}), (1, {"a": 3.0}), (1, {"a": 4.0}), (0, {"b": 5.0})))
    found, tally = read("wandb", path, Options(environment="CartPole-v1", agent="mine"))
    assert {(m["name"], m["global_step"]): m["value"] for m in found["training.metrics"]} == {
        ("a", 0): 1.0,
        ("a", 1): 4.0,
        ("b", 0): 5.0,
    }
    assert tally.dropped == {"a value that a later one at the same step replaced": 2}


def test_keys_with_dots_and_nested_ones_stay_apart() -> None:
    keys = [("a", "b"), ("a.b",), ("a\\", "b"), ("a\\.b",), ("a", "b.c"), ("a.b", "c"), ("a", "b", "c")]
    assert len({name_of(key) for key in keys}) == len(keys)
