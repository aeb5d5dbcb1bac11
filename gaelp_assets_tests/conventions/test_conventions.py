"""What the house rules say, held by machine where it can be."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gaelp_assets.catalog import load_catalog
from gaelp_assets.catalog.pages import pages
from gaelp_assets.settings import CHECKOUT
from gaelp_assets.warehouse.protocol import DEAD_LETTER, LEDGER, REFRESHES

PACKAGES = ("gaelp_assets", "resources", "sensors")
MODULES = [path for package in PACKAGES for path in sorted((CHECKOUT / package).rglob("*.py"))]


def test_no_module_names_a_table_of_the_catalogue() -> None:
    ids = {relation.id for relation in load_catalog()}
    named = {
        (path.relative_to(CHECKOUT).as_posix(), relation_id)
        for path in MODULES
        if "demo" not in path.parts
        for relation_id in ids
        if re.search(rf"(?<![\w.]){re.escape(relation_id)}(?![\w.])", _without_docstrings(path))
    }
    assert named == {
        ("gaelp_assets/warehouse/protocol.py", name) for name in (LEDGER, DEAD_LETTER, REFRESHES)
    }


def _without_docstrings(path: Path) -> str:
    """The code, without the examples that docstrings and help texts give."""
    return re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(CHECKOUT).as_posix())
def test_a_module_is_small_enough_to_be_one_thing(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_path_that_a_page_names_is_there(page: str) -> None:
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    linked = re.findall(r"\]\(((?!https?:)[^)#]+)", text)
    quoted = re.findall(
        r"`((?:gaelp_assets|gaelp_assets_tests|sensors|resources|docs|benchmarks)/[\w./-]+)`", text
    )
    missing = [
        name
        for name in linked + quoted
        if not ((CHECKOUT / page).parent / name).exists() and not (CHECKOUT / name).exists()
    ]
    assert [name for name in missing if "NAME" not in name] == []


def test_the_generated_pages_are_the_catalogues() -> None:
    folder = CHECKOUT / "docs" / "tables"
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")} == pages(
        load_catalog()
    )


def test_importing_the_code_location_reads_no_heavy_library() -> None:
    heavy = (
        "pandas",
        "pandera",
        "matplotlib",
        "gymnasium",
        "google.cloud.bigquery",
        "google.cloud.storage",
        "zetasql",
        "dagster_gcp",
    )
    code = f"import sys, gaelp_assets.definitions; print([m for m in {heavy!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    assert result.stdout.strip() == "[]"
