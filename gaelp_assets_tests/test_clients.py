"""A gateway in a bucket through dagster-gcp's resource: the same files, the same load."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaelp_assets.clients import bigquery_client, storage_client
from gaelp_assets.ingest.load import load_slice
from gaelp_assets.platform import read_catalog
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.contract.gcs_server import GcsServer, collected_connections
from gaelp_assets_tests.platforms import SLICE, TABLE, checkpoint, ndjson, rows
from resources.platform import platform_resource

NAME = f"training/checkpoints/{SLICE.path}/a.ndjson"


def test_local_addresses_need_no_google_client() -> None:
    settings = load_settings({})
    assert storage_client(settings) is None
    assert bigquery_client(settings) is None


def test_an_emulator_of_bigquery_is_not_reached_through_dagster_gcp(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"GAELP_WAREHOUSE": "bigquery://project"}
    assert bigquery_client(load_settings(variables)) is not None
    emulated = load_settings({**variables, "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:9"})
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "of no account once the settings are loaded")
    assert bigquery_client(emulated) is None
    assert bigquery_client(load_settings(variables)) is not None


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_file_in_a_bucket_is_loaded_and_archived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    with collected_connections(), GcsServer().running() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        settings = load_settings(
            {"GAELP_HOME": str(tmp_path), "GAELP_GATEWAY": f"gs://{server.bucket}/exports"}
        )
        platform = platform_resource(settings, read_catalog()).open()
        lines = [checkpoint(1), checkpoint(2), "{"]
        assert platform.gateway.store.create(f"cloud_ready/{NAME}", [ndjson(lines)]) is not None
        [(relation_id, slice_)] = platform.gateway.pending_slices()
        report = load_slice(platform, platform.catalog[relation_id], slice_, run_id="test")
        assert (report.total("loaded"), report.total("rejected")) == (2, 1)
        assert len(rows(platform, f"SELECT * FROM {TABLE}")) == 2
        [sent] = platform.gateway.store.list("sent/")
        assert sent.name.startswith("sent/training/checkpoints/date=2026-11-01/environment=CartPole-v1/a~")
        rebuilt = load_slice(platform, platform.catalog[relation_id], slice_, run_id="test", rebuild=True)
        assert rebuilt.total("loaded") == 2
