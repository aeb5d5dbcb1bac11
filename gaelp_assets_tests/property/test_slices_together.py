"""Appends that are carried out together: table, ledger and dead letter are as if one came after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.warehouse.protocol import SliceWrite, Warehouse, WriteMode
from gaelp_assets_tests.contract.test_keys_across_slices import (
    CARTPOLE,
    DATED,
    FACTS,
    KEYS,
    LATEST,
    OWN,
    RELATIONS,
    TAXI,
    TODAY_WHOLE,
    TOLD,
    TOMORROW,
    TOMORROW_WHOLE,
    row,
    snapshot,
)
from gaelp_assets_tests.contract.warehouses import ENGINES, NOW, Stager, encode
from gaelp_assets_tests.property.test_slice_convergence import bounded

Files: TypeAlias = Sequence[tuple[list[tuple[int, int]], int]]
"""Files of one slice, each some rows (key and version) and a number of lines that are none."""

files = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), max_size=3),
        st.integers(0, 1),
    ),
    max_size=2,
)
rounds = st.lists(st.tuples(files, files, files), min_size=1, max_size=3)


@pytest.mark.parametrize("engine", ["duckdb", pytest.param("bigquery", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("table", [FACTS, OWN, DATED, TOLD, LATEST], ids=lambda table: str(table.name))
def test_together_as_one_after_the_other(engine: str, table: Relation) -> None:
    slices = (TODAY_WHOLE, TOMORROW_WHOLE) if table is LATEST else (CARTPOLE, TAXI, TOMORROW)

    @bounded(engine, duckdb=6)
    @given(arriving=rounds)
    @example(arriving=[([([], 1)], [([(2, 0)], 0)], [([], 1)])] * 2)  # files without a row are sent again
    def equals(arriving: list[tuple[Files, ...]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            together, alone = (opened(engine, Path(folder, name)) for name in ("together", "alone"))
            stage = Stager(Path(folder))
            for number, content in enumerate(arriving):
                writes = [
                    write_of(stage, table, slice_, number, found)
                    for slice_, found in zip(slices, content, strict=False)
                    if any(rows or rejects for rows, rejects in found)
                ]
                if not writes:
                    continue
                assert together.write_all(writes) == [alone.write(write) for write in writes]
                assert snapshot(together, table, *slices) == snapshot(alone, table, *slices)

    equals()


def opened(engine: str, place: Path) -> Warehouse:
    place.mkdir()
    warehouse = ENGINES[engine](place, KEYS, 60)
    warehouse.ensure(RELATIONS)
    return warehouse


def write_of(stage: Stager, table: Relation, slice_: Slice, number: int, found: Files) -> SliceWrite:
    """The key of every second row is one that no other slice and no other round has."""
    batches = [
        stage(
            table,
            encode(
                [
                    row(f"k{key}" if key % 2 else f"{slice_} {number} {key}", slice_, version)
                    for key, version in rows
                ]
            ),
            rejects=[f"{{{slice_}".encode()] * rejects,
        )
        for rows, rejects in found
        if rows or rejects
    ]
    return SliceWrite(table, slice_, WriteMode.APPEND, batches, NOW, "run")
