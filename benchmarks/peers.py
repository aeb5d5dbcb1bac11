"""What else its users would load such a file with: each peer puts the same NDJSON file into a DuckDB file of its own.

None of them accounts for its lines. What each one checks stands beside it. All are the libraries' documented ways, with the columns' types
given where the library takes them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.files import Benchmark
from gaelp_assets.catalog import Relation

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

SLOW_ROWS: Final = 200_000
Load = Callable[[], int]
"""Loads the file and closes the warehouse; the number of rows that are then in the table."""


@dataclass(frozen=True)
class Task:
    """One file to load into a new warehouse below a folder."""

    benchmark: Benchmark
    file: Path
    folder: Path
    threads: int

    @property
    def relation(self) -> Relation:
        """The table's description."""
        from gaelp_assets.platform import read_catalog

        return read_catalog()[self.benchmark.table]

    @property
    def database(self) -> Path:
        """The peer's DuckDB file."""
        return self.folder / "peer.duckdb"


@dataclass(frozen=True)
class Peer:
    """A way to load a file."""

    checks: str
    prepare: Callable[[Task], Load]
    slow: bool = False
    """Whether a million rows take half a minute and more: then it gets `SLOW_ROWS` of them, once."""


def gaelp(task: Task) -> Load:
    """`load_slice`, the way of every run; nothing is left out but Dagster around it."""
    from gaelp_assets.catalog.slices import WHOLE, parse_slice_path
    from gaelp_assets.ingest.load import load_slice
    from gaelp_assets.platform import open_platform
    from gaelp_assets.settings import load_settings

    platform = open_platform(load_settings({"GAELP_HOME": str(task.folder)}))
    platform.gateway.prepare()
    queue = task.folder / "export_gateway" / "cloud_ready" / task.benchmark.table.replace(".", "/")
    target = queue / task.benchmark.slice_path / f"part.{task.file.name.partition('.')[2]}"
    target.parent.mkdir(parents=True)
    os.link(task.file, target)
    slice_ = parse_slice_path(task.benchmark.slice_path.split("/")) if task.benchmark.slice_path else WHOLE
    relation = task.relation

    def load() -> int:
        [report] = load_slice(platform, relation, slice_, run_id="benchmark").files
        assert report.counts is not None, report.problems
        assert report.counts.balanced
        return report.counts.loaded

    return load


def duckdb_unchecked(task: Task) -> Load:
    """`INSERT ... SELECT ... FROM read_json` with the table's types; lines that cannot be read are ignored, for one would end the load."""
    from gaelp_assets.warehouse.duckdb.dialect import duckdb_type, quote

    columns = {field.name: duckdb_type(field) for field in task.relation.fields}

    def load() -> int:
        with _connect(task) as con:
            con.execute(f"CREATE TABLE t ({', '.join(f'{quote(n)} {t}' for n, t in columns.items())})")
            con.execute(
                "INSERT INTO t SELECT * FROM read_json(?, format = 'newline_delimited', ignore_errors = true, "
                f"columns = {columns})",
                [str(task.file)],
            )
            return _count(con)

    return load


def polars_read(task: Task) -> Load:
    """`pl.read_ndjson` with the table's types, then an insert of the frame; a JSON column is left to what Polars infers."""
    import polars as pl

    from gaelp_assets.validation.schema import polars_schema

    json_fields = {field.name for field in task.relation.fields if field.type == "JSON"}
    # Polars reads timestamps of NDJSON as text.
    schema = {
        name: pl.String() if kind.is_temporal() else kind
        for name, kind in polars_schema(task.relation).items()
        if name not in json_fields
    }

    def load() -> int:
        frame = pl.read_ndjson(task.file, schema=schema)
        frame = frame.with_columns(
            pl.col(name).str.to_datetime(time_zone="UTC")
            if kind == pl.Datetime
            else pl.col(name).str.to_date()
            for name, kind in polars_schema(task.relation).items()
            if kind.is_temporal()
        )
        with _connect(task) as con:
            con.execute("CREATE TABLE t AS SELECT * FROM frame")
            return _count(con)

    return load


def pandas_read(task: Task) -> Load:
    """`pandas.read_json(lines=True)`, then an insert of the frame."""
    import pandas as pd

    def load() -> int:
        frame = pd.read_json(task.file, lines=True)  # noqa: F841 - DuckDB finds it by its name
        with _connect(task) as con:
            con.execute("CREATE TABLE t AS SELECT * FROM frame")
            return _count(con)

    return load


def great_expectations(task: Task) -> Load:
    """pandas, the table's single-column rules as an expectation suite, then an insert of the frame."""
    import great_expectations as gx
    import pandas as pd
    from great_expectations import expectations as gxe

    context = gx.get_context(mode="ephemeral")
    suite = gx.ExpectationSuite(name="rules")
    for field in task.relation.fields:
        if field.mode == "REQUIRED":
            suite.add_expectation(gxe.ExpectColumnValuesToNotBeNull(column=field.name))
        for check in field.checks:
            given = check.arguments
            match check.name:
                case "isin":
                    suite.add_expectation(
                        gxe.ExpectColumnValuesToBeInSet(column=field.name, value_set=given["allowed_values"])
                    )
                case "str_matches":
                    suite.add_expectation(
                        gxe.ExpectColumnValuesToMatchRegex(column=field.name, regex=given["pattern"])
                    )
                case "in_range" | "greater_than_or_equal_to":
                    suite.add_expectation(
                        gxe.ExpectColumnValuesToBeBetween(
                            column=field.name, min_value=given["min_value"], max_value=given.get("max_value")
                        )
                    )
    key = list(task.relation.primary_key)
    suite.add_expectation(
        gxe.ExpectColumnValuesToBeUnique(column=key[0])
        if len(key) == 1
        else gxe.ExpectCompoundColumnsToBeUnique(column_list=key)
    )
    source = context.data_sources.add_pandas("pandas")
    definition = source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")

    def load() -> int:
        frame = pd.read_json(task.file, lines=True)
        absent = {name: None for name in suite_columns if name not in frame}
        batch = definition.get_batch({"dataframe": frame.assign(**absent)})
        outcome = batch.validate(suite, result_format="SUMMARY")
        assert outcome.statistics["evaluated_expectations"] == len(suite.expectations)
        with _connect(task) as con:
            con.execute("CREATE TABLE t AS SELECT * FROM frame")
            return _count(con)

    suite_columns = {field.name for field in task.relation.fields}
    return load


