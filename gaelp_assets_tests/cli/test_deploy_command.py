"""`gaelp deploy` as a person, and as CI, meets it: exit codes, words, JSON, and a table that is made again without losing rows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.operations.rebuildable import check_rebuildable
from gaelp_assets.platform_reader import read_catalog
from gaelp_assets_tests.commands import gaelp_here as gaelp
from gaelp_assets_tests.platforms import (
    TABLE,
    checkpoint,
    drop,
    load,
    ndjson,
    platform_in,
    state,
)

pytestmark = pytest.mark.slow

SHIPPED = len(read_catalog())

FILE = f"cloud_ready/{TABLE.replace('.', '/')}/date=2026-11-01/environment=CartPole-v1/part.ndjson"


def by_hand(home: Path, statement: str) -> None:
    with duckdb.connect(str(home / "warehouse.duckdb")) as con:
        con.execute(statement)


def as_json(home: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    answer = gaelp(home, "deploy", "--json", *arguments)
    return answer.returncode, json.loads(answer.stdout)


def test_exit_codes_tell_nothing_to_do_from_changes_and_refusals(tmp_path: Path) -> None:
    answer = gaelp(tmp_path, "deploy", "--dry-run")
    assert (answer.returncode, f"{SHIPPED} to create" in answer.stdout) == (2, True), answer.stderr
    assert not (tmp_path / "warehouse.duckdb").exists()
    answer = gaelp(tmp_path, "deploy")
    assert (answer.returncode, answer.stdout.splitlines()[-1]) == (0, f"{SHIPPED} made"), answer.stderr
    assert gaelp(tmp_path, "deploy", "--dry-run").returncode == 0
    platform = platform_in(tmp_path)
    drop(platform, FILE, ndjson([checkpoint(1)]))
    assert load(platform).total("loaded") == 1
    by_hand(tmp_path, f"ALTER TABLE {TABLE} ADD COLUMN surprise INTEGER")
    by_hand(tmp_path, "COMMENT ON TABLE training.agents IS 'x'; CREATE TABLE training.stray (a INTEGER)")
    answer = gaelp(tmp_path, "deploy")
    assert answer.returncode == 1
    assert f"{TABLE}, field surprise" in answer.stderr
    (remedy,) = re.findall(r"ALTER TABLE .* DROP COLUMN \S+\b\"", answer.stderr)
    assert "training.stray: a table that the catalogue does not know" in answer.stdout
    code, found = as_json(tmp_path, "--dry-run")
    assert (code, found["summary"]) == (1, {"change": 1, "refused": 1, "unchanged": SHIPPED - 2})
    code, found = as_json(tmp_path, "--allow-partial")
    assert (code, found["summary"]) == (1, {"changed": 1, "refused": 1, "unchanged": SHIPPED - 2})
    by_hand(tmp_path, remedy)
    assert gaelp(tmp_path, "deploy", "--dry-run").returncode == 0, "the remedy works"


def test_json_has_the_same_keys_whatever_was_found(tmp_path: Path) -> None:
    code, planned = as_json(tmp_path, "--dry-run")
    _, applied = as_json(tmp_path)
    assert code == 2
    assert planned.keys() == applied.keys() == {
        "format", "engine", "warehouse", "applied", "datasets", "relations", "unknown", "set_aside", "summary",
        "changed",
    }  # fmt: skip
    assert (planned["format"], planned["applied"], applied["applied"]) == (1, False, True)
    for found in (planned, applied):
        for relation in found["relations"]:
            assert relation.keys() == {
                "relation", "form", "status", "changes", "refusals", "outcome", "problems",
            }  # fmt: skip
            assert relation["status"] == "create"
    assert {relation["outcome"] for relation in planned["relations"]} == {None}
    assert {relation["outcome"] for relation in applied["relations"]} == {"made"}


def test_a_table_is_made_again_only_if_every_row_can_come_back_and_a_rebuild_brings_them(
    tmp_path: Path,
) -> None:
    platform = platform_in(tmp_path)
    drop(platform, FILE, ndjson([checkpoint(n) for n in range(3)]))
    drop(platform, FILE.replace("part", "more"), ndjson([checkpoint(7), checkpoint(1)]))
    assert load(platform).total("loaded") == 4
    before = state(platform)
    answer = gaelp(tmp_path, "deploy", "--replace", TABLE)
    assert answer.returncode == 0, answer.stderr
    assert "in place of all of its rows" in answer.stdout
    assert platform.warehouse.query(f"SELECT COUNT(*) AS n FROM {TABLE}").frame.item() == 0
    load(platform, rebuild=True)
    for now, then in zip(state(platform), before, strict=True):
        assert now.equals(then)

    (lost,) = (tmp_path / "export_gateway" / "sent").rglob("more*")
    lost.unlink()
    with pytest.raises(GaelpError, match=r"2 rows of .*more.ndjson would be lost"):
        check_rebuildable(platform, platform.catalog[TABLE])
    answer = gaelp(tmp_path, "deploy", "--replace", TABLE)
    assert (answer.returncode, "would be lost" in answer.stderr) == (1, True)
    assert platform.warehouse.query(f"SELECT COUNT(*) AS n FROM {TABLE}").frame.item() == 4


EPISODE = {
    "episode_id": "e0", "date": "2026-11-18", "environment_id": "CartPole-v1", "agent_id": "ppo", "training_run_id": "run0",
    "purpose": "training", "episode_index": 0, "seed": 1, "policy_version": 0, "global_step": 100, "episode_return": 10.0,
    "discounted_return": None, "episode_length": 10, "terminated": True, "truncated": False, "exploration_rate": 0.1,
    "transitions_recorded": False, "started_at": "2026-11-18T06:00:00Z", "ended_at": "2026-11-18T06:00:01Z",
}  # fmt: skip


def test_slices_of_other_code_are_shown_and_refreshed_on_demand(tmp_path: Path) -> None:
    raw = tmp_path / "export_gateway" / "raw" / "training" / "episodes" / "a.ndjson"
    raw.parent.mkdir(parents=True)
    raw.write_text(json.dumps(EPISODE) + "\n")
    assert gaelp(tmp_path, "ingest").returncode == 0
    by_hand(
        tmp_path, "UPDATE ops.refreshes SET code_version = '' WHERE \"table\" = 'daily_environment_summary'"
    )
    answer = gaelp(tmp_path, "deploy")
    assert answer.returncode == 0
    assert "1 slice of analytics.daily_environment_summary (other code)" in " ".join(answer.stdout.split())
    waiting = [{"relation_id": "analytics.daily_environment_summary", "why": "other code", "slices": 1}]
    assert json.loads(gaelp(tmp_path, "status", "--json").stdout)["derived"] == waiting
    assert gaelp(tmp_path, "deploy", "--refresh").returncode == 0
    assert json.loads(gaelp(tmp_path, "status", "--json").stdout)["derived"] == []


def evolving(home: Path, type_: str, **more: Any) -> None:
    """Writes the catalogue file of `media.evo`."""
    seed = {"name": "seed", "type": type_, **more}
    content = {
        "description": "Evolves.",
        "owner": "team:research",
        "fields": [{"name": "id", "type": "STRING", "mode": "REQUIRED"}, seed],
        "primary_key": ["id"],
    }
    file = home / "catalog" / "media" / "evo.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def test_a_legal_widening_no_longer_alters_integers_nor_loses_their_rows_in_a_rebuild(tmp_path: Path) -> None:
    evolving(tmp_path, "INTEGER")
    lines = [{"id": "a", "seed": 2**53 + 1}, {"id": "b", "seed": 5}]
    drop(platform_in(tmp_path), "cloud_ready/media/evo/1.ndjson", ndjson(lines))
    assert gaelp(tmp_path, "ingest").returncode == 0
    query = "SELECT id, seed FROM media.evo ORDER BY id"
    before = gaelp(tmp_path, "query", query).stdout
    evolving(tmp_path, "FLOAT")
    answer = gaelp(tmp_path, "deploy", "--dry-run", "--count-losses")
    assert answer.returncode == 1
    assert "a FLOAT does not hold 1 of its values exactly" in answer.stderr
    assert "1 slice of 2 rows were loaded under another definition" in answer.stdout
    assert "a rebuild would lose 1 row: seed: lost_precision (1)" in answer.stdout
    drop(platform_in(tmp_path), "cloud_ready/media/evo/2.ndjson", ndjson([{"id": "c", "seed": 0.5}]))
    assert gaelp(tmp_path, "ingest").returncode == 1
    evolving(tmp_path, "INTEGER")
    assert "9,007,199,254,740,993" in before or str(2**53 + 1) in before
    assert gaelp(tmp_path, "query", query).stdout.splitlines()[:4] == before.splitlines()[:4]
    _, found = as_json(tmp_path, "--dry-run")
    assert found["changed"] == []


def test_a_broken_view_used_to_stop_the_deployment_and_the_loads_of_everything(tmp_path: Path) -> None:
    view = tmp_path / "catalog" / "analytics" / "mine.json"
    view.parent.mkdir(parents=True)
    fields = [{"name": "agent_id", "type": "STRING"}]
    view.write_text(
        json.dumps({"kind": "view", "description": "x", "owner": "team:research", "fields": fields})
    )
    view.with_suffix(".sql").write_text("SELECT agent_idd FROM training.agents")
    code, planned = as_json(tmp_path, "--dry-run")
    assert (code, planned["summary"], len(planned["set_aside"])) == (3, {"create": SHIPPED}, 1)
    answer = gaelp(tmp_path, "deploy", "--refresh")
    assert (answer.returncode, f"{SHIPPED} made" in answer.stdout) == (3, True), answer.stderr
    assert (
        "analytics/mine.sql, line 1, column 8: unrecognised name agent_idd, did you mean agent_id?"
        in answer.stderr
    )
    assert "analytics.mine is set aside" in answer.stdout
    platform = platform_in(tmp_path)
    drop(platform, FILE, ndjson([checkpoint(1)]))
    answer = gaelp(tmp_path, "ingest")
    assert (answer.returncode, "analytics.mine is set aside" in answer.stdout) == (0, True), answer.stderr
    assert "did you mean agent_id?" in answer.stderr
    assert "did you mean agent_id?" in gaelp(tmp_path, "query", "SELECT * FROM analytics.mine").stderr
    view.with_suffix(".sql").write_text("SELECT agent_id FROM training.agents")
    answer = gaelp(tmp_path, "deploy")
    assert (answer.returncode, answer.stdout.splitlines()[-1]) == (0, f"1 made, {SHIPPED} unchanged"), (
        answer.stderr
    )
    view.with_suffix(".sql").write_text("SELECT agent_idd FROM training.agents")
    answer = gaelp(tmp_path, "deploy")
    assert (answer.returncode, "does not know" in answer.stdout) == (3, False), (
        "it is the catalogue's all the same"
    )
    assert gaelp(tmp_path, "status").returncode == 0
