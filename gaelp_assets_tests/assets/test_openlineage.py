"""OpenLineage events of runs, as a collector here gets them, against the classes that the library generates from the standard."""

from __future__ import annotations

import importlib
import json
import logging
import pkgutil
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attr
import dagster as dg
import pytest
from openlineage.client import generated
from openlineage.client.generated import base
from openlineage.client.generated.schema_dataset import SchemaDatasetFacetFields

from gaelp_assets.catalog import load_catalog
from gaelp_assets.catalog.model import stored_fields
from gaelp_assets.definitions import build_definitions
from gaelp_assets.errors import GaelpError
from gaelp_assets.openlineage_settings import EventFile, HttpCollector, parse_target
from gaelp_assets.operations import openlineage_delivery
from gaelp_assets.operations.openlineage import Ending, Events, Step
from gaelp_assets.platform import open_platform
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.assets.test_asset_runs import BOARD, SCORES, Lab, row, rows

for _module in pkgutil.iter_modules(generated.__path__):
    importlib.import_module(f"{generated.__name__}.{_module.name}")


class Collector:
    """Keeps what is sent to it; with `silent`, it never answers."""

    def __init__(self, *, silent: bool = False) -> None:
        self.events: list[dict[str, Any]] = []
        self.keys: list[tuple[str, str | None]] = []
        self.over = over = threading.Event()
        events, keys = self.events, self.keys

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if silent:
                    over.wait(30)
                    return
                events.append(json.loads(body, parse_constant=lambda name: pytest.fail(name)))
                keys.append((self.path, self.headers["Authorization"]))
                self.send_response(201)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


class ToldLab(Lab):
    """A lab whose runs are told to a collector."""

    def __init__(self, home: Path, instance: dg.DagsterInstance, target: str) -> None:
        self.target = target
        super().__init__(home, instance)

    def _open(self, home: Path) -> None:
        variables = {"GAELP_HOME": str(home), "GAELP_FIRST_DATE": "2026-11-01"}
        settings = load_settings(
            {**variables, "GAELP_OPENLINEAGE": self.target, "OPENLINEAGE_API_KEY": "hunter2"}
        )
        path = home / "catalog" / "lab" / "players.json"
        path.write_text(path.read_text().replace('"nickname",', '"nickname", "sensitive": true,'))
        self.platform = open_platform(settings, load_catalog(home / "catalog"))
        self.platform.gateway.prepare()
        self.definitions = build_definitions(settings, self.platform.catalog)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ToldLab, Collector]]:
    """Loads and refreshes of two slices, one of them with lines that are no rows, and a rebuild that failed."""
    collector = Collector()
    with dg.DagsterInstance.ephemeral() as instance:
        lab = ToldLab(tmp_path_factory.mktemp("home"), instance, collector.url)
        lab.put(1, "Own-v0", rows(1, "Own-v0"))
        lab.put(2, "Own-v0", [*rows(2, "Own-v0"), row(2, "Own-v0", -1, player="secret player")])
        assert all(run.success for run in lab.pending())
        lab.put(3, "Own-v0", b'"secret text"\n')
        lab.pending()
        yield lab, collector
    collector.close()


def _of(events: list[dict[str, Any]], job: str, kind: str) -> list[dict[str, Any]]:
    return [e for e in events if e["job"]["name"] == job and e["eventType"] == kind]


