"""A relation's columns as Polars, Arrow and Pandera schemas.

The Pandera schema is an ordinary one, to import and use: `schema_for("training.episodes").validate(frame, lazy=True)`. Its checks
carry the rule's name as `name`, the field's dotted path as `title`, and what is expected as `error`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from gaelp_assets.catalog.model import Check, Field, Relation
from gaelp_assets.validation.registry import RULES, Argument, blamed_field, expectation
from gaelp_assets.validation.values import typed_value

if TYPE_CHECKING:
    import pandera.polars as pandera
    import pyarrow as pa

PROOF_COLUMNS: Final = ("_row_hash", "_line_number", "_byte_offset")
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


def _arrow_field(field: Field) -> pa.Field[Any]:
    import pyarrow as pa

    return pa.field(field.name, arrow_type(field))


def polars_schema(relation: Relation) -> pl.Schema:
    """The relation's own columns, in order."""
    return pl.Schema({field.name: polars_type(field) for field in relation.fields})


def staged_schema(relation: Relation) -> pl.Schema:
    """What is staged: the relation's columns, then `_row_hash`, `_line_number` and `_byte_offset`."""
    return pl.Schema({**polars_schema(relation), **dict.fromkeys(PROOF_COLUMNS, pl.Int64())})


def arrow_schema(relation: Relation) -> pa.Schema:
    """`staged_schema` in Arrow's types."""
    import pyarrow as pa

    return pa.schema(
        [_arrow_field(field) for field in relation.fields]
        + [pa.field(name, pa.int64()) for name in PROOF_COLUMNS]
    )


def schema_for(name: str) -> pandera.DataFrameSchema:
    """The Pandera schema of a relation of the catalogue, by `dataset.name` or `name`.

    Raises:
        GaelpError: there is no such relation, or the catalogue is wrong.
    """
    from gaelp_assets.catalog.load import load_catalog

    return pandera_schema(load_catalog().find(name))


def pandera_schema(relation: Relation) -> pandera.DataFrameSchema:
    """The relation's columns, modes and checks as a strict Pandera schema for Polars frames."""
    import pandera.polars as pandera
    from pandera.backends.polars.register import register_polars_backends

    register_polars_backends()  # a check made before this knows no Polars
    columns = {
        field.name: pandera.Column(
            polars_type(field),
            checks=_column_checks(field),
            nullable=not field.required and not field.repeated,
            description=field.description or None,
        )
        for field in relation.fields
    }
    return pandera.DataFrameSchema(
        columns,
        checks=[_row_check(check, relation) for check in relation.checks],
        strict=True,
        name=relation.id,
        description=relation.description,
    )


Leaf = Callable[[pl.Expr], pl.Expr]


def _column_checks(field: Field) -> list[pandera.Check]:
    return [check for chain in _chains((field,)) for check in _field_checks(chain)]


def _chains(chain: tuple[Field, ...]) -> list[tuple[Field, ...]]:
    """The field, and every field nested in it, each with its records from the outermost inwards."""
    return [chain] + [deeper for child in chain[-1].fields for deeper in _chains((*chain, child))]


def _field_checks(chain: tuple[Field, ...]) -> list[pandera.Check]:
    import pandera.polars as pandera

    field = chain[-1]
    path = ".".join(part.name for part in chain)
    checks = []
    # The column's own NULLs are what `nullable` is about; NULL elements and nested NULLs need a check.
    if field.repeated or (field.required and len(chain) > 1):
        checks.append(
            _expression_check(
                "not_null", "expected a value, not null", path, _lift(chain, lambda v: v.is_not_null())
            )
        )
    if field.repeated and len(chain) > 1:
        checks.append(
            _expression_check(
                "not_null",
                "expected an array, not null",
                path,
                _lift(chain, lambda v: v.is_not_null(), array=True),
            )
        )
    for check in field.checks:
        rule = RULES[check.name]
        arguments = _typed(check.arguments, rule.arguments, field.type)
        message = expectation(check.name, check.arguments)
        if rule.built_in and len(chain) == 1 and not field.repeated:
            checks.append(getattr(pandera.Check, rule.name)(**arguments, error=message, title=path))
        else:
            leaf = partial(rule.expression, **arguments)
            checks.append(
                _expression_check(rule.name, message, path, _lift(chain, leaf, array=rule.scope == "array"))
            )
    return checks


def _lift(chain: Sequence[Field], leaf: Leaf, *, array: bool = False) -> Leaf:
    """The expression of a whole column that holds where `leaf` holds for the nested field in every element."""
    field, inner = chain[0], chain[1:]

    def one(value: pl.Expr) -> pl.Expr:
        if not inner:
            return leaf(value)
        # A record that is not there has no fields that could be missing.
        return value.is_null() | _lift(inner, leaf, array=array)(value.struct.field(inner[0].name))

    def every(value: pl.Expr) -> pl.Expr:
        return value.list.eval(one(pl.element()).fill_null(value=True)).list.all()

    if not field.repeated or (array and not inner):
        return one
    return every


def _expression_check(name: str, message: str, path: str, column: Leaf) -> pandera.Check:
    import pandera.polars as pandera

    return pandera.Check(
        lambda data: data.lazyframe.select(column(pl.col(data.key))), name=name, error=message, title=path
    )


def _row_check(check: Check, relation: Relation) -> pandera.Check:
    import pandera.polars as pandera

    rule = RULES[check.name]
    of = check.arguments.get("field")
    arguments = _typed(check.arguments, rule.arguments, relation.field(of).type if of else "")
    if "then" in arguments:
        then = arguments["then"]
        inner = _typed(
            then.get("arguments", {}), RULES[then["name"]].arguments, relation.field(then["field"]).type
        )
        arguments["then"] = {**then, "arguments": inner}
    expression = rule.expression(**arguments)
    return pandera.Check(
        lambda data: data.lazyframe.select(expression),
        name=check.name,
        error=expectation(check.name, check.arguments),
        title=blamed_field(check.name, check.arguments),
    )


def _typed(arguments: Mapping[str, Any], declared: Mapping[str, Argument], field_type: str) -> dict[str, Any]:
    """The arguments with values of the field's type in place of their text in JSON."""
    typed = dict(arguments)
    for name, argument in declared.items():
        if name in typed and argument.kind == "value":
            typed[name] = typed_value(typed[name], field_type)
        elif name in typed and argument.kind == "values":
            typed[name] = [typed_value(value, field_type) for value in typed[name]]
    return typed
