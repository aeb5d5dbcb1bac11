"""Google's own SQL analyzer and reference evaluator, for tests: what BigQuery would say of a query, without BigQuery.

The `zetasql` package compiles 28 MB of WebAssembly at every start; here the machine code is kept in `ZETASQL_CACHE`
(`.zetasql-cache` beside the checkout if unset). One process must not use it from two threads.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from gaelp_assets.catalog.load import Catalog
from gaelp_assets.catalog.model import Field, stored_fields
from gaelp_assets.sql.analyzer import Analyzer, name_of, options

CACHE: Final = Path(os.environ.get("ZETASQL_CACHE", Path(__file__).parents[1] / ".zetasql-cache"))
# What the wrapper cannot hand over, as something that it can.
_SHOWN: Final = {
    "TIMESTAMP": "UNIX_MICROS({0})", "NUMERIC": "CAST({0} AS STRING)", "DATETIME": "CAST({0} AS STRING)", "TIME": "CAST({0} AS STRING)",
    "BYTES": "TO_HEX({0})", "JSON": "TO_JSON_STRING({0})",
}  # fmt: skip
_EPOCH: Final = dt.date(1970, 1, 1)


def declared_type(field: Field) -> str:
    """The type of a catalogue's field, written as `Gate.output_columns` writes it."""
    name: str = field.type
    if field.type == "RECORD":
        name = "RECORD<" + ", ".join(f"{inner.name} {declared_type(inner)}" for inner in field.fields) + ">"
    return f"ARRAY<{name}>" if field.repeated else name


class Gate(Analyzer):
    """The analyzer, knowing the whole catalogue, and the evaluator."""

    def __init__(self, catalog: Catalog | None = None) -> None:
        super().__init__({relation.id: stored_fields(relation) for relation in catalog or ()}, CACHE)

    def evaluate(self, sql: str) -> tuple[list[tuple[str, str]], list[tuple[Any, ...]]]:
        """The columns and the rows of a query over literals, by Google's reference evaluator.

        TIMESTAMP values are microseconds since 1970 UTC, structs are lists; NUMERIC, DATETIME, TIME and JSON are text, BYTES are
        hexadecimal. Every column needs a name, if one has such a type.
        """
        with self._prepared(sql) as query:
            # What has no name has an empty one here, and such a one from the analyzer.
            columns = [
                (column.name or f"$col{place}", name_of(column.type))
                for place, column in enumerate(query.columns, 1)
            ]
            if not any(kind in _SHOWN for _, kind in columns):
                return columns, _rows(query, columns)
        picked = (_SHOWN.get(kind, "{0}").format(name) + f" AS {name}" for name, kind in columns)
        with self._prepared(f"SELECT {', '.join(picked)} FROM ({sql})") as query:
            return columns, _rows(query, columns)

    def _prepared(self, sql: str) -> Any:
        builder = self.api.PreparedQuery.builder().set_sql(sql).set_analyzer_options(options(self.api, {}))
        return builder.set_registered_catalog_id(self.registered_id).prepare()


def _rows(query: Any, columns: Sequence[tuple[str, str]]) -> list[tuple[Any, ...]]:
    table = query.execute().content.table_data
    return [
        tuple(_value(cell, kind) for cell, (_, kind) in zip(row.cell, columns, strict=True))
        for row in (table.row if table is not None else ())
    ]


def _value(cell: Any, kind: str) -> Any:
    if cell.array_value is not None:
        return [
            _value(element, kind.removeprefix("ARRAY<").removesuffix(">"))
            for element in cell.array_value.element
        ]
    if cell.struct_value is not None:
        return [_value(part, "") for part in cell.struct_value.field]
    if cell.date_value is not None:
        return _EPOCH + dt.timedelta(days=cell.date_value)
    for value in (cell.int64_value, cell.double_value, cell.bool_value, cell.string_value):
        if value is not None:
            return value
    return None
