"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from gaelp_assets.settings import CHECKOUT

PACKAGES = ("gaelp_assets", "resources", "sensors")
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for path in (CHECKOUT / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
# What a user calls first has an example that runs.
EXPECTED = {
    "gaelp_assets.catalog.load",
    "gaelp_assets.catalog.slices",
    "gaelp_assets.definitions",
    "gaelp_assets.errors",
    "gaelp_assets.frames",
    "gaelp_assets.gateway.names",
    "gaelp_assets.gateway.paths",
    "gaelp_assets.operations.status",
    "gaelp_assets.platform",
    "gaelp_assets.platform_reader",
    "gaelp_assets.runs.planning",
    "gaelp_assets.settings",
    "gaelp_assets.sql.transpile",
    "gaelp_assets.validation.schema",
}


def test_what_a_user_calls_has_examples() -> None:
    assert set(WITH_EXAMPLES) >= EXPECTED


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAELP_HOME", str(tmp_path))
    result = doctest.testmod(importlib.import_module(name), raise_on_error=False)
    assert result.attempted > 0
    assert result.failed == 0