def test_each_step_begins_and_ends_once_with_rows_partition_and_parent(
    told: tuple[ToldLab, Collector],
) -> None:
    events = told[1].events
    by_run: dict[str, list[str]] = {}
    for event in events:
        by_run.setdefault(event["run"]["runId"], []).append(event["eventType"])
    assert {tuple(kinds) for kinds in by_run.values()} == {("START", "COMPLETE"), ("START", "FAIL")}
    loads = _of(events, "lab.scores.load", "COMPLETE")
    assert sum(e["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] for e in loads) == 6
    facets = loads[0]["run"]["facets"]
    assert facets["nominalTime"]["nominalStartTime"].startswith("2026-11-0")
    assert facets["tags"]["tags"] == [{"key": "environment", "value": "Own-v0", "source": "GAELP"}]
    uuid.UUID(facets["parent"]["run"]["runId"])
    assert loads[0]["inputs"][0]["name"].endswith("/cloud_ready/lab/scores")
    assert set(told[1].keys) == {("/api/v1/lineage", "Bearer hunter2")}


def test_a_failed_load_says_why_and_never_with_a_row(told: tuple[ToldLab, Collector]) -> None:
    [failed] = _of(told[1].events, "lab.scores.load", "FAIL")
    assert "lab/scores" in failed["run"]["facets"]["errorMessage"]["message"]
    for secret in ("secret", "hunter2", "ann"):
        assert secret not in json.dumps(told[1].events)


def test_a_refresh_tells_which_columns_it_is_made_of_and_what_decides_rows(
    told: tuple[ToldLab, Collector],
) -> None:
    event = _of(told[1].events, "lab.board.refresh", "COMPLETE")[-1]
    [output] = event["outputs"]
    lineage = output["facets"]["columnLineage"]
    curve = {"namespace": told[0].platform.settings.warehouse.url, "name": "lab.curve"}
    way = {"description": "", "masking": False}
    assert lineage["fields"]["score"]["inputFields"] == [
        {**curve, "field": "score", "transformations": [{"type": "DIRECT", "subtype": "AGGREGATION", **way}]}
    ]
    assert {(f["field"], t["subtype"]) for f in lineage["dataset"] for t in f["transformations"]} == {
        ("date", "FILTER"), ("player", "GROUP_BY"),
    }  # fmt: skip
    assert [field["name"] for field in output["facets"]["schema"]["fields"]] == ["player", "score"]
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 1
    assert event["inputs"][0]["name"] == "lab.curve"
    assert event["job"]["facets"]["sql"]["query"].startswith("SELECT player")


def test_checks_are_assertions_of_the_table(told: tuple[ToldLab, Collector]) -> None:
    found = {
        (each["assertion"], each["success"], each["severity"])
        for kind in ("checks", "load_checks")
        for event in _of(told[1].events, f"lab.scores.{kind}", "COMPLETE")
        for each in event["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    }
    assert {("accounting", True, "error"), ("rejected_rows", False, "warn")} <= found
    assert {("key_uniqueness", True, "error"), ("foreign_keys", False, "warn")} <= found
    for event in _of(told[1].events, "lab.scores.checks", "COMPLETE"):
        assert event["run"]["facets"]["nominalTime"]["nominalStartTime"].startswith("2026-11-0")


def _facet_classes() -> dict[str, type[base.BaseFacet]]:
    found, waiting = {}, [base.BaseFacet]
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        found[one._get_schema()] = one
    return found


def _check_keys(value: Any, of: type) -> None:
    """Every key is an attribute of the class, and every attribute without a default is there."""
    attributes = {a.name: a for a in attr.fields(of)}
    assert value.keys() <= attributes.keys(), (of, value.keys())
    needed = {a.name for a in attributes.values() if a.default is attr.NOTHING}
    assert needed <= value.keys(), (of, value.keys())


def test_events_are_what_the_standard_says(told: tuple[ToldLab, Collector]) -> None:
    classes = _facet_classes()
    for event in told[1].events:
        _check_keys(event, base.RunEvent)
        assert event["schemaURL"] == base.RunEvent._get_schema()
        base.EventType(event["eventType"])
        base.Run(event["run"]["runId"])
        places = [(event["run"]["facets"], base.RunFacet), (event["job"]["facets"], base.JobFacet)]
        for dataset in event["inputs"]:
            _check_keys(dataset, base.InputDataset)
            places += [
                (dataset["facets"], base.DatasetFacet),
                (dataset["inputFacets"], base.InputDatasetFacet),
            ]
        for dataset in event["outputs"]:
            _check_keys(dataset, base.OutputDataset)
            places += [
                (dataset["facets"], base.DatasetFacet),
                (dataset["outputFacets"], base.OutputDatasetFacet),
            ]
        for facets, kind in places:
            for facet in facets.values():
                facet_class = classes[facet["_schemaURL"]]
                assert issubclass(facet_class, kind)
                _check_keys(facet, facet_class)


@pytest.mark.parametrize("silent", [True, False])
def test_a_collector_out_of_reach_costs_a_run_one_wait_and_one_warning(
    tmp_path: Path, silent: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openlineage_delivery, "SEND_SECONDS", 0.2)
    collector = Collector(silent=True)
    if not silent:
        collector.close()
    delivery = openlineage_delivery.Delivery(HttpCollector(f"{collector.url}/x?token=hunter2"))
    started = time.monotonic()
    with caplog.at_level(logging.WARNING, "gaelp_assets"):
        for _ in range(50):
            delivery.put({"number": 1})
            delivery.flush(0.5)
    collector.close() if silent else None
    assert time.monotonic() - started < 20  # 50 waits would be as long
    [record] = caplog.records
    assert "Loads go on without them" in record.getMessage()
    assert "hunter2" not in record.getMessage()


def test_a_run_goes_on_where_events_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("a file where a folder should be")
    with dg.DagsterInstance.ephemeral() as instance:
        lab = ToldLab(tmp_path / "home", instance, (tmp_path / "events" / "x.ndjson").as_uri())
        lab.put(1, "Own-v0", rows(1, "Own-v0"))
        assert all(run.success for run in lab.pending())
    assert lab.count("SELECT COUNT(*) FROM lab.scores WHERE date > DATE '2000-01-01'") == 3


def test_lines_of_a_file_are_events(tmp_path: Path) -> None:
    delivery = openlineage_delivery.Delivery(EventFile(tmp_path / "a" / "events.ndjson"))
    settings, catalog = load_settings({"GAELP_HOME": str(tmp_path)}), load_catalog()
    step = Step(catalog["analytics.learning_curves"], "refresh", (), str(uuid.uuid4()), "job")
    endings: list[Ending] = ["START", "COMPLETE"]
    for ending in endings:
        delivery.put(Events(settings, catalog).event(step, ending))
    delivery.flush(10)
    lines = (tmp_path / "a" / "events.ndjson").read_text().splitlines()
    assert [json.loads(line)["eventType"] for line in lines] == ["START", "COMPLETE"]


def test_fields_of_a_record_are_told_within_it(tmp_path: Path) -> None:
    catalog = load_catalog()
    relation = catalog["diagnostics.universal_equipment_registry"]
    event = Events(load_settings({"GAELP_HOME": str(tmp_path)}), catalog).event(
        Step(relation, "load", (), str(uuid.uuid4()), "job"), "START"
    )
    fields = event["outputs"][0]["facets"]["schema"]["fields"]
    assert [field["name"] for field in fields] == [field.name for field in stored_fields(relation)]
    nested = {field.name: [inner.name for inner in field.fields] for field in relation.fields if field.fields}
    assert nested
    assert {f["name"]: [i["name"] for i in f["fields"]] for f in fields if f["fields"]} == nested
    for field in fields:
        _check_keys(field, SchemaDatasetFacetFields)


def test_openlineages_own_variables_count_where_ours_is_not_set(tmp_path: Path) -> None:
    config = tmp_path / "openlineage.yml"
    config.write_text(
        "transport:\n  type: http\n  url: http://b:1\n  auth:\n    type: api_key\n    apiKey: k\n"
    )

    def target(**variables: str) -> object:
        return load_settings({"GAELP_HOME": str(tmp_path), **variables}).openlineage

    assert target() is None
    assert target(OPENLINEAGE_URL="http://a:1") == HttpCollector("http://a:1/api/v1/lineage")
    assert target(OPENLINEAGE_URL="http://a:1", OPENLINEAGE_ENDPOINT="v2") == HttpCollector("http://a:1/v2")
    by_file = {"OPENLINEAGE_CONFIG": str(config), "OPENLINEAGE_URL": "http://a:1"}
    assert target(**by_file) == HttpCollector("http://b:1/api/v1/lineage", "k")
    assert target(**by_file, GAELP_OPENLINEAGE="http://c:1/x") == HttpCollector("http://c:1/x")
    assert target(**by_file, OPENLINEAGE_DISABLED="true") is None
    assert load_settings({"OPENLINEAGE_URL": "http://a:1"}).origins["GAELP_OPENLINEAGE"] == "OPENLINEAGE_URL"
    assert "hunter2" not in repr(HttpCollector("http://a", "hunter2"))
    config.write_text("transport:\n  type: kafka\n")
    with pytest.raises(GaelpError, match="type http, file or noop"):
        target(OPENLINEAGE_CONFIG=str(config))
    with pytest.raises(ValueError, match="not the address"):
        parse_target("ftp://a")


def test_assets_are_told_by_their_names(told: tuple[ToldLab, Collector]) -> None:
    jobs = {event["job"]["name"].rpartition(".")[0] for event in told[1].events}
    assert {".".join(key.path) for key in (SCORES, BOARD)} <= jobs
