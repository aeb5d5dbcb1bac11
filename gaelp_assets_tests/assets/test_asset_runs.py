"""Runs on an ephemeral instance with a real gateway and warehouse: appends, rebuilds, ranges, checks, and what is derived."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from gaelp_assets.assets import tables
from gaelp_assets.assets.partitions import GATEWAY
from gaelp_assets.assets.rejections import report_verdicts
from gaelp_assets.catalog import load_catalog
from gaelp_assets.catalog.model import AssetCheckName
from gaelp_assets.definitions import build_definitions
from gaelp_assets.errors import GaelpError
from gaelp_assets.operations.acknowledge import acknowledge
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.runs.in_process import RunResult, run_pending
from gaelp_assets.runs.orphans import IN_PROCESS_TAG
from gaelp_assets.runs.planning import ASSET_JOB, SLOT_TAG
from gaelp_assets.settings import load_settings

SCORES = dg.AssetKey(["lab", "scores"])
CURVE = dg.AssetKey(["lab", "curve"])
BOARD = dg.AssetKey(["lab", "board"])
PLAYERS = dg.AssetKey(["lab", "players"])
FIELDS = [
    {"name": "date", "type": "DATE", "mode": "REQUIRED"},
    {"name": "environment", "type": "STRING", "mode": "REQUIRED"},
    {"name": "player", "type": "STRING", "mode": "REQUIRED"},
    {"name": "step", "type": "INTEGER", "mode": "REQUIRED",
     "checks": [{"name": "greater_than_or_equal_to", "arguments": {"min_value": 0}}]},
    {"name": "score", "type": "FLOAT", "mode": "REQUIRED", "description": "points"},
]  # fmt: skip
OPS = Path(__file__).parents[2] / "gaelp_assets" / "catalog" / "ops"


def write_catalog(folder: Path) -> None:
    """A sliced fact, a dimension, a sliced derived table with a chart, a board over all slices, and the platform's own tables."""
    sliced = {"partitioning": {"date": "date", "environment": "environment"}}
    relations: dict[str, dict[str, Any]] = {
        "scores": {**sliced, "primary_key": ["player", "step", "date", "environment"], "fields": FIELDS,
                   "foreign_keys": [{"fields": ["player"], "references": "players"}], "freshness_hours": 24},
        "players": {"primary_key": ["player"], "fields": [FIELDS[2], {"name": "nickname", "type": "STRING"}]},
        "curve": {**sliced, "kind": "derived_table", "fields": FIELDS,
                  "chart": {"x": "step", "y": "score", "series": "player", "facet": "environment"}},
        "board": {"kind": "derived_table", "fields": [FIELDS[2], FIELDS[4]]},
        "best": {"kind": "view", "fields": [FIELDS[2], FIELDS[4]]},
    }  # fmt: skip
    queries = {
        "curve": "SELECT date, environment, player, step, MAX(score) AS score FROM lab.scores GROUP BY date, environment, player, step",
        "board": "SELECT player, MAX(score) AS score FROM lab.curve WHERE date >= DATE '2000-01-01' GROUP BY player",
        "best": "SELECT player, score FROM lab.board WHERE score > 1",
    }
    (folder / "lab").mkdir(parents=True)
    for name, content in relations.items():
        path = folder / "lab" / f"{name}.json"
        path.write_text(json.dumps({"description": name, "owner": "team:research", **content}))
    for name, sql in queries.items():
        (folder / "lab" / f"{name}.sql").write_text(sql)
    (folder / "ops").mkdir()
    for path in OPS.glob("*.json"):
        (folder / "ops" / path.name).write_text(path.read_text())


