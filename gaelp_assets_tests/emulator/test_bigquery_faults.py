"""What goes wrong between the platform and BigQuery: each gives one clear error or none, and nothing is loaded twice or lost."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog import Field
from gaelp_assets.errors import GaelpError, TransientError
from gaelp_assets.operations import deploy
from gaelp_assets.operations.deploy import Result
from gaelp_assets.settings import BigQueryAddress
from gaelp_assets.warehouse.bigquery import jobs as job_limits
from gaelp_assets.warehouse.bigquery import retry, staging, transaction
from gaelp_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gaelp_assets.warehouse.protocol import WriteMode
from gaelp_assets.warehouse.schema.model import Status
from gaelp_assets_tests.contract.warehouses import (
    CARTPOLE,
    CATALOG,
    EPISODES,
    EVERY_TYPE,
    NOW,
    RELATIONS,
    VERSIONS,
    Stager,
    counts,
    encode,
    episode,
    episodes,
    open_engine,
    rows_of,
    write,
)
from gaelp_assets_tests.emulators.bigquery import PROJECT
from gaelp_assets_tests.emulators.faults import Fault, Proxy

JOBS = r"^POST .*/jobs(\?|$)"
COMMIT = b"COMMIT TRANSACTION"


def commits(proxy: Proxy) -> int:
    return sum(fault.met for fault in proxy.faults)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(JOBS, times=3, status=503, reason="backendError"),
        Fault(JOBS, times=2, status=429, reason="rateLimitExceeded"),
        Fault(JOBS, times=2, status=403, reason="rateLimitExceeded"),
        Fault("/(jobs|queries)/", times=3, status=500, reason="internalError"),
    ],
    ids=lambda fault: f"{fault.status} {fault.reason}",
)
def test_a_storm_that_passes_is_sat_out(
    warehouse: BigQueryWarehouse, stage: Stager, proxy: Proxy, fault: Fault
) -> None:
    proxy.faults.append(Fault(fault.pattern, fault.times, fault.status, fault.reason))
    batch = stage(EPISODES, encode(episodes(range(4))), rejects=[b"{"])
    assert counts(write(warehouse, EPISODES, [batch], CARTPOLE)[0]) == (4, 0, 1)
    assert proxy.faults[0].met == fault.times
    assert len(rows_of(warehouse, EPISODES)) == 4


def test_the_same_bytes_vanished_from_a_second_warehouse_of_the_project(
    stage: Stager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Load jobs were named after the bytes alone, and so were one for all warehouses of the project."""
    monkeypatch.setattr(retry, "WRITE_ROUNDS", 1)
    batch = stage(EPISODES, encode(episodes(range(4))))
    for name in ("one", "other"):
        warehouse = open_engine("bigquery", tmp_path / name)
        warehouse.ensure(RELATIONS)
        assert counts(write(warehouse, EPISODES, [batch], CARTPOLE)[0]) == (4, 0, 0)


@pytest.mark.parametrize("after", [False, True], ids=["before it arrived", "before its answer arrived"])
@pytest.mark.parametrize("body", [COMMIT, b""], ids=["the commit", "any job"])
def test_a_cut_connection_loads_everything_once(
    warehouse: BigQueryWarehouse, stage: Stager, proxy: Proxy, after: bool, body: bytes
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([1])))], CARTPOLE)
    proxy.faults.append(Fault(JOBS, after=after, body=body))
    batch = stage(EPISODES, encode(episodes(range(1, 9))))
    assert counts(write(warehouse, EPISODES, [batch], CARTPOLE)[0]) == (7, 1, 0)
    assert proxy.faults[0].met == 1
    assert len(rows_of(warehouse, EPISODES)) == 8
    assert warehouse.ledger(EPISODES, CARTPOLE).height == 2


def test_a_connection_cut_during_an_upload_loads_everything_once(
    warehouse: BigQueryWarehouse, stage: Stager, proxy: Proxy
) -> None:
    proxy.faults.append(Fault("^PUT .*upload", after=True))
    batch = stage(EPISODES, encode(episodes(range(5))))
    assert counts(write(warehouse, EPISODES, [batch], CARTPOLE)[0]) == (5, 0, 0)
    assert proxy.faults[0].met == 1
    assert len(rows_of(warehouse, EPISODES)) == 5


