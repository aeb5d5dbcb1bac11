"""Lineage is, column by column and use by use, what the resolved tree of Google's own analyzer says.

`LINEAGE_QUERIES=5000` in the environment compares more random queries than the usual ones, `--seed` others.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from gaelp_assets.catalog import load_catalog
from gaelp_assets.catalog.model import stored_fields
from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.analyzer import Analyzer
from gaelp_assets.sql.lineage import query_lineage, relation_lineage
from gaelp_assets_tests.sql.googles_lineage import googles_lineage
from gaelp_assets_tests.sql.lineage_queries import FORMS, TABLES, TableQueries
from gaelp_assets_tests.zetasql_gate import CACHE

USUALLY = 60


@pytest.fixture(scope="module")
def lab() -> Analyzer:
    return Analyzer(TABLES, CACHE)


@pytest.mark.parametrize("sql", FORMS)
def test_forms_have_the_lineage_that_google_resolves(sql: str, lab: Analyzer) -> None:
    columns, rows = googles_lineage(lab, sql, TABLES)
    found = query_lineage(sql, TABLES)
    assert found.columns == columns
    assert found.rows == rows


def test_shipped_views_have_the_lineage_that_google_resolves() -> None:
    catalog = load_catalog()
    tables = {relation.id: stored_fields(relation) for relation in catalog}
    gate = Analyzer(tables, CACHE)
    views = [(view, view.sql) for view in catalog.derived if view.sql is not None]
    assert views
    for view, sql in views:
        assert tuple(relation_lineage(view, catalog)) == googles_lineage(gate, sql, tables), view.id


def test_random_queries_have_the_lineage_that_google_resolves(
    pytestconfig: pytest.Config, lab: Analyzer
) -> None:
    seed, count = int(pytestconfig.getoption("--seed")), int(os.environ.get("LINEAGE_QUERIES", USUALLY))
    outcomes: Counter[str] = Counter()
    for number in range(count):
        sql = TableQueries(random.Random(seed * 1_000_003 + number)).query()
        try:
            found = query_lineage(sql, TABLES)
        except GaelpError:
            outcomes["refused"] += 1
            continue
        try:
            columns, rows = googles_lineage(lab, sql, TABLES)
        except Exception as error:
            if type(error).__name__ != "ServerError":
                raise
            outcomes["refused"] += 1
            continue
        assert (found.columns, found.rows) == (columns, rows), sql
        outcomes["same"] += 1
    assert outcomes["same"] > 0.6 * count, outcomes
