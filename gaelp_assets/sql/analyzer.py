"""Google's own SQL analyzer on the catalogue's relations: what BigQuery would say of a statement, without BigQuery.

It is the package `zetasql`, which nothing of the platform needs: 28 MB of WebAssembly, compiled when it is first used, for which a minute
can pass. One process must not use it from two threads.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from gaelp_assets.catalog.model import Field, Relation, stored_fields
from gaelp_assets.catalog.texts import references
from gaelp_assets.errors import Problem

# What the analyzer can, and BigQuery cannot.
_NOT_IN_BIGQUERY: Final = {"FEATURE_ARRAY_ORDERING", "FEATURE_JSON_TYPE_COMPARISON"}
_KINDS: Final = {
    "STRING": "STRING", "BYTES": "BYTES", "INTEGER": "INT64", "FLOAT": "DOUBLE", "NUMERIC": "NUMERIC", "BOOLEAN": "BOOL",
    "TIMESTAMP": "TIMESTAMP", "DATE": "DATE", "DATETIME": "DATETIME", "TIME": "TIME", "JSON": "JSON",
}  # fmt: skip
_NAMES: Final = {"DOUBLE": "FLOAT", "INT64": "INTEGER", "BOOL": "BOOLEAN"}


def is_installed() -> bool:
    """Whether the analyzer is here."""
    return importlib.util.find_spec("zetasql") is not None


def made_once(file: Path, make: Callable[[], bytes]) -> Path:
    """The file; one that is missing is made first, by one of the processes that miss it at the same time, while the others wait."""
    from filelock import FileLock

    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            if not file.exists():
                partial = file.with_suffix(".tmp")
                partial.write_bytes(make())
                partial.replace(file)
    return file


@lru_cache(maxsize=1)
def library(cache: Path) -> Any:
    """The package, made to start from the compiled code that the folder `cache` keeps, and to copy memory in one piece."""
    import wasmtime
    import zetasql.core.wasm_client as client

    compile_file = client.Module.from_file

    def from_file(engine: Any, path: Any) -> Any:
        stat = Path(path).stat()
        key = hashlib.sha256(
            f"{importlib.metadata.version('wasmtime')}:{path}:{stat.st_size}:{stat.st_mtime_ns}".encode()
        ).hexdigest()[:16]
        compiled = made_once(
            cache / f"zetasql-{key}.cwasm", lambda: bytes(compile_file(engine, path).serialize())
        )
        return wasmtime.Module.deserialize_file(engine, str(compiled))

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


@lru_cache(maxsize=1)
def _language() -> Any:
    from zetasql.types import LanguageFeature, LanguageOptions, ProductMode

    language = LanguageOptions.maximum_features()
    language.product_mode = ProductMode.PRODUCT_EXTERNAL
    language.enabled_language_features = [
        feature
        for feature in language.enabled_language_features
        if LanguageFeature(feature).name not in _NOT_IN_BIGQUERY
    ]
    language.enabled_language_features.append(LanguageFeature.FEATURE_ALTER_COLUMN_SET_DATA_TYPE)
    return language


def options(api: Any, parameters: Mapping[str, str]) -> Any:
    """How the analyzer takes statements: as BigQuery does, in UTC, with parameters of these types."""
    from zetasql.types import AnalyzerOptions, TypeKind

    taken = AnalyzerOptions(language_options=_language())
    taken.default_timezone = "UTC"
    taken.query_parameters = [
        AnalyzerOptions.QueryParameter(
            name=name, type=api.TypeFactory.create_simple_type(TypeKind[f"TYPE_{_KINDS[kind]}"])
        )
        for name, kind in parameters.items()
    ]
    return taken


def _type(api: Any, field: Field) -> Any:
    from zetasql.types import TypeKind

    factory = api.TypeFactory
    if field.type == "RECORD":
        element = factory.create_struct_type([(inner.name, _type(api, inner)) for inner in field.fields])
    else:
        element = factory.create_simple_type(TypeKind[f"TYPE_{_KINDS[field.type]}"])
    return factory.create_array_type(element) if field.repeated else element


def name_of(type_: Any) -> str:
    """A type in the catalogue's words: `INTEGER`, `ARRAY<FLOAT>`, `RECORD<a STRING, b DATE>`."""
    from zetasql.types import TypeKind

    kind: str = TypeKind(type_.type_kind).name.removeprefix("TYPE_")
    if kind == "ARRAY":
        return f"ARRAY<{name_of(type_.array_type.element_type)}>"
    if kind == "STRUCT":
        return (
            "RECORD<"
            + ", ".join(f"{f.field_name} {name_of(f.field_type)}" for f in type_.struct_type.field)
            + ">"
        )
    return _NAMES.get(kind, kind)


