"""What Dagster draws and plans between a source's partitions and those of a relation that reads other days."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import pytest

from gaelp_assets.assets.partitions import ENVIRONMENTS, partition_mapping, partitions_def
from gaelp_assets.catalog import Relation

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
FIRST = dt.date(2026, 11, 10)
BOTH = {"date": "date", "environment": "env"}


def relation(partitioning: dict[str, str] | None, **keys: object) -> Relation:
    fields = [{"name": "date", "type": "DATE"}, {"name": "env", "type": "STRING"}]
    keys = {
        "dataset": "lab",
        "name": "made",
        "description": "a",
        "owner": "team:lab",
        "fields": fields,
        **keys,
    }
    return Relation.model_validate({**keys, "kind": "derived_table", "partitioning": partitioning})


def upstream(reader: Relation, source: Relation, key: str) -> list[str]:
    mapping = partition_mapping(reader, source)
    assert mapping is not None
    below, above = partitions_def(reader, FIRST), partitions_def(source, FIRST)
    assert below is not None
    assert above is not None
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(ENVIRONMENTS.name), ["CartPole-v1", "Taxi-v4"])
        with dg.partition_loading_context(dt.datetime(2026, 11, 20, tzinfo=dt.UTC), instance):
            found = mapping.get_upstream_mapped_partitions_result_for_partitions(
                below.subset_with_partition_keys([key]), below, above
            )
            return sorted(found.partitions_subset.get_partition_keys())


def test_a_day_is_made_of_the_days_that_are_declared() -> None:
    days = {"before": 2, "after": 1}
    by_date = {"date": "date"}
    reads = upstream(relation(by_date, reads_slices=days), relation(by_date), "2026-11-15")
    assert reads == ["2026-11-13", "2026-11-14", "2026-11-15", "2026-11-16"]
    assert upstream(relation(by_date, reads_slices=days), relation(by_date), "2026-11-10") == reads_from(
        10, 11
    )


def reads_from(first: int, last: int) -> list[str]:
    return [f"2026-11-{day}" for day in range(first, last + 1)]


def test_environments_stay_their_own() -> None:
    found = upstream(relation(BOTH, reads_slices={"before": 1}), relation(BOTH), "2026-11-15|Taxi-v4")
    assert found == ["2026-11-14|Taxi-v4", "2026-11-15|Taxi-v4"]


@pytest.mark.parametrize("days", [{"before": "all"}, {"after": "all"}])
def test_days_without_a_number_are_all_days(days: dict[str, str]) -> None:
    by_date = {"date": "date"}
    found = upstream(relation(by_date, reads_slices=days), relation(by_date), "2026-11-15")
    assert found[0] == "2026-11-10"
    assert found[-1] == "2026-11-21"


def test_what_reads_no_other_days_is_mapped_by_dagster_itself() -> None:
    by_date = {"date": "date"}
    assert partition_mapping(relation(BOTH), relation(BOTH)) is None
    assert partition_mapping(relation(BOTH), relation(by_date)) is None
    assert partition_mapping(relation(None), relation(by_date)) is None


@pytest.mark.parametrize(
    ("partitioning", "keys"),
    [(None, {}), ({"date": "date"}, {}), (BOTH, {"reads_slices": {"before": "all"}})],
    ids=["a single slice", "dates alone", "all days"],
)
def test_every_date_of_every_environment_was_listed_in_each_run(
    partitioning: dict[str, str] | None, keys: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = relation(partitioning, **keys)
    mapping = partition_mapping(reader, relation(BOTH))
    assert mapping is not None
    below, above = partitions_def(reader, FIRST), partitions_def(relation(BOTH), FIRST)
    assert above is not None
    with dg.DagsterInstance.ephemeral() as instance, dg.partition_loading_context(None, instance):
        instance.add_dynamic_partitions(str(ENVIRONMENTS.name), ["CartPole-v1"])
        monkeypatch.setattr(
            dg.MultiPartitionsDefinition, "get_partition_keys", lambda *_, **__: pytest.fail("all")
        )
        found = mapping.get_upstream_mapped_partitions_result_for_partitions(
            below.empty_subset() if below is not None else None, below, above
        )
        assert list(found.partitions_subset.get_partition_keys()) == []
