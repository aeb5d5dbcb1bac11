"""The engines that the warehouse's contract is asked of, each in a place of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaelp_assets.warehouse.protocol import Warehouse
from gaelp_assets_tests.contract.warehouses import ENGINES, GAPS, RELATIONS, Stager, open_engine


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    gap = GAPS.get((request.param, request.node.name))
    if gap is not None:
        request.applymarker(pytest.mark.xfail(reason=gap, strict=True))
    return str(request.param)


@pytest.fixture
def warehouse(engine: str, tmp_path: Path) -> Warehouse:
    warehouse = open_engine(engine, tmp_path)
    warehouse.ensure(RELATIONS)
    return warehouse


@pytest.fixture
def stage(tmp_path: Path) -> Stager:
    folder = tmp_path / "staged"
    folder.mkdir()
    return Stager(folder)


# On the emulator, all ways and all changes of a table take ten minutes: these show what differs between the engines.
EACH_TIME = (
    "tightened rule",
    "integers beyond 2^53 to floats",
    "renamed field with its former name",
    "latest to reject",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        values = getattr(getattr(item, "callspec", None), "params", {})
        changes = item.path.name == "test_changed_tables.py" and "name" in values
        if changes and values["engine"] == "bigquery" and values["name"] not in EACH_TIME:
            item.add_marker(pytest.mark.thorough)
