"""Google's own SQL analyzer and reference evaluator, for tests: what BigQuery would say of a query, without BigQuery.

The `zetasql` package compiles 28 MB of WebAssembly at every start; here the machine code is kept in `ZETASQL_CACHE`
(`.zetasql-cache` beside the checkout if unset). One process must not use it from two threads.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import hashlib
import importlib.metadata
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from gaelp_assets.catalog.load import Catalog
from gaelp_assets.catalog.model import Field

CACHE: Final = Path(os.environ.get("ZETASQL_CACHE", Path(__file__).parents[1] / ".zetasql-cache"))
# What the analyzer can, and BigQuery cannot.
_NOT_IN_BIGQUERY: Final = {"FEATURE_ARRAY_ORDERING", "FEATURE_JSON_TYPE_COMPARISON"}
_KINDS: Final = {
    "STRING": "STRING", "BYTES": "BYTES", "INTEGER": "INT64", "FLOAT": "DOUBLE", "NUMERIC": "NUMERIC", "BOOLEAN": "BOOL",
    "TIMESTAMP": "TIMESTAMP", "DATE": "DATE", "DATETIME": "DATETIME", "TIME": "TIME", "JSON": "JSON",
}  # fmt: skip
_NAMES: Final = {"DOUBLE": "FLOAT", "INT64": "INTEGER", "BOOL": "BOOLEAN"}
# What the wrapper cannot hand over, as something that it can.
_SHOWN: Final = {
    "TIMESTAMP": "UNIX_MICROS({0})", "NUMERIC": "CAST({0} AS STRING)", "DATETIME": "CAST({0} AS STRING)", "TIME": "CAST({0} AS STRING)",
    "BYTES": "TO_HEX({0})", "JSON": "TO_JSON_STRING({0})",
}  # fmt: skip
_EPOCH: Final = dt.date(1970, 1, 1)


@cache
def _library() -> Any:
    """The package, made to start from compiled code and to copy memory in one piece."""
    import wasmtime
    import zetasql.core.wasm_client as client

    compile_file = client.Module.from_file

    def from_file(engine: Any, path: Any) -> Any:
        stat = Path(path).stat()
        key = hashlib.sha256(
            f"{importlib.metadata.version('wasmtime')}:{path}:{stat.st_size}:{stat.st_mtime_ns}".encode()
        ).hexdigest()[:16]
        compiled = CACHE / f"zetasql-{key}.cwasm"
        if compiled.exists():
            return wasmtime.Module.deserialize_file(engine, str(compiled))
        CACHE.mkdir(parents=True, exist_ok=True)
        module = compile_file(engine, path)
        partial = compiled.with_suffix(f".{os.getpid()}.tmp")
        partial.write_bytes(module.serialize())
        partial.replace(compiled)
        return module

    def write_bytes(self: Any, address: int, data: bytes) -> None:
        start = ctypes.addressof(self.memory.data_ptr().contents)
        ctypes.memmove(start + address, data, len(data))

    def read_bytes(self: Any, address: int, size: int) -> bytes:
        start = ctypes.addressof(self.memory.data_ptr().contents)
        return ctypes.string_at(start + address, size)

    client.Module.from_file = staticmethod(from_file)
    client.WasmClient.write_bytes = write_bytes
    client.WasmClient.read_bytes = read_bytes
    import zetasql.api

    return zetasql.api


@cache
def _language() -> Any:
    from zetasql.types import LanguageFeature, LanguageOptions, ProductMode

    _library()
    language = LanguageOptions.maximum_features()
    language.product_mode = ProductMode.PRODUCT_EXTERNAL
    language.enabled_language_features = [
        feature
        for feature in language.enabled_language_features
        if LanguageFeature(feature).name not in _NOT_IN_BIGQUERY
    ]
    language.enabled_language_features.append(LanguageFeature.FEATURE_ALTER_COLUMN_SET_DATA_TYPE)
    return language


def _options(parameters: Mapping[str, str]) -> Any:
    from zetasql.types import AnalyzerOptions, TypeKind

    options = AnalyzerOptions(language_options=_language())
    options.default_timezone = "UTC"
    options.query_parameters = [
        AnalyzerOptions.QueryParameter(
            name=name, type=_library().TypeFactory.create_simple_type(TypeKind[f"TYPE_{_KINDS[kind]}"])
        )
        for name, kind in parameters.items()
    ]
    return options


def _type(field: Field) -> Any:
    from zetasql.types import TypeKind

    factory = _library().TypeFactory
    if field.type == "RECORD":
        element = factory.create_struct_type([(inner.name, _type(inner)) for inner in field.fields])
    else:
        element = factory.create_simple_type(TypeKind[f"TYPE_{_KINDS[field.type]}"])
    return factory.create_array_type(element) if field.repeated else element


def _name_of(type_: Any) -> str:
    """A type in the catalogue's words: `INTEGER`, `ARRAY<FLOAT>`, `RECORD<a STRING, b DATE>`."""
    from zetasql.types import TypeKind

    kind: str = TypeKind(type_.type_kind).name.removeprefix("TYPE_")
    if kind == "ARRAY":
        return f"ARRAY<{_name_of(type_.array_type.element_type)}>"
    if kind == "STRUCT":
        return (
            "RECORD<"
            + ", ".join(f"{f.field_name} {_name_of(f.field_type)}" for f in type_.struct_type.field)
            + ">"
        )
    return _NAMES.get(kind, kind)


