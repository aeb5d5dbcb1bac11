"""What the commands print, in this process: JSON documents, parameters, the config and log files, who loads beside whom."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import typer
from typer.testing import CliRunner, Result

from gaelp_assets.catalog.reference_page import REFERENCE_FILE
from gaelp_assets.cli import dev, main, session
from gaelp_assets.cli.main import app
from gaelp_assets.cli.manual import PAGE, commands, manual
from gaelp_assets.errors import GaelpError
from gaelp_assets.runs.holders import holding
from gaelp_assets.runs.orphans import process_lock
from gaelp_assets.settings import CHECKOUT, load_settings
from gaelp_assets.sql import sound
from gaelp_assets.validation.rule_entries import catalogue_reference
from gaelp_assets_tests.platforms import SLICE, TABLE, checkpoint, drop, load, ndjson, platform_in


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    yield
    session.stop_logs()
    logging.getLogger("gaelp_assets").setLevel(logging.NOTSET)


def run(home: Path, *arguments: str, **variables: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"GAELP_HOME": str(home), **variables})


def document(home: Path, *arguments: str, **variables: str) -> Any:
    """The one JSON document that stdout is."""
    answer = run(home, *arguments, "--json", **variables)
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    assert "\x1b" not in answer.stdout
    return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a loaded file, two rejected lines, a file that waits, and one that is set aside."""
    folder = tmp_path_factory.mktemp("home")
    platform = platform_in(folder)
    drop(
        platform,
        f"cloud_ready/training/checkpoints/{SLICE.path}/a.ndjson",
        ndjson([*map(checkpoint, range(4)), "{", "["]),
    )
    load(platform)
    drop(platform, f"cloud_ready/training/checkpoints/{SLICE.path}/b.ndjson", ndjson([checkpoint(9)]))
    return folder


def test_lists_and_pages_are_one_json_document(home: Path) -> None:
    listed = document(home, "catalog", "list")
    assert TABLE in {relation["relation"] for relation in listed["relations"]}
    shown = document(home, "catalog", "show", TABLE)
    assert shown["declared"]["partitioning"] == {"date": "date", "environment": "environment_id"}
    waiting = document(home, "gateway", "list")["pending"]
    assert [(file["relation"], file["date"]) for file in waiting] == [(TABLE, "2026-11-01")]
    status = document(home, "status")
    assert status["at"].endswith("Z")
    assert status["stages"]["cloud_ready"]["oldest"].endswith("Z")
    letters = document(home, "dead-letter", "list", TABLE, "--limit", "1")
    assert (len(letters["lines"]), letters["total"]) == (1, 2)
    assert "raw" not in letters["lines"][0]


def test_dead_letters_take_their_table_by_place_and_by_option(home: Path) -> None:
    """The remedy of a check said `gaelp dead-letter list TABLE`, which did not exist."""
    for arguments in ([TABLE], ["--table", TABLE], [TABLE, "--table", TABLE]):
        answer = run(home, "dead-letter", "list", *arguments)
        assert answer.stdout.splitlines()[-1] == "2 lines"
    assert (
        run(home, "dead-letter", "list", TABLE, "--limit", "1")
        .stdout.splitlines()[-1]
        .startswith("1 of 2 lines")
    )
    assert run(home, "dead-letter", "list", TABLE, "--table", "training.agents").exit_code == 2


def test_a_query_takes_parameters_as_values(home: Path) -> None:
    found = document(
        home,
        "query",
        f"SELECT COUNT(*), @text FROM {TABLE} WHERE date = @day AND bytes < @most",
        "-p", "day=2026-11-01", "-p", "most:INT64=1026", "-p", "text='; DROP TABLE x",
    )  # fmt: skip
    assert found["rows"] == [{"f0_": 2, "f1_": "'; DROP TABLE x"}]
    assert (found["columns"], found["total"]) == (["f0_", "f1_"], 1)
    wrong = run(home, "query", "SELECT @a, @b", "-p", "a:DAY=1", "-p", "c=1")
    assert isinstance(wrong.exception, GaelpError)
    assert len(wrong.exception.problems) == 3


