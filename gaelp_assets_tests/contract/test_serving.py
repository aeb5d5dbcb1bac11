"""What `gaelp serve` asks is answered alike by every engine: pages, filters of every type, and values as JSON has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from gaelp_assets.gateway import open_gateway
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.serve.app import make_app
from gaelp_assets.serve.keys import Keys
from gaelp_assets.serve.limits import Limits
from gaelp_assets.settings import load_settings
from gaelp_assets.warehouse.protocol import Warehouse
from gaelp_assets_tests.contract.warehouses import (
    CARTPOLE,
    CATALOG,
    EPISODES,
    EVERY_TYPE,
    Stager,
    encode,
    episode,
    write,
)

VALUES = {
    "string_value": "é' OR 1", "integer_value": -(2**63), "float_value": 0.1, "numeric_value": "-1.5", "boolean_value": False,
    "timestamp_value": "2026-11-20T23:59:59.123456Z", "date_value": "2026-11-20", "datetime_value": "2026-11-20T01:02:03",
    "time_value": "01:02:03",
}  # fmt: skip


@pytest.fixture
def ask(warehouse: Warehouse, tmp_path: Path) -> TestClient:
    settings = load_settings({"GAELP_HOME": str(tmp_path / "home")})
    platform = PlatformReader(settings, CATALOG, open_gateway(settings.gateway, CATALOG, None), warehouse)
    return TestClient(
        make_app(platform, Keys(settings.home), Limits(), local=True), base_url="http://localhost"
    )


def test_pages_and_filters(warehouse: Warehouse, stage: Stager, ask: TestClient) -> None:
    numbers = [3, 9, 10, 11, 20]
    write(warehouse, EPISODES, [stage(EPISODES, encode([episode(number) for number in numbers]))], CARTPOLE)
    row = {"id": 1, **VALUES}
    write(warehouse, EVERY_TYPE, [stage(EVERY_TYPE, encode([row, {"id": 2}]))])

    query: dict[str, Any] = {"first": "2026-11-20", "environment": ["CartPole-v1", "Taxi-v4"], "limit": 2}
    found: list[list[tuple[str, int]]] = []
    page = None
    while page is not None or not found:
        answer = ask.get(
            "/relations/lab.episodes/rows", params={**query, **({"page": page} if page else {})}
        ).json()
        found.append([(each["episode_id"], each["step"]) for each in answer["rows"]])
        page = answer["next"]
    keys = [(f"episode-{number // 10}", number % 10) for number in numbers]
    assert found == [keys[:2], keys[2:4], keys[4:]]

    filters = {f"where.{name}": str(value) for name, value in VALUES.items()}
    answer = ask.get("/relations/lab.every_type/rows", params=filters)
    assert answer.status_code == 200, answer.text
    (same,) = answer.json()["rows"]
    assert {name: same[name] for name in VALUES} == VALUES
