"""A job whose answer is lost is looked up and never done twice; who meets others in BigQuery waits for a turn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError, TransientError
from gaelp_assets.settings import BigQueryAddress
from gaelp_assets.warehouse.bigquery import retry, staging
from gaelp_assets.warehouse.bigquery.changes import TableChanges
from gaelp_assets.warehouse.bigquery.jobs import Jobs
from gaelp_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gaelp_assets_tests.contract.warehouses import (
    BEST,
    CARTPOLE,
    CATALOG,
    EPISODES,
    RELATIONS,
    Stager,
    counts,
    encode,
    episodes,
    rows_of,
    write,
)
from gaelp_assets_tests.emulators.faults import Fault, Proxy

JOBS = r"^POST .*/jobs(\?|$)"
COMMIT = b"COMMIT TRANSACTION"
ALWAYS = 10**6
CONFLICT = "Transaction is aborted due to concurrent update against table lab.episodes"


def commits_of(client: Callable[[], Any], address: BigQueryAddress) -> int:
    """How many transactions of the test's own tables BigQuery holds."""
    jobs = client().list_jobs(max_results=1000, all_users=True)
    return sum(
        1 for job in jobs
        if job.job_type == "query" and "COMMIT TRANSACTION" in job.query and address.dataset_prefix in job.query
    )  # fmt: skip


def test_a_commit_whose_answer_is_lost_in_a_storm_is_found_by_its_id_and_not_sent_again(
    warehouse: BigQueryWarehouse,
    client: Callable[[], Any],
    address: BigQueryAddress,
    stage: Stager,
    proxy: Proxy,
) -> None:
    proxy.faults += [
        Fault(JOBS, after=True, body=COMMIT),
        Fault(JOBS, times=ALWAYS, status=503, reason="backendError", body=COMMIT),
        Fault("^GET .*/jobs/", times=2, status=503, reason="backendError"),
    ]
    batch = stage(EPISODES, encode(episodes(range(5))))
    assert counts(write(warehouse, EPISODES, [batch], CARTPOLE)[0]) == (5, 0, 0)
    assert [fault.met > 0 for fault in proxy.faults] == [True, True, True]
    assert commits_of(client, address) == 1
    assert len(rows_of(warehouse, EPISODES)) == 5


def test_a_commit_that_never_arrived_is_sent_until_it_does_and_is_done_once(
    warehouse: BigQueryWarehouse,
    client: Callable[[], Any],
    address: BigQueryAddress,
    stage: Stager,
    proxy: Proxy,
) -> None:
    proxy.faults.append(Fault(JOBS, times=30, body=COMMIT))
    batch = stage(EPISODES, encode(episodes(range(5))))
    assert counts(write(warehouse, EPISODES, [batch], CARTPOLE)[0]) == (5, 0, 0)
    assert proxy.faults[0].met == 30
    assert commits_of(client, address) == 1


@pytest.mark.parametrize("pattern", ["^GET .*/queries/", "^GET .*/jobs/"])
def test_answers_about_a_running_job_may_be_lost(
    warehouse: BigQueryWarehouse,
    stage: Stager,
    proxy: Proxy,
    pattern: str,
) -> None:
    proxy.faults.append(Fault(pattern, times=3, after=True))
    proxy.faults.append(Fault(JOBS, after=True))
    batch = stage(EPISODES, encode(episodes(range(5))))
    assert counts(write(warehouse, EPISODES, [batch], CARTPOLE)[0]) == (5, 0, 0)
    assert proxy.faults[0].met
    assert warehouse.ledger(EPISODES, CARTPOLE).height == 1


def test_who_dies_while_the_commit_is_under_way_finds_in_the_ledger_whether_it_was_done(
    warehouse: BigQueryWarehouse, address: BigQueryAddress, client: Callable[[], Any], stage: Stager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    batch = stage(EPISODES, encode(episodes(range(5))))
    wait = Jobs._wait

    def die(jobs: Jobs, job: Any) -> None:
        wait(jobs, job)
        if job.job_type == "query" and "COMMIT TRANSACTION" in job.query:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Jobs, "_wait", die)
        with pytest.raises(KeyboardInterrupt):
            write(warehouse, EPISODES, [batch], CARTPOLE)
    again = BigQueryWarehouse(address, CATALOG, factory=client)
    (written,) = write(again, EPISODES, [batch], CARTPOLE)
    assert written.already_in_ledger
    assert counts(written) == (5, 0, 0)
    assert len(rows_of(again, EPISODES)) == 5


@pytest.mark.parametrize("work", ["refresh", "drop", "write"])
def test_a_write_that_loses_against_another_transaction_gets_a_turn(
    warehouse: BigQueryWarehouse,
    stage: Stager,
    proxy: Proxy,
    work: str,
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(5))))], CARTPOLE)
    proxy.faults.append(Fault(JOBS, 3, 400, "invalidQuery", CONFLICT, body=COMMIT))
    if work == "refresh":
        assert warehouse.refresh(BEST, CARTPOLE) == 1
    elif work == "drop":
        warehouse.drop(EPISODES)
        assert warehouse.ledger(EPISODES, CARTPOLE).is_empty()
    else:
        write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(7))))], CARTPOLE)
        assert len(rows_of(warehouse, EPISODES)) == 7
    assert proxy.faults[0].met == 3


