"""Every kind of source is found by its name, and stands in the table of the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gaelp_assets.errors import GaelpError
from gaelp_assets.importers.kinds import KINDS, kind
from gaelp_assets.settings import CHECKOUT


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_found_by_its_name(name: str) -> None:
    found = kind(name)
    assert found.name == name
    assert found.reads


def test_the_table_of_the_docs_has_every_kind_once() -> None:
    page = (CHECKOUT / "docs" / "importing.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `([a-z0-9][a-z0-9-]*)` \|", page, flags=re.MULTILINE)) == KINDS


def test_an_unknown_kind_names_close_ones() -> None:
    with pytest.raises(GaelpError, match="did you mean 'tensorboard'"):
        kind("tensorbord")


@pytest.mark.parametrize("name", KINDS)
def test_a_path_that_is_not_there_is_said_to_be_none(name: str, tmp_path: Path) -> None:
    from gaelp_assets.importers.source import Options, Tally

    options = Options(environment="E-v0", agent="a", run="r")
    with pytest.raises(GaelpError, match="nowhere"):
        list(kind(name).rows(tmp_path / "nowhere", options, Tally()))
