"""Random queries over scopes, aliases, joins, types, NULLs and dirty text mean on DuckDB what Google's reference evaluator says.

`make test-thorough` runs many more of them, `SQL_QUERIES=20000` in the environment so many, `--seed` others. A query may be refused;
none may differ silently, and none may reach DuckDB only to be one that it cannot read.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from gaelp_assets_tests.sql.comparison import difference, engine, googles, ours
from gaelp_assets_tests.sql.generated import Queries
from gaelp_assets_tests.zetasql_gate import Gate

pytestmark = pytest.mark.slow


@pytest.mark.timeout(0)
@pytest.mark.parametrize("usual", [150, pytest.param(3000, marks=pytest.mark.thorough)])
def test_random_queries_have_the_same_meaning(pytestconfig: pytest.Config, usual: int) -> None:
    seed, count = int(pytestconfig.getoption("--seed")), int(os.environ.get("SQL_QUERIES", usual))
    gate, found = Gate(), []
    kinds: Counter[str] = Counter()
    with engine() as connection:
        for number in range(count):
            queries = Queries(random.Random(seed * 1_000_003 + number))
            sql = queries.query()
            theirs, mine = googles(gate, sql), ours(connection, sql)
            wrong = difference(connection, sql, theirs, mine, layered=queries.layered)
            if wrong:
                found.append(f"-- {number}: {wrong}\n{sql}")
            both = bool(theirs.error), bool(mine.error)
            kinds[{(False, False): "same", (True, True): "error"}.get(both, "refused")] += 1
    assert not found, f"{len(found)} of {count} differ\n" + "\n".join(found[:20])
    # The generator is worth its time only while most of what it says has a result.
    assert kinds["same"] > 0.5 * sum(kinds.values()), kinds
    assert kinds["refused"] < 0.1 * sum(kinds.values()), kinds
