"""The checks follow what is set aside and retried, whichever run or command it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from gaelp_assets.assets.partitions import GATEWAY
from gaelp_assets.assets.rejections import SET_ASIDE, report_retried, tables_of
from gaelp_assets_tests.assets.test_asset_runs import Lab, latest_check, row, table


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Lab(tmp_path, instance)


def test_a_file_that_a_load_set_aside_left_the_gateways_check_green(lab: Lab) -> None:
    lab.put(2, "CartPole-v1", [row(2, "CartPole-v1", 7, score="seven")])
    lab.pending()
    found = latest_check(lab, SET_ASIDE, GATEWAY)
    assert not found.passed
    [told] = table(found.metadata["problems"])
    assert str(told.data["file"]).startswith("failed/lab/scores/date=2026-11-02/")
    assert "score: wrong_type (1 lines)" in str(told.data["problem"])
    assert "seven" not in str(told.data)
    # Both checks follow a retry at once.
    [(name, _)] = lab.platform.gateway.retry("*")
    report_retried(lab.instance, lab.platform, [name])
    assert latest_check(lab, SET_ASIDE, GATEWAY).passed
    assert latest_check(lab).passed


def test_the_tables_of_failed_files_are_known_by_their_names(lab: Lab) -> None:
    catalog = lab.platform.catalog
    names = ["failed/lab/scores/date=2026-02-30/a~1.ndjson", "failed/players~2.ndjson", "failed/odd~3.csv"]
    assert [relation.id for relation in tables_of(catalog, names)] == ["lab.players", "lab.scores"]
    assert tables_of(catalog, names[2:]) == []
