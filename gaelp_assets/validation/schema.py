"""A relation's columns as Polars, Arrow and Pandera schemas; the warehouses' own types stand in `warehouse`.

The Pandera schema is an ordinary one, to import and use: `schema_for("training.episodes").validate(frame, lazy=True)`. Its checks
carry the rule's name as `name`, the field's dotted path as `title`, and what is expected as `error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import polars as pl

from gaelp_assets.catalog.model import Field, Relation
from gaelp_assets.validation.row_rules import RowRule, column_rules, table_rules

if TYPE_CHECKING:
    import pandera.polars as pandera
    import pyarrow as pa

ORIGIN_COLUMNS: Final = ("_row_hash", "_line_number", "_byte_offset")
NUMERIC_PRECISION: Final = 38  # BigQuery's NUMERIC: 38 digits, 9 of them after the point
NUMERIC_SCALE: Final = 9

_POLARS: Final[Mapping[str, pl.DataType]] = {
    "STRING": pl.String(),
    "BYTES": pl.Binary(),
    "INTEGER": pl.Int64(),
    "FLOAT": pl.Float64(),
    "NUMERIC": pl.Decimal(NUMERIC_PRECISION, NUMERIC_SCALE),
    "BOOLEAN": pl.Boolean(),
    "TIMESTAMP": pl.Datetime("us", "UTC"),
    "DATE": pl.Date(),
    "DATETIME": pl.Datetime("us"),
    "TIME": pl.Time(),
    "JSON": pl.String(),  # the text as sent: a JSON value that is parsed and written again is another text
}


def polars_type(field: Field) -> pl.DataType:
    """The Polars type of a field, arrays and records included."""
    one: pl.DataType | None = _POLARS.get(field.type)
    if one is None:
        one = pl.Struct([pl.Field(child.name, polars_type(child)) for child in field.fields])
    return pl.List(one) if field.repeated else one


def arrow_type(field: Field) -> pa.DataType:
    """The Arrow type of a field, arrays and records included."""
    import pyarrow as pa

    one: pa.DataType
    if field.type == "RECORD":
        one = pa.struct([_arrow_field(child) for child in field.fields])
    else:
        simple: dict[str, pa.DataType] = {
            "STRING": pa.large_string(),
            "BYTES": pa.large_binary(),
            "INTEGER": pa.int64(),
            "FLOAT": pa.float64(),
            "NUMERIC": pa.decimal128(NUMERIC_PRECISION, NUMERIC_SCALE),
            "BOOLEAN": pa.bool_(),
            "TIMESTAMP": pa.timestamp("us", "UTC"),
            "DATE": pa.date32(),
            "DATETIME": pa.timestamp("us"),
            "TIME": pa.time64("us"),
            "JSON": pa.large_string(),
        }
        one = simple[field.type]
    return pa.large_list(one) if field.repeated else one


def _arrow_field(field: Field) -> pa.Field[pa.DataType]:
    import pyarrow as pa

    return pa.field(field.name, arrow_type(field))


def polars_schema(relation: Relation) -> pl.Schema:
    """The relation's own columns, in order.

    >>> from gaelp_assets.catalog import load_catalog
    >>> polars_schema(load_catalog().find("checkpoints"))["date"]
    Date
    """
    return pl.Schema({field.name: polars_type(field) for field in relation.fields})


def staged_schema(relation: Relation) -> pl.Schema:
    """What is staged: the relation's columns, then `_row_hash`, `_line_number` and `_byte_offset`."""
    return pl.Schema({**polars_schema(relation), **dict.fromkeys(ORIGIN_COLUMNS, pl.Int64())})


def arrow_schema(relation: Relation) -> pa.Schema:
    """`staged_schema` in Arrow's types."""
    import pyarrow as pa

    return pa.schema(
        [_arrow_field(field) for field in relation.fields]
        + [pa.field(name, pa.int64()) for name in ORIGIN_COLUMNS]
    )


def schema_for(name: str) -> pandera.DataFrameSchema:
    """The Pandera schema of a relation of the catalogue (the users' folders too), by `dataset.name` or `name`.

    Where a rule over several fields fails, Pandera 0.35 (`failure_cases_metadata` of its Polars backend) puts the whole failing rows into
    its report, and Polars panics there if they hold arrays whose types cannot be told from their values alone (empty ones, or all NULL,
    beside others). Tables with such rules and with arrays are better judged by `validation.verdict`, which reports the same.

    Raises:
        GaelpError: there is no such relation, or several datasets have one of that name, or the catalogue is wrong.

    >>> schema_for("training.checkpoints").columns["date"].nullable
    False
    """
    from gaelp_assets.catalog.folders import catalog_folders
    from gaelp_assets.catalog.load import load_catalog
    from gaelp_assets.settings import load_settings

    return pandera_schema(load_catalog(users=catalog_folders(load_settings())).find(name))


def pandera_schema(relation: Relation) -> pandera.DataFrameSchema:
    """The relation's columns, modes and checks as a strict Pandera schema for Polars frames."""
    import pandera.polars as pandera
    from pandera.backends.polars.register import register_polars_backends

    register_polars_backends()  # a check made before this knows no Polars
    columns = {
        field.name: pandera.Column(
            polars_type(field),
            checks=[_check(rule) for rule in column_rules(field)],
            nullable=not field.required and not field.repeated,
            description=field.description or None,
        )
        for field in relation.fields
    }
    return pandera.DataFrameSchema(
        columns,
        checks=[_check(rule) for rule in table_rules(relation)],
        strict=True,
        name=relation.id,
        description=relation.description,
    )


def _check(rule: RowRule) -> pandera.Check:
    import pandera.polars as pandera

    if rule.built_in is not None:
        built_in = getattr(pandera.Check, rule.rule)
        check: pandera.Check = built_in(**rule.built_in, error=rule.message, title=rule.field)
        return check
    holds = rule.holds
    return pandera.Check(
        lambda data: data.lazyframe.select(holds), name=rule.rule, error=rule.message, title=rule.field
    )
