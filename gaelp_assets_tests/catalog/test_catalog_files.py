"""The committed catalogue holds together, and a wrong file is answered with file, key, found and allowed."""

from __future__ import annotations

import ast
import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gaelp_assets.assets.partitions import GATEWAY
from gaelp_assets.catalog import code
from gaelp_assets.catalog.definition import definition_of
from gaelp_assets.catalog.folders import FOLDER, PLATFORM_DATASETS, SCHEMA_FILE
from gaelp_assets.catalog.json_schema import json_schema_text
from gaelp_assets.catalog.new import new_relation
from gaelp_assets.catalog.pages import write_pages
from gaelp_assets.catalog.read import known_keys
from gaelp_assets.errors import GaelpError
from gaelp_assets.platform import read_catalog
from gaelp_assets.warehouse.bigquery.datasets import LOCKS
from gaelp_assets.warehouse.bigquery.dialect import STAGING
from gaelp_assets.warehouse.ledger import LEDGER

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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    if sql is not None:
        path.with_suffix(".sql").write_text(sql, encoding="utf-8")


def problems(folder: Path) -> str:
    with pytest.raises(GaelpError) as caught:
        read_catalog(folder=folder)
    return str(caught.value)


def changed(**keys: object) -> dict[str, Any]:
    return {**copy.deepcopy(TABLE), **keys}


def with_field(**keys: object) -> dict[str, Any]:
    content = changed()
    content["fields"][3].update(keys)
    return content


def test_the_committed_catalogue_has_no_problem_and_names_relations_in_full() -> None:
    """A bare name in a shipped file would stop being clear as soon as a user has a table of that name."""
    catalog = read_catalog()
    assert len(catalog) >= 14
    references = {key.references for relation in catalog for key in relation.foreign_keys}
    assert references <= set(catalog.relations)


def test_the_committed_json_schema_is_the_models() -> None:
    assert (FOLDER / SCHEMA_FILE).read_text(encoding="utf-8") == json_schema_text()