def test_a_server_that_stays_away_is_a_transient_error_and_nothing_is_lost(
    client: Callable[[], Any],
    address: BigQueryAddress,
    warehouse: BigQueryWarehouse,
    stage: Stager,
    proxy: Proxy,
) -> None:
    batch = stage(EPISODES, encode(episodes(range(5))))
    impatient = BigQueryWarehouse(address, CATALOG, factory=client)
    impatient._jobs._deadline = 0.3
    storm = Fault(JOBS, times=10**6, status=503, reason="backendError", body=COMMIT)
    proxy.faults.append(storm)
    with pytest.raises(TransientError, match=r"append lab.episodes.*status.cloud"):
        write(impatient, EPISODES, [batch], CARTPOLE)
    assert storm.met > 1
    storm.times = 0
    assert rows_of(warehouse, EPISODES) == []
    assert counts(write(warehouse, EPISODES, [batch], CARTPOLE)[0]) == (5, 0, 0)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(JOBS, 9, 403, "accessDenied", "no bigquery.jobs.create"), "roles/bigquery.jobUser.*Grant"),
        (Fault(JOBS, 9, 403, "accessNotConfigured"), "gcloud services enable"),
        (Fault(JOBS, 9, 403, "billingNotEnabled"), "Enable billing"),
        (Fault(JOBS, 9, 400, "bytesBilledLimitExceeded"), "fewer dates"),
        (Fault(JOBS, 9, 404, "notFound", "Not found: Project gone"), "Correct GAELP_WAREHOUSE"),
        (Fault(JOBS, 9, 400, "invalidQuery", "Bad int64 value: secret"), "refused"),
    ],
    ids=lambda value: getattr(value, "reason", ""),
)
def test_what_stays_wrong_is_said_once_with_the_next_step(
    warehouse: BigQueryWarehouse, proxy: Proxy, fault: Fault, says: str
) -> None:
    proxy.faults.append(fault)
    with pytest.raises(GaelpError, match=says) as raised:
        warehouse.query("SELECT 1 AS x")
    assert raised.value.permanent
    assert proxy.faults[0].met == 1, "trying again cannot help"
    assert "secret" not in str(raised.value)
    fault.met = 0


def test_a_query_that_bigquery_has_ended_took_too_long(warehouse: BigQueryWarehouse, proxy: Proxy) -> None:
    proxy.faults.append(Fault(JOBS, status=400, reason="stopped", body=b'"jobTimeoutMs": "1"'))
    with pytest.raises(GaelpError, match=r"it took longer than 0\.001 s") as caught:
        warehouse.query("SELECT 1 AS one", time_limit=0.001)
    assert caught.value.permanent
    assert proxy.faults[0].met == 1
    assert warehouse.query("SELECT 1 AS one", time_limit=60).frame.item() == 1


def test_a_quota_that_is_used_up_is_transient_and_not_asked_again(
    warehouse: BigQueryWarehouse, proxy: Proxy
) -> None:
    proxy.faults.append(Fault(JOBS, 9, 403, "quotaExceeded", "Quota exceeded"))
    with pytest.raises(TransientError, match="midnight Pacific"):
        warehouse.query("SELECT 1 AS x")
    assert proxy.faults[0].met == 1


def test_nobody_signed_in_is_said_so(address: BigQueryAddress) -> None:
    from google.auth.exceptions import DefaultCredentialsError

    def make() -> Any:
        raise DefaultCredentialsError("Your default credentials were not found.")  # type: ignore[no-untyped-call]

    warehouse = BigQueryWarehouse(address, CATALOG, factory=make)
    for act in (lambda: warehouse.describe(EPISODES), lambda: deploy.plan(warehouse, CATALOG, jobs=4)):
        with pytest.raises(GaelpError, match="gcloud auth application-default login"):
            act()


def test_a_dataset_in_another_location_is_refused_by_name(
    warehouse: BigQueryWarehouse, client: Callable[[], Any], address: BigQueryAddress
) -> None:
    elsewhere = BigQueryWarehouse(
        BigQueryAddress(address.project, "EU", address.dataset_prefix), CATALOG, factory=client
    )
    with pytest.raises(GaelpError, match=r"the dataset is in US.*location=US"):
        elsewhere.ensure(RELATIONS)


