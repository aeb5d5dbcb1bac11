"""A relation, compiled: what validating its lines takes and no file, slice or day changes.

Compiling one costs as much as validating some hundred short lines, so a run compiles each relation once (`ingest.validate.Validators`) and
hands it to all of the run's files. What depends on the slice or on the day belongs to `ingest.validate.Validator`.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from gaelp_assets.catalog.model import Field, Relation
from gaelp_assets.ingest.decode import native
from gaelp_assets.ingest.decode.chunks import Decoder, NativeDecoder, PythonDecoder
from gaelp_assets.ingest.decode.former_names import RenamingDecoder, former_names
from gaelp_assets.validation.row_rules import RowRule, row_rules

ENSURED_BY_DECODING: Final = frozenset({"not_null", "finite"})
"""Rules that a decoded value cannot break: JSON has no NaN and no infinity, and a value that is missing does not reach the rules."""

BROKEN_BY_A_GAP: Final = frozenset({"any_given"})
"""Rules that a row breaks by what it lacks. Of a rejected line, whose field may be missing because it is bad, they say nothing."""


class CompiledRelation:
    """The decoder, the rules and the slice columns of a relation. May be used by several threads at once.

    Args:
        relation: the relation that lines are to be rows of.
        natively: whether to decode with the native library or in Python alone; None takes the library if it has been built.

    Raises:
        RuntimeError: the native library is asked for, and has not been built.
    """

    def __init__(self, relation: Relation, *, natively: bool | None = None) -> None:
        if natively is None:
            natively = native.library() is not None
        kind = NativeDecoder if natively else PythonDecoder
        self.relation: Final = relation
        self.natively: Final = natively
        self.rules: Final[tuple[RowRule, ...]] = tuple(row_rules(relation))
        left_out = ENSURED_BY_DECODING | BROKEN_BY_A_GAP
        self.value_rules: Final = tuple(rule for rule in self.rules if rule.rule not in left_out)
        """The rules for the partial rows of rejected lines, in which any field may be missing: each of them holds where it is NULL."""
        self.slice_columns: Final = slice_columns(relation)
        partial = partial_relation(relation, self.value_rules)
        decoder: Decoder = (
            kind(relation) if partial is None else kind(relation, partial.field_names, kind(partial))
        )
        former = former_names(relation)
        self.decoder: Final[Decoder] = RenamingDecoder(decoder, former) if former else decoder


def slice_columns(relation: Relation) -> dict[str, pl.Expr]:
    """Expressions of a row's `date` (the UTC day of a TIMESTAMP) and `environment`; those that the relation is sliced by."""
    if relation.partitioning is None:
        return {}
    date = relation.partitioning.date
    column = pl.col(date)
    columns = {"date": column.dt.date() if relation.field(date).type == "TIMESTAMP" else column}
    if relation.partitioning.environment is not None:
        columns["environment"] = pl.col(relation.partitioning.environment)
    return columns


def partial_relation(relation: Relation, value_rules: tuple[RowRule, ...]) -> Relation | None:
    """What the valid fields of a rejected line are decoded as: the fields that rules or slices look at, none of them required.

    None if rules and slices look at no field.
    """
    checked = {name for rule in value_rules for name in rule.holds.meta.root_names()}
    if relation.partitioning is not None:
        checked |= {
            relation.partitioning.date,
            relation.partitioning.environment or relation.partitioning.date,
        }
    fields = tuple(_optional(field) for field in relation.fields if field.name in checked)
    if not fields:
        return None
    return relation.model_copy(update={"fields": fields, "checks": (), "partitioning": None})


def _optional(field: Field) -> Field:
    mode = field.mode if field.repeated else "NULLABLE"
    fields = tuple(map(_optional, field.fields))
    return field.model_copy(update={"mode": mode, "fields": fields, "checks": ()})
