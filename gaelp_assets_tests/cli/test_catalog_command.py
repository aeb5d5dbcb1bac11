"""`gaelp catalog` works on the users' folders, and never writes among the installed packages."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gaelp_assets.catalog.folders import FOLDER
from gaelp_assets.cli.main import app
from gaelp_assets.errors import GaelpError
from gaelp_assets.platform_reader import read_catalog
from gaelp_assets_tests.commands import gaelp


def catalog(home: Path, *arguments: str, **variables: str) -> Result:
    """`gaelp catalog` in this process, where its imports are paid for once."""
    return CliRunner().invoke(app, ["catalog", *arguments], env={"GAELP_HOME": str(home), **variables})


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.suffix in {".json", ".sql"}}


@pytest.mark.parametrize("named", [False, True])
def test_a_new_relation_goes_to_the_users_folder_and_is_known_from_then_on(
    tmp_path: Path, named: bool
) -> None:
    folder = tmp_path / ("mine" if named else "home/catalog")
    variables = {"GAELP_CATALOG": f"{folder}"} if named else {}
    home, before = tmp_path / "home", files(FOLDER)
    answer = catalog(home, "new", "media.agents", "--view", **variables)
    assert answer.stdout.split() == [str(folder / "media" / f"agents.{ending}") for ending in ("json", "sql")]
    answer = catalog(home, "validate", **variables)
    assert "no problems" in answer.stdout
    assert "media.agents" in catalog(home, "list", **variables).stdout
    assert str(folder / "media" / "agents.json") in catalog(home, "show", "media.agents", **variables).stdout
    unclear = catalog(home, "show", "agents", **variables)
    assert isinstance(unclear.exception, GaelpError)
    assert "expected one of media.agents, training.agents" in str(unclear.exception)
    (folder / "relation.schema.json").write_text("{}")
    assert str(folder) in catalog(home, "schema", **variables).stdout
    assert json.loads((folder / "relation.schema.json").read_text())["properties"]
    pages = catalog(home, "pages", str(tmp_path / "pages"), **variables)
    assert str(tmp_path / "pages" / "media.md") in pages.stdout
    assert files(FOLDER) == before


def test_a_folder_is_validated_by_name_with_the_shipped_relations_under_it(tmp_path: Path) -> None:
    catalog(tmp_path, "new", "media.frames", "--folder", str(tmp_path / "one"))
    assert (
        f"{len(read_catalog()) + 1} relations, no problems"
        in catalog(tmp_path, "validate", str(tmp_path / "one")).stdout
    )
    wrong = catalog(tmp_path, "validate", str(tmp_path / "two"))
    assert f"{tmp_path}/two: the catalogue folder does not exist" in str(wrong.exception)


def test_every_problem_of_every_named_folder_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "one" / "media").mkdir(parents=True)
    (tmp_path / "one" / "media" / "frames.json").write_text('{"a": 1, "a": 2')
    (tmp_path / "two").write_text("")
    folders = os.pathsep.join(str(tmp_path / name) for name in ("one", "two", "three"))
    answer = gaelp(tmp_path, "catalog", "list", GAELP_CATALOG=folders)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    for name, words in {
        "one/media/frames.json": "not JSON",
        "two": "is a file",
        "three": "does not exist",
    }.items():
        assert any(f"{tmp_path}/{name}: " in line and words in line for line in answer.stderr.splitlines())


def test_version_and_help_are_a_flag_away() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("gaelp ")
    for arguments in (["-h"], ["catalog", "-h"], ["catalog", "new", "-h"]):
        assert "Usage" in CliRunner().invoke(app, arguments).stdout
    assert "--install-completion" in CliRunner().invoke(app, ["-h"]).stdout