@pytest.mark.parametrize("work", ["refresh", "drop", "write"])
def test_a_write_that_never_gets_a_turn_may_try_again_later(
    warehouse: BigQueryWarehouse,
    stage: Stager,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    work: str,
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(5))))], CARTPOLE)
    monkeypatch.setattr(retry, "WRITE_ROUNDS", 3)
    fault = Fault(JOBS, ALWAYS, 400, "invalidQuery", CONFLICT, body=COMMIT)
    proxy.faults.append(fault)
    more = stage(EPISODES, encode(episodes(range(7))))
    acts: dict[str, Callable[[], object]] = {
        "refresh": lambda: warehouse.refresh(BEST, CARTPOLE),
        "drop": lambda: warehouse.drop(EPISODES),
        "write": lambda: write(warehouse, EPISODES, [more], CARTPOLE),
    }
    with pytest.raises(TransientError, match="3 times"):
        acts[work]()
    assert fault.met == 3
    fault.times = 0
    if work == "drop":
        warehouse.drop(EPISODES)
        assert warehouse.ledger(EPISODES, CARTPOLE).is_empty()


def test_a_table_that_is_dropped_under_a_write_takes_no_row_and_no_ledger_entry(
    warehouse: BigQueryWarehouse,
    stage: Stager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([99])))], CARTPOLE)
    batch = stage(EPISODES, encode(episodes(range(5))), rejects=[b"{"])
    dead_letters = staging.stage_dead_letters

    def dropping(*arguments: Any) -> Any:
        warehouse.drop(EPISODES)
        return dead_letters(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(staging, "stage_dead_letters", dropping)
        with pytest.raises(GaelpError, match="episodes"):
            write(warehouse, EPISODES, [batch], CARTPOLE)
    assert warehouse.ledger(EPISODES, CARTPOLE).is_empty()
    assert warehouse.query("SELECT * FROM ops.dead_letter").frame.is_empty()
    warehouse.ensure(RELATIONS)
    assert counts(write(warehouse, EPISODES, [batch], CARTPOLE)[0]) == (5, 0, 1)


def test_what_is_loaded_between_the_drop_of_a_table_and_the_last_word_on_its_loads_stays_in_the_ledger(
    warehouse: BigQueryWarehouse,
    stage: Stager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes([99])), rejects=[b"["])], CARTPOLE)
    batch = stage(EPISODES, encode(episodes(range(5))), rejects=[b"{"])
    drop = TableChanges.drop

    def drop_and_load(tables: TableChanges, relation: Relation) -> None:
        drop(tables, relation)
        warehouse.ensure(RELATIONS)
        write(warehouse, EPISODES, [batch], CARTPOLE)

    with monkeypatch.context() as patch:
        patch.setattr(TableChanges, "drop", drop_and_load)
        warehouse.drop(EPISODES)
    assert warehouse.ledger(EPISODES, CARTPOLE)["batch_id"].to_list() == [batch.batch_id]
    assert warehouse.query("SELECT batch_id FROM ops.dead_letter").frame.item() == batch.batch_id
    assert len(rows_of(warehouse, EPISODES)) == 5


def test_refreshes_beside_writes_end_with_what_was_written(
    client: Callable[[], Any],
    address: BigQueryAddress,
    warehouse: BigQueryWarehouse,
    tmp_path: Path,
) -> None:
    failures: list[BaseException] = []
    done = threading.Event()
    stager = Stager(tmp_path)
    batches = [
        stager(EPISODES, encode(episodes(range(n * 5, n * 5 + 8))), rejects=[b"{" * n]) for n in (1, 2, 3, 4)
    ]

    def run(act: Callable[[BigQueryWarehouse], object]) -> None:
        try:
            act(BigQueryWarehouse(address, CATALOG, factory=client))
        except BaseException as failure:
            failures.append(failure)

    def loading(own: BigQueryWarehouse) -> None:
        for batch in batches:
            write(own, EPISODES, [batch], CARTPOLE)
        done.set()

    def refreshing(own: BigQueryWarehouse) -> None:
        while not done.is_set() and not failures:
            own.refresh(BEST, CARTPOLE)

    threads = [threading.Thread(target=run, args=(act,)) for act in (loading, refreshing)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert warehouse.refresh(BEST, CARTPOLE) == 1
    (kept,) = warehouse.query("SELECT b.best, b.steps FROM lab_views.best AS b").frame.rows()
    (found,) = warehouse.query("SELECT MAX(score), SUM(step) FROM lab.episodes").frame.rows()
    assert kept == found