def declared_type(field: Field) -> str:
    """The type of a catalogue's field, written as `Gate.output_columns` writes it."""
    name: str = field.type
    if field.type == "RECORD":
        name = "RECORD<" + ", ".join(f"{inner.name} {declared_type(inner)}" for inner in field.fields) + ">"
    return f"ARRAY<{name}>" if field.repeated else name


class Gate:
    """The analyzer, knowing the whole catalogue."""

    def __init__(self, catalog: Catalog | None = None) -> None:
        from zetasql.types import ZetaSQLBuiltinFunctionOptions

        library = _library()
        datasets: dict[str, Any] = {}
        for relation in catalog or ():
            table = library.TableBuilder(relation.name)
            for field in relation.fields:
                table.add_column(field.name, _type(field))
            builder = datasets.setdefault(relation.dataset, library.CatalogBuilder(relation.dataset))
            builder.add_table(table.build())
        functions = ZetaSQLBuiltinFunctionOptions(language_options=_language())
        self._catalog = library.CatalogBuilder("bigquery").with_builtin_functions(functions).build()
        self._catalog.catalog = [builder.build() for builder in datasets.values()]

    def output_columns(self, sql: str, parameters: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
        """Name and type (`INTEGER`, `FLOAT`, ..., `ARRAY<STRING>`) of each column of a query's result.

        `parameters` holds the types of the query's parameters. Raises what the analyzer raises, in BigQuery's words.
        """
        statement = self.analyze(sql, parameters)
        return [(column.name, _name_of(column.column.type)) for column in statement.output_column_list]

    def analyze(self, sql: str, parameters: Mapping[str, str] | None = None) -> Any:
        """The resolved statement, of any kind. Raises what the analyzer raises, in BigQuery's words."""
        return _library().Analyzer(_options(parameters or {}), self._catalog).analyze_statement(sql)

    def evaluate(self, sql: str) -> tuple[list[tuple[str, str]], list[tuple[Any, ...]]]:
        """The columns and the rows of a query over literals, by Google's reference evaluator.

        TIMESTAMP values are microseconds since 1970 UTC, structs are lists; NUMERIC, DATETIME, TIME and JSON are text, BYTES are
        hexadecimal. Every column needs a name, if one has such a type.
        """
        columns = self.output_columns(sql)
        wrapped = sql
        if any(kind in _SHOWN for _, kind in columns):
            picked = (_SHOWN.get(kind, "{0}").format(name) + f" AS {name}" for name, kind in columns)
            wrapped = f"SELECT {', '.join(picked)} FROM ({sql})"
        builder = _library().PreparedQuery.builder().set_sql(wrapped)
        with builder.set_analyzer_options(_options({})).set_catalog(self._catalog).prepare() as query:
            table = query.execute().content.table_data
            return columns, [
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