def test_a_transaction_that_fails_half_way_leaves_nothing(
    warehouse: BigQueryWarehouse, stage: Stager, monkeypatch: pytest.MonkeyPatch
) -> None:

    batch = stage(EPISODES, encode(episodes(range(5))), rejects=[b"{"])
    with monkeypatch.context() as patch:
        patch.setattr(transaction.WriteScript, "_insert_ledger", lambda self: "SELECT ERROR('half-way')")
        with pytest.raises(GaelpError):
            write(warehouse, EPISODES, [batch], CARTPOLE)
    assert rows_of(warehouse, EPISODES) == []
    assert warehouse.query("SELECT * FROM ops.dead_letter").frame.is_empty()
    assert counts(write(warehouse, EPISODES, [batch], CARTPOLE)[0]) == (5, 0, 1)


def test_a_write_that_was_overtaken_plans_again(
    warehouse: BigQueryWarehouse, stage: Stager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process loads the same rows between the plan and the commit: they are duplicates, not loaded twice."""

    mine, other = (
        stage(EPISODES, encode(episodes(range(5)))),
        stage(EPISODES, encode(episodes(range(3, 8)), indent=True)),
    )
    dead_letters = staging.stage_dead_letters
    came: list[bool] = []

    def overtaking(*arguments: Any) -> Any:
        if not came:
            came.append(True)
            write(warehouse, EPISODES, [other], CARTPOLE)
        return dead_letters(*arguments)

    monkeypatch.setattr(staging, "stage_dead_letters", overtaking)
    assert counts(write(warehouse, EPISODES, [mine], CARTPOLE)[0]) == (3, 2, 0)
    assert len(rows_of(warehouse, EPISODES)) == 8


def test_what_bigquery_cannot_hold_is_a_dead_letter_and_the_rest_is_loaded_unaltered(
    warehouse: BigQueryWarehouse, stage: Stager
) -> None:
    row = {
        "id": -(2**63),
        "string_value": "Zoë ☃ '\"",
        "bytes_value": "raw",
        "integer_value": 2**63 - 1,
        "float_value": 5e-324,
        "numeric_value": "12345678901234567890123456789.123456789",
        "boolean_value": False,
        "timestamp_value": "2024-02-29T23:30:00.000001-03:00",
        "date_value": "2024-02-29",
        "datetime_value": "2024-02-29T23:30:00",
        "time_value": "23:59:59.999999",
        "json_value": '{"a":"C:\\\\new","big":9223372036854775807,"c":[1.5,null]}',
        "many": [{"name": "x", "values": [1]}, {"name": None, "values": []}],
    }
    wide = {**row, "id": 2, "json_value": '{"n":123456789012345678901234567890}'}
    hole = {**row, "id": 3, "many": [{"name": "x", "values": [1, None]}]}
    batch = stage(EVERY_TYPE, encode([row, wide, hole]))
    for mode in (WriteMode.APPEND, WriteMode.REBUILD):
        assert counts(write(warehouse, EVERY_TYPE, [batch], mode=mode)[0]) == (1, 0, 2)
    (found,) = warehouse.query("SELECT * FROM lab.every_type").frame.to_dicts()
    assert {
        name: found[name]
        for name in ("id", "string_value", "integer_value", "float_value", "json_value", "many")
    } == {
        name: row[name]
        for name in ("id", "string_value", "integer_value", "float_value", "json_value", "many")
    }
    assert str(found["numeric_value"]) == row["numeric_value"]
    assert found["bytes_value"] == b"raw"
    assert found["timestamp_value"] == dt.datetime(2024, 3, 1, 2, 30, 0, 1, tzinfo=dt.UTC)
    assert found["time_value"] == dt.time(23, 59, 59, 999999)
    dead_letters = warehouse.query(
        "SELECT raw, reasons FROM ops.dead_letter ORDER BY line_number"
    ).frame.to_dicts()
    assert [letter["raw"] for letter in dead_letters] == encode([wide, hole])
    assert [letter["reasons"][0]["rule"] for letter in dead_letters] == ["json_number", "null_element"]


def test_every_job_has_labels_and_a_limit(
    warehouse: BigQueryWarehouse, client: Callable[[], Any], stage: Stager
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode([episode(1)]))], CARTPOLE, run_id="Run-7")
    jobs = [
        job for job in client().list_jobs(max_results=200, all_users=True) if job.labels.get("run") == "run-7"
    ]
    assert {job.job_type for job in jobs} == {"load", "query"}
    for job in jobs:
        assert job.labels["asset"] == "lab_episodes"
        assert job.labels["slice"] == "2026-11-20_cartpole-v1"
        if job.job_type == "query":
            assert client().get_job(job.job_id).maximum_bytes_billed == job_limits.MAX_BYTES_BILLED


def test_tables_are_made_as_the_catalogue_says_and_made_once(
    warehouse: BigQueryWarehouse, client: Callable[[], Any], address: BigQueryAddress, proxy: Proxy
) -> None:
    table = client().get_table(f"{PROJECT}.{address.dataset_prefix}lab.episodes")
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("DAY", "date")
    assert [(f.name, f.mode) for f in table.schema][:2] == [
        ("environment_id", "REQUIRED"),
        ("date", "REQUIRED"),
    ]
    dead_letters = client().get_table(f"{PROJECT}.{address.dataset_prefix}ops.dead_letter")
    assert dead_letters.time_partitioning.expiration_ms == 365 * 86_400_000
    assert dead_letters.clustering_fields == ["dataset", "table", "slice_date", "slice_environment"]
    proxy.seen.clear()
    warehouse.ensure(RELATIONS)
    assert not [request for request in proxy.seen if not request.startswith("GET")]


def test_a_result_comes_as_a_pandas_frame_too(
    warehouse: BigQueryWarehouse, stage: Stager, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(4))))], CARTPOLE, loaded_at=NOW)
    frame = warehouse.to_pandas(
        "SELECT step, score FROM lab.episodes WHERE step < @limit ORDER BY step", {"limit": 3}
    )
    assert frame["step"].tolist() == [0, 1, 2]
    assert str(frame["step"].dtype) == "Int64"


TABLES = r"^POST .*/tables(\?|$)"


def deployed(warehouse: BigQueryWarehouse) -> dict[str, Result]:
    results = deploy.apply(warehouse, deploy.plan(warehouse, CATALOG, jobs=4), jobs=4)
    return {result.id: result for result in results}


def test_one_table_that_cannot_be_made_is_named_and_only_it_is_made_the_second_time(
    client: Callable[[], Any], address: BigQueryAddress, proxy: Proxy
) -> None:
    warehouse = BigQueryWarehouse(address, CATALOG, factory=client)
    fault = Fault(TABLES, 9, 403, "accessDenied", "no bigquery.tables.create", body=b'"versions"')
    proxy.faults.append(fault)
    results = deployed(warehouse)
    assert {id_ for id_, result in results.items() if result.outcome is not deploy.DeployOutcome.MADE} == {
        "lab.versions"
    }
    assert results["lab.versions"].outcome is deploy.DeployOutcome.FAILED
    assert "lab.versions" in str(results["lab.versions"].problems[0])
    assert "Grant roles/bigquery.jobUser" in str(results["lab.versions"].problems[0])
    assert fault.met == 1, "trying again cannot help"
    fault.times = 0
    proxy.seen.clear()
    assert deployed(warehouse)["lab.versions"].outcome is deploy.DeployOutcome.MADE
    assert len([request for request in proxy.seen if re.match(TABLES, request)]) == 1


@pytest.mark.parametrize(
    "fault",
    [Fault(TABLES, 12, 503, "backendError"), Fault(TABLES, 12, 403, "rateLimitExceeded"), Fault(TABLES, 3, after=True)],
    ids=["503", "rate limit", "lost answers"],
)  # fmt: skip
def test_a_storm_over_new_tables_is_sat_out(
    client: Callable[[], Any], address: BigQueryAddress, proxy: Proxy, fault: Fault
) -> None:
    proxy.faults.append(replace(fault))
    warehouse = BigQueryWarehouse(address, CATALOG, factory=client)
    assert {result.outcome for result in deployed(warehouse).values()} == {deploy.DeployOutcome.MADE}
    assert proxy.faults[0].met == fault.times
    assert not deploy.plan(warehouse, CATALOG, jobs=4).has_changes


def test_a_dataset_in_another_location_is_refused_in_the_plan_with_all_that_would_lie_in_it(
    client: Callable[[], Any], address: BigQueryAddress
) -> None:
    BigQueryWarehouse(address, CATALOG, factory=client).make_dataset("lab_views")
    elsewhere = BigQueryWarehouse(
        BigQueryAddress(address.project, "EU", address.dataset_prefix), CATALOG, factory=client
    )
    found = deploy.plan(elsewhere, CATALOG, jobs=4)
    assert [refusal.what for refusal in found.refusals] == ["the dataset is in US"]
    results = {r.id: r for r in deploy.apply(elsewhere, found, jobs=4, partial=True)}
    assert results["lab_views"].outcome is deploy.DeployOutcome.REFUSED
    assert results["lab_views.best"].outcome is deploy.DeployOutcome.SKIPPED
    assert results["lab.episodes"].outcome is deploy.DeployOutcome.MADE


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("^GET .*/datasets/", 99, 404, "notFound", "Not found: Project gone"), "Correct GAELP_WAREHOUSE"),
        (Fault("^GET .*/datasets/", 99, 403, "accessDenied", "no bigquery.datasets.get"), "Grant roles/"),
    ],
    ids=["wrong project", "no permission"],
)  # fmt: skip
def test_a_warehouse_that_cannot_be_looked_at_is_one_error(
    client: Callable[[], Any], address: BigQueryAddress, proxy: Proxy, fault: Fault, says: str
) -> None:
    proxy.faults.append(fault)
    with pytest.raises(GaelpError, match=says) as raised:
        deploy.plan(BigQueryWarehouse(address, CATALOG, factory=client), CATALOG, jobs=4)
    assert raised.value.permanent
    assert len(raised.value.problems) == 1


def test_a_change_that_was_overtaken_is_planned_again(
    warehouse: BigQueryWarehouse, client: Callable[[], Any], address: BigQueryAddress, proxy: Proxy
) -> None:
    """Somebody adds a column between the look at a table and its change: neither change is lost."""
    wider = VERSIONS.model_copy(update={"fields": (*VERSIONS.fields, Field(name="fresh", type="DATE"))})
    proxy.faults.append(Fault("^PATCH .*/tables/versions", 2, 412, "conditionNotMet", "etag"))
    with warehouse.changing() as change:
        (done,) = [change(planned) for planned in warehouse.diff([wider])]
    assert [change.field for change in done.changes] == ["fresh"]
    assert proxy.faults[0].met == 2
    assert warehouse.diff([wider])[0].status is Status.UNCHANGED


def test_everything_that_bigquery_knows_of_a_table_follows_the_catalogue(
    warehouse: BigQueryWarehouse, client: Callable[[], Any], address: BigQueryAddress
) -> None:
    """Labels, clustering, expiration, filter, policy tags; and what others have set stays."""
    table_id = f"{PROJECT}.{address.dataset_prefix}lab.episodes"
    live = client().get_table(table_id)
    live.labels = {**live.labels, "cost_centre": "42"}
    client().update_table(live, ["labels"])
    first, *rest = EPISODES.fields
    tag = "projects/p/locations/us/taxonomies/1/policyTags/2"
    tagged = first.model_copy(update={"policyTags": {"names": (tag,)}, "description": "where it ran"})
    changed = EPISODES.model_copy(
        update={
            "fields": (tagged, *rest),
            "clustering": ("environment_id", "episode_id"),
            "retention_days": 30,
            "require_partition_filter": True,
            "tags": {"layer": "fact"},
        }
    )
    (planned,) = warehouse.diff([changed])
    assert sorted(change.action for change in planned.changes) == sorted(
        ["describe", "policy_tags", "label", "cluster", "expire", "partition_filter"]
    )
    with warehouse.changing() as change:
        change(planned)
    assert warehouse.diff([changed])[0].status is Status.UNCHANGED
    live = client().get_table(table_id)
    assert live.clustering_fields == ["environment_id", "episode_id"]
    assert live.time_partitioning.expiration_ms == 30 * 86_400_000
    assert live.require_partition_filter
    assert (live.labels["cost_centre"], live.labels["layer"]) == ("42", "fact")
    assert live.schema[0].policy_tags.names == (tag,)
    with warehouse.changing() as change:
        change(warehouse.diff([EPISODES])[0])
    assert warehouse.diff([EPISODES])[0].status is Status.UNCHANGED
    live = client().get_table(table_id)
    assert live.clustering_fields is None
    assert live.time_partitioning.expiration_ms is None
    assert live.schema[0].policy_tags.names == (tag,), "a protection is not lifted by leaving it out"
