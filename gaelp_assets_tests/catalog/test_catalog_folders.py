"""Users keep their relations in folders of their own, beside the shipped ones and never silently in place of them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog import Catalog
from gaelp_assets.catalog.folders import FOLDER, catalog_folders
from gaelp_assets.errors import GaelpError
from gaelp_assets.platform import read_catalog
from gaelp_assets.settings import load_settings

TABLE: dict[str, Any] = {
    "description": "Frames of a camera.",
    "owner": "team:media",
    "primary_key": ["frame_id"],
    "fields": [
        {"name": "frame_id", "type": "STRING", "mode": "REQUIRED"},
        {"name": "environment_id", "type": "STRING"},
    ],
}
VIEW: dict[str, Any] = {
    "kind": "view",
    "description": "A count.",
    "owner": "team:media",
    "fields": [{"name": "n", "type": "INTEGER"}],
}


def write(folder: Path, relation_id: str, content: object = TABLE, sql: str | None = None) -> Path:
    path = folder / f"{relation_id.replace('.', '/')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    if sql is not None:
        path.with_suffix(".sql").write_text(sql, encoding="utf-8")
    return path


def shipped(relation_id: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{relation_id.replace('.', '/')}.json").read_text())
    return content


def problems(*folders: Path) -> list[str]:
    with pytest.raises(GaelpError) as caught:
        read_catalog(folders)
    return [str(problem) for problem in caught.value.problems]


def test_a_users_relations_refer_to_shipped_ones_and_to_those_of_earlier_folders(tmp_path: Path) -> None:
    foreign = [{"fields": ["environment_id"], "references": "training.environments"}]
    write(tmp_path / "a", "media.frames", {**TABLE, "foreign_keys": foreign})
    sql = "SELECT COUNT(*) AS n FROM media.frames CROSS JOIN training.agents"
    write(tmp_path / "b", "marts.counts", VIEW, sql)
    catalog = read_catalog([tmp_path / "a", tmp_path / "b"])
    assert catalog.upstream["marts.counts"] == {"media.frames", "training.agents"}
    assert len(catalog) == len(read_catalog()) + 2


def test_a_relation_of_an_earlier_folder_is_not_replaced_unless_the_later_file_says_so(
    tmp_path: Path,
) -> None:
    content = {**shipped("training.agents"), "description": "Ours."}
    file = write(tmp_path, "training.agents", content)
    [problem] = problems(tmp_path)
    for words in (str(file), "training/agents.json", "described twice", '"overrides": true'):
        assert words in problem
    write(tmp_path, "training.agents", {**content, "overrides": True})
    catalog = read_catalog([tmp_path])
    assert catalog["training.agents"].description == "Ours."
    assert len(catalog) == len(read_catalog())


def test_overriding_what_is_not_there_names_what_is(tmp_path: Path) -> None:
    write(tmp_path, "training.agent", {**TABLE, "overrides": True})
    [problem] = problems(tmp_path)
    assert f"{tmp_path}/training/agent.json, overrides" in problem
    assert "did you mean 'training.agents'?" in problem


def test_of_two_folders_of_users_neither_wins_silently(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", "media.frames"), write(tmp_path / "b", "media.frames")
    [problem] = problems(tmp_path / "a", tmp_path / "b")
    assert str(first) in problem
    assert str(second) in problem


def test_the_platforms_own_datasets_take_no_relation_of_a_user(tmp_path: Path) -> None:
    write(tmp_path, "ops.import_logs", {**shipped("ops.import_logs"), "overrides": True})
    write(tmp_path, "ops.frames")
    write(tmp_path, "locks.frames")
    write(tmp_path, "gateway.export_gateway")
    write(tmp_path, "media.counts", VIEW, "SELECT COUNT(*) AS n FROM ops.frames")
    found = problems(tmp_path)
    assert len(found) == 4
    assert all("is the platform's own" in problem for problem in found)
    assert any("ops/import_logs.json" in problem and "the ledger" in problem for problem in found)


def test_every_wrong_folder_and_file_is_named_at_once(tmp_path: Path) -> None:
    file, empty, good = tmp_path / "file", tmp_path / "empty", tmp_path / "good"
    file.write_text("")
    (empty / "media").mkdir(parents=True)
    write(good, "media.repeated", '{"owner": "team:a", "owner": "team:b"}')
    write(good, "media.half", '{"description": "cut o')
    write(good, "media.bytes").write_bytes(b"\xff")
    write(good, "media.query", VIEW).with_suffix(".sql").write_bytes(b"\xff")
    write(
        good, "media.typo", {**TABLE, "foreign_keys": [{"fields": ["frame_id"], "references": "media.half"}]}
    )
    write(good, "ops.frames")
    (good / "media" / "gone.json").symlink_to(tmp_path / "nowhere.json")
    (good / "media" / "folder.json").mkdir()
    os.mkfifo(good / "media" / "pipe.json")
    (good / "media" / "alone.sql").write_text("SELECT 1")
    write(good, "frames")
    write(good, "media.deep.frames")
    found = problems(tmp_path / "missing", file, empty, good, good, FOLDER)
    expected = {
        f"{tmp_path}/missing: the catalogue folder does not exist": 1,
        f"{file}: the catalogue folder is a file": 1,
        f"{empty}: the catalogue folder holds no relation": 1,
        f"{good}: the folder is named already": 1,
        f"{good}/media/repeated.json: the key 'owner' stands twice": 1,
        f"{good}/media/repeated.json, description": 1,
        f"{good}/media/repeated.json, fields": 1,
        f"{good}/media/repeated.json: no primary_key": 1,
        f"{good}/media/half.json: not JSON": 1,
        f"{good}/media/bytes.json: not UTF-8 at byte 0": 1,
        f"{good}/media/query.sql: not UTF-8 at byte 0": 1,
        f"{good}/ops/frames.json: the dataset 'ops' is the platform's own": 1,
        f"{good}/media/gone.json: cannot be read: No such file or directory": 1,
        f"{good}/media/folder.json: not a file": 1,
        f"{good}/media/pipe.json: not a file": 1,
        f"{good}/media/alone.sql: SQL without a description": 1,
        f"{good}/frames.json: the file is in no dataset's folder": 1,
        f"{good}/media/deep/frames.json: the file is too deep": 1,
        "the folder is the shipped catalogue": 1,
    }
    assert {words: sum(words in problem for problem in found) for words in expected} == expected
    assert len(found) == len(expected)


def test_a_folder_that_cannot_be_listed_is_an_error_and_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "media.frames")
    write(tmp_path, "sound.frames")
    iterdir = Path.iterdir

    def refuse(path: Path) -> Any:
        if path == tmp_path / "sound":
            raise PermissionError(13, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    [problem] = problems(tmp_path)
    assert f"{tmp_path}/sound: cannot be listed: Permission denied" in problem


def test_hidden_files_and_other_kinds_of_files_are_no_part_of_a_catalogue(tmp_path: Path) -> None:
    write(tmp_path, "media.frames")
    write(tmp_path, ".vscode.settings", "{}")
    write(tmp_path / ".git" / "a", "b.c", "{")
    (tmp_path / "media" / ".frames.json.swp").write_text("")
    (tmp_path / "media" / "README.md").write_text("")
    (tmp_path / "relation.schema.json").write_text("{}")
    assert "media.frames" in read_catalog([tmp_path]).relations


def test_a_path_is_written_from_the_current_folder_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mine", "media.frames", "{")
    monkeypatch.chdir(tmp_path)
    [problem] = problems(tmp_path / "mine")
    assert problem.startswith("mine/media/frames.json: ")


def test_one_name_in_two_datasets_is_two_relations_and_its_bare_name_is_neither(tmp_path: Path) -> None:
    write(tmp_path, "media.agents")
    catalog = read_catalog([tmp_path])
    with pytest.raises(
        GaelpError, match=r"2 relations are called 'agents'; expected one of media\.agents, training\.agents"
    ):
        catalog.find("agents")
    assert catalog.find("media.agents").dataset == "media"
    write(
        tmp_path, "media.uses", {**TABLE, "foreign_keys": [{"fields": ["frame_id"], "references": "agents"}]}
    )
    write(tmp_path, "media.reads", VIEW, "SELECT COUNT(*) AS n FROM agents")
    first, second = sorted(problems(tmp_path))
    assert "the dataset before it: training.agents or media.agents" in first
    assert "2 relations are called 'agents'" in second


def test_names_that_are_one_as_a_step_of_dagster_are_refused(tmp_path: Path) -> None:
    first, second = write(tmp_path, "a.b__c"), write(tmp_path, "a__b.c")
    [problem] = problems(tmp_path)
    assert f"{first}, {second}: both are called a__b__c" in problem


def test_the_folder_below_the_home_is_read_where_none_is_named_and_something_lies_in_it(
    tmp_path: Path,
) -> None:
    settings = load_settings({"GAELP_HOME": str(tmp_path)})
    assert catalog_folders(settings) == []
    (tmp_path / "catalog" / "media").mkdir(parents=True)
    (tmp_path / "catalog" / "relation.schema.json").write_text("{}")
    assert catalog_folders(settings) == []
    write(tmp_path / "catalog", "media.frames")
    assert catalog_folders(settings) == [tmp_path / "catalog"]
    named = load_settings({"GAELP_HOME": str(tmp_path), "GAELP_CATALOG": f"/a{os.pathsep}/b"})
    assert catalog_folders(named) == [Path("/a"), Path("/b")]


def test_an_edit_is_read_at_the_next_load(tmp_path: Path) -> None:
    write(tmp_path, "media.frames")

    def read() -> Catalog:
        return read_catalog([tmp_path])

    before = read()["media.frames"]
    write(tmp_path, "media.frames", {**TABLE, "description": "Other frames."})
    assert read()["media.frames"].description != before.description
    shutil.rmtree(tmp_path / "media")
    write(tmp_path, "media.sounds")
    assert "media.frames" not in read().relations
