"""The committed catalogue holds together, and a wrong file is answered with file, key, found and allowed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from gaelp_assets.catalog import load_catalog
from gaelp_assets.catalog.json_schema import json_schema_text
from gaelp_assets.catalog.load import FOLDER, SCHEMA_FILE
from gaelp_assets.catalog.new import new_relation
from gaelp_assets.catalog.validate import PLATFORM_DATASETS
from gaelp_assets.errors import GaelpError
from gaelp_assets.platform import read_catalog
from gaelp_assets.warehouse.bigquery.datasets import LOCKS
from gaelp_assets.warehouse.bigquery.dialect import STAGING

TABLE: dict[str, Any] = {
    "description": "Frames of a camera.",
    "owner": "team:media",
    "fields": [
        {"name": "frame_id", "type": "STRING", "mode": "REQUIRED"},
        {"name": "date", "type": "DATE", "mode": "REQUIRED"},
        {"name": "environment_id", "type": "STRING", "mode": "REQUIRED"},
        {
            "name": "width",
            "type": "INT64",
            "checks": [{"name": "in_range", "arguments": {"min_value": 1, "max_value": 8}}],
        },
    ],
    "primary_key": ["frame_id"],
    "partitioning": {"date": "date", "environment": "environment_id"},
}


def write(folder: Path, relation_id: str, content: object, sql: str | None = None) -> None:
    path = folder / f"{relation_id.replace('.', '/')}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    if sql is not None:
        path.with_suffix(".sql").write_text(sql, encoding="utf-8")


def problems(folder: Path) -> str:
    with pytest.raises(GaelpError) as caught:
        read_catalog(folder)
    return str(caught.value)


def changed(**keys: object) -> dict[str, Any]:
    return {**copy.deepcopy(TABLE), **keys}


def with_field(**keys: object) -> dict[str, Any]:
    content = changed()
    content["fields"][3].update(keys)
    return content


def test_the_committed_catalogue_has_no_problem_and_unique_names() -> None:
    catalog = read_catalog()
    assert len(catalog.by_name) == len(catalog) >= 14


def test_the_committed_json_schema_is_the_models() -> None:
    assert (FOLDER / SCHEMA_FILE).read_text(encoding="utf-8") == json_schema_text()


def test_one_file_adds_a_table_and_bigquerys_type_aliases_are_taken(tmp_path: Path) -> None:
    write(tmp_path, "media.frames", TABLE)
    relation = read_catalog(tmp_path).find("frames")
    assert relation.id == "media.frames"
    assert relation.field("width").type == "INTEGER"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("{", ["media/frames.json", "not JSON"], id="no JSON"),
        pytest.param("[]", ["media/frames.json", "not a JSON object"], id="no object"),
        pytest.param(
            changed(primry_key=["a"]), ["primry_key", "did you mean 'primary_key'?"], id="unknown key"
        ),
        pytest.param(
            with_field(typ="STRING"),
            ["fields.3.typ", "did you mean 'type'?", "policyTags"],
            id="unknown field key",
        ),
        pytest.param(
            with_field(checks=[{"name": "in_range", "args": {}}]),
            ["checks.0.args", "expected one of arguments, name"],
            id="check key",
        ),
        pytest.param(
            changed(partitioning={"dat": "date"}),
            ["partitioning.dat", "did you mean 'date'?"],
            id="partitioning key",
        ),
        pytest.param(with_field(type="TXT"), ["fields.3.type", "'STRING'", "found 'TXT'"], id="unknown type"),
        pytest.param(
            with_field(checks=[{"name": "in_rnge", "arguments": {}}]),
            ["width", "in_rnge", "did you mean 'in_range'?"],
            id="unknown check",
        ),
        pytest.param(
            with_field(checks=[{"name": "str_length", "arguments": {"max_value": 3}}]),
            ["field width, check str_length", "INTEGER"],
            id="a check that does not fit the type",
        ),
        pytest.param(
            changed(primary_key=["frame"]), ["primary_key", "did you mean 'frame_id'?"], id="key field"
        ),
        pytest.param(changed(primary_key=[]), ["no primary_key"], id="no key"),
        pytest.param(
            changed(primary_key=["width"]), ["'width' is NULLABLE", "mode REQUIRED"], id="nullable key"
        ),
        pytest.param(
            changed(partitioning={"date": "day"}), ["partitioning.date", "'day'"], id="partition field"
        ),
        pytest.param(
            changed(partitioning={"date": "frame_id"}),
            ["'frame_id' is STRING", "DATE, TIMESTAMP"],
            id="partition type",
        ),
        pytest.param(
            changed(clustering=["a", "b", "c", "d", "e"]), ["clustering"], id="five clustering fields"
        ),
        pytest.param(
            changed(foreign_keys=[{"fields": ["frame_id"], "references": "media.frame"}]),
            ["foreign_keys.0", "did you mean 'media.frames'?"],
            id="dangling foreign key",
        ),
        pytest.param(
            changed(
                foreign_keys=[
                    {"fields": ["width"], "references": "frames", "referenced_fields": ["frame_id"]}
                ]
            ),
            ["width is INTEGER, media.frames.frame_id is STRING"],
            id="foreign key of another type",
        ),
        pytest.param(
            changed(on_key_conflict={"latest": "width"}), ["'width' is NULLABLE"], id="nullable version"
        ),
        pytest.param(changed(owner="me"), ["owner"], id="owner"),
        pytest.param(
            changed(kind="view"), ["a view without SQL", "frames.sql beside it"], id="view without SQL"
        ),
    ],
)
def test_a_wrong_file_is_named_with_key_found_and_allowed(
    tmp_path: Path, content: object, expected: list[str]
) -> None:
    write(tmp_path, "media.frames", content)
    text = problems(tmp_path)
    for words in ["media/frames.json", *expected]:
        assert words in text


def test_all_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    write(tmp_path, "media.frames", changed(owner="me", colour="red"))
    write(tmp_path, "media.sounds", changed(primary_key=["nothing"], retention_days=0))
    write(tmp_path, "ops.frames", TABLE)
    text = problems(tmp_path)
    for words in ["owner", "colour", "media/sounds.json, retention_days"]:
        assert words in text


def test_the_same_name_in_two_datasets_is_refused_because_the_graph_shows_the_last_part_alone(
    tmp_path: Path,
) -> None:
    write(tmp_path, "media.frames", TABLE)
    write(tmp_path, "ops.frames", TABLE)
    assert "the name 'frames' is used 2 times" in problems(tmp_path)


def test_datasets_that_the_platform_keeps_for_itself_are_refused(tmp_path: Path) -> None:
    assert {LOCKS, STAGING} == PLATFORM_DATASETS
    write(tmp_path, "locks.frames", TABLE)
    write(tmp_path, "staging.sounds", TABLE)
    text = problems(tmp_path)
    for file in ("locks/frames.json", "staging/sounds.json"):
        assert f"{file}: the dataset '{file.split('/')[0]}' is the platform's own" in text


VIEW = {
    "kind": "view",
    "description": "A view.",
    "owner": "team:media",
    "fields": [{"name": "n", "type": "INTEGER"}],
}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "SELECT COUNT(*) AS n FROM media.frame",
            "unknown relation 'media.frame', did you mean 'media.frames'?",
        ),
        ("SELECT COUNT(*) AS n FROM frames", "the dataset before it: media.frames"),
        ("SELECT COUNT( AS n FROM media.frames", "media/counts.sql: line 1"),
        ("DELETE FROM media.frames WHERE TRUE", "not one SELECT statement"),
        ("SELECT n FROM media.counts", "read one another in a circle"),
    ],
)
def test_wrong_sql_is_named(tmp_path: Path, sql: str, expected: str) -> None:
    write(tmp_path, "media.frames", TABLE)
    write(tmp_path, "media.counts", VIEW, sql)
    assert expected in problems(tmp_path)


def test_a_file_that_cannot_be_read_does_not_make_dangling_references(tmp_path: Path) -> None:
    write(tmp_path, "media.frames", "{")
    write(tmp_path, "media.counts", VIEW, "SELECT COUNT(*) AS n FROM media.frames")
    assert "unknown relation" not in problems(tmp_path)


@pytest.mark.parametrize("view", [False, True])
def test_a_new_relation_is_valid_as_it_stands(tmp_path: Path, view: bool) -> None:
    paths = new_relation("media.frames", view=view, folder=tmp_path)
    assert len(paths) == 1 + view
    assert len(load_catalog(tmp_path)) == 1
    with pytest.raises(GaelpError, match="taken"):
        new_relation("ops.frames", folder=tmp_path)
    with pytest.raises(GaelpError, match=r"DATASET\.NAME"):
        new_relation("../frames", folder=tmp_path)