class Lab:
    """A platform of one's own with its definitions and an ephemeral instance."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        write_catalog(home / "catalog")
        self.instance = instance
        self._open(home)

    def _open(self, home: Path) -> None:
        settings = load_settings({"GAELP_HOME": str(home), "GAELP_FIRST_DATE": "2026-11-01"})
        self.platform: Platform = open_platform(settings, load_catalog(home / "catalog"))
        self.platform.gateway.prepare()
        self.definitions = build_definitions(settings, self.platform.catalog)

    def change(self, name: str, sql: str, **keys: Any) -> None:
        """Gives a derived relation other SQL (and keys), as the next release of the catalogue would. A new one has the fact's fields."""
        home = self.platform.settings.home
        path = home / "catalog" / "lab" / f"{name}.json"
        new = {"description": name, "owner": "team:research", "fields": FIELDS}
        content = json.loads(path.read_text()) if path.exists() else new
        path.write_text(json.dumps({**content, **keys}))
        path.with_suffix(".sql").write_text(sql)
        self._open(home)

    def put(self, day: int, environment: str, rows: list[dict[str, Any]] | bytes, name: str = "a") -> None:
        """Puts a file of the fact into the queue."""
        folder = f"cloud_ready/lab/scores/date=2026-11-{day:02}/environment={environment}"
        self.drop(f"{folder}/{name}.ndjson", rows)

    def drop(self, name: str, rows: list[dict[str, Any]] | bytes) -> None:
        path = self.platform.settings.home / "export_gateway" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (
            rows if isinstance(rows, bytes) else b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        )
        path.write_bytes(lines)

    def pending(self) -> list[RunResult]:
        """Does what `gaelp ingest` does."""
        return run_pending(self.definitions, self.platform, self.instance)

    def materialize(self, *keys: dg.AssetKey, **arguments: Any) -> dg.ExecuteInProcessResult:
        """Runs assets as the UI would."""
        job = self.definitions.resolve_job_def(ASSET_JOB)
        return job.execute_in_process(
            instance=self.instance, asset_selection=list(keys), raise_on_error=False, **arguments
        )

    def count(self, sql: str) -> int:
        """The single number that a query returns."""
        return int(self.platform.warehouse.query(sql).frame.item())


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Lab(tmp_path, instance)


def row(day: int, environment: str, step: int, **changes: Any) -> dict[str, Any]:
    date = dt.date(2026, 11, day).isoformat()
    return {
        "date": date,
        "environment": environment,
        "player": "ann",
        "step": step,
        "score": step * 1.5,
        **changes,
    }


def rows(day: int, environment: str, count: int = 3) -> list[dict[str, Any]]:
    return [row(day, environment, step) for step in range(count)]


def checks(
    result: dg.ExecuteInProcessResult, key: dg.AssetKey = SCORES
) -> dict[str, dg.AssetCheckEvaluation]:
    return {
        found.check_name: found for found in result.get_asset_check_evaluations() if found.asset_key == key
    }


def table(value: dg.MetadataValue[Any]) -> list[dg.TableRecord]:
    assert isinstance(value, dg.TableMetadataValue)
    return list(value.records)


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    data = next(event for event in result.all_events if event.is_step_failure).step_failure_data
    return str(data.user_failure_data.description if data.user_failure_data else data.error)


