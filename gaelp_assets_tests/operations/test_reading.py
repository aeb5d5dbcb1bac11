"""What people and checks look at leaves the warehouse's file as it is, to the byte."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import dagster as dg
import pytest

from gaelp_assets.assets.checks import foreign_keys, key_uniqueness, schema_conformance
from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.errors import GaelpError
from gaelp_assets.operations.charts import chart_frame
from gaelp_assets.operations.deploy import plan
from gaelp_assets.operations.rebuildable import check_rebuildable
from gaelp_assets.operations.rejects import dead_letters
from gaelp_assets.operations.replay import replay
from gaelp_assets.operations.report import html
from gaelp_assets.operations.status import read_status
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.ranges import PartitionRange
from gaelp_assets_tests.platforms import DATE, SLICE, TABLE, checkpoint, drop, load, ndjson, platform_in


def _all_rebuildable(platform: Platform) -> None:
    for relation in platform.catalog:
        check_rebuildable(platform, relation)


def _evaluated(check: Callable[[], object]) -> None:
    """Evaluates a check as Dagster's assets do."""
    with suppress(GaelpError):
        check()


EVERYWHERE: Final = [PartitionRange(dt.date(2026, 1, 1), DATE)]
CHARTED: Final = "analytics.learning_curves"
LOOKS: Final[dict[str, Callable[[Platform], object]]] = {
    "query": lambda platform: platform.query(f"SELECT COUNT(*) AS n FROM {TABLE}"),
    "query of all": lambda platform: [platform.query(f"SELECT * FROM {r.id}") for r in platform.catalog],
    "query_pandas": lambda platform: platform.query_pandas(f"SELECT * FROM {CHARTED}"),
    "status": read_status,
    "dead-letter list": dead_letters,
    "replay of nothing": replay,
    "rebuildable": _all_rebuildable,
    "schema check": lambda platform: schema_conformance(platform, platform.catalog[TABLE], EVERYWHERE),
    "key check": lambda platform: _evaluated(
        lambda: key_uniqueness(platform, platform.catalog[TABLE], EVERYWHERE)
    ),
    "reference check": lambda platform: _evaluated(
        lambda: foreign_keys(platform, platform.catalog[TABLE], platform.catalog, EVERYWHERE)
    ),
    "report": html,
    "chart": lambda platform: chart_frame(platform, platform.catalog[CHARTED], None),
    "dry run": lambda platform: plan(platform.warehouse, platform.catalog, jobs=2),
}


def _newer(catalog: Catalog) -> Catalog:
    """The catalogue with one more field in every loaded table."""
    return Catalog([_grown(relation) for relation in catalog], catalog.upstream)


def _grown(relation: Relation) -> Relation:
    if relation.sql is not None:
        return relation
    more = type(relation.fields[0])(name="newer", type="STRING")
    return relation.model_copy(update={"fields": (*relation.fields, more)})


def _with_newer_catalogue(platform: Platform) -> Platform:
    from gaelp_assets.warehouse.open import open_warehouse

    catalog = _newer(platform.catalog)
    warehouse = open_warehouse(platform.settings.warehouse, catalog)
    return dataclasses.replace(platform, catalog=catalog, warehouse=warehouse)


@pytest.mark.parametrize("look", [name for name in LOOKS if name != "query of all"])
def test_looking_with_a_newer_catalogue_changes_no_byte_of_the_file(tmp_path: Path, look: str) -> None:
    """Checks, `gaelp status` and a notebook's SELECT once added the columns of whatever branch they ran on."""
    platform = platform_in(tmp_path)
    drop(platform, f"cloud_ready/{TABLE.replace('.', '/')}/{SLICE.path}/a.ndjson", ndjson([checkpoint(1)]))
    assert load(platform).total("loaded") == 1
    file = tmp_path / "warehouse.duckdb"
    before = file.read_bytes()
    LOOKS[look](_with_newer_catalogue(platform))
    assert file.read_bytes() == before


@pytest.mark.parametrize("look", LOOKS)
def test_looking_at_an_empty_home_makes_no_warehouse(tmp_path: Path, look: str) -> None:
    platform = platform_in(tmp_path)
    LOOKS[look](platform)
    assert [path.name for path in tmp_path.iterdir()] == ["export_gateway"]


def test_checks_of_a_table_that_is_not_there_do_not_pass(tmp_path: Path) -> None:
    platform = platform_in(tmp_path)
    relation = platform.catalog[TABLE]
    with pytest.raises(GaelpError, match="is not in the warehouse"):
        key_uniqueness(platform, relation, EVERYWHERE)
    with pytest.raises(GaelpError, match="is not in the warehouse"):
        foreign_keys(platform, relation, platform.catalog, EVERYWHERE)
    passed, _ = schema_conformance(platform, relation, EVERYWHERE)
    assert not passed


def test_rows_refer_to_nothing_where_the_table_that_they_name_is_not_there(tmp_path: Path) -> None:
    """The check once made that table, to have something to look into."""
    platform = platform_in(tmp_path)
    drop(platform, f"cloud_ready/{TABLE.replace('.', '/')}/{SLICE.path}/a.ndjson", ndjson([checkpoint(1)]))
    load(platform)
    before = (tmp_path / "warehouse.duckdb").read_bytes()
    passed, metadata = foreign_keys(platform, platform.catalog[TABLE], platform.catalog, EVERYWHERE)
    assert not passed
    assert metadata["rows without what they refer to"] != 0
    assert (tmp_path / "warehouse.duckdb").read_bytes() == before


def test_nobody_was_told_which_ids_were_missing(tmp_path: Path) -> None:
    """An agent of one's own without a row in the agents' table: the check counted its rows, and the curves had none of it."""
    platform = platform_in(tmp_path)
    drop(
        platform,
        f"cloud_ready/{TABLE.replace('.', '/')}/{SLICE.path}/a.ndjson",
        ndjson([checkpoint(1), checkpoint(2)]),
    )
    load(platform)
    relation = platform.catalog[TABLE]
    agent = next(key for key in relation.foreign_keys if key.fields == ("agent_id",))
    _, metadata = foreign_keys(platform, relation, platform.catalog, EVERYWHERE)
    told = metadata["ids that are missing"]
    assert isinstance(told, dg.TableMetadataValue)
    assert {"missing": checkpoint(1)["agent_id"], "in": agent.references, "rows": 2} in [
        dict(record.data) for record in told.records
    ]
    assert "NULL" in str(metadata["what follows"])
    fields = tuple(
        field.model_copy(update={"sensitive": True}) if field.name in agent.fields else field
        for field in relation.fields
    )
    _, metadata = foreign_keys(
        platform, relation.model_copy(update={"fields": fields}), platform.catalog, EVERYWHERE
    )
    assert checkpoint(1)["agent_id"] not in str(metadata)
