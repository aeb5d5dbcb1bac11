"""The exported LookML is read again by `lkml`: every field is of the catalogue, and every measure is the figure that a query gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import lkml
import polars as pl
import pytest
from typer.testing import CliRunner

from gaelp_assets.catalog import WHOLE, Slice, load_catalog
from gaelp_assets.catalog.load import Catalog
from gaelp_assets.catalog.model import stored_fields, walk_fields
from gaelp_assets.cli.main import app
from gaelp_assets.operations.charts import chart_frame
from gaelp_assets.operations.lookml import lookml_files, view_name
from gaelp_assets.platform import Platform
from gaelp_assets.settings import BigQueryAddress
from gaelp_assets.sql.analyzer import Analyzer
from gaelp_assets.sql.measures import measure_query
from gaelp_assets.sql.tables import tables_of
from gaelp_assets.sql.transpile import to_duckdb
from gaelp_assets_tests.golden import test_golden
from gaelp_assets_tests.operations.test_report import episode
from gaelp_assets_tests.platforms import DATE, drop, load, ndjson, platform_in
from gaelp_assets_tests.zetasql_gate import CACHE

CATALOG = load_catalog()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    done = CliRunner().invoke(app, ["export", "lookml", str(home / "looker")], env={"GAELP_HOME": str(home)})
    assert done.exit_code == 0, done.output
    return home / "looker"


@pytest.fixture(scope="module")
def views(folder: Path) -> dict[str, Any]:
    found = [lkml.load(path.read_text())["views"] for path in sorted(folder.glob("*.view.lkml"))]
    return {view["name"]: view for [view] in found}


def _fields(view: dict[str, Any]) -> list[dict[str, Any]]:
    return [*view.get("dimensions", ()), *view.get("dimension_groups", ())]


def test_every_relation_is_a_view_with_its_fields_but_the_sensitive_ones(views: dict[str, Any]) -> None:
    assert views.keys() == {view_name(relation) for relation in CATALOG}
    for relation in CATALOG:
        sensitive = {
            path.partition(".")[0] for path, field in walk_fields(relation.fields) if field.sensitive
        }
        wanted = {f.name for f in stored_fields(relation)} - sensitive
        told = {field["name"].partition("__")[0] for field in _fields(views[view_name(relation)])} - {""}
        assert told >= {name for name in wanted if not name.startswith("_")}, relation.id
        assert not told & sensitive, relation.id


def test_google_takes_every_expression_over_the_catalogue(views: dict[str, Any]) -> None:
    analyzer = Analyzer({relation.id: stored_fields(relation) for relation in CATALOG}, CACHE)
    for relation in CATALOG:
        view = views[view_name(relation)]
        for fields in (_fields(view), view.get("measures", ())):
            items = ", ".join(field["sql"].replace("${TABLE}", "t") for field in fields)
            if items:
                analyzer.accept(f"SELECT {items} FROM {view['sql_table_name']} AS t")


def test_explores_join_fields_that_the_views_have(folder: Path, views: dict[str, Any]) -> None:
    model = lkml.load((folder / "gaelp.model.lkml").read_text())
    explores = {explore["name"]: explore for explore in model["explores"]}
    assert explores.keys() == views.keys()
    joins = [join for explore in explores.values() for join in explore.get("joins", ())]
    assert {join["relationship"] for join in joins} == {"many_to_one"}
    for name, explore in explores.items():
        origins = {name: name} | {j["name"]: j.get("from", j["name"]) for j in explore.get("joins", ())}
        for join in explore.get("joins", ()):
            for reference in join["sql_on"].replace("${", " ").replace("}", " ").split():
                if "." in reference:
                    view, _, field = reference.partition(".")
                    known = {each["name"] for each in _fields(views[origins[view]])}
                    assert field.removesuffix("_raw") in known, join


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    platform = platform_in(tmp_path_factory.mktemp("home"))
    name = f"cloud_ready/training/episodes/date={DATE}/environment=Own-v0/a.ndjson"
    rows = [{**episode(number, "Own-v0", "mine"), "global_step": 900 * number + 1} for number in range(5)]
    drop(platform, name, ndjson(rows))
    load(platform, "training.episodes", Slice(DATE, "Own-v0"))
    for name in ("training_progress", "learning_curves", "daily_environment_summary"):
        relation = platform.catalog.find(name)
        slices = Slice(DATE, "Own-v0") if relation.partitioning else WHOLE
        platform.warehouse.ensure([relation])
        platform.warehouse.refresh(relation, slices, run_id="test")
    return platform


def test_a_measure_is_the_figure_that_the_report_draws(platform: Platform, views: dict[str, Any]) -> None:
    days = platform.catalog["analytics.daily_environment_summary"]
    curves = platform.catalog["analytics.learning_curves"]
    found: dict[str, dict[str, object]] = {}
    for relation in (days, curves, platform.catalog["analytics.training_progress"]):
        exported = {
            m["name"]: m["sql"].replace("${TABLE}", "t") for m in views[view_name(relation)]["measures"]
        }
        assert exported.keys() == {measure.name for measure in relation.measures}
        items = ", ".join(f"{sql} AS {name}" for name, sql in exported.items())
        found[relation.name] = platform.answer(
            f"SELECT {items} FROM {relation.quoted_id} AS t"
        ).frame.to_dicts()[0]
        asked = platform.answer(measure_query(relation, *relation.measures)).frame.to_dicts()[0]
        assert asked == found[relation.name]
    [drawn] = chart_frame(platform, days, "Own-v0").to_dicts()
    assert found["daily_environment_summary"]["mean_return_over_episodes"] == drawn["mean_return"] == 2.0
    assert found["training_progress"]["mean_return_over_episodes"] == drawn["mean_return"]
    assert found["training_progress"]["terminated_share"] == 1.0
    line = chart_frame(platform, curves, "Own-v0")
    assert found["learning_curves"]["best_return"] == line["high_return"].max()
    assert found["learning_curves"]["furthest_step"] == line["step"].max()
    assert found["learning_curves"]["total_episodes"] == 5


def test_measures_of_the_leaderboard_are_figures_of_its_rows(views: dict[str, Any]) -> None:
    board = CATALOG["analytics.agent_leaderboard"]
    cases = sorted((Path(test_golden.__file__).parent / board.name).glob("*/expected.ndjson"))
    rows = [row for case in cases for row in test_golden.evaluate(board, CATALOG, case.parent)]
    exported = {m["name"]: m["sql"].replace("${TABLE}", "t") for m in views[view_name(board)]["measures"]}
    items = ", ".join(f"{sql} AS {name}" for name, sql in exported.items())
    sql = to_duckdb(f"SELECT {items} FROM {board.quoted_id} AS t", tables_of([board]))
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA analytics")
        connection.register("rows", pl.DataFrame(rows, infer_schema_length=None))
        connection.execute("CREATE TABLE analytics.agent_leaderboard AS SELECT * FROM rows")
        [figures] = connection.execute(sql).fetchall()
    found = dict(zip(exported, figures, strict=True))
    scores = [row["iqm_score"] for row in rows if row["iqm_score"] is not None]
    assert scores
    assert found == {
        "agents": len({row["agent_id"] for row in rows}),
        "evaluated_runs": sum(row["runs"] for row in rows),
        "mean_iqm_score": pytest.approx(sum(scores) / len(scores)),
        "best_iqm_score": max(scores),
    }


def test_an_export_removes_only_what_an_export_has_written(folder: Path) -> None:
    (folder / "gone.view.lkml").write_text((folder / "training__agents.view.lkml").read_text())
    (folder / "mine.view.lkml").write_text("view: mine {}")
    env = {"GAELP_HOME": str(folder.parent)}
    assert CliRunner().invoke(app, ["export", "lookml", str(folder)], env=env).exit_code == 0
    assert not (folder / "gone.view.lkml").exists()
    (folder / "mine.view.lkml").unlink()
    (folder / "training__agents.view.lkml").write_text("view: training__agents {}")
    refused = CliRunner().invoke(app, ["export", "lookml", str(folder)], env=env)
    assert "was not generated" in str(refused.exception)
    assert (folder / "training__agents.view.lkml").read_text() == "view: training__agents {}"


def test_what_is_computed_from_a_sensitive_field_is_left_out_with_its_measures(tmp_path: Path) -> None:
    catalog = load_catalog()
    agents = catalog["training.agents"]
    fields = tuple(f.model_copy(update={"sensitive": f.name == "algorithm"}) for f in agents.fields)
    curves = catalog["analytics.learning_curves"]
    measure = curves.measures[0].model_copy(update={"name": "algorithms", "sql": "COUNT(DISTINCT algorithm)"})
    changed = [
        agents.model_copy(update={"fields": fields}),
        curves.model_copy(update={"measures": (*curves.measures, measure)}),
    ]
    ids = {relation.id for relation in changed}
    catalog = Catalog([*(r for r in catalog if r.id not in ids), *changed], catalog.upstream)
    address = BigQueryAddress("project", "US", "gaelp_")
    files = lookml_files(catalog, address, tmp_path, connection="looker")
    [view] = lkml.load(files["analytics__learning_curves.view.lkml"])["views"]
    assert view["sql_table_name"] == "`project.gaelp_analytics.learning_curves`"
    assert "algorithm" not in {field["name"] for field in view["dimensions"]}
    assert {m["name"] for m in view["measures"]} == {m.name for m in curves.measures}
