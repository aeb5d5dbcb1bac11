"""Views on small data: `VIEW/CASE/input.DATASET.TABLE.ndjson` (or `input.TABLE.ndjson`) give `VIEW/CASE/expected.ndjson`.

Rows count as a bag. A field that an input row leaves out is NULL; a field that an expected row leaves out must be NULL. Numbers
with a fraction are compared to 12 digits. A relation that the view reads and that has no input file is empty.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from gaelp_assets.catalog import WHOLE, Catalog, Relation, load_catalog
from gaelp_assets.catalog.model import stored_fields
from gaelp_assets.operations.compute import load_function, proved
from gaelp_assets.sql.transpile import to_duckdb
from gaelp_assets.validation.schema import polars_schema
from gaelp_assets.warehouse.duckdb.dialect import duckdb_type, quote

FOLDER = Path(__file__).parent
CATALOG = load_catalog()
CASES = sorted(path.parent for path in FOLDER.glob("*/*/expected.ndjson"))


@pytest.mark.parametrize(
    "case", [pytest.param(path, id=f"{path.parent.name}: {path.name}") for path in CASES]
)
def test_view_on_case(case: Path) -> None:
    relation = CATALOG.find(case.parent.name)
    expected = read(case / "expected.ndjson", relation)
    found = evaluate(relation, CATALOG, case)
    assert len(found) == len(expected), found
    for mine, wanted in zip(sorted(found, key=_place), sorted(expected, key=_place), strict=True):
        assert mine.keys() == wanted.keys()
        assert {k: v for k, v in mine.items() if not _equal(v, wanted[k])} == {
            k: v for k, v in wanted.items() if not _equal(mine[k], v)
        }


def test_every_view_has_a_case() -> None:
    assert {path.parent.name for path in CASES} == {relation.name for relation in CATALOG.derived}


def test_every_case_is_complete() -> None:
    """A folder that is misspelt or lacks its expectation would otherwise never run."""
    folders = {path for path in FOLDER.glob("*/*") if path.is_dir() and path.parent.name != "__pycache__"}
    assert folders == set(CASES)
    for path in FOLDER.glob("*/*/*"):
        assert (
            path.name == "expected.ndjson"
            or _input(path, CATALOG).id in CATALOG.upstream[CATALOG.find(path.parts[-3]).id]
        ), path


def evaluate(relation: Relation, catalog: Catalog, case: Path) -> list[dict[str, Any]]:
    """The rows of a derived relation over the case's input, in its own types: by its SQL in DuckDB, or by its function."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        inputs = {_input(path, catalog).id: path for path in case.glob("input.*.ndjson")}
        for relation_id in catalog.upstream[relation.id]:
            source = catalog[relation_id]
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(source.dataset)}")
            _fill(
                connection, source, f"{quote(source.dataset)}.{quote(source.name)}", inputs.get(relation_id)
            )
        if relation.sql is None:
            return computed(connection, relation, catalog)
        cursor = connection.execute(to_duckdb(relation.sql))
        types = {str(column[0]): str(column[1]) for column in cursor.description or ()}
        assert types == {field.name: duckdb_type(field) for field in relation.fields}
        return [dict(zip(types, row, strict=True)) for row in cursor.fetchall()]


def computed(
    connection: duckdb.DuckDBPyConnection, relation: Relation, catalog: Catalog
) -> list[dict[str, Any]]:
    """The rows that the relation's function makes of the tables of a connection, proved."""
    inputs = {}
    for name in relation.inputs:
        source = catalog[name]
        sql = f"SELECT * FROM {quote(source.dataset)}.{quote(source.name)}"
        found = pl.DataFrame(connection.sql(sql).to_arrow_table())
        inputs[name] = found.select(pl.col(n).cast(dtype) for n, dtype in polars_schema(source).items())
    return proved(relation, WHOLE, load_function(relation)(inputs)).to_dicts()


def read(path: Path, relation: Relation) -> list[dict[str, Any]]:
    """The rows of an NDJSON file in a relation's types, as DuckDB returns them."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        _fill(connection, relation, "expected", path)
        cursor = connection.execute("SELECT * FROM expected")
        names = [str(column[0]) for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _fill(connection: duckdb.DuckDBPyConnection, relation: Relation, name: str, path: Path | None) -> None:
    types = {field.name: duckdb_type(field) for field in stored_fields(relation)}
    connection.execute(f"CREATE TABLE {name} ({', '.join(f'{quote(n)} {t}' for n, t in types.items())})")
    if path is None or not path.read_text(encoding="utf-8").strip():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        unknown = json.loads(line).keys() - types.keys()
        assert not unknown, f"{path}: {relation.id} has no field {unknown}"
    columns = ", ".join(f"{json.dumps(n)}: '{t}'" for n, t in types.items())
    connection.execute(
        f"INSERT INTO {name} SELECT * FROM read_json(?, format = 'nd', columns = {{{columns}}})", [str(path)]
    )


def _input(path: Path, catalog: Catalog) -> Relation:
    return catalog.find(path.name.removeprefix("input.").removesuffix(".ndjson"))


def _place(row: dict[str, Any]) -> list[str]:
    # Fractions last, and rounded: a sum's last digit must not decide which row is compared with which.
    plain = [repr(value) for value in row.values() if not isinstance(value, float)]
    return plain + [f"{value:.6e}" for value in row.values() if isinstance(value, float)]


def _equal(mine: Any, wanted: Any) -> bool:
    if isinstance(mine, float) and isinstance(wanted, float):
        return math.isclose(mine, wanted, rel_tol=1e-12, abs_tol=1e-12) or (
            math.isnan(mine) and math.isnan(wanted)
        )
    return bool(mine == wanted)
