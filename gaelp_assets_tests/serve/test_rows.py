"""Rows over HTTP: which, in which order, in which form, and what is said of a wrong request."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from gaelp_assets.operations.json_values import json_value
from gaelp_assets.platform import Platform
from gaelp_assets.serve.asking import asked
from gaelp_assets.serve.forms import FORMS
from gaelp_assets.serve.keys import Keys
from gaelp_assets.serve.limits import Limits
from gaelp_assets.serve.statement import key_of, statement
from gaelp_assets_tests.platforms import DATE, ENVIRONMENT, TABLE
from gaelp_assets_tests.serve.conftest import NEXT_DAY, ROWS, client

FIRST, SECOND = str(DATE), str(NEXT_DAY)
URL = f"/relations/{TABLE}/rows"


def told(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    return str(answer.json()["detail"])


def pages(ask: TestClient, url: str, **parameters: Any) -> list[list[dict[str, Any]]]:
    found, page = [], None
    while True:
        answer = ask.get(url, params={**parameters, **({"page": page} if page else {})})
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["rows"])
        page = answer.json()["next"]
        assert answer.headers.get("gaelp-next") == page
        if page is None:
            return found
        assert ask.get(answer.headers["link"].split(">")[0][1:]).status_code == 200


def test_rows_of_days_and_environments_in_the_order_of_the_key(ask: TestClient) -> None:
    rows = ask.get(URL, params={"first": FIRST, "last": SECOND}).json()["rows"]
    ids = [row["checkpoint_id"] for row in rows]
    assert len(ids) == 2 * ROWS
    assert ids == sorted(ids)
    assert len(ask.get(URL, params={"first": FIRST}).json()["rows"]) == ROWS
    several = {"first": FIRST, "environment": [ENVIRONMENT, "Other-v1"]}
    assert len(ask.get(URL, params=several).json()["rows"]) == ROWS
    assert ask.get(URL, params={"first": FIRST, "environment": "Other-v1"}).json()["rows"] == []


def test_pages_have_each_row_once(ask: TestClient) -> None:
    whole = ask.get(URL, params={"first": FIRST, "last": SECOND, "columns": "policy_version"}).json()
    parts = pages(ask, URL, first=FIRST, last=SECOND, columns="policy_version", limit=4)
    assert [len(part) for part in parts] == [4, 4, 4, 2]
    assert [row for part in parts for row in part] == whole["rows"]
    assert whole["columns"] == ["policy_version"], "the key is read for the pages, and not shown"


def test_rows_without_a_key_to_be_seen_have_pages_too(
    platform: Platform, ask: TestClient, keys: Keys
) -> None:
    key = keys.add("all", sensitive=True)
    parts = pages(client(platform, keys, key=key), "/relations/lab.names/rows", limit=1)
    assert parts == [[{"id": 1, "shown": "ANN"}], [{"id": 2, "shown": "BOB"}]]


def test_filters_are_values(ask: TestClient) -> None:
    def versions(*values: str) -> list[int]:
        answer = ask.get(URL, params={"first": FIRST, "where.policy_version": values})
        return [row["policy_version"] for row in answer.json()["rows"]]

    assert versions("3") == [3]
    assert versions("3", "5") == [3, 5]
    assert ask.get(URL, params={"first": FIRST, "where.agent_id": "x' OR '1'='1"}).json()["rows"] == []
    people = ask.get("/relations/lab.people/rows", params={"where.price": "1.5"}).json()["rows"]
    assert people == [{"id": 1, "score": 0.5, "price": "1.5", "at": "2026-11-01T12:00:00Z"}]


@pytest.mark.parametrize(
    ("form", "read"),
    [
        ({"params": {"format": "arrow"}}, pl.read_ipc_stream),
        ({"headers": {"Accept": "application/vnd.apache.arrow.stream"}}, pl.read_ipc_stream),
        ({"headers": {"Accept": "text/csv"}}, pl.read_csv),
    ],
)
def test_forms(ask: TestClient, form: dict[str, Any], read: Any) -> None:
    query = {"first": FIRST, "columns": "checkpoint_id,global_step"}
    rows = ask.get(URL, params=query).json()["rows"]
    answer = ask.get(URL, params={**query, **form.get("params", {})}, headers=form.get("headers", {}))
    assert read(io.BytesIO(answer.content)).to_dicts() == rows


def test_json_has_every_value_as_gaelp_query_writes_it() -> None:
    moment = dt.datetime(2026, 11, 1, 12, 30, 0, 120000, dt.UTC)
    frame = pl.DataFrame(
        {
            "text": ["a", None], "whole": [2**63 - 1, None], "part": [float("nan"), 1e300], "bytes": [b"\xff", None],
            "yes": [True, None], "day": [dt.date(1, 1, 1), None],
            "moment": [moment.replace(tzinfo=None), moment.replace(microsecond=0, tzinfo=None)],
            "utc": [moment, None], "time": [dt.time(1, 2, 3, 4), None],
            "price": [Decimal("1.500000000"), Decimal(0)], "list": [[float("inf")], []], "record": [{"at": moment}, None],
        }
    )  # fmt: skip
    written = json.loads(FORMS["json"].encode(frame, {"next": None}))
    assert written["rows"] == json_value(frame.to_dicts())


def test_everything_that_is_wrong_is_told_at_once(ask: TestClient) -> None:
    query = {
        "first": "2026-13-01", "limit": "0", "columns": "checkpointid", "where.policy_version": "many", "fromat": "csv", "page": "x",
        "format": "cvs",
    }  # fmt: skip
    message = told(ask.get(URL, params=query), 400)
    for part in ("first: the value is no DATE", "limit: is not a number of rows", "did you mean 'checkpoint_id'?", "is no INT64",
                 "did you mean 'format'?", "page: is not a page of these rows", "did you mean 'csv'?"):  # fmt: skip
        assert part in message
    assert "many" not in message
    assert "first: names no days" in told(ask.get(URL), 400)
    assert "did you mean 'training.checkpoints'" in told(ask.get("/relations/training.checkpoint/rows"), 404)
    assert "last: is before `first`" in told(ask.get(URL, params={"first": SECOND, "last": FIRST}), 400)
    assert "no slices of dates" in told(ask.get("/relations/lab.people/rows?first=2026-11-01"), 400)
    assert "takes none of the forms" in told(
        ask.get(URL, params={"first": FIRST}, headers={"Accept": "image/png"}), 400
    )
    assert "there is nothing here" in told(ask.get("/nowhere"), 404)
    assert told(ask.post(URL), 405)


def test_a_page_is_of_the_rows_that_it_was_made_for(ask: TestClient) -> None:
    page = ask.get(URL, params={"first": FIRST, "limit": 1}).json()["next"]
    assert "is not a page of these rows" in told(ask.get(URL, params={"first": SECOND, "page": page}), 400)


def test_sensitive_columns_and_what_is_made_of_them_are_withheld(platform: Platform, keys: Keys) -> None:
    plain, all_ = keys.add("plain", sensitive=False), keys.add("all", sensitive=True)
    ask = client(platform, keys, key=plain)
    rows = ask.get("/relations/lab.people/rows").json()["rows"]
    assert [sorted(row) for row in rows] == [["at", "id", "price", "score"]] * 2
    assert ask.get("/relations/lab.names/rows").json()["rows"] == [{"id": 1}, {"id": 2}]
    for query in ("columns=name", "where.name=Ann", "columns=id,name&where.name=Ann"):
        message = told(ask.get(f"/relations/lab.people/rows?{query}"), 400)
        assert "the column 'name' is withheld" in message
        assert "Ann" not in message
    assert "withheld" in told(ask.get("/relations/lab.names/rows?columns=shown"), 400)
    columns = {c["name"]: c for c in ask.get("/relations/lab.names").json()["columns"]}
    assert (columns["shown"]["withheld"], columns["id"]["withheld"]) == (True, False)
    both = client(platform, keys, key=all_).get("/relations/lab.people/rows?where.name=Ann").json()["rows"]
    assert [row["name"] for row in both] == ["Ann"]


def test_a_key_that_is_withheld_is_in_no_page_and_no_order(platform: Platform) -> None:
    people = platform.catalog["lab.people"]
    withheld = frozenset({"id"})
    assert key_of(people, frozenset()) == ("id",)
    assert key_of(people, withheld) is None
    text, _ = statement(asked(people, withheld, [], most_rows=5), withheld)
    assert "id" not in re.findall(r"`(\w+)`", text)


def test_an_answer_that_has_not_changed_is_not_sent_again(platform: Platform, ask: TestClient) -> None:
    first = ask.get("/relations/lab.people/rows")
    tag = first.headers["etag"]
    again = ask.get("/relations/lab.people/rows", headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content) == (304, b"")
    head = ask.head("/relations/lab.people/rows")
    assert (head.headers["etag"], head.content) == (tag, b"")
    assert ask.get("/relations/lab.people/rows?limit=1").headers["etag"] != tag
    platform.warehouse.make_dataset("another")
    changed = ask.get("/relations/lab.people/rows", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_limits(platform: Platform, keys: Keys) -> None:
    small = client(platform, keys, Limits(rows=2, megabytes=0))
    assert "larger than 0 MB" in told(small.get("/relations/lab.people/rows"), 400)
    assert "a whole number from 1 to 2" in told(small.get("/relations/lab.people/rows?limit=3"), 400)
    slow = client(platform, keys, Limits(seconds=0.1))
    assert "took longer" in told(slow.get("/relations/lab.endless/rows"), 504)
    few = client(platform, keys, Limits(requests=2))
    assert [few.get("/relations").status_code for _ in range(3)] == [200, 200, 429]
    assert int(few.get("/relations").headers["retry-after"]) > 0


def test_a_warehouse_that_is_busy_is_no_defect(platform: Platform, keys: Keys) -> None:
    gone = platform.settings.home / "warehouse.duckdb"
    broken = client(platform, keys)
    kept = gone.with_name("kept")
    gone.rename(kept)
    gone.write_bytes(b"no database")
    try:
        answer = broken.get("/relations/lab.people/rows")
        assert "cannot be read" in told(answer, 500)
    finally:
        kept.replace(gone)
