"""What reading sends to BigQuery: looks at tables, and jobs of one SELECT each, as an account that may only read can send them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
import sqlglot
from sqlglot import exp

from gaelp_assets.errors import GaelpError
from gaelp_assets.settings import BigQueryAddress
from gaelp_assets.warehouse.bigquery.reader import BigQueryReader
from gaelp_assets.warehouse.bigquery.warehouse import BigQueryWarehouse
from gaelp_assets_tests.contract.test_deploy_contract import altered, catalog_of
from gaelp_assets_tests.contract.test_reading import READS
from gaelp_assets_tests.contract.warehouses import (
    CARTPOLE,
    CATALOG,
    EPISODES,
    RELATIONS,
    VERSIONS,
    Stager,
    encode,
    episodes,
    write,
)
from gaelp_assets_tests.emulators.faults import Fault, Proxy

# What roles/bigquery.dataViewer on datasets and roles/bigquery.jobUser on the project do not allow.
CHANGES: Final = r"^(PUT|PATCH|DELETE) |^POST (?!.*/(jobs|queries)(\?|$))"


@contextmanager
def read_rights(proxy: Proxy) -> Iterator[list[str]]:
    """Refuses all other requests than an account with read rights may send; yields the statements that were run."""
    fault = Fault(CHANGES, 10**6, 403, "accessDenied", "Access Denied")
    proxy.faults.append(fault)
    first = len(proxy.bodies)
    statements: list[str] = []
    yield statements
    proxy.faults.remove(fault)
    for request, body in zip(proxy.seen[first:], proxy.bodies[first:], strict=True):
        assert not re.search(CHANGES, request), request
        if request.startswith("POST "):
            statements.append(_statement(json.loads(body)))


def _statement(request: Any) -> str:
    """The text of a query; a job of any other kind is none."""
    return str(
        request["query"]
        if isinstance(request.get("query"), str)
        else request["configuration"]["query"]["query"]
    )


@pytest.mark.parametrize("way", READS)
@pytest.mark.parametrize("state", ["made", "missing"])
def test_who_may_only_read_reads(
    client: Callable[[], Any], address: BigQueryAddress, proxy: Proxy, stage: Stager, way: str, state: str
) -> None:
    if state == "made":
        warehouse = BigQueryWarehouse(address, CATALOG, factory=client)
        warehouse.ensure(RELATIONS)
        write(warehouse, EPISODES, [stage(EPISODES, encode(episodes(range(3))))], CARTPOLE)
    newer = catalog_of(altered(VERSIONS, note={"type": "STRING"}))
    reader = BigQueryReader(address, newer, factory=client)
    with read_rights(proxy) as statements:
        READS[way](reader)
    assert statements or way not in {"query", "to_pandas", "ledger", "quota_left"}
    for text in statements:
        (tree,) = sqlglot.parse(text, dialect="bigquery")
        assert isinstance(tree, exp.Query), text


def test_each_table_of_a_question_is_looked_up_once(
    client: Callable[[], Any], address: BigQueryAddress, proxy: Proxy, warehouse: BigQueryWarehouse
) -> None:
    reader = BigQueryReader(address, CATALOG, factory=client)
    first = len(proxy.seen)
    reader.query(
        "SELECT COUNT(*) AS n FROM lab_views.good, lab_views.best, lab_views.best AS again, lab.versions"
    )
    looks = [request for request in proxy.seen[first:] if re.search(r"^GET .*/tables/", request)]
    assert len(looks) == len(set(looks)) == 3


def test_writing_with_read_rights_is_refused_with_the_role_that_it_takes(
    warehouse: BigQueryWarehouse, proxy: Proxy
) -> None:
    proxy.faults.append(Fault(CHANGES, 10**6, 403, "accessDenied", "Access Denied"))
    with pytest.raises(GaelpError, match="dataEditor"):
        warehouse.ensure([EPISODES.model_copy(update={"name": "another"})])
