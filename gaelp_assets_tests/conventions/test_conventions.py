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
from gaelp_assets.warehouse.ledger import DEAD_LETTER, LEDGER, REFRESHES

PACKAGES = ("gaelp_assets", "resources", "sensors")
MODULES = [path for package in PACKAGES for path in sorted((CHECKOUT / package).rglob("*.py"))]
TOP_FOLDERS = tuple(f"{name}/" for name in (*PACKAGES, "gaelp_assets_tests", "docs", "benchmarks", "native"))
FILE_NAMES = {
    path.name
    for name in (*TOP_FOLDERS, "")
    for path in ((CHECKOUT / name).rglob("*.py") if name else CHECKOUT.glob("*.py"))
}
PAGES = [
    CHECKOUT / "README.md",
    CHECKOUT / "CONTRIBUTING.md",
    *sorted(page for page in (CHECKOUT / "docs").rglob("*.md") if page.parent.name != "tables"),
]


def test_no_module_names_a_table_of_the_catalogue() -> None:
    ids = {relation.id for relation in load_catalog()}
    named = {
        (path.relative_to(CHECKOUT).as_posix(), relation_id)
        for path in MODULES
        # What produces rows knows which: the demo, the recorder, the importers of other tools' files, and what computes relations; so
        # does what writes rows as another tool's files.
        if not {"demo", "record", "importers"} & set(path.relative_to(CHECKOUT).parts)
        and path.relative_to(CHECKOUT).as_posix()
        not in {"gaelp_assets/statistics/comparison.py", "gaelp_assets/operations/export_minari.py"}
        for relation_id in ids
        if re.search(rf"(?<![\w.]){re.escape(relation_id)}(?![\w.])", _without_docstrings(path))
    }
    assert named == {("gaelp_assets/warehouse/ledger.py", name) for name in (LEDGER, DEAD_LETTER, REFRESHES)}


def _without_docstrings(path: Path) -> str:
    """The code, without the examples that docstrings and help texts give."""
    return re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(CHECKOUT).as_posix())
def test_a_module_is_small_enough_to_be_one_thing(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(CHECKOUT).as_posix())
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    linked = re.findall(r"\]\(((?!https?:)[^)#]+)", re.sub(r"`[^`\n]*`", "", text))
    quoted = [
        name
        for name in re.findall(r"`([\w./-]+)`", text)
        if name.startswith(TOP_FOLDERS) or name.endswith(".py")
    ]
    missing = [name for name in linked if not (page.parent / name).exists()]
    missing += [name for name in quoted if "NAME" not in name and not _exists(name)]
    assert missing == []


def _exists(name: str) -> bool:
    """A whole path, or the name of one of the project's files."""
    return (CHECKOUT / name).exists() or ("/" not in name and name in FILE_NAMES)


def test_the_architecture_tells_of_every_part() -> None:
    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = CHECKOUT / "gaelp_assets"
    parts = [f"gaelp_assets/{path.parent.name}/" for path in sorted(package.glob("*/__init__.py"))]
    parts += [f"gaelp_assets/{path.name}" for path in sorted(package.glob("*.py")) if path.stem != "__init__"]
    assert [part for part in [*parts, "resources/", "sensors/"] if f"`{part}`" not in text] == []


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


def test_the_container_is_built_with_the_uv_of_the_makefile() -> None:
    [version] = re.findall(r"UV_VERSION := (\S+)", (CHECKOUT / "Makefile").read_text(encoding="utf-8"))
    assert f"uv=={version}" in (CHECKOUT / "Containerfile").read_text(encoding="utf-8")
