"""Lines that a slice holds already come again: all of them, all but one, or beside others of their keys."""

from __future__ import annotations

from gaelp_assets.warehouse.protocol import Warehouse, WriteMode
from gaelp_assets_tests.contract.test_warehouse_contract import version_line
from gaelp_assets_tests.contract.warehouses import (
    CARTPOLE,
    EPISODES,
    VERSIONS,
    Stager,
    counts,
    encode,
    episode,
    episodes,
    rows_of,
    write,
)

ROWS = 250  # more than are looked at first


def test_all_lines_in_another_file_are_duplicates_and_nothing_changes(
    warehouse: Warehouse, stage: Stager
) -> None:
    lines = encode(episodes(range(ROWS)))
    write(warehouse, EPISODES, [stage(EPISODES, lines)], CARTPOLE)
    before = rows_of(warehouse, EPISODES)
    again = [stage(EPISODES, lines[::-1]), stage(EPISODES, lines[: ROWS // 2])]
    assert [counts(f) for f in write(warehouse, EPISODES, again, CARTPOLE)] == [
        (0, ROWS, 0),
        (0, ROWS // 2, 0),
    ]
    assert rows_of(warehouse, EPISODES) == before


def test_one_new_row_and_one_conflict_behind_many_duplicates_are_noticed(
    warehouse: Warehouse, stage: Stager
) -> None:
    write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(ROWS))))], CARTPOLE)
    more = encode([*episodes(range(ROWS)), episode(ROWS), episode(3, score=99.5)])
    assert counts(write(warehouse, EPISODES, [stage(EPISODES, more)], CARTPOLE)[0]) == (1, ROWS, 1)
    assert len(rows_of(warehouse, EPISODES)) == ROWS + 1


def test_lines_of_versions_that_a_slice_holds_are_duplicates_and_older_ones_too(
    warehouse: Warehouse, stage: Stager
) -> None:
    write(warehouse, VERSIONS, [stage(VERSIONS, [version_line(2)])])
    twice = stage(VERSIONS, [version_line(2), version_line(2)])
    assert counts(write(warehouse, VERSIONS, [twice])[0]) == (0, 2, 0)
    mixed = stage(VERSIONS, [version_line(2), version_line(1), version_line(3)])
    assert counts(write(warehouse, VERSIONS, [mixed])[0]) == (1, 2, 0)
    assert [row[1] for row in rows_of(warehouse, VERSIONS)] == [3]


def test_a_rebuild_by_another_order_of_files_loses_no_line_that_two_files_bring(
    warehouse: Warehouse, stage: Stager
) -> None:
    first = stage(EPISODES, encode([episode(1), episode(2)]))
    second = stage(EPISODES, encode([episode(2), episode(3)]))
    write(warehouse, EPISODES, [first], CARTPOLE)
    write(warehouse, EPISODES, [second], CARTPOLE)
    rebuilt = write(warehouse, EPISODES, [second, first], CARTPOLE, WriteMode.REBUILD)
    assert [counts(f) for f in rebuilt] == [(2, 0, 0), (1, 1, 0)]
    assert len(rows_of(warehouse, EPISODES)) == 3