class Analyzer:
    """The analyzer, knowing some relations.

    Args:
        tables: the fields of what statements may name, by `dataset.name`.
        cache: the folder that keeps its compiled code.
    """

    def __init__(self, tables: Mapping[str, Sequence[Field]], cache: Path) -> None:
        self.api = library(cache)
        from zetasql.types import ZetaSQLBuiltinFunctionOptions

        datasets: dict[str, Any] = {}
        for id_, fields in tables.items():
            dataset, _, name = id_.rpartition(".")
            table = self.api.TableBuilder(name)
            for field in fields:
                table.add_column(field.name, _type(self.api, field))
            builder = datasets.setdefault(dataset, self.api.CatalogBuilder(dataset))
            builder.add_table(table.build())
        functions = ZetaSQLBuiltinFunctionOptions(language_options=_language())
        catalog = self.api.CatalogBuilder("bigquery").with_builtin_functions(functions).build()
        catalog.catalog = [builder.build() for builder in datasets.values()]
        from zetasql.core import ZetaSqlLocalService

        # Handed over with each statement instead, the catalogue and every function would be built again for each.
        self.service = ZetaSqlLocalService.get_instance()
        self.registered_id: int = self.service.register_catalog(simple_catalog=catalog).registered_id
        unregister = weakref.finalize(self, self.service.unregister_catalog, registered_id=self.registered_id)
        unregister.atexit = False

    def output_columns(self, sql: str, parameters: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
        """Name and type (`INTEGER`, `FLOAT`, ..., `ARRAY<STRING>`) of each column of a query's result.

        `parameters` holds the types of the query's parameters. Raises what the analyzer raises, in BigQuery's words.
        """
        statement = self.analyze(sql, parameters)
        return [(column.name, name_of(column.column.type)) for column in statement.output_column_list]

    def analyze(self, sql: str, parameters: Mapping[str, str] | None = None) -> Any:
        """The resolved statement, of any kind. Raises what the analyzer raises, in BigQuery's words."""
        return self.service.analyze(**self._request(sql, parameters)).resolved_statement

    def accept(self, sql: str, parameters: Mapping[str, str] | None = None) -> None:
        """Analyzes a statement as `analyze` does, without making objects of all that it resolves, which takes longer than to analyze."""
        from zetasql.types import AnalyzeRequest

        request = AnalyzeRequest(**self._request(sql, parameters)).to_proto()
        self.service.wasm_client.call_grpc_func("ZetaSqlLocalService_Analyze", request)

    def _request(self, sql: str, parameters: Mapping[str, str] | None) -> dict[str, Any]:
        return {
            "sql_statement": sql,
            "options": options(self.api, parameters or {}),
            "registered_catalog_id": self.registered_id,
        }


def analyzer_problems(
    relations: Mapping[str, Relation], views: Iterable[Relation], cache: Path
) -> dict[str, list[Problem]]:
    """What BigQuery would refuse of each view, by its id: its query, and an INSERT of its rows into a table of the declared fields.

    Args:
        relations: all that there are, by id.
        views: derived relations whose queries name no others.
        cache: the folder that keeps the analyzer's compiled code.
    """
    asked = {view.id: view for view in views}
    if not asked:
        return {}
    # With those alone that they read, a large catalogue costs little.
    read = {id_: relations[id_] for view in asked.values() for id_ in references(view.sql or "") - {view.id}}
    analyzer = Analyzer({id_: stored_fields(each) for id_, each in {**read, **asked}.items()}, cache)
    from zetasql.core.exceptions import ServerError

    found: dict[str, list[Problem]] = {}
    for view in asked.values():
        columns = ", ".join(f"`{field.name}`" for field in view.fields)
        query = (view.sql or "").strip().rstrip(";")
        statement = f"INSERT INTO {view.quoted_id} ({columns}) SELECT {columns} FROM (\n{query}\n)"
        try:
            analyzer.accept(statement)
        except ServerError as error:
            what = f"Google's analyzer: {str(error).removeprefix('[INVALID_ARGUMENT] ')}"
            found[view.id] = [Problem(what, view.where(sql=True), "a query that BigQuery takes")]
    return found
