"""Rectangles of a relation's rows, days times environments, as conditions in GoogleSQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from gaelp_assets.catalog import Relation
from gaelp_assets.warehouse.parameters import ParameterValue


@dataclass(frozen=True)
class PartitionRange:
    """A rectangle of a table for SQL: the days from `first` to `last` of one environment, of several, or of all."""

    first: dt.date
    last: dt.date
    environment: str | None = None
    environments: tuple[str, ...] = ()

    def condition(
        self, relation: Relation, alias: str, *, prefix: str = ""
    ) -> tuple[str, dict[str, ParameterValue]]:
        """A GoogleSQL condition on the table's partitioning fields, and its parameters (named with the prefix)."""
        if relation.partitioning is None:
            return "TRUE", {}
        date = f"{alias}.`{relation.partitioning.date}`"
        first: dt.date = self.first
        after: dt.date = self.last + dt.timedelta(days=1)
        if relation.field(relation.partitioning.date).type == "TIMESTAMP":
            first, after = (dt.datetime.combine(day, dt.time(), dt.UTC) for day in (first, after))
        sql = f"{date} >= @{prefix}first AND {date} < @{prefix}after"
        parameters: dict[str, ParameterValue] = {f"{prefix}first": first, f"{prefix}after": after}
        if self.environment is not None and relation.partitioning.environment is not None:
            sql += f" AND {alias}.`{relation.partitioning.environment}` = @{prefix}environment"
            parameters[f"{prefix}environment"] = self.environment
        elif self.environments and relation.partitioning.environment is not None:
            sql += f" AND {alias}.`{relation.partitioning.environment}` IN UNNEST(@{prefix}environments)"
            parameters[f"{prefix}environments"] = self.environments
        return sql, parameters


def together(covered: Sequence[PartitionRange]) -> list[PartitionRange]:
    """As few rectangles as cover the same rows: environments of the same days in one, for questions about each row by itself.

    >>> day = dt.date(2026, 11, 20)
    >>> [len(found.environments) for found in together([PartitionRange(day, day, name) for name in ("a", "b")])]
    [2]
    """
    found: dict[tuple[dt.date, dt.date], list[PartitionRange]] = {}
    for scope in covered:
        found.setdefault((scope.first, scope.last), []).append(scope)
    merged = []
    for (first, last), alike in found.items():
        names = tuple(scope.environment for scope in alike if scope.environment is not None)
        merged += [PartitionRange(first, last, environments=names)] if len(alike) == len(names) > 1 else alike
    return merged
