"""The one SELECT that answers a request, and its parameters: names from the catalogue in quotes, values never in the text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.operations.query_parameters import value_of
from gaelp_assets.serve.asking import GOOGLESQL, Asked
from gaelp_assets.warehouse.parameters import ParameterValue

# NaN has no place in an order that both engines agree on.
_ORDERED = frozenset(GOOGLESQL) - {"FLOAT"}


def key_of(relation: Relation, withheld: frozenset[str]) -> tuple[str, ...] | None:
    """The fields by whose values a page begins; None where there is no such key, or the asker may not see it."""
    key = relation.primary_key
    if not key or withheld.intersection(key):
        return None
    return key if all(_is_ordered(relation, name) for name in key) else None


def statement(asked: Asked, withheld: frozenset[str]) -> tuple[str, dict[str, ParameterValue]]:
    """The query of a page and of one row more, which tells whether another page follows; and its parameters.

    Columns of the key that nobody asked for are read too.

    Raises:
        GaelpError: the page's token has another key than the relation.
    """
    relation, key = asked.relation, key_of(asked.relation, withheld)
    conditions: list[str] = []
    parameters: dict[str, ParameterValue] = {}
    if asked.scope is not None:
        condition, parameters = asked.scope.condition(relation, "t")
        conditions.append(condition)
    for number, (name, values) in enumerate(asked.equal.items()):
        conditions.append(f"t.`{name}` IN UNNEST(@is_{number})")
        parameters[f"is_{number}"] = values
    if asked.page.after is not None:
        condition, found = _after(relation, key or (), asked.page.after)
        conditions.append(condition)
        parameters |= found
    ordered = key or [n for n in relation.field_names if n not in withheld and _is_ordered(relation, n)]
    columns = dict.fromkeys([*asked.columns, *(key or ())])
    text = f"SELECT {', '.join(f't.`{name}`' for name in columns)} FROM {relation.quoted_id} AS t"
    if conditions:
        text += f" WHERE {' AND '.join(conditions)}"
    if ordered:
        text += f" ORDER BY {', '.join(f't.`{name}`' for name in ordered)}"
    text += f" LIMIT {int(asked.rows) + 1}"
    if asked.page.skip:
        text += f" OFFSET {int(asked.page.skip)}"
    return text, parameters


def _is_ordered(relation: Relation, name: str) -> bool:
    field = relation.field(name)
    return field.type in _ORDERED and not field.repeated


def _after(
    relation: Relation, key: Sequence[str], values: Sequence[object]
) -> tuple[str, dict[str, ParameterValue]]:
    """The condition that a row's key is greater than that one, NULL being the least."""
    if len(key) != len(values):
        raise GaelpError(_of_another_key())
    parameters: dict[str, ParameterValue] = {}
    condition = ""
    for number, (name, value) in reversed([*enumerate(zip(key, values, strict=True))]):
        column = f"t.`{name}`"
        if value is None:
            greater, same = f"{column} IS NOT NULL", f"{column} IS NULL"
        else:
            parameters[f"after_{number}"] = _key_value(relation, name, value)
            greater, same = f"{column} > @after_{number}", f"{column} = @after_{number}"
        condition = f"({greater} OR ({same} AND {condition}))" if condition else greater
    return f"({condition})", parameters


def _key_value(relation: Relation, name: str, value: object) -> ParameterValue:
    type_ = GOOGLESQL[relation.field(name).type]
    if type_ in {"BOOL", "INT64"}:
        fits = type(value) is (bool if type_ == "BOOL" else int)
        found = value_of(type_, str(value), "page") if fits else None
    else:
        found = value_of(type_, value, "page") if isinstance(value, str) else None
    if found is None or isinstance(found, Problem):
        raise GaelpError(_of_another_key())
    return found


def _of_another_key() -> Problem:
    return Problem("is a page of rows with another key", "page", remedy="Begin with the first page again.")
