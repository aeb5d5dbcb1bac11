"""Files full of bad lines, and files that unfold to more than they should: given up in time, and never too early."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from gaelp_assets.catalog.load import load_catalog
from gaelp_assets.catalog.model import Field, Relation
from gaelp_assets.errors import GaelpError
from gaelp_assets.gateway import Stage
from gaelp_assets.ingest import reason_tally, validate
from gaelp_assets.ingest.prospects import Prospect, shortest_line
from gaelp_assets.ingest.read.limits import TextLimit
from gaelp_assets.ingest.read.lines import Block
from gaelp_assets.ingest.reason_tally import MOST_REASONS, OTHERS, ReasonTally
from gaelp_assets.ingest.report import REASON_SCHEMA
from gaelp_assets.ingest.staging import stage_file
from gaelp_assets.ingest.validate import Validators
from gaelp_assets.platform import Platform
from gaelp_assets_tests.platforms import SLICE, TABLE, checkpoint, drop, load, ndjson, platform_in, rows

FOLDER = f"cloud_ready/training/checkpoints/{SLICE.path}"
LINES = 4000  # of 250 bytes and more: several reads, and so several chunks


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setattr(validate, "CHUNK_REJECTS", 300)
    return platform_in(tmp_path)


def renamed(lines: int) -> bytes:
    return ndjson(checkpoint(n) for n in range(lines)).replace(b'"checkpoint_id"', b'"checkpoint"')


def lines_told(problem: object) -> int:
    return int(str(problem).split(" of ")[1].split(" lines")[0])


def test_a_file_whose_every_line_is_bad_was_read_to_its_end(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/a.ndjson", renamed(LINES))
    [file] = load(platform).set_aside
    assert LINES / 4 < lines_told(file.problems[0]) < LINES
    assert "line 1 first" in str(file.problems[0])
    assert len(platform.gateway.failed()) == 1


def test_a_small_file_that_unfolds_to_many_bad_lines_was_read_to_its_end(platform: Platform) -> None:
    drop(platform, f"{FOLDER}/a.ndjson.gz", b"{}\n" * 400_000)
    [file] = load(platform).set_aside
    assert lines_told(file.problems[0]) < 100_000


@pytest.mark.parametrize("compression", ["", ".gz"])
def test_a_file_that_begins_with_many_bad_lines_is_loaded_if_good_ones_follow(
    platform: Platform, compression: str
) -> None:
    bad = LINES * 45 // 100
    good = ndjson(checkpoint(n) for n in range(LINES - bad))
    drop(platform, f"{FOLDER}/a.ndjson{compression}", renamed(bad) + good)
    report = load(platform)
    assert [report.total(c) for c in ("lines", "loaded", "rejected")] == [LINES, LINES - bad, bad]
    found = rows(
        platform, "SELECT COUNT(DISTINCT line_number) AS n, MAX(line_number) AS last FROM ops.dead_letter"
    )
    assert found == [{"n": bad, "last": bad}]


def test_a_file_with_more_bad_lines_than_allowed_is_set_aside_at_its_end(platform: Platform) -> None:
    bad = LINES * 55 // 100
    drop(platform, f"{FOLDER}/a.ndjson.gz", ndjson(checkpoint(n) for n in range(LINES - bad)) + renamed(bad))
    [file] = load(platform).set_aside
    assert f"{bad} of {LINES} lines are rejected" in str(file.problems[0])


def test_a_batch_that_was_loaded_once_is_staged_however_bad_it_is_by_now(
    platform: Platform, tmp_path: Path
) -> None:
    content = renamed(LINES)
    drop(platform, f"{FOLDER}/a.ndjson", content)
    [file] = platform.gateway.slice_files(platform.catalog[TABLE], SLICE, Stage.CLOUD_READY)
    validator = Validators.for_run(platform).of(file.relation, SLICE)
    digest = hashlib.sha256(content).hexdigest()
    staged = stage_file(platform.gateway, file, validator, tmp_path, known={digest})
    assert (staged.batch.batch_id, staged.batch.lines, staged.batch.rejected) == (digest, LINES, LINES)
    assert sum(pl.read_parquet(path).height for path in staged.batch.rejects) == LINES


def test_a_file_with_more_text_than_its_table_takes_is_refused_with_the_limit(
    platform: Platform, tmp_path: Path
) -> None:
    drop(platform, f"{FOLDER}/a.ndjson.gz", ndjson(checkpoint(n) for n in range(LINES)))
    [file] = platform.gateway.slice_files(platform.catalog[TABLE], SLICE, Stage.CLOUD_READY)
    small = file.relation.model_copy(update={"max_unfolded_bytes": 300_000})
    validator = Validators.for_run(platform).of(file.relation, SLICE)
    with pytest.raises(GaelpError, match=r"more than 300,000 bytes of text.*max_unfolded_bytes"):
        stage_file(platform.gateway, replace(file, relation=small), validator, tmp_path)


@pytest.mark.parametrize("ending", ["ndjson", "ndjson.gz"])
def test_a_limit_that_came_later_kept_a_slice_from_being_rebuilt(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    drop(platform, f"{FOLDER}/a.{ending}", ndjson(map(checkpoint, range(LINES))))
    load(platform)
    drop(platform, f"{FOLDER}/b.{ending}", ndjson(map(checkpoint, range(LINES + 1))))
    monkeypatch.setattr(TextLimit, "allowed", 300_000)
    report = load(platform, rebuild=True)
    assert report.total("loaded") == LINES
    assert ["more than" in str(file.problems[0]) for file in report.set_aside] == [True]


def test_reasons_that_name_places_filled_the_memory() -> None:
    tally = ReasonTally()
    count = 2 * MOST_REASONS
    for start in range(0, count, 100):
        messages = [f"found a mistake at character {n}" for n in range(start, start + 100)]
        columns = [[""] * 100, ["malformed_json"] * 100, messages, [2] * 100]
        tally.add(pl.DataFrame(columns, schema=REASON_SCHEMA))
    frame = tally.frame
    assert frame.height == MOST_REASONS + 1
    assert frame["lines"].sum() == 2 * count
    assert frame.row(0) == (OTHERS[0], "malformed_json", OTHERS[1], 2 * (count - MOST_REASONS))


def test_reasons_are_counted_over_pieces_of_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reason_tally, "_LINES_AT_ONCE", 2)
    one, two = ({"field": name, "rule": "r", "message": "m"} for name in ("a", "b"))
    reasons = pl.Series("reasons", [[one], [one, two], [two], [one], [one]])
    assert reason_tally.counted(reasons).rows() == [("a", "r", "m", 4), ("b", "r", "m", 2)]


def test_a_block_of_bad_lines_is_judged_in_parts() -> None:
    text = b'{"a":1}\n' * (5 * validate.CHUNK_REJECTS)
    for share, parts in ((0.0, 1), (0.2, 1), (0.5, 3), (1.0, 5)):
        found = list(validate._with_few_rejects(Block(text), share))
        assert len(found) == parts
        assert b"".join(bytes(part.buffer) for part in found) == text


@pytest.mark.parametrize("relation", [r for r in load_catalog() if r.is_loaded], ids=lambda r: r.id)
def test_no_row_is_shorter_than_the_shortest_line(relation: Relation) -> None:
    values = {"BOOLEAN": "true", "DATE": '"2026-01-01"', "STRING": '""', "TIMESTAMP": '"2026-01-01T00"'}

    def shortest(fields: tuple[Field, ...]) -> str:
        required = [field for field in fields if field.required]
        return json.dumps(
            {f.name: json.loads(values.get(f.type, "0")) for f in required}, separators=(",", ":")
        )

    assert not any(field.fields and field.required for field in relation.fields)
    assert 0 < shortest_line(relation) <= len(shortest(relation.fields))


def test_records_of_the_shortest_line_have_their_own_required_fields() -> None:
    part = Field(
        name="part",
        type="RECORD",
        mode="REQUIRED",
        fields=(Field(name="a", type="INTEGER", mode="REQUIRED"),),
    )
    relation = load_catalog()[TABLE].model_copy(update={"fields": (part, Field(name="b", type="STRING"))})
    assert shortest_line(relation) == len('{"part":{"a":0}}')


def test_whether_a_file_is_lost_depends_on_what_can_still_come() -> None:
    none_allowed = Prospect(0.0, text_bytes=10_000, shortest=9)
    assert none_allowed.is_lost(lines=1, rejected=1, end=10)
    half = Prospect(0.5, text_bytes=10_000, shortest=9)
    assert not half.is_lost(lines=500, rejected=500, end=5_000)
    assert half.is_lost(lines=501, rejected=501, end=5_010)
    assert not Prospect(1.0, text_bytes=0, shortest=9).is_lost(lines=5, rejected=5, end=10)