def test_values_in_json_have_all_their_digits(home: Path) -> None:
    sql = (
        "SELECT 9007199254740993 AS i, 0.1 + 0.2 AS f, NUMERIC '1.10' AS n, TIMESTAMP '2026-11-20 01:02:03.456789+00' AS t, "
        "DATE '2026-11-20' AS d, b'x' AS b, CAST('NaN' AS FLOAT64) AS nan, [1, 2] AS l"
    )
    assert document(home, "query", sql)["rows"] == [
        {
            "i": 9007199254740993, "f": 0.1 + 0.2, "n": "1.1", "t": "2026-11-20T01:02:03.456789Z",
            "d": "2026-11-20", "b": "eA==", "nan": "NaN", "l": [1, 2],
        }
    ]  # fmt: skip


def test_the_screen_says_how_many_rows_there_are(home: Path) -> None:
    """It said `1,000 rows`, as if that were all."""
    rows_of = "SELECT x FROM UNNEST(GENERATE_ARRAY(1, {})) AS x"
    for count, told in ((41_823, "1,000 of 41,823 rows shown"), (1000, "1,000 rows")):
        assert run(home, "query", rows_of.format(count)).stdout.splitlines()[-1].startswith(told)
    assert len(document(home, "query", rows_of.format(1001))["rows"]) == 1001


