"""Who may ask."""

from __future__ import annotations

import json
import logging
import re
import stat
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from gaelp_assets.errors import GaelpError
from gaelp_assets.platform import Platform
from gaelp_assets.serve.app import make_app
from gaelp_assets.serve.keys import Keys
from gaelp_assets.serve.limits import Limits
from gaelp_assets.serve.server import run
from gaelp_assets_tests.serve.conftest import client


def test_a_key_is_kept_as_a_digest_for_its_owner_alone(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "home")
    text = keys.add("notebook", sensitive=True)
    assert text not in keys.file.read_text()
    assert stat.S_IMODE(keys.file.stat().st_mode) == 0o600
    found = Keys(tmp_path / "home").find(text)
    assert found is not None
    assert (found.name, found.sensitive) == ("notebook", True)
    assert keys.find(text[:-1]) is None
    with pytest.raises(GaelpError, match="there is a key 'notebook' already"):
        keys.add("notebook", sensitive=False)
    with pytest.raises(GaelpError, match="did you mean 'notebook'"):
        keys.remove("notebok")
    with pytest.raises(GaelpError, match="cannot be the name of a key"):
        keys.add("a name\n", sensitive=False)
    keys.file.write_text(json.dumps({"keys": [{"name": 1}]}))
    with pytest.raises(GaelpError, match="is not a file of keys"):
        Keys(tmp_path / "home").all()


def test_without_a_key_this_machine_alone_is_served(platform: Platform, keys: Keys) -> None:
    assert client(platform, keys).get("/relations").status_code == 200
    assert client(platform, keys, local=False).get("/relations").status_code == 401
    with pytest.raises(GaelpError, match="gaelp serve keys add"):
        run(
            lambda local: make_app(platform, keys, Limits(), local=local), keys, "0.0.0.0", 0, lambda *_: None
        )


def test_a_page_of_another_site_cannot_ask_in_the_name_of_this_machine(
    platform: Platform, keys: Keys
) -> None:
    answer = client(platform, keys).get("/relations", headers={"Host": "evil.example:8750"})
    assert answer.status_code == 403


def test_once_there_is_a_key_everybody_needs_one_and_a_removed_one_is_none(
    platform: Platform, keys: Keys
) -> None:
    ask = client(platform, keys)
    assert ask.get("/relations").status_code == 200
    text = keys.add("notebook", sensitive=False)
    refused = ask.get("/relations")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    headers = {"Authorization": f"Bearer {text}"}
    assert ask.get("/relations", headers=headers).status_code == 200
    assert ask.get("/health").status_code == 200
    keys.add("other", sensitive=False)
    keys.remove("notebook")
    assert ask.get("/relations", headers=headers).status_code == 401


def test_the_log_has_no_value_and_no_key(
    platform: Platform, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    text = keys.add("notebook", sensitive=True)
    caplog.set_level(logging.INFO)
    ask = client(platform, keys, key=text)
    ask.get("/relations/lab.people/rows?where.name=Ann")
    ask.get("/relations/lab.poeple/rows?where.name=Ann")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("gaelp_assets")]
    assert any(
        re.fullmatch(r"GET /relations/\{relation_id\}/rows lab\.people 200 \d+ ms, notebook", m) for m in ours
    )
    assert not any(secret in message for message in ours for secret in ("Ann", text, "poeple"))


def test_the_page_of_what_can_be_asked_loads_nothing(ask: TestClient) -> None:
    page = ask.get("/")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//|<script", page.text)
    assert "where.COLUMN=VALUE" in page.text
    assert ask.get("/docs").status_code == 404
    paths = ask.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/health",
        "/relations",
        "/relations/{relation_id}",
        "/relations/{relation_id}/rows",
    }
