"""Ten rows of what was loaded are seen in the UI, and nothing of a sensitive field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from gaelp_assets.ingest.preview import CELL, first_rows
from gaelp_assets_tests.assets.test_asset_runs import BOARD, CURVE, PLAYERS, SCORES, Lab, row, rows

SECRET = "Ann-the-secret"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Lab(tmp_path, instance)


def preview(lab: Lab, key: dg.AssetKey) -> str | None:
    event = lab.instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    found = event.asset_materialization.metadata.get("preview")
    assert found is None or isinstance(found, dg.MarkdownMetadataValue)
    return None if found is None else str(found.value)


def change(lab: Lab, name: str, **keys: Any) -> None:
    home = lab.platform.settings.home
    path = home / "catalog" / "lab" / f"{name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))
    lab._open(home)


def test_ten_rows_of_a_slice_and_of_what_is_computed_from_it_and_none_that_was_not_loaded(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", rows(2, "CartPole-v1", 12))
    lab.pending()
    for key in (SCORES, CURVE):
        lines = (preview(lab, key) or "").splitlines()
        assert lines[0] == "| date | environment | player | step | score |"
        assert len(lines) == 2 + 10
        assert lines[2].startswith("| 2026-11-02 | CartPole-v1 | ann | ")
    assert (preview(lab, BOARD) or "").count("\n") == 2
    # Its only row is in conflict with the one that is there.
    lab.put(2, "CartPole-v1", [row(2, "CartPole-v1", 0, score=99)], name="b")
    lab.pending()
    assert preview(lab, SCORES) is None


def test_a_sensitive_field_is_hidden_and_so_is_what_is_computed_from_it(lab: Lab) -> None:
    player = {"name": "player", "type": "STRING", "mode": "REQUIRED"}
    nickname = {"name": "nickname", "type": "STRING", "sensitive": True}
    change(lab, "players", fields=[player, nickname])
    fields = [{"name": "player", "type": "STRING", "mode": "REQUIRED"}, {"name": "shown", "type": "STRING"}]
    lab.change("board", "SELECT player, CONCAT(nickname, '!') AS shown FROM lab.players", fields=fields)
    lab.change("best", "SELECT player, UPPER(shown) AS shown FROM lab.board", fields=fields)
    lab.drop("cloud_ready/lab/players/p.ndjson", [{"player": "ann", "nickname": SECRET}])
    lab.pending()
    assert preview(lab, PLAYERS) == (
        "| player |\n| --- |\n| ann |\n\nHidden, since they are sensitive: nickname"
    )
    for key in (BOARD, dg.AssetKey(["lab", "best"])):
        text = preview(lab, key) or ""
        assert "| ann |" in text
        assert text.endswith("Hidden, since they are sensitive: shown")
        assert SECRET.upper() not in text.upper()


def test_cells_are_bounded_and_are_no_markdown(lab: Lab) -> None:
    odd = "a|b\n<img src=x>`*_[l](javascript:x) " + "x" * 5000
    lab.drop("cloud_ready/lab/players/p.ndjson", [{"player": "ann", "nickname": odd}])
    lab.pending()
    cell = (preview(lab, PLAYERS) or "").splitlines()[2]
    assert cell.startswith(r"| ann | a\|b \<img src=x\>\`\*\_\[l\](javascript:x) xxx")
    assert cell.endswith("x… |")
    assert len(cell) < 2 * CELL


def test_cells_of_each_type() -> None:
    frame = pl.DataFrame(
        {
            "list": [list(range(1000)), None],
            "bytes": [b"\x00" * 1000, None],
            "record": [{"a": 1, "b": "x"}, None],
            "flag": [True, None],
            "number": [0.1, None],
            "text": ["é" * 81, "é" * 80],
        },
        schema_overrides={"list": pl.List(pl.Int64)},
    )
    first, second = first_rows(frame, frame.columns)
    assert first[0].startswith("[0, 1, 2")
    assert first[0].endswith("…")
    assert {len(first[place]) for place in (0, 1, 5)} == {CELL}
    assert first[2:5] == ('{"a": 1, "b": "x"}', "true", "0.1")
    assert second == ("", "", "", "", "", "é" * 80)
