"""Whatever the order, the splitting into files and writes, and the resends: the same slice; and a rebuild changes nothing."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from gaelp_assets.catalog import WHOLE, Relation, Slice
from gaelp_assets.ingest.sort import sort_raw
from gaelp_assets.warehouse.protocol import StagedBatch, Warehouse, WriteMode
from gaelp_assets_tests.chaos.workloads import ENDINGS, put
from gaelp_assets_tests.contract.warehouses import (
    CARTPOLE,
    ENGINES,
    EPISODES,
    NOW,
    RELATIONS,
    VERSIONS,
    Stager,
    encode,
    episode,
    open_engine,
    rows_of,
    write,
)
from gaelp_assets_tests.platforms import SLICE, checkpoint, ndjson, platform_in, state
from gaelp_assets_tests.platforms import load as load_checkpoints

pytestmark = pytest.mark.slow


def bounded(engine: str, *, duckdb: int = 5) -> settings:
    """An example takes a fraction of a second where the engine is embedded, and many where each write is five jobs of a server."""
    return settings(
        max_examples=duckdb if engine == "duckdb" else 2,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        # A failing example is shown as it is found: to shrink it takes minutes on a server.
        phases=list(Phase) if engine == "duckdb" else [Phase.explicit, Phase.reuse, Phase.generate],
    )


# A line is a row's number, its version and its formatting; a file is some lines; a write is some files, by their index.
lines = st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans())
files = st.lists(st.lists(lines, max_size=6), min_size=1, max_size=5)
writes = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), max_size=4)


@contextmanager
def empty_warehouse(engine: str) -> Iterator[tuple[Warehouse, Stager]]:
    with tempfile.TemporaryDirectory() as folder:
        warehouse = open_engine(engine, Path(folder))
        warehouse.ensure(RELATIONS)
        yield warehouse, Stager(Path(folder))


def load(
    warehouse: Warehouse,
    relation: Relation,
    slice_: Slice,
    batches: Sequence[StagedBatch],
    order: list[list[int]],
) -> None:
    """Writes the batches in groups, some of them again and again, in the end all of them; the clock goes backwards."""
    groups = [[batches[index % len(batches)] for index in group] for group in order]
    for count, group in enumerate([*groups, *([batch] for batch in batches)]):
        write(warehouse, relation, group, slice_, loaded_at=NOW - dt.timedelta(minutes=count))


def episode_line(number: int, version: int, indent: bool) -> bytes:
    """Of an episode whose content depends on the version."""
    return encode([episode(number, score=float(version))], indent=indent)[0]


def version_line(number: int, version: int, indent: bool, rank: str = "") -> bytes:
    return encode([{"batch": f"key-{number}", "version": version, "rank": rank}], indent=indent)[0]


def contents(warehouse: Warehouse, relation: Relation) -> list[tuple[Any, ...]]:
    return sorted((row[: len(relation.fields)] for row in rows_of(warehouse, relation)), key=repr)


@pytest.mark.parametrize("engine", ENGINES)
def test_facts_converge(engine: str) -> None:
    @bounded(engine)
    @given(content=files, order=writes)
    def converges(content: list[list[tuple[int, int, bool]]], order: list[list[int]]) -> None:
        with empty_warehouse(engine) as (warehouse, stage):
            batches = [
                stage(EPISODES, [episode_line(n, 0, indent) for n, _, indent in file]) for file in content
            ]
            load(warehouse, EPISODES, CARTPOLE, batches, order)
            numbers = {n for file in content for n, _, _ in file}
            with empty_warehouse(engine) as (clean, stage_clean):
                write(
                    clean,
                    EPISODES,
                    [stage_clean(EPISODES, [episode_line(n, 0, False) for n in numbers])],
                    CARTPOLE,
                )
                assert contents(warehouse, EPISODES) == contents(clean, EPISODES)
            assert warehouse.ledger(EPISODES, CARTPOLE)["loaded"].sum() == len(numbers)

    converges()


@pytest.mark.parametrize("engine", ENGINES)
def test_dimensions_converge_on_the_greatest_version(engine: str) -> None:
    @bounded(engine)
    @given(content=files, order=writes)
    def converges(content: list[list[tuple[int, int, bool]]], order: list[list[int]]) -> None:
        with empty_warehouse(engine) as (warehouse, stage):
            batches = [stage(VERSIONS, [version_line(*line) for line in file]) for file in content]
            load(warehouse, VERSIONS, WHOLE, batches, order)
            latest: dict[str, int] = {}
            for number, version, _ in (line for file in content for line in file):
                latest[f"key-{number}"] = max(version, latest.get(f"key-{number}", 0))
            assert {row[0]: row[1] for row in rows_of(warehouse, VERSIONS)} == latest
            assert warehouse.ledger(VERSIONS, WHOLE)["loaded"].sum() == len(latest)

    converges()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("relation", [EPISODES, VERSIONS], ids=lambda relation: relation.name)
def test_a_rebuild_equals_the_appends_with_conflicts_and_dead_letters(
    engine: str, relation: Relation
) -> None:
    @bounded(engine)
    @given(content=files, order=writes)
    def converges(content: list[list[tuple[int, int, bool]]], order: list[list[int]]) -> None:
        slice_ = CARTPOLE if relation is EPISODES else WHOLE
        with empty_warehouse(engine) as (warehouse, stage):
            batches = [
                stage(
                    relation,
                    [
                        # The rank of a version differs from file to file: conflicts of equal versions.
                        episode_line(*line)
                        if relation is EPISODES
                        else version_line(*line, rank=str(index % 2))
                        for line in file
                    ],
                    rejects=[b"{"] * (index % 2),
                )
                for index, file in enumerate(content)
            ]
            load(warehouse, relation, slice_, batches, order)
            before = snapshot(warehouse, relation, slice_)
            by_id = {batch.batch_id: batch for batch in batches}
            ordered = [by_id[batch_id] for batch_id in warehouse.ledger(relation, slice_)["batch_id"]]
            write(warehouse, relation, ordered, slice_, WriteMode.REBUILD, NOW + dt.timedelta(days=1))
            assert snapshot(warehouse, relation, slice_) == before

    converges()


def snapshot(warehouse: Warehouse, relation: Relation, slice_: Slice) -> tuple[Any, ...]:
    return (
        rows_of(warehouse, relation),
        sorted(warehouse.query("SELECT * FROM ops.dead_letter").frame.rows(), key=repr),
        warehouse.ledger(relation, slice_).drop("mode", "written_at").rows(),
    )


# A file of the gateway: numbers of rows, the way that it is written and where, and whether the slice is rebuilt once it has come.
arrivals = st.lists(
    st.tuples(
        st.lists(st.integers(0, 11), min_size=1, max_size=8),
        st.sampled_from(sorted(ENDINGS)),
        st.booleans(),
        st.sampled_from(["nothing yet", "append", "rebuild"]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(arriving=arrivals)
def test_however_lines_arrive_in_the_gateway_the_table_is_the_same(
    arriving: list[tuple[list[int], str, bool, str]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        platform = platform_in(home)
        for index, (numbers, ending, raw, then) in enumerate(arriving):
            content = ENDINGS[ending](ndjson(map(checkpoint, numbers)))
            place = "raw/training/checkpoints" if raw else f"cloud_ready/training/checkpoints/{SLICE.path}"
            put(home, f"{place}/file-{index}.{ending}", content)
            if then != "nothing yet":
                sort_raw(platform, run_id="test")
                load_checkpoints(platform, rebuild=then == "rebuild")
        sort_raw(platform, run_id="test")
        load_checkpoints(platform)
        rows, letters, ledger = state(platform)
        wanted = sorted({f"checkpoint-{number}" for numbers, _, _, _ in arriving for number in numbers})
        assert rows["checkpoint_id"].to_list() == wanted
        assert letters.is_empty()
        assert ledger["loaded"].sum() == len(wanted)
        assert ledger["lines"].sum() == sum(ledger[fate].sum() for fate in ("loaded", "duplicate", "sorted"))
        load_checkpoints(platform, rebuild=True)
        for was, is_ in zip((rows, letters, ledger), state(platform), strict=True):
            assert_frame_equal(was, is_)
