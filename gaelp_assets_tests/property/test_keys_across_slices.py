"""Whatever slices a key comes to, in whatever order and files: it stands once in the table, and rebuilds of the slices change nothing."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.warehouse.protocol import StagedBatch, Warehouse, WriteMode
from gaelp_assets_tests.contract.test_keys_across_slices import (
    CARTPOLE,
    FACTS,
    KEYS,
    LATEST,
    RELATIONS,
    TAXI,
    TODAY_WHOLE,
    TOMORROW,
    TOMORROW_WHOLE,
    batch_of,
    snapshot,
)
from gaelp_assets_tests.contract.warehouses import DAY, ENGINES, NOW, Stager, write
from gaelp_assets_tests.property.test_slice_convergence import bounded

pytestmark = pytest.mark.slow

SLICES: Mapping[str, Sequence[Slice]] = {
    FACTS.id: (CARTPOLE, TAXI, TOMORROW),
    LATEST.id: (TODAY_WHOLE, TOMORROW_WHOLE, Slice(DAY + dt.timedelta(days=2))),
}

# A file is of one slice, and some rows: each a key and a version. Some files are resent, and some slices rebuilt in between.
files = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=5),
        st.sampled_from(["append", "resend", "rebuild"]),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("engine", ["duckdb", pytest.param("bigquery", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("table", [FACTS, LATEST], ids=lambda table: str(table.name))
def test_a_key_stands_once_and_rebuilds_change_nothing(engine: str, table: Relation) -> None:
    @bounded(engine)
    @given(arriving=files, order=st.permutations(range(3)))
    def converges(arriving: list[tuple[int, list[tuple[int, int]], str]], order: list[int]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            warehouse = ENGINES[engine](Path(folder), KEYS, 60)
            warehouse.ensure(RELATIONS)
            stage = Stager(Path(folder))
            slices = SLICES[table.id]
            sent: dict[Slice, dict[str, StagedBatch]] = {slice_: {} for slice_ in slices}
            for index, content, then in arriving:
                slice_ = slices[index]
                batch = batch_of(stage, table, slice_, *((f"k{key}", version) for key, version in content))
                sent[slice_][batch.batch_id] = batch
                for _ in range(1 + (then == "resend")):
                    write(warehouse, table, [batch], slice_)
                if then == "rebuild":
                    rebuild(warehouse, table, slice_, sent[slice_])
                check(warehouse, table, slices)
            latest: dict[str, int] = {}
            for _, content, _ in arriving:
                for key, version in content:
                    latest[f"k{key}"] = max(version, latest.get(f"k{key}", 0))
            found = warehouse.query(f"SELECT id, version FROM {table.id}").frame
            assert sorted(found["id"]) == sorted(latest)
            if table is LATEST:
                assert dict(found.rows()) == latest
            before = snapshot(warehouse, table, *slices)
            for _ in range(2):
                for index in order:
                    rebuild(warehouse, table, slices[index], sent[slices[index]])
                    check(warehouse, table, slices)
                after = snapshot(warehouse, table, *slices)
                # Of an old version, no contradiction is told any more once another slice has a later one.
                assert after[0] == before[0]
                if table is FACTS:
                    assert after == before

    converges()


def rebuild(warehouse: Warehouse, table: Relation, slice_: Slice, sent: Mapping[str, StagedBatch]) -> None:
    ordered = [sent[batch_id] for batch_id in warehouse.ledger(table, slice_)["batch_id"]]
    write(warehouse, table, ordered, slice_, WriteMode.REBUILD, NOW + dt.timedelta(days=1))


def check(warehouse: Warehouse, table: Relation, slices: Sequence[Slice]) -> None:
    """The ledger tells what the table holds, batch by batch, and every line has one fate."""
    rows = warehouse.query(f"SELECT _batch_id, COUNT(*) AS n FROM {table.id} GROUP BY _batch_id").frame
    ledger = [row for slice_ in slices for row in warehouse.ledger(table, slice_).to_dicts()]
    assert {row["batch_id"]: row["loaded"] for row in ledger if row["loaded"]} == dict(rows.rows())
    assert all(row["lines"] == row["loaded"] + row["duplicate"] + row["rejected"] for row in ledger)
    letters = warehouse.query("SELECT COUNT(*) AS n FROM ops.dead_letter").frame.item()
    assert letters == sum(row["rejected"] for row in ledger)
