"""What Beam's windows say of their rows, without Beam: as a count by hand; and which files a run's windows are made of."""

from __future__ import annotations

import datetime as dt
import itertools
import random
from typing import Any

import pytest

from gaelp_assets.catalog import Slice
from gaelp_assets.catalog.model import ReadsSlices
from gaelp_assets.catalog.window import microseconds, starts
from gaelp_assets.stream.beam.archive import slices_read
from gaelp_assets.stream.beam.figures import Figures, Kept
from gaelp_assets_tests.property.test_windows import AGGREGATES, EVENTS, by_hand, happenings, windows_of


def told(relation: Any, rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """By the parts that a pipeline is made of."""
    figures, window = Figures(relation, EVENTS), relation.window
    size, every = microseconds(window.size), microseconds(window.every)
    assert size
    assert every
    found: dict[tuple[str, int], Kept] = {}
    for row in filter(figures.counts, rows):
        for start in starts(figures.moment(row), size, every):
            found.setdefault((figures.group(row), start), {}).update(figures.kept(row))
    columns = [figures.told(group, start, kept) for (group, start), kept in found.items()]
    return sorted((tuple(row[name] for name in relation.field_names) for row in columns), key=repr)


@pytest.mark.parametrize("sizes", ["1h", "36h/12h"])
def test_windows_of_rows_in_any_order_and_twice_are_those_of_a_count_by_hand(sizes: str) -> None:
    aggregates = {**AGGREGATES, "mean_steps": "AVG(steps)", "last_at": "MAX(at)"}
    relation = windows_of("w", sizes, where={"won": [True, None]}, aggregates=aggregates)
    rows = happenings(random.Random(5), "Mine-v0", itertools.count(), n=80)
    twice = [*rows, *rows[:20]]
    random.Random(6).shuffle(twice)
    assert told(relation, twice) == by_hand(relation, rows)


def test_what_sql_bounds_or_refuses_so_do_figures() -> None:
    relation = windows_of("w", "1h")
    figures = Figures(relation, EVENTS)
    [first, second] = happenings(random.Random(1), "Mine-v0", itertools.count(), n=2)
    great = [{**first, "score": 1.5e308, "steps": 2**62}, {**second, "score": 1.5e308, "steps": 1}]
    kept = {key: values for row in great for key, values in figures.kept(row).items()}
    assert figures.told('["Mine-v0",null]', 0, kept)["total"] == 2e290
    more = {**kept, **figures.kept({**first, "id": 99, "steps": 2**62})}
    with pytest.raises(OverflowError):
        figures.told('["Mine-v0",null]', 0, more)


def test_the_files_of_windows_that_reach_over_days_are_those_of_all_their_days() -> None:
    relation = windows_of("w", "36h").model_copy(update={"reads_slices": ReadsSlices(after=2)})
    asked = [Slice(dt.date(2026, 11, day), "Mine-v0") for day in (1, 2)]
    assert [each.date.day for each in slices_read(relation, asked) if each.date] == [1, 2, 3, 4]
