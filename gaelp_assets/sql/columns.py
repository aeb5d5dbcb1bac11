"""Names of a result's columns where the query gives none: `f0_`, `f1_`, ... as BigQuery calls them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp


def name_columns(tree: exp.Query) -> exp.Query:
    """Gives each column of the outermost query that has no name one; the tree itself is changed, and returned.

    A column has a name by `AS`, or where it is a column or a field of a record.
    """
    from sqlglot import exp

    query: exp.Expr = tree
    while isinstance(query, exp.SetOperation | exp.Subquery):
        query = query.this
    if not isinstance(query, exp.Select):
        return tree
    number = 0
    for projection in list(query.expressions):
        if isinstance(projection.unnest(), exp.Alias | exp.Column | exp.Dot | exp.Star):
            continue
        projection.replace(exp.alias_(projection.copy(), f"f{number}_"))
        number += 1
    return tree