def jsonschema_rows(task: Task) -> Load:
    """`json.loads` and a compiled JSON Schema for each line, then an insert of the frame."""
    import pandas as pd
    from jsonschema import Draft202012Validator

    schema = json_schema(task.relation)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)

    def load() -> int:
        rows = []
        with task.file.open("rb") as lines:
            for line in lines:
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if validator.is_valid(row):
                    rows.append(row)
        frame = pd.DataFrame(rows)  # noqa: F841 - DuckDB finds it by its name
        with _connect(task) as con:
            con.execute("CREATE TABLE t AS SELECT * FROM frame")
            return _count(con)

    return load


def dlt_usual(task: Task) -> Load:
    """A resource that yields dictionaries, and dlt's default way into DuckDB."""
    return _dlt(task, lambda: _dictionaries(task.file))


def dlt_arrow(task: Task) -> Load:
    """A resource that yields what `pyarrow.json` reads; empty objects, which Parquet cannot hold, become NULL."""
    import pyarrow as pa
    import pyarrow.json

    options = pyarrow.json.ReadOptions(use_threads=task.threads > 1, block_size=1 << 24)

    def rows() -> Iterator[pa.Table]:
        found = pyarrow.json.read_json(task.file, read_options=options)
        for place, field in enumerate(found.schema):
            if pa.types.is_struct(field.type) and not field.type.num_fields:
                found = found.set_column(place, field.name, pa.nulls(found.num_rows, pa.string()))
        yield found

    return _dlt(task, rows)


def _dlt(task: Task, rows: Callable[[], object]) -> Load:
    os.environ.update(
        DLT_DATA_DIR=str(task.folder / "dlt"),
        RUNTIME__DLTHUB_TELEMETRY="false",
        RUNTIME__LOG_LEVEL="ERROR",
        EXTRACT__WORKERS=str(task.threads),
        NORMALIZE__WORKERS=str(task.threads),
        LOAD__WORKERS=str(task.threads),
    )
    import dlt

    def load() -> int:
        pipeline = dlt.pipeline(
            "benchmark",
            pipelines_dir=str(task.folder / "dlt"),
            destination=dlt.destinations.duckdb(str(task.database)),
            dataset_name="main_rows",
        )
        pipeline.run(dlt.resource(rows, name="t"), write_disposition="append").raise_on_failed_jobs()
        with _connect(task) as con:
            return _count(con, "main_rows.t")

    return load


def _dictionaries(file: Path) -> Iterator[object]:
    with file.open("rb") as lines:
        for line in lines:
            yield json.loads(line)


_JSON_TYPES: Final = {
    "INTEGER": "integer",
    "FLOAT": "number",
    "BOOLEAN": "boolean",
    "RECORD": "object",
    "JSON": "object",
}


def json_schema(relation: Relation) -> dict[str, object]:
    """A relation as a JSON Schema: what such a schema can say of types, required fields and single-field rules."""
    properties: dict[str, object] = {}
    for field in relation.fields:
        one: dict[str, object] = {"type": _JSON_TYPES.get(field.type, "string")}
        for check in field.checks:
            given = check.arguments
            match check.name:
                case "isin":
                    one["enum"] = given["allowed_values"]
                case "str_matches":
                    one["pattern"] = given["pattern"]
                case "in_range" | "greater_than_or_equal_to":
                    one["minimum"] = given["min_value"]
                    if "max_value" in given:
                        one["maximum"] = given["max_value"]
        properties[field.name] = {"type": "array", "items": one} if field.repeated else one
    return {
        "type": "object",
        "properties": properties,
        "required": [field.name for field in relation.fields if field.mode == "REQUIRED"],
        "additionalProperties": False,
    }


def _connect(task: Task) -> duckdb.DuckDBPyConnection:
    import duckdb

    return duckdb.connect(str(task.database), config={"threads": task.threads})


def _count(con: duckdb.DuckDBPyConnection, table: str = "t") -> int:
    [(rows,)] = con.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(rows)


OURS, BASE = "gaelp", "DuckDB, unchecked"
PEERS: Final[dict[str, Peer]] = {
    OURS: Peer("everything", gaelp),
    BASE: Peer("nothing", duckdb_unchecked),
    "Polars": Peer("types, in part", polars_read),
    "dlt, from Arrow": Peer("nothing", dlt_arrow),
    "pandas": Peer("nothing", pandas_read, slow=True),
    "jsonschema": Peer("types and single-field rules", jsonschema_rows, slow=True),
    "Great Expectations": Peer("single-field rules and keys", great_expectations, slow=True),
    "dlt, usual": Peer("nothing", dlt_usual, slow=True),
}
