"""The command line as a person meets it: exit codes, and words instead of tracebacks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pytest

from gaelp_assets.cli import render
from gaelp_assets.warehouse.reader import Cost
from gaelp_assets_tests.commands import gaelp, gaelp_here
from gaelp_assets_tests.platforms import SLICE, TABLE, checkpoint, drop, load, ndjson, platform_in


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM training.episode", "did you mean 'training.episodes'?"),
        ("SELEC 1", "expected one GoogleSQL SELECT statement"),
        ("DROP TABLE training.episodes", "expected one GoogleSQL SELECT statement"),
        ("SELECT FARM_FINGERPRINT(agent_id) FROM training.episodes", "FARM_FINGERPRINT is not used here"),
    ],
)
def test_a_wrong_query_is_answered_in_words(tmp_path: Path, sql: str, expected: str) -> None:
    answer = gaelp_here(tmp_path, "query", sql)
    assert answer.returncode == 1
    assert expected in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_table_that_holds_nothing_yet_is_empty_and_no_error(tmp_path: Path) -> None:
    answer = gaelp_here(tmp_path, "query", "SELECT COUNT(*) AS n FROM training.episodes")
    assert answer.returncode == 0
    assert "│ 0 │" in answer.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "SELECT * FROM analytics.learning_curves"),
        ("dead-letter", "list"),
        ("deploy", "--dry-run"),
    ],
    ids=lambda arguments: str(arguments[0]),
)
def test_commands_that_only_look_make_nothing_in_an_empty_home(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    answer = gaelp_here(tmp_path / "home", *arguments)
    assert answer.returncode in {0, 2}, answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_query_ends_with_what_it_cost_and_says_which_table_differs(tmp_path: Path) -> None:
    load(platform_in(tmp_path))
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as con:
        con.execute(f"ALTER TABLE {TABLE} DROP COLUMN format")
    before = (tmp_path / "warehouse.duckdb").read_bytes()
    answer = gaelp_here(tmp_path, "query", f"SELECT bytes FROM {TABLE}")
    assert answer.returncode == 0, answer.stderr
    said, cost = answer.stderr.splitlines()
    assert said.startswith(f"notice: {TABLE}: differs from the catalogue (")
    assert "gaelp deploy" in said
    assert re.fullmatch(r"0 rows in \d+\.\d\d s", cost)
    assert "notice" not in answer.stdout
    assert (tmp_path / "warehouse.duckdb").read_bytes() == before


def test_what_bigquery_read_and_billed_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    render.print_cost(1, Cost(0.5, bytes_read=1_500_000, bytes_billed=10_000_000))
    assert capsys.readouterr().err == "1 row in 0.50 s, 1.5 MB read, 10.0 MB billed\n"


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_a_result_goes_to_a_file_with_nested_values(tmp_path: Path, ending: str) -> None:
    output = tmp_path / f"result.{ending}"
    answer = gaelp_here(
        tmp_path / "home", "query", "SELECT 1 AS one, [1, 2] AS list", "--output", str(output)
    )
    assert answer.returncode == 0, answer.stderr
    assert output.stat().st_size > 0
    if ending == "csv":
        assert output.read_text() == 'one,list\n1,"[1,2]"\n'


def test_a_wrong_variable_and_a_wrong_ending_name_the_right_ones(tmp_path: Path) -> None:
    assert "did you mean 'GAELP_HOME'?" in gaelp_here(tmp_path, "status", GAELP_HOMEE="x").stderr
    assert (
        ".arrow, .csv, .json, .ndjson, .parquet"
        in gaelp_here(tmp_path, "query", "SELECT 1 AS one", "-o", "x.txt").stderr
    )


def test_status_for_programs_is_json(tmp_path: Path) -> None:
    platform = platform_in(tmp_path)
    drop(platform, f"cloud_ready/training/checkpoints/{SLICE.path}/a.ndjson", ndjson([checkpoint(1)]))
    load(platform)
    drop(platform, f"cloud_ready/training/checkpoints/{SLICE.path}/b.ndjson", ndjson([checkpoint(2)]))
    answer = json.loads(gaelp_here(tmp_path, "status", "--json").stdout)
    assert answer["stages"]["cloud_ready"]["files"] == 1
    [table] = [table for table in answer["tables"] if table["relation_id"] == "training.checkpoints"]
    assert (table["rows"], table["slices"]) == (1, 1)


def test_a_file_that_is_set_aside_is_spoken_of(tmp_path: Path) -> None:
    drop(platform_in(tmp_path), "cloud_ready/nowhere/a.ndjson", b"{}")
    answer = gaelp_here(tmp_path, "ingest")
    assert answer.returncode == 3, answer.stderr
    assert "1 files are set aside" in answer.stdout
    assert "does not name a table" in answer.stdout
    assert "does not name a table" in gaelp_here(tmp_path, "gateway", "list").stdout


def test_ingest_ended_with_0_and_without_a_word_of_rejected_lines(tmp_path: Path) -> None:
    platform = platform_in(tmp_path)
    drop(platform, "raw/training/checkpoints/a.ndjson", ndjson([*map(checkpoint, range(3)), "{", "["]))
    far = "cloud_ready/training/checkpoints/date=2019-01-01/environment=CartPole-v1/a.ndjson"
    drop(platform, far, ndjson([checkpoint(9, date="2019-01-01")]))
    answer = gaelp(tmp_path, "ingest")
    assert answer.returncode == 3, answer.stderr
    assert "2 lines were rejected" in answer.stdout
    assert "2 rejected lines are open in all" in answer.stdout
    assert far in answer.stdout
    assert json.loads(gaelp_here(tmp_path, "status", "--json").stdout)["out_of_range"] == [far]
    (tmp_path / "export_gateway" / far).unlink()
    acknowledged = gaelp_here(tmp_path, "dead-letter", "acknowledge", "training.checkpoints")
    assert "2 lines of training.checkpoints are acknowledged" in acknowledged.stdout, acknowledged.stderr
    quiet = gaelp_here(tmp_path, "ingest")
    assert quiet.returncode == 0
    assert "rejected lines are open" not in quiet.stdout


def test_only_init_makes_a_gateway(tmp_path: Path) -> None:
    answer = gaelp_here(tmp_path, "ingest")
    assert answer.returncode == 75
    assert "gaelp gateway init" in answer.stderr
    assert not (tmp_path / "export_gateway").exists()
    assert gaelp_here(tmp_path, "gateway", "init").returncode == 0
    assert gaelp_here(tmp_path, "status").returncode == 0
