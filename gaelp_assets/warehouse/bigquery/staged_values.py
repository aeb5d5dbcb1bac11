"""GoogleSQL expressions that turn staged values into the fields' own types. Text only: nothing is run here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gaelp_assets.catalog import Field
from gaelp_assets.warehouse.bigquery.dialect import googlesql_type, quote

# A Parquet file cannot bring these into BigQuery unaltered; they are staged as text.
STAGED_AS_TEXT: Final = ("BYTES", "JSON", "TIME")


def unstaged(field: Field, expression: str, depth: int = 0) -> str:
    """A staged value in the field's own type. JSON that `fits` refuses is NULL."""
    if not _has_text(field):
        return expression
    if field.repeated:
        element, offset = f"_element_{depth}", f"_offset_{depth}"
        single = field.model_copy(update={"mode": "NULLABLE"})
        inner = unstaged(single, element, depth + 1)
        return f"ARRAY(SELECT {inner} FROM UNNEST({expression}) AS {element} WITH OFFSET AS {offset} ORDER BY {offset})"
    if field.type == "RECORD":
        parts = ", ".join(
            f"{unstaged(part, f'{expression}.{quote(part.name)}', depth + 1)} AS {quote(part.name)}"
            for part in field.fields
        )
        return f"IF({expression} IS NULL, CAST(NULL AS {googlesql_type(field)}), STRUCT({parts}))"
    if field.type == "JSON":
        return f"SAFE.PARSE_JSON({expression}, wide_number_mode=>'exact')"
    if field.type == "BYTES":
        return f"FROM_BASE64({expression})"
    return f"CAST({expression} AS TIME)"


def fits(field: Field, expression: str, depth: int = 0) -> str:
    """The condition that each JSON number in a staged value is one that BigQuery holds exactly; empty where there is no JSON."""
    if field.repeated:
        element = f"_element_{depth}"
        inner = fits(field.model_copy(update={"mode": "NULLABLE"}), element, depth + 1)
        return inner and f"NOT EXISTS (SELECT 1 FROM UNNEST({expression}) AS {element} WHERE NOT ({inner}))"
    if field.type == "RECORD":
        parts = [fits(part, f"{expression}.{quote(part.name)}", depth + 1) for part in field.fields]
        return " AND ".join(part for part in parts if part)
    if field.type == "JSON":
        return f"({expression} IS NULL OR {unstaged(field, expression)} IS NOT NULL)"
    return ""


def as_text(fields: Sequence[Field], prefix: str, *, staged: bool) -> str:
    """The fields of a row as one text, whatever their types: equal where all of them are."""
    values = ", ".join(
        f"{unstaged(f, prefix + quote(f.name)) if staged else prefix + quote(f.name)} AS {quote(f.name)}"
        for f in fields
    )
    return f"TO_JSON_STRING(STRUCT({values}))"


def _has_text(field: Field) -> bool:
    return field.type in STAGED_AS_TEXT or any(_has_text(part) for part in field.fields)
