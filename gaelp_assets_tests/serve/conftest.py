"""A platform with rows for all tests of a module: checkpoints of two days, and a table of one's own with a sensitive column."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from gaelp_assets.catalog import WHOLE, Slice
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.serve.app import make_app
from gaelp_assets.serve.keys import Keys
from gaelp_assets.serve.limits import Limits
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.platforms import (
    DATE,
    ENVIRONMENT,
    FIRST_DATE,
    TABLE,
    checkpoint,
    drop,
    load,
    ndjson,
)

ROWS = 7
NEXT_DAY = DATE + dt.timedelta(days=1)
PEOPLE = {
    "description": "people",
    "owner": "team:lab",
    "primary_key": ["id"],
    "fields": [
        {"name": "id", "type": "INTEGER", "mode": "REQUIRED"},
        {"name": "name", "type": "STRING", "sensitive": True},
        {"name": "score", "type": "FLOAT"},
        {"name": "price", "type": "NUMERIC"},
        {"name": "at", "type": "TIMESTAMP"},
    ],
}
ENDLESS = {
    "kind": "view",
    "description": "takes hours",
    "owner": "team:lab",
    "fields": [{"name": "n", "type": "INTEGER"}],
}
NAMES = {
    "kind": "view",
    "description": "names",
    "owner": "team:lab",
    "fields": [{"name": "id", "type": "INTEGER"}, {"name": "shown", "type": "STRING"}],
}


def _catalog(folder: Path) -> Path:
    lab = folder / "lab"
    lab.mkdir(parents=True)
    (lab / "people.json").write_text(json.dumps(PEOPLE))
    (lab / "names.json").write_text(json.dumps(NAMES))
    (lab / "endless.json").write_text(json.dumps(ENDLESS))
    (lab / "endless.sql").write_text(
        "SELECT COUNT(*) AS n FROM UNNEST(GENERATE_ARRAY(1, 1000000)) AS a CROSS JOIN UNNEST(GENERATE_ARRAY(1, 1000000)) AS b "
        "WHERE MOD(a * b, 7) = 3"
    )
    (lab / "names.sql").write_text("SELECT id, UPPER(name) AS shown FROM lab.people")
    return folder


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    home = tmp_path_factory.mktemp("home")
    settings = load_settings(
        {
            "GAELP_HOME": str(home),
            "GAELP_FIRST_DATE": FIRST_DATE.isoformat(),
            "GAELP_CATALOG": str(_catalog(home / "own")),
        }
    )
    platform = open_platform(settings)
    platform.gateway.prepare()
    platform.ensure(platform.catalog["lab.names"])
    for day in (DATE, NEXT_DAY):
        rows = [checkpoint(number, date=str(day)) for number in range(ROWS)]
        for row in rows:
            row["checkpoint_id"] += f"-{day.day}"
        place = f"cloud_ready/{TABLE.replace('.', '/')}/date={day}/environment={ENVIRONMENT}"
        drop(platform, f"{place}/a.ndjson", ndjson(rows))
        assert load(platform, TABLE, Slice(day, ENVIRONMENT)).total("loaded") == ROWS
    people = [
        {"id": 1, "name": "Ann", "score": 0.5, "price": "1.50", "at": "2026-11-01T12:00:00Z"},
        {"id": 2, "name": "Bob", "score": None, "price": None, "at": None},
    ]
    drop(platform, "cloud_ready/lab/people/a.ndjson", ndjson(people))
    assert load(platform, "lab.people", WHOLE).total("loaded") == 2
    return platform


@pytest.fixture
def keys(platform: Platform) -> Iterator[Keys]:
    keys = Keys(platform.settings.home)
    yield keys
    keys.file.unlink(missing_ok=True)


@pytest.fixture
def ask(platform: Platform, keys: Keys) -> Any:
    """A client of an application that serves this machine."""
    return client(platform, keys)


def client(
    platform: Platform,
    keys: Keys,
    limits: Limits | None = None,
    *,
    local: bool = True,
    key: str | None = None,
) -> TestClient:
    app = make_app(platform, keys, limits or Limits(), local=local)
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    return TestClient(app, base_url="http://127.0.0.1:8750", headers=headers, raise_server_exceptions=False)
