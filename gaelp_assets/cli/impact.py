"""`gaelp catalog impact`: what depends on a relation or a field, as a tree or as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from gaelp_assets.cli import render_json, tables
from gaelp_assets.cli.session import current_settings

if TYPE_CHECKING:
    from rich.tree import Tree

    from gaelp_assets.operations.impact import End, Impact, Mention, Reached


def impact(
    name: Annotated[
        str, typer.Argument(help="DATASET.NAME or DATASET.NAME.FIELD; the dataset may be left out")
    ],
    upstream: Annotated[bool, typer.Option("--upstream", help="what it depends on, in its place")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Show everything that depends on a relation or a field: relations, their columns, asset checks, charts and keys.

    After each column stand those that it is made of, and what they are used for: IDENTITY, TRANSFORMATION and AGGREGATION for values;
    CONDITIONAL, WINDOW and SORT for which value it is; FILTER, JOIN and GROUP_BY for which rows there are.

    Exit codes: 0 it is shown, also where nothing depends on it; 1 there is no such relation or field.
    """
    from gaelp_assets.operations.impact import find_target, impact_of, origin_of
    from gaelp_assets.operations.lineage import lineage_folder
    from gaelp_assets.platform import read_sound_catalog

    settings = current_settings()
    catalog = read_sound_catalog(settings)
    look = origin_of if upstream else impact_of
    found = look(catalog, find_target(catalog, name), lineage_folder(settings))
    if as_json:
        render_json.print_json(_values(found))
    else:
        tables.OUT.print(_tree(found), highlight=False)


def _tree(found: Impact) -> Tree:
    """Each relation under every one that it is next to, with all that is to be said of it where it stands first."""
    from rich.markup import escape
    from rich.tree import Tree

    direction = "depends on" if found.upstream else "is used by"
    count = len(found.reached)
    words = f"{direction} {count} {'relation' if count == 1 else 'relations'}"
    root = Tree(f"[bold]{escape(str(found.target))}[/] {words}")
    for mention in found.mentions:
        root.add(f"[dim]{mention.part}[/] {escape(mention.what)}")
    told: set[str] = set()

    def add(parent: Tree, id_: str) -> None:
        for each in found.reached:
            if id_ not in each.via:
                continue
            again = each.relation.id in told
            node = parent.add(
                f"[bold]{escape(each.relation.id)}[/] [dim]{'see above' if again else each.relation.kind.value}[/]"
            )
            if again:
                continue
            told.add(each.relation.id)
            for line in _lines(each, upstream=found.upstream):
                node.add(line)
            add(node, each.relation.id)

    add(root, found.target.relation.id)
    return root


def _lines(each: Reached, *, upstream: bool) -> list[str]:
    from rich.markup import escape

    arrow = "->" if upstream else "<-"
    ends = [(way.column or "rows", way.ends) for way in each.ways]
    lines = [f"{escape(column)} [dim]{arrow} {escape(_words(found))}[/]" for column, found in ends]
    return lines + [f"[dim]{mention.part}[/] {escape(mention.what)}" for mention in each.mentions]


def _words(ends: Sequence[End]) -> str:
    texts = []
    for end in ends:
        column = f"{end.relation}.{end.column}" if end.column else f"rows of {end.relation}"
        texts.append(f"{column} ({', '.join(end.how)})" if end.how else column)
    return ", ".join(texts)


def _values(found: Impact) -> dict[str, object]:
    return {
        "relation": found.target.relation.id,
        "field": found.target.field,
        "direction": "upstream" if found.upstream else "downstream",
        "mentions": _mention_values(found.mentions),
        "relations": [
            {
                "relation": each.relation.id,
                "kind": each.relation.kind.value,
                "next_to": list(each.via),
                "columns": [
                    {"column": way.column, "ends": [end._asdict() for end in way.ends]}
                    for way in each.ways
                    if way.column
                ],
                "rows": [end._asdict() for way in each.ways if not way.column for end in way.ends],
                "mentions": _mention_values(each.mentions),
            }
            for each in found.reached
        ],
    }


def _mention_values(mentions: Sequence[Mention]) -> list[dict[str, str]]:
    return [mention._asdict() for mention in mentions]
