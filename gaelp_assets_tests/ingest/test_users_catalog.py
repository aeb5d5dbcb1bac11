"""Tables of a user's folder are loaded like shipped ones, also beside one of the same name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gaelp_assets.catalog import WHOLE
from gaelp_assets.platform import Platform, open_platform
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.platforms import SLICE, TABLE, checkpoint, drop, load, ndjson, rows

OURS = "media.checkpoints"


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    file = tmp_path / "catalog" / "media" / "checkpoints.json"
    file.parent.mkdir(parents=True)
    content = {
        "description": "Checkpoints of a race.",
        "owner": "team:media",
        "primary_key": ["id"],
        "fields": [
            {"name": "id", "type": "STRING", "mode": "REQUIRED"},
            {"name": "checkpoint_id", "type": "STRING"},
        ],
        "foreign_keys": [{"fields": ["checkpoint_id"], "references": TABLE}],
    }
    file.write_text(json.dumps(content))
    platform = open_platform(load_settings({"GAELP_HOME": str(tmp_path)}))
    platform.gateway.prepare()
    return platform


def test_two_tables_of_one_name_keep_their_rows_rejects_and_ledgers_apart(platform: Platform) -> None:
    drop(
        platform,
        f"cloud_ready/{OURS.replace('.', '/')}/a.ndjson",
        ndjson([{"id": "a"}, {"id": "b"}, {"id": 1}]),
    )
    drop(platform, "raw/training/checkpoints/a.ndjson", ndjson([checkpoint(1)]))
    drop(platform, "raw/checkpoints.ndjson", ndjson([checkpoint(2)]))
    load(platform, OURS, WHOLE)
    [(stored, problem)] = platform.gateway.unsorted().misplaced
    assert stored.name == "raw/checkpoints.ndjson"
    assert problem.what == "2 tables are called 'checkpoints'"
    drop(platform, f"cloud_ready/training/checkpoints/{SLICE.path}/a.ndjson", ndjson([checkpoint(3)]))
    load(platform)
    assert rows(platform, f"SELECT id FROM {OURS} ORDER BY id") == [{"id": "a"}, {"id": "b"}]
    assert rows(platform, f"SELECT COUNT(*) AS n FROM {TABLE}") == [{"n": 1}]
    ledger = "SELECT dataset, loaded, rejected FROM ops.import_logs ORDER BY dataset"
    assert rows(platform, ledger) == [
        {"dataset": "media", "loaded": 2, "rejected": 1},
        {"dataset": "training", "loaded": 1, "rejected": 0},
    ]
    assert rows(platform, "SELECT dataset FROM ops.dead_letter") == [{"dataset": "media"}]
