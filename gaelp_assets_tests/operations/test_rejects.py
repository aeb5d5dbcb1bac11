"""What is asked of the ledger and the dead letter is GoogleSQL, of which BigQuery is not asked in these tests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.operations.acknowledge import acknowledge
from gaelp_assets.operations.rejects import (
    accounts,
    dead_letters,
    open_lines,
    open_reasons,
    open_rejects,
    rejected_by,
)
from gaelp_assets.operations.replay import replay
from gaelp_assets_tests.platforms import SLICE, TABLE, checkpoint, drop, load, ndjson, platform_in
from gaelp_assets_tests.zetasql_gate import Gate

KINDS = {str: "STRING", int: "INT64", dt.date: "DATE", dt.datetime: "TIMESTAMP"}


def test_google_accepts_every_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = platform_in(tmp_path)
    relation = platform.catalog[TABLE]
    folder = f"cloud_ready/training/checkpoints/{SLICE.path}"
    drop(platform, f"{folder}/a.ndjson", ndjson([checkpoint(1), checkpoint(2), "{"]))
    drop(platform, f"{folder}/b.ndjson", ndjson([checkpoint(1, bytes=7), checkpoint(3)]))
    load(platform)
    asked: list[tuple[str, dict[str, str]]] = []
    query = platform.warehouse.query

    def noted(sql: str, parameters: Mapping[str, Any] | None = None, **more: Any) -> Any:
        asked.append((sql, {name: KINDS[type(value)] for name, value in (parameters or {}).items()}))
        return query(sql, parameters, **more)

    monkeypatch.setattr(platform.warehouse, "query", noted)
    found = accounts(platform, relation)
    assert (found.lines, found.loaded, found.rejected, found.unbalanced) == (5, 3, 2, ())
    assert open_rejects(platform, relation).slices == ((SLICE, 2),)
    assert set(open_reasons(platform, relation)["rule"]) == {"malformed_json", "key_conflict"}
    assert rejected_by(platform, ["test", "another"]) == {TABLE: 2}
    assert rejected_by(platform, ["another"]) == {}
    assert dead_letters(platform, relation=relation, raw=True).height == 2
    assert sum(item.still_rejected for item in replay(platform)) == 2
    assert acknowledge(platform, relation, rule="key_conflict", batch="") == 1
    assert open_lines(platform) == 1
    gate = Gate(platform.catalog)
    for sql, kinds in asked:
        # The load fields that a query reads are no fields of the catalogue.
        gate.accept(sql.replace("t.`_row_hash`", "1 AS _row_hash"), kinds)
    assert len(asked) >= 10