def test_check_tells_reasons_in_words_and_as_one_document(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    file.write_bytes(ndjson([checkpoint(1), checkpoint(2, bytes="hunter2")]))
    answer = run(home, "check", str(file), "--table", TABLE)
    assert answer.exit_code == 3
    first, *_, last = answer.stdout.splitlines()
    column = json.dumps(checkpoint(2, bytes="hunter2")).index('"hunter2"') + 1
    assert first.startswith(f"{file}:2:{column}: bytes: wrong_type, ")
    assert last == f"{TABLE}: 2 lines, 1 would be taken, 1 rejected"
    found = document(home, "check", str(file), "--table", TABLE)
    assert (found["rejected"], found["set_aside"], found["problems"]) == (1, False, [])
    assert [(each["line"], each["column"], each["rule"]) for each in found["findings"]] == [
        (2, column, "wrong_type")
    ]
    assert "hunter2" not in answer.output + json.dumps(found)
    missing = run(home, "check", str(tmp_path / "b.ndjson"), "--json")
    assert (missing.exit_code, json.loads(missing.stdout)["problems"][0]["where"]) == (
        1,
        str(tmp_path / "b.ndjson"),
    )
    file.write_bytes(ndjson([checkpoint(1)]))
    assert run(home, "check", str(file), "--table", TABLE).exit_code == 0


def test_config_tells_where_each_setting_came_from(tmp_path: Path) -> None:
    (tmp_path / "gaelp.toml").write_text('gateway = "gs://bucket/prefix"\n')
    found = document(tmp_path, "config", GAELP_QUERY_SECONDS="7")["settings"]
    told = {row["setting"]: (row["value"], row["from"]) for row in found}
    assert told["gateway"] == ("gs://bucket/prefix", f"{tmp_path}/gaelp.toml, line 1")
    assert told["query_seconds"] == ("7", "environment")
    assert told["first_date"] == ("2025-01-01", "default")
    assert "gs://bucket/prefix" in run(tmp_path, "config").stdout


def test_the_log_tells_what_ran_and_nothing_of_what_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GAELP_HOME", str(tmp_path))
    for arguments in (["query", "SELECT 'hunter2'"], ["query", "SELECT @a", "-p", "a:DAY=hunter2"]):
        monkeypatch.setattr(sys, "argv", ["gaelp", *arguments])
        with pytest.raises(SystemExit):
            main.main()
    log = (tmp_path / session.LOG_FILE).read_text()
    assert "gaelp query ended with 0" in log
    assert "problem: -p a: unknown type 'DAY'" in log
    assert "hunter2" not in log
    assert (tmp_path / "logs").stat().st_mode & 0o77 == 0
    assert "hunter2" in capsys.readouterr().out


def test_the_log_is_bounded_and_one_that_cannot_be_written_keeps_nobody_from_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOG_BYTES", 1000)
    settings = load_settings({"GAELP_HOME": str(tmp_path)})
    session.keep_log(settings)
    for _ in range(200):
        session.log_end("query", 0, 1.0)
    files = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert files == ["gaelp.log", *(f"gaelp.log.{number}" for number in range(1, session.LOG_FILES + 1))]
    session.stop_logs()
    for path in (tmp_path / "logs").iterdir():
        path.unlink()
    (tmp_path / "logs").rmdir()
    (tmp_path / "logs").write_text("a file is in the way")
    session.keep_log(settings)
    session.log_end("query", 0, 1.0)


def test_a_second_dev_of_a_home_is_told_the_firsts_address(tmp_path: Path) -> None:
    settings = load_settings({"GAELP_HOME": str(tmp_path)})
    with (
        holding(dev.dev_lock(settings), "gaelp dev", "http://127.0.0.1:3000"),
        pytest.raises(GaelpError, match=r"gaelp dev at http://127.0.0.1:3000, process \d+, since"),
    ):
        dev.run_dev(settings, port=3001)


def test_ingest_beside_another_says_who_loads_and_to_try_again(home: Path) -> None:
    with holding(process_lock(load_settings({"GAELP_HOME": str(home)})), "gaelp ingest"):
        answer = run(home, "ingest")
    assert isinstance(answer.exception, GaelpError)
    assert not answer.exception.permanent, "exit code 75"
    assert "gaelp ingest, process" in str(answer.exception)
    assert "gaelp ingest --wait" in str(answer.exception)


def test_ingest_beside_a_daemon_waits_for_its_runs_or_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gaelp_assets.cli import loading
    from gaelp_assets.runs import in_process, orphans

    platform = platform_in(tmp_path)
    drop(platform, f"cloud_ready/training/checkpoints/{SLICE.path}/a.ndjson", ndjson([checkpoint(1)]))
    under_way = [{"run": "slot"}] * 4 + [{}] * 9
    monkeypatch.setattr(orphans, "runs_of_daemon", lambda _: under_way.pop(0))
    calls: list[object] = []

    def run_pending(*_: object, **more: object) -> list[object]:
        calls.append(more["on_wait"])
        return []

    monkeypatch.setattr(in_process, "run_pending", run_pending)
    monkeypatch.setattr(dev, "dagster_instance", lambda _: dg.DagsterInstance.ephemeral())
    monkeypatch.setattr(loading, "POLL_SECONDS", 0)
    answer = run(tmp_path, "ingest")
    assert answer.exit_code == 75
    assert (
        "others are loading 1 of the files that wait (a daemon of Dagster): gaelp ingest --wait"
        in answer.stdout
    )
    assert calls == [None]
    answer = run(tmp_path, "ingest", "--wait")
    assert answer.exit_code == 0, answer.output
    assert answer.stderr.count("notice: waiting for a daemon of Dagster") == 1
    assert len(calls) == 3, "what the daemon left is loaded"


def test_every_command_has_help_under_h_and_every_list_speaks_json() -> None:
    root = typer.main.get_command(app)
    found = dict(commands(root))
    for path, command in found.items():
        assert "Usage" in CliRunner().invoke(app, [*path, "-h"]).stdout, path
        assert command.help, path
        spelled = {name for parameter in command.params for name in parameter.opts}
        if path[-1] in {"list", "show", "status", "config", "query", "check", "deploy"}:
            assert "--json" in spelled, path


def test_the_pages_say_what_the_commands_and_the_schema_say() -> None:
    """Write them again with `python -m gaelp_assets.cli.manual` and `gaelp catalog pages`."""
    assert PAGE.read_text(encoding="utf-8") == manual(typer.main.get_command(app))
    page = CHECKOUT / "docs" / REFERENCE_FILE
    assert page.read_text(encoding="utf-8") == catalogue_reference()


def test_every_start_in_a_home_without_dagster_bound_all_views_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform_in(tmp_path)
    monkeypatch.setattr(sound, "_found_sound", set())
    assert run(tmp_path, "ingest").exit_code == 0
    monkeypatch.setattr(sound, "_found_sound", set())
    monkeypatch.setattr("gaelp_assets.sql.views.query_problems", lambda *_: pytest.fail("bound again"))
    assert run(tmp_path, "query", "SELECT 1 AS one").exit_code == 0
