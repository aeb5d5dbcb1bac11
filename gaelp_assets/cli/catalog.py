"""`gaelp catalog`: the relations that the platform knows, and the folders in which users keep theirs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gaelp_assets.cli import render, render_json
from gaelp_assets.cli.impact import impact
from gaelp_assets.cli.session import current_settings
from gaelp_assets.settings import CHECKOUT, Settings, is_checkout

if TYPE_CHECKING:
    from gaelp_assets.catalog import Catalog

app = typer.Typer(no_args_is_help=True, help="The relations that the platform knows.")


def _catalog(settings: Settings) -> Catalog:
    from gaelp_assets.platform import read_sound_catalog

    return read_sound_catalog(settings)


@app.command("validate")
def validate(
    folder: Annotated[
        Path | None, typer.Argument(help="a folder of yours, in place of those that GAELP_CATALOG names")
    ] = None,
    google: Annotated[
        bool,
        typer.Option(
            "--google",
            help="ask Google's own analyzer of each view, too: the package zetasql, which compiles for a minute once",
        ),
    ] = False,
) -> None:
    """Look for problems in all catalogue files, the shipped and yours, bind every view on empty tables, and report all problems."""
    from gaelp_assets.catalog.folders import catalog_folders
    from gaelp_assets.errors import GaelpError
    from gaelp_assets.operations.catalog_problems import validate_catalog
    from gaelp_assets.sql.analyzer import is_installed

    settings = current_settings()
    if google and not is_installed():
        raise typer.BadParameter("Google's analyzer is not here: pip install zetasql", param_hint="--google")
    found = validate_catalog(
        [folder] if folder is not None else catalog_folders(settings),
        analyzer_cache=settings.home / "cache" / "zetasql" if google else None,
    )
    if found.problems:
        raise GaelpError(*found.problems)
    render.print_line(f"{found.relations} relations, no problems")


@app.command("list")
def list_relations(as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False) -> None:
    """List the relations, and those that are set aside for their problems."""
    catalog = _catalog(current_settings())
    if as_json:
        render_json.print_json(render_json.catalog_values(catalog))
        return
    render.print_relations(list(catalog))
    render.print_set_aside(catalog.set_aside.values())


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="DATASET.NAME, or NAME where one dataset has it")],
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Show one relation: its file, fields, rules, keys, slices, what it reads and feeds, and how a view is kept and why."""
    from gaelp_assets.warehouse.bigquery.materialization_rules import decide

    catalog = _catalog(current_settings())
    relation = catalog.find(name)
    reads = sorted(catalog.upstream.get(relation.id, ()))
    feeds = [derived.id for derived in catalog.downstream({relation.id})]
    decided = relation.is_stored and relation.sql is not None
    decision = decide(relation, catalog) if decided else None
    if as_json:
        render_json.print_json(
            render_json.relation_values(relation, reads=reads, feeds=feeds, decision=decision)
        )
    else:
        render.print_relation(relation, reads=reads, feeds=feeds, decision=decision)


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="DATASET.NAME")],
    view: Annotated[bool, typer.Option("--view", help="a materialized view, with its SQL beside it")] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="where it goes: the first of GAELP_CATALOG if left out, or else $GAELP_HOME/catalog"
        ),
    ] = None,
) -> None:
    """Write the file (for a view: the two files) of a new relation of yours, to be filled in."""
    from gaelp_assets.catalog.folders import FOLDER, catalog_folders
    from gaelp_assets.catalog.new import new_relation

    settings = current_settings()
    target = folder or (*settings.catalog, settings.home_catalog)[0]
    for path in new_relation(name, target, view=view, others=[FOLDER, *catalog_folders(settings)]):
        render.print_line(str(path))


@app.command("schema")
def schema() -> None:
    """Write the editors' JSON Schema of this version into your catalogue folders, as after an update of the platform."""
    from gaelp_assets.catalog.folders import catalog_folders
    from gaelp_assets.catalog.json_schema import write_json_schema

    settings = current_settings()
    _catalog(settings)
    for folder in catalog_folders(settings):
        render.print_line(str(write_json_schema(folder)))


@app.command("pages")
def pages(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="where to; in a checkout, if left out, docs/tables, for the shipped relations alone"
        ),
    ] = None,
) -> None:
    """Write a page of documentation for each dataset; in a checkout also the committed JSON Schema, and the reference of its keys."""
    from gaelp_assets.catalog.json_schema import write_json_schema
    from gaelp_assets.catalog.pages import write_pages
    from gaelp_assets.catalog.reference_page import REFERENCE_FILE
    from gaelp_assets.platform import read_catalog
    from gaelp_assets.validation.rule_entries import catalogue_reference

    if folder is None:
        if not is_checkout(CHECKOUT):
            raise typer.BadParameter("name the folder that the pages go to", param_hint="FOLDER")
        write_json_schema()
        reference = CHECKOUT / "docs" / REFERENCE_FILE
        reference.write_text(catalogue_reference(), encoding="utf-8")
        render.print_line(str(reference))
        catalog, folder = read_catalog(), CHECKOUT / "docs" / "tables"
    else:
        catalog = _catalog(current_settings())
    for path in write_pages(catalog, folder):
        render.print_line(str(path))


app.command("impact")(impact)
