"""The code location as a whole: what the factories make of a large catalogue, and how a wrong one fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.workspace.load_target import WorkspaceFileTarget

from gaelp_assets.assets.beam import beam_assets
from gaelp_assets.assets.partitions import GATEWAY
from gaelp_assets.catalog import load_catalog, texts
from gaelp_assets.cli.dev import TEMPLATE, prepare_dagster_home, write_workspace
from gaelp_assets.definitions import build_definitions
from gaelp_assets.errors import GaelpError
from gaelp_assets.operations.lineage import ColumnSources, column_sources, lineage_folder
from gaelp_assets.platform_reader import read_sound_catalog
from gaelp_assets.settings import CHECKOUT, LOCATION, Settings, load_settings

SOURCES = 180
VIEWS = 74


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(
        {"GAELP_HOME": str(tmp_path_factory.mktemp("home")), "GAELP_FIRST_DATE": "2026-11-01"}
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> dg.Definitions:
    """254 relations: loaded ones sliced in each of the three ways, and derived ones that read them."""
    folder = tmp_path_factory.mktemp("catalog")
    for number in range(SOURCES):
        write_table(folder, f"source{number % 9}", f"table_{number}", number)
    for number in range(VIEWS):
        write_view(folder, f"view_{number}", f"source{number % 9}.table_{number}")
    return build_definitions(settings, load_catalog(folder))


def write_table(folder: Path, dataset: str, name: str, number: int) -> None:
    partitioning = [{"date": "date", "environment": "environment"}, {"date": "date"}, None][number % 3]
    content = {
        "description": f"table {number}",
        "owner": "team:research",
        "primary_key": ["id"],
        "freshness_hours": 24,
        "tags": {"domain": "made_up"},
        "fields": [
            {"name": "id", "type": "STRING", "mode": "REQUIRED", "description": "key"},
            {"name": "date", "type": "DATE", "mode": "REQUIRED"},
            {"name": "environment", "type": "STRING", "mode": "REQUIRED"},
            *({"name": f"column_{n}", "type": "FLOAT", "description": "a number"} for n in range(16)),
        ],
    }
    if partitioning:
        content["partitioning"] = partitioning
    write(folder / dataset / f"{name}.json", content)


def write_view(folder: Path, name: str, source: str) -> None:
    content = {
        "kind": "derived_table",
        "description": "derived",
        "owner": "someone@example.org",
        "fields": [{"name": "id", "type": "STRING", "description": "key"}],
    }
    write(folder / "marts" / f"{name}.json", content)
    (folder / "marts" / f"{name}.sql").write_text(f"SELECT id FROM {source} WHERE date >= DATE '2000-01-01'")


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def test_every_relation_is_an_asset_of_its_own_and_descends_from_the_gateway(large: dg.Definitions) -> None:
    graph = large.resolve_asset_graph()
    assert len(graph.materializable_asset_keys) == SOURCES + VIEWS + 1
    tables = [key for key in graph.materializable_asset_keys if key.path[0].startswith("source")]
    assert all(graph.get(key).parent_keys == {GATEWAY} for key in tables)
    assert graph.get(dg.AssetKey(["marts", "view_7"])).parent_keys == {dg.AssetKey(["source7", "table_7"])}


def test_the_lineage_has_as_many_groups_as_there_are_datasets(large: dg.Definitions) -> None:
    graph = large.resolve_asset_graph()
    groups = {graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert groups == {"gateway", "marts", *(f"source{n}" for n in range(9))}


def test_partitions_are_those_of_the_catalogue(large: dg.Definitions) -> None:
    graph = large.resolve_asset_graph()
    found = [
        type(graph.get(dg.AssetKey([f"source{n}", f"table_{n}"])).partitions_def).__name__ for n in range(3)
    ]
    assert found == ["MultiPartitionsDefinition", "DailyPartitionsDefinition", "NoneType"]


def test_an_asset_shows_columns_checks_owner_and_freshness(large: dg.Definitions) -> None:
    key = dg.AssetKey(["source0", "table_0"])
    node = large.resolve_asset_graph().get(key)
    columns = node.metadata["dagster/column_schema"].columns
    assert [(c.name, c.type, c.constraints.nullable) for c in columns[:2]] == [
        ("id", "STRING", False), ("date", "DATE", False),
    ]  # fmt: skip
    assert columns[0].constraints.unique
    assert node.metadata["dagster/table_name"] == "source0.table_0"
    assert node.owners == ["team:research"]
    assert node.kinds == {"duckdb", "table"}
    assert node.freshness_policy is not None
    names = {check.name for check in large.resolve_asset_graph().asset_check_keys if check.asset_key == key}
    assert names == {"accounting", "rejected_rows", "schema_conformance", "key_uniqueness"}


def test_every_start_read_every_views_sql_again_and_its_lineage_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "home" / "catalog"
    folder.mkdir(parents=True)
    write_table(folder, "lab", "source", 0)
    write_view(folder, "view", "lab.source")
    settings = load_settings({"GAELP_HOME": str(tmp_path / "home")})
    key = dg.AssetKey(["marts", "view"])
    monkeypatch.setattr("gaelp_assets.sql.lineage.relation_lineage", lambda *_: pytest.fail("read lineage"))
    first = build_definitions(settings).resolve_asset_graph().get(key)
    for told in (texts.references, texts.words):
        told.cache_clear()  # as in another process
    with monkeypatch.context() as patched:
        patched.setattr("sqlglot.dialects.bigquery.BigQuery.tokenize", lambda *_: pytest.fail("read SQL"))
        again = build_definitions(settings).resolve_asset_graph().get(key)
    assert again.parent_keys == first.parent_keys == {dg.AssetKey(["lab", "source"])}
    assert again.code_version == first.code_version
    (folder / "marts" / "view.sql").write_text("SELECT idd AS id FROM lab.source")
    changed = build_definitions(settings).resolve_asset_graph().get(key)
    assert "did you mean id?" in (changed.description or "")


def test_the_page_of_a_relation_lacked_its_column_sources(tmp_path: Path) -> None:
    """The UI shows a definition's description of a column, where it has one, in place of the newest materialization's."""
    folder = tmp_path / "home" / "catalog"
    folder.mkdir(parents=True)
    write_table(folder, "lab", "source", 0)
    write_view(folder, "view", "lab.source")
    settings = load_settings({"GAELP_HOME": str(tmp_path / "home")})

    def shown() -> list[str | None]:
        node = build_definitions(settings).resolve_asset_graph().get(dg.AssetKey(["marts", "view"]))
        return [column.description for column in node.metadata["dagster/column_schema"].columns]

    assert "lab.source.id" not in str(shown())
    catalog = read_sound_catalog(settings)
    column_sources(catalog["marts.view"], catalog, lineage_folder(settings))
    assert "from lab.source.id" in str(shown())


def test_remembered_lineage_is_that_of_the_sql_and_follows_its_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, folder = tmp_path / "cache" / "column_lineage", tmp_path / "catalog"
    folder.mkdir()
    write_table(folder, "lab", "source", 0)
    write_view(folder, "view", "lab.source")

    def sources() -> ColumnSources:
        catalog = load_catalog(folder)
        return column_sources(catalog["marts.view"], catalog, cache)

    assert sources() == {"id": [("lab.source", "id")]}
    with monkeypatch.context() as patched:
        patched.setattr(
            "gaelp_assets.sql.lineage.relation_lineage", lambda *_: pytest.fail("read the SQL again")
        )
        assert sources() == {"id": [("lab.source", "id")]}
    (folder / "marts" / "view.sql").write_text(
        "SELECT environment AS id FROM lab.source WHERE date >= DATE '2000-01-01'"
    )
    assert sources() == {"id": [("lab.source", "environment")]}
    (cache / "marts.view.json").write_text("not JSON")
    assert sources() == {"id": [("lab.source", "environment")]}


def test_a_large_location_can_be_served(large: dg.Definitions) -> None:
    """Definitions that load in this process can still fail to be sent to the webserver."""
    from dagster._core.remote_representation.external_data import RepositorySnap
    from dagster_shared.serdes import serialize_value

    text = serialize_value(RepositorySnap.from_def(large.get_repository_def()))
    # About 12 kB a relation: what the webserver reads at every reload.
    assert len(text) < 20_000 * (SOURCES + VIEWS)


def test_one_name_in_two_datasets_is_two_assets_with_steps_and_checks_of_their_own(
    tmp_path: Path, settings: Settings
) -> None:
    write_table(tmp_path, "lab", "runs", 0)
    write_table(tmp_path, "factory", "runs", 2)
    write_view(tmp_path, "runs", "lab.runs")
    catalog = load_catalog(tmp_path)
    definitions = build_definitions(settings, catalog)
    job = definitions.resolve_implicit_global_asset_job_def()
    names = {node.name for node in job.nodes}
    assert {"lab__runs", "factory__runs", "marts__runs", "lab__runs_CHECKS", "factory__runs_CHECKS"} <= names
    graph = definitions.resolve_asset_graph()
    [factory, lab, marts] = [dg.AssetKey([name, "runs"]) for name in ("factory", "lab", "marts")]
    assert [graph.get(key).group_name for key in (factory, lab, marts)] == ["factory", "lab", "marts"]
    assert graph.get(marts).parent_keys == {lab}


def test_a_catalogue_with_problems_fails_with_all_of_them(tmp_path: Path, settings: Settings) -> None:
    write_table(tmp_path, "lab", "good", 0)
    write(tmp_path / "lab" / "typo.json", {"description": "x", "owner": "team:a", "feilds": []})
    (tmp_path / "lab" / "broken.json").write_text("{")
    with pytest.raises(GaelpError) as raised:
        build_definitions(settings, load_catalog(tmp_path))
    assert "lab/broken.json" in str(raised.value)
    assert "did you mean 'fields'" in str(raised.value)


def test_loading_the_location_imports_no_library_of_a_single_asset() -> None:
    heavy = ("pandas", "pandera", "matplotlib", "gymnasium", "duckdb", "google.cloud.bigquery", "dagster_gcp")
    code = (
        "import sys; from gaelp_assets.definitions import defs; defs().get_repository_def().load_all_definitions();"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_the_workspaces_of_the_checkout_and_of_gaelp_dev_name_one_location(tmp_path: Path) -> None:
    """Run history is kept by the location's name: another one would lose it."""
    own = load_settings({"GAELP_HOME": str(tmp_path / "50% of # homes: yes")})
    prepare_dagster_home(own)
    for file in (CHECKOUT / "workspace.yaml", write_workspace(own)):
        [origin] = WorkspaceFileTarget(paths=[str(file)]).create_origins()
        assert origin.location_name == LOCATION
        target = origin.loadable_target_origin
        assert target is not None
        assert target.module_name == "gaelp_assets.definitions"
    assert target.working_directory == str(own.dagster_home)


def test_the_instance_template_is_written_once_and_is_one_that_dagster_takes(tmp_path: Path) -> None:
    own = load_settings({"GAELP_HOME": str(tmp_path)})
    home = prepare_dagster_home(own)
    assert (home / "dagster.yaml").read_text() == TEMPLATE.read_text()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.run_launcher.supports_check_run_worker_health
        assert instance.run_monitoring_enabled
        assert instance.run_retries_max_retries == 0
        assert not instance.telemetry_enabled
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    prepare_dagster_home(own)
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_windows_run_on_beam_where_an_environment_has_it_and_nowhere_else(settings: Settings) -> None:
    catalog = read_sound_catalog(settings)
    assert beam_assets(catalog, None, settings.first_date) == []
    keys = [
        each.key.to_user_string() for each in beam_assets(catalog, Path(sys.executable), settings.first_date)
    ]
    assert keys == ["beam/analytics__hourly_learning"]