def test_one_file_adds_a_table_and_bigquerys_type_aliases_are_taken(tmp_path: Path) -> None:
    write(tmp_path, "media.frames", TABLE)
    relation = read_catalog(folder=tmp_path).find("frames")
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
            changed(sequences=[{"within": ["frame"], "order_by": "width", "ends_where": ["blurred"]}]),
            ["sequences.0.within", "did you mean 'frame_id'?", "sequences.0.ends_where", "'blurred'"],
            id="sequence fields",
        ),
        pytest.param(
            changed(sequences=[{"within": ["frame_id"], "order_by": "frame_id", "ends_where": ["width"]}]),
            ["'frame_id' is STRING", "sequences.0.order_by", "'width' is INTEGER", "one of BOOLEAN"],
            id="sequence types",
        ),
        pytest.param(
            changed(sequences=[{"within": [], "order_by": "width", "ends_where": []}]),
            ["sequences.0.within", "sequences.0.ends_where", "at least 1 item"],
            id="empty sequence",
        ),
        pytest.param(
            changed(stream={"source": "kafak", "topic": "", "formt": "json", "max_latency_s": 0}),
            ["stream.source", "'kafka'", "stream.topic", "did you mean 'format'?", "stream.max_latency_s"],
            id="stream keys",
        ),
        pytest.param(
            changed(stream={"source": "kafka", "topic": "a b", "subscription": "s"}),
            ["'a b' is no topic", "stream.subscription", "a subscription of Kafka"],
            id="stream of Kafka",
        ),
        pytest.param(
            changed(stream={"source": "pubsub", "topic": "projects/p/topics/t"}),
            ["stream.topic", "no subscription", "stream.subscription"],
            id="stream of Pub/Sub",
        ),
        pytest.param(
            changed(key_scope="slices"),
            ["media/frames.json, key_scope", "'table' or 'slice'", "found 'slices'"],
            id="unknown key scope",
        ),
        pytest.param(
            changed(partitioning=None, key_scope="slice"),
            ["media/frames.json, key_scope", "without partitioning", "'table'"],
            id="a key of each slice in a table without slices",
        ),
        pytest.param(
            changed(kind="ledger", key_scope="slice"),
            ["media/frames.json, key_scope", "on a ledger", "a loaded table"],
            id="a key scope of what is not loaded",
        ),
        pytest.param(
            changed(key_scope="slice", on_key_conflict={"latest": "date"}),
            ["on_key_conflict.latest", "'date' is the field that slices the table", "key_scope 'table'"],
            id="the latest of each slice by the field that slices",
        ),
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
        pytest.param(
            changed(on_key_conflict={"lates": "width"}),
            ["on_key_conflict.Latest.lates", "did you mean 'latest'?"],
            id="key of one of two forms",
        ),
        pytest.param(
            changed(name="other"), ["unknown key 'name'", "expected one of $schema"], id="a name in the file"
        ),
        pytest.param('{"owner": "team:a", "owner": "team:b"}', ["'owner' stands twice"], id="repeated key"),
        pytest.param(
            '{"fields": [{"name": "a", "name": "b"}]}', ["'name' stands twice"], id="repeated inner key"
        ),
        pytest.param('{"retention_days": NaN}', ["NaN is no number of JSON"], id="NaN"),
        pytest.param("[" * 100_000, ["not JSON"], id="too deep"),
        pytest.param(
            changed(require_partition_filter=True, partitioning=None),
            ["require_partition_filter", "a table without partitioning"],
            id="filter of nothing",
        ),
        pytest.param(
            changed(chart={"x": "date", "y": "frame_id", "low": "date", "high": "width"}),
            ["chart.y", "'frame_id' is STRING", "chart.low", "'date' is DATE", "BOOLEAN, FLOAT, INTEGER"],
            id="a picture of what is no number",
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


def test_a_platform_dataset_is_each_that_an_engine_keeps_for_itself() -> None:
    assert {LOCKS, STAGING, LEDGER.split(".")[0], GATEWAY.path[0]} == set(PLATFORM_DATASETS)


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
        ("SELECT COUNT( AS n FROM media.frames", "media/counts.sql, line 1"),
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


def test_the_keys_of_an_inner_place_are_those_of_its_model() -> None:
    """`Check` was found in `AssetCheckName`, because its name stands in the annotation's text."""
    assert known_keys(["fields", 0, "fields", 3]) == known_keys(["fields", 0])
    assert "arguments" in known_keys(["checks", 0])
    assert known_keys(["asset_check_severity"]) == known_keys([])
    assert known_keys(["on_key_conflict", "Latest"]) == ["latest"]


@pytest.mark.parametrize("view", [False, True])
def test_a_new_relation_is_valid_as_it_stands(tmp_path: Path, view: bool) -> None:
    folder = tmp_path / "not there yet" / "catalog"
    paths = new_relation("media.frames", folder, view=view)
    assert [path.suffix for path in paths] == [".json", ".sql"][: 1 + view]
    assert read_catalog([folder])["media.frames"].where() == str(paths[0])
    pointer = json.loads(paths[0].read_text())["$schema"]
    assert (paths[0].parent / pointer).resolve() == folder / SCHEMA_FILE
    assert (folder / SCHEMA_FILE).read_text(encoding="utf-8") == json_schema_text()


def test_a_new_relation_takes_no_name_that_is_taken_and_no_dataset_of_the_platforms(tmp_path: Path) -> None:
    new_relation("media.frames", tmp_path)
    new_relation("sound.frames", tmp_path)
    for name, words in {
        "media.frames": "taken",
        "training.episodes": "taken",
        "ops.frames": "the platform's own",
        "../frames": r"DATASET\.NAME",
        "media.Frames": r"DATASET\.NAME",
    }.items():
        with pytest.raises(GaelpError, match=words):
            new_relation(name, tmp_path)
    (tmp_path / "full").write_text("")
    with pytest.raises(GaelpError, match="cannot be written"):
        new_relation("full.frames", tmp_path)


def test_pages_of_datasets_that_are_gone_go_and_a_users_own_page_stays(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")
    new_relation("media.frames", tmp_path / "catalog")
    write_pages(read_catalog([tmp_path / "catalog"]), tmp_path)
    assert (tmp_path / "media.md").exists()
    write_pages(read_catalog(), tmp_path)
    assert not (tmp_path / "media.md").exists()
    assert (tmp_path / "notes.md").read_text() == "mine"


def test_a_stream_is_of_one_table_and_changes_no_row(tmp_path: Path) -> None:
    """Two tables at one topic would each take the other's rows, all of them rejected."""
    stream = {"source": "kafka", "topic": "frames"}
    write(tmp_path, "media.frames", changed(stream=stream))
    relation = read_catalog(folder=tmp_path)["media.frames"]
    assert relation.stream is not None
    assert relation.stream.max_batch_rows == 10_000
    assert definition_of(relation) == definition_of(relation.model_copy(update={"stream": None}))
    write(tmp_path, "media.pictures", changed(stream=stream))
    with pytest.raises(
        GaelpError, match=r"pictures.json, stream.topic: topic 'frames' is that of media.frames"
    ):
        read_catalog(folder=tmp_path)


def test_each_relation_and_each_reading_parsed_the_same_python_again(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def parse(text: str) -> ast.Module:
        parsed.append(text)
        return ast.parse(text)

    code._read.cache_clear()
    monkeypatch.setattr(code, "ast", SimpleNamespace(**{**vars(ast), "parse": parse}))
    first, again = (
        {relation.id: relation.code for relation in read_catalog() if relation.python} for _ in range(2)
    )
    assert len(parsed) == len(set(parsed)) > 0
    assert first == again
