"""What the interface says of itself: relations, parameters, and a page for people. Pure."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gaelp_assets.catalog import Field, Relation
from gaelp_assets.serve.asking import DEFAULT_ROWS, WHERE
from gaelp_assets.serve.forms import FORMS
from gaelp_assets.serve.limits import Limits

ABOUT: Final = (
    "Rows of the platform's relations, for notebooks and dashboards. Nothing here changes anything."
)


def of_relation(relation: Relation, sensitive: frozenset[str], withheld: frozenset[str]) -> dict[str, object]:
    """A relation as JSON tells it; columns that the asker does not get are told, too."""
    partitioning = relation.partitioning
    return {
        "id": relation.id,
        "kind": str(relation.kind),
        "description": relation.description,
        "key": list(relation.primary_key),
        "date": partitioning.date if partitioning is not None else None,
        "environment": partitioning.environment if partitioning is not None else None,
        "columns": [
            {
                **_field(field),
                "sensitive": field.name in sensitive,
                "withheld": field.name in withheld,
            }
            for field in relation.fields
        ],
        "rows": f"/relations/{relation.id}/rows",
    }


def _field(field: Field) -> dict[str, object]:
    told: dict[str, object] = {
        "name": field.name,
        "type": field.type,
        "mode": field.mode,
        "description": field.description,
    }
    if field.fields:
        told["fields"] = list(map(_field, field.fields))
    return told


def rows(limits: Limits) -> dict[str, Any]:
    """The parameters of the rows' path, in OpenAPI's words."""
    parameters = [
        _parameter("first", "the first day, YYYY-MM-DD; needed of a relation with slices", format="date"),
        _parameter("last", "the last day; the first one, if left out", format="date"),
        {
            **_parameter("environment", "only these RL environments; can come more than once"),
            "schema": {"type": "array", "items": {"type": "string"}},
            "explode": True,
        },
        _parameter(
            "columns", "the columns' names, with commas between; all that this key may read, if left out"
        ),
        {
            "name": "filters",
            "in": "query",
            "description": f"`{WHERE}COLUMN=VALUE`: rows whose column has that value, or one of several",
            "schema": {"type": "object", "additionalProperties": {"type": "string"}},
            "style": "form",
            "explode": True,
        },
        {
            **_parameter("limit", "rows of a page"),
            "schema": {"type": "integer", "minimum": 1, "maximum": limits.rows, "default": DEFAULT_ROWS},
        },
        _parameter("page", "what the answer before named as `next`"),
        {**_parameter("format", "of the answer, before the header Accept"), "schema": {"enum": [*FORMS]}},
    ]
    content: dict[str, object] = {form.media: {} for form in FORMS.values()}
    return {
        "parameters": parameters,
        "responses": {
            "200": {"description": "the rows, in the order of the key", "content": content},
            "304": {"description": "nothing has changed since the answer with that ETag"},
        },
    }


def _parameter(name: str, what: str, **schema: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": what, "schema": {"type": "string", **schema}}


def page(openapi: Mapping[str, Any]) -> str:
    """The same as a page of HTML that needs no script and no network."""
    parts = []
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>")
            parts.append(f"<p>{html.escape(operation.get('summary', ''))}</p>")
            parts.append(_table(operation.get("parameters", ())))
    title = html.escape(f"{openapi['info']['title']} {openapi['info']['version']}")
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>'
        "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
        "td{padding:.2em 1em .2em 0;vertical-align:top}</style></head><body>"
        f"<h1>{title}</h1><p>{html.escape(openapi['info']['description'])}</p>"
        '<p>A key goes into the header <code>Authorization: Bearer KEY</code>. For programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{''.join(parts)}</body></html>"
    )


def _table(parameters: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(p['name'])}</code></td><td>{html.escape(p.get('description', ''))}</td></tr>"
        for p in parameters
    )
    return f"<table>{rows}</table>" if rows else ""