def range_tags(start: str, end: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": start, "dagster/asset_partition_range_end": end}


def test_pending_files_end_as_rows_curves_and_board_without_a_daemon(lab: Lab) -> None:
    lab.drop("cloud_ready/lab/players/p.ndjson", [{"player": "ann", "nickname": None}])
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.put(3, "Taxi-v3", rows(3, "Taxi-v3"))
    results = lab.pending()
    assert [(result.slot, result.success) for result in results][:3] == [
        ("whole", True), ("2026-11-02|CartPole-v1", True), ("2026-11-03|Taxi-v3", True),
    ]  # fmt: skip
    assert {result.failures for result in results} == {()}
    assert lab.count("SELECT COUNT(*) FROM lab.scores") == 6
    assert lab.count("SELECT COUNT(*) FROM lab.curve") == 6
    assert lab.count("SELECT COUNT(*) FROM lab.board") == 1
    assert lab.count("SELECT COUNT(*) FROM lab.best") == 1
    assert sorted(lab.instance.get_dynamic_partitions("environments")) == ["CartPole-v1", "Taxi-v3"]
    assert lab.pending() == []


def test_a_slice_carries_its_counts_and_its_picture(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.pending()
    loaded = lab.instance.get_latest_materialization_event(SCORES)
    assert loaded is not None
    assert loaded.asset_materialization is not None
    metadata = loaded.asset_materialization.metadata
    assert loaded.asset_materialization.partition == "2026-11-02|CartPole-v1"
    expected = {
        "rows loaded": 3,
        "lines": 3,
        "rejected": 0,
        "duplicates": 0,
        "dagster/partition_row_count": 3,
    }
    assert {name: metadata[name].value for name in expected} == expected
    drawn = lab.instance.get_latest_materialization_event(CURVE)
    assert drawn is not None
    assert drawn.asset_materialization is not None
    text = str(drawn.asset_materialization.metadata["picture"].value)
    image = base64.b64decode(text.partition("base64,")[2].rstrip(")"))
    assert image.startswith(b"\x89PNG")
    assert len(image) < 100_000


def test_a_refresh_shows_where_each_column_comes_from(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.put(3, "CartPole-v1", rows(3, "CartPole-v1"))
    lab.pending()
    event = lab.instance.get_latest_materialization_event(CURVE)
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    lineage, schema = metadata["dagster/column_lineage"], metadata["dagster/column_schema"]
    assert isinstance(lineage, dg.TableColumnLineageMetadataValue)
    assert lineage.column_lineage.deps_by_column["score"] == [dg.TableColumnDep(SCORES, "score")]
    assert isinstance(schema, dg.TableSchemaMetadataValue)
    columns = {column.name: column.description for column in schema.schema.columns}
    assert columns["score"] == "points; from lab.scores.score"


def test_a_range_run_covers_the_whole_rectangle_of_dates_and_environments(lab: Lab) -> None:
    for day in (2, 3):
        for environment in ("CartPole-v1", "Taxi-v3"):
            lab.put(day, environment, rows(day, environment, count=day))
    lab.instance.add_dynamic_partitions("environments", ["CartPole-v1", "Taxi-v3"])
    result = lab.materialize(SCORES, CURVE, tags=range_tags("2026-11-02|CartPole-v1", "2026-11-03|Taxi-v3"))
    assert result.success
    events = [event for event in result.get_asset_materialization_events() if event.asset_key == SCORES]
    counts = {event.partition: event.materialization.metadata["rows loaded"].value for event in events}
    assert counts == {
        "2026-11-02|CartPole-v1": 2, "2026-11-02|Taxi-v3": 2, "2026-11-03|CartPole-v1": 3, "2026-11-03|Taxi-v3": 3,
    }  # fmt: skip
    assert lab.count("SELECT COUNT(*) FROM lab.curve") == 10
    assert str(checks(result)["key_uniqueness"].metadata["checked"].value).endswith("(4 slices)")
    assert all(found.passed for name, found in checks(result).items() if name != "foreign_keys")


def test_a_reversed_range_is_an_error_and_not_a_quiet_success(lab: Lab) -> None:
    lab.instance.add_dynamic_partitions("environments", ["CartPole-v1"])
    result = lab.materialize(SCORES, tags=range_tags("2026-11-05|CartPole-v1", "2026-11-02|CartPole-v1"))
    assert not result.success
    assert "No partition lies in" in failure_of(result)


@pytest.mark.parametrize("how", ["backfill", "config"])
def test_a_backfill_rebuilds_and_a_single_slice_appends(lab: Lab, how: str) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.pending()
    # Somebody has changed the warehouse: an append cannot know, a rebuild replaces the slice.
    relation = lab.platform.catalog["lab.scores"]
    lab.platform.warehouse.drop(relation)
    lab.platform.warehouse.ensure([relation])
    partition = {"partition_key": "2026-11-02|CartPole-v1"}
    assert lab.materialize(SCORES, **partition).success
    assert lab.count("SELECT COUNT(*) FROM lab.scores") == 0
    if how == "backfill":
        result = lab.materialize(SCORES, **partition, tags={"dagster/backfill": "abcdefgh"})
    else:
        config = {"ops": {"lab__scores": {"config": {"rebuild": True}}}}
        result = lab.materialize(SCORES, **partition, run_config=config)
    assert result.success
    assert lab.count("SELECT COUNT(*) FROM lab.scores") == 3


def test_rejected_lines_warn_with_their_reasons_and_never_with_values(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", [*rows(2, "CartPole-v1"), row(2, "CartPole-v1", 99, score="secret-7")])
    lab.instance.add_dynamic_partitions("environments", ["CartPole-v1"])
    result = lab.materialize(SCORES, partition_key="2026-11-02|CartPole-v1")
    assert result.success
    found = checks(result)["rejected_rows"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.metadata["rejected"].value == 1
    assert "secret" not in str(result.all_events)
    assert checks(result)["accounting"].passed


def test_a_file_set_aside_fails_the_check_and_publishes_nothing(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", b"this is not JSON\n" * 3)
    lab.instance.add_dynamic_partitions("environments", ["CartPole-v1"])
    result = lab.materialize(SCORES, CURVE, partition_key="2026-11-02|CartPole-v1")
    assert not result.success
    found = checks(result)["rejected_rows"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found.metadata["files set aside"].value == 1
    assert result.get_asset_materialization_events() == []
    assert "a.ndjson" in failure_of(result)


def latest_check(lab: Lab, name: str = "rejected_rows", key: dg.AssetKey = SCORES) -> dg.AssetCheckEvaluation:
    """What the UI shows of a check: its newest evaluation, in whichever run, or beside any."""
    [record] = lab.instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(key, name), limit=1
    )
    assert record.event is not None
    event = record.event.dagster_event
    assert event is not None
    found = event.asset_check_evaluation_data
    assert isinstance(found, dg.AssetCheckEvaluation)
    return found


def test_lines_rejected_while_sorting_left_the_checks_green(lab: Lab) -> None:
    bad = [row(2, "CartPole-v1", 100 + number, score="seven") for number in range(3)]
    lab.drop("raw/lab/scores/a.ndjson", [*rows(2, "CartPole-v1", 6), *bad])
    lab.pending()
    found = latest_check(lab)
    assert (found.passed, found.metadata["rejected"].value) == (False, 3)
    assert "sorted from raw/" in (found.description or "")
    accounts = latest_check(lab, "accounting")
    counted = {name: accounts.metadata[name].value for name in ("lines", "loaded", "duplicate", "rejected")}
    assert accounts.passed
    assert counted == {"lines": 9, "loaded": 6, "duplicate": 0, "rejected": 3}


def test_a_ledger_that_does_not_add_up_fails_the_accounting_and_names_the_file(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.pending()
    file = lab.platform.settings.home / "warehouse.duckdb"
    with duckdb.connect(str(file)) as con:
        con.execute("UPDATE ops.import_logs SET loaded = loaded + 1 WHERE dataset = 'lab'")
    result = lab.materialize(SCORES, partition_key="2026-11-02|CartPole-v1")
    accounts = checks(result)["accounting"]
    assert (accounts.passed, accounts.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "1 files do not add up" in (accounts.description or "")


def test_a_raw_file_of_bad_lines_alone_left_no_trace_on_its_table(lab: Lab) -> None:
    lab.drop("raw/lab/scores/a.ndjson", b"this is not JSON\n")
    lab.pending()
    found = latest_check(lab)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found.metadata["files set aside"].value == 1
    assert not latest_check(lab, "set_aside", GATEWAY).passed
    assert latest_check(lab, "set_aside", GATEWAY).metadata["files set aside"].value == 1


def test_a_misplaced_file_left_no_trace_on_its_table(lab: Lab) -> None:
    lab.drop("cloud_ready/lab/scores/date=2026-02-30/environment=E/a.ndjson", rows(2, "CartPole-v1"))
    lab.pending()
    assert latest_check(lab).metadata["files set aside"].value == 1


def test_a_link_in_the_gateway_fails_its_check_and_is_not_followed(lab: Lab, tmp_path: Path) -> None:
    lab.drop("raw/lab/scores/a.ndjson", rows(2, "CartPole-v1"))
    link = lab.platform.settings.home / "export_gateway" / "raw" / "lab" / "scores" / "b.ndjson"
    link.symlink_to(tmp_path / "anything")
    lab.materialize(GATEWAY)
    found = latest_check(lab, "set_aside", GATEWAY)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert table(found.metadata["strays"])[0].data["name"] == "raw/lab/scores/b.ndjson"
    assert link.is_symlink()


def test_a_clean_slice_turned_the_tables_check_green_again(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", [*rows(2, "CartPole-v1"), row(2, "CartPole-v1", 99, score="seven")])
    lab.pending()
    lab.put(3, "CartPole-v1", rows(3, "CartPole-v1"))
    lab.pending()
    found = latest_check(lab)
    assert (found.passed, found.metadata["rejected"].value) == (False, 1)
    assert table(found.metadata["slices"])[0].data["slice"] == "2026-11-02|CartPole-v1"


def test_the_check_fails_until_the_lines_are_acknowledged(lab: Lab) -> None:
    scores = lab.platform.catalog["lab.scores"]
    bad = [row(2, "CartPole-v1", 98, score="seven"), row(2, "CartPole-v1", -1)]
    lab.put(2, "CartPole-v1", [*rows(2, "CartPole-v1"), *bad])
    lab.pending()
    assert acknowledge(lab.platform, scores, rule="wrong_type") == 1
    report_verdicts(lab.instance, lab.platform, [scores])
    assert latest_check(lab).metadata["rejected"].value == 1
    with pytest.raises(GaelpError, match="no open line is meant"):
        acknowledge(lab.platform, scores, rule="wrong_type")
    assert acknowledge(lab.platform, scores) == 1
    report_verdicts(lab.instance, lab.platform, [scores])
    assert latest_check(lab).passed
    # A rebuild decides on the same lines again, and does not open them again.
    lab.materialize(SCORES, partition_key="2026-11-02|CartPole-v1", tags={"dagster/backfill": "abcdefgh"})
    assert latest_check(lab).passed
    assert lab.count("SELECT COUNT(*) FROM ops.dead_letter") == 2


def test_a_bad_slice_of_a_range_does_not_take_the_good_one_with_it(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", b"this is not JSON\n")
    lab.put(3, "CartPole-v1", rows(3, "CartPole-v1"))
    lab.instance.add_dynamic_partitions("environments", ["CartPole-v1"])
    result = lab.materialize(SCORES, tags=range_tags("2026-11-02|CartPole-v1", "2026-11-03|CartPole-v1"))
    assert not result.success
    assert lab.instance.get_materialized_partitions(SCORES) == {"2026-11-03|CartPole-v1"}


def test_checks_were_not_evaluated_where_a_run_ended_after_one_that_was_planned_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (19, 20):
        lab.put(day, "CartPole-v1", rows(day, "CartPole-v1"))
    lab.instance.add_dynamic_partitions("environments", ["CartPole-v1"])
    head_room = tables.check_head_room
    later: list[dg.ExecuteInProcessResult] = []

    def in_between(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(tables, "check_head_room", head_room)
        later.append(lab.materialize(SCORES, partition_key="2026-11-19|CartPole-v1"))
        head_room(*arguments, **options)

    monkeypatch.setattr(tables, "check_head_room", in_between)
    assert lab.materialize(SCORES, partition_key="2026-11-20|CartPole-v1").success
    assert [run.success for run in later] == [True]
    (newest,) = lab.instance.fetch_materializations(SCORES, limit=1).records
    shown = lab.instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [dg.AssetCheckKey(SCORES, check.value) for check in AssetCheckName]
    )
    assert len(shown) == 5
    for record in shown.values():
        assert record.evaluation is not None
        assert record.evaluation.target_materialization_data is not None
        assert record.evaluation.target_materialization_data.storage_id == newest.storage_id


def test_checks_of_the_warehouse_find_what_no_load_has_seen(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.pending()
    import duckdb

    with duckdb.connect(str(lab.platform.settings.home / "warehouse.duckdb")) as connection:
        connection.execute("INSERT INTO lab.scores SELECT * FROM lab.scores")
        connection.execute("UPDATE lab.scores SET step = -1 WHERE step = 2")
        connection.execute("ALTER TABLE lab.scores ADD COLUMN surprise INTEGER")
    for tags in ({"dagster/partition": "2026-11-02|CartPole-v1"}, {}):
        found = checks(run_checks(lab, tags))
        assert {name: check.passed for name, check in found.items()} == {
            "schema_conformance": False, "key_uniqueness": False, "foreign_keys": False,
        }  # fmt: skip
        assert found["key_uniqueness"].metadata["keys with several rows"].value == 3
        assert found["foreign_keys"].severity is dg.AssetCheckSeverity.WARN
        broken = {
            record.data["check"]: record.data["rows"]
            for record in table(found["schema_conformance"].metadata["failures"])
        }
        assert list(broken.values()) == [2]
        assert table(found["schema_conformance"].metadata["columns"])[0].data["column"] == "surprise"


@pytest.mark.parametrize("kind", ["derived_table", "view"])
def test_a_key_that_a_derived_relation_declares_and_breaks_was_looked_at_by_nothing(
    lab: Lab, kind: str
) -> None:
    fields = [FIELDS[2], FIELDS[3]]
    sql = "SELECT player, step FROM lab.scores WHERE date >= DATE '2000-01-01'"
    lab.change("dupes", sql, kind=kind, fields=fields, primary_key=["player"])
    lab.change("steps", sql, kind=kind, fields=fields, primary_key=["player", "step"])
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.pending()
    dupes, steps = (dg.AssetKey(["lab", name]) for name in ("dupes", "steps"))
    result = lab.materialize(dupes, steps)
    assert result.success
    found = {check.asset_key: check for check in result.get_asset_check_evaluations()}
    assert (found[dupes].check_name, found[dupes].passed, found[steps].passed) == (
        "key_uniqueness",
        False,
        True,
    )
    assert found[dupes].severity is dg.AssetCheckSeverity.ERROR
    assert found[dupes].metadata["keys with several rows"].value == 1


def test_words_that_drifted_are_shown_and_fail_nothing(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.pending()
    import duckdb

    with duckdb.connect(str(lab.platform.settings.home / "warehouse.duckdb")) as connection:
        connection.execute("COMMENT ON TABLE lab.scores IS 'by hand'")
    found = checks(run_checks(lab, {}))["schema_conformance"]
    assert found.passed
    (record,) = table(found.metadata["columns"])
    assert (record.data["found"], record.data["remedy"]) == ("by hand", "gaelp deploy")


def run_checks(lab: Lab, tags: dict[str, str]) -> dg.ExecuteInProcessResult:
    keys = {"scores": ("schema_conformance", "key_uniqueness", "foreign_keys")}
    selected = [dg.AssetCheckKey(SCORES, name) for name in keys["scores"]]
    job = dg.define_asset_job("checks", selection=dg.AssetSelection.checks(*selected))
    defs = dg.Definitions.merge(lab.definitions, dg.Definitions(jobs=[job]))
    return defs.resolve_job_def("checks").execute_in_process(instance=lab.instance, tags=tags)


def test_a_check_that_cannot_run_says_so_and_blames_no_data(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.pending()
    lab.platform.warehouse.drop(lab.platform.catalog["lab.scores"])
    found = checks(run_checks(lab, {}))["key_uniqueness"]
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.metadata["outcome"].value == "could not run"


@pytest.mark.parametrize(
    "tags", [IN_PROCESS_TAG, {}], ids=["of an earlier ingest", "of a daemon that is gone"]
)
def test_a_run_whose_process_was_killed_does_not_hold_its_slot(lab: Lab, tags: dict[str, str]) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    killed = lab.instance.create_run_for_job(
        lab.definitions.resolve_job_def(ASSET_JOB),
        tags={SLOT_TAG: "2026-11-02|CartPole-v1", **tags},
        status=dg.DagsterRunStatus.STARTED,
    )
    assert [result.success for result in lab.pending() if result.slot.startswith("2026")] == [True]
    run = lab.instance.get_run_by_id(killed.run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.FAILURE


def test_a_derived_table_that_failed_did_not_say_why(lab: Lab) -> None:
    sql = "SELECT player, 1 / SUM(score - score) AS score FROM lab.curve WHERE date >= DATE '2000-01-01' GROUP BY player"
    (lab.platform.settings.home / "catalog" / "lab" / "board.sql").write_text(sql)
    settings = lab.platform.settings
    catalog = load_catalog(settings.home / "catalog")
    lab.platform = open_platform(settings, catalog)
    lab.definitions = build_definitions(settings, catalog)
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    assert any("division by zero" in text for result in lab.pending() for text in result.failures)


def test_a_slice_left_behind_by_a_killed_run_is_refreshed(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    lab.instance.add_dynamic_partitions("environments", ["CartPole-v1"])
    # The run died after the table and before what is derived from it.
    assert lab.materialize(SCORES, partition_key="2026-11-02|CartPole-v1").success
    assert "lab.curve" in {name for result in lab.pending() for name in result.assets}
    assert lab.count("SELECT COUNT(*) FROM lab.curve") == 3


def test_the_gateway_asset_shows_the_queue(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1"))
    result = lab.materialize(dg.AssetKey(["gateway", "export_gateway"]))
    metadata = result.get_asset_materialization_events()[0].materialization.metadata
    assert metadata["slices waiting"].value == 1
    assert table(metadata["queue"])[0].data["slice"] == "2026-11-02|CartPole-v1"
