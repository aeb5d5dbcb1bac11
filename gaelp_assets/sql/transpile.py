"""GoogleSQL to DuckDB. Here: the way through; what is allowed is in `functions`, what is mended is in `transforms*`.

What holds of the result: whenever GoogleSQL gives a result from finite numbers, DuckDB gives the same (floating point sums and
transcendental functions up to the last digits). Where GoogleSQL has an error, DuckDB has one too, with one exception: the overflow of
FLOAT64 `+`, `-`, `*` or SUM is an infinity in DuckDB. Values of type NUMERIC may be passed through and compared, not computed with.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, cast

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.sql.columns import name_columns
from gaelp_assets.sql.functions import problems_of

if TYPE_CHECKING:
    from sqlglot import exp


@lru_cache(maxsize=1024)
def to_duckdb(sql: str) -> str:
    """One GoogleSQL query as DuckDB's SQL, with `@name` parameters as `$name`.

    The session that runs it must have `TimeZone = 'UTC'`.

    Raises:
        GaelpError: not one query, or something in it that is not on the list of `functions`; all such things at once.
    """
    tree = parse(sql)
    problems = problems_of(tree)
    if problems:
        raise GaelpError(*problems)
    return translate(name_columns(tree)).sql(dialect="duckdb", comments=False)


def parse(sql: str) -> exp.Query:
    """The tree of one GoogleSQL query.

    Raises:
        GaelpError: the text is not one query; the message names line and column.
    """
    import sqlglot
    from sqlglot import exp

    expected = "one GoogleSQL SELECT statement"
    try:
        statements = [s for s in sqlglot.parse(sql, dialect="bigquery") if s is not None]
    except sqlglot.errors.ParseError as error:
        first = error.errors[0]
        place = f"SQL, line {first['line']}, column {first['col']}"
        raise GaelpError(Problem(str(first["description"]), place, expected)) from None
    except sqlglot.errors.SqlglotError as error:
        raise GaelpError(Problem(str(error).splitlines()[0], "SQL", expected)) from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise GaelpError(Problem("not one SELECT statement", "SQL", expected))
    return statements[0]


def translate(tree: exp.Query) -> exp.Expr:
    """The tree in DuckDB's terms, the innermost expressions first.

    Raises:
        GaelpError: a form of an allowed function that has no equal.
    """
    from sqlglot import exp

    from gaelp_assets.sql import transforms, transforms_cast, transforms_text, transforms_time
    from gaelp_assets.sql.template import null_instead_of_error

    rules = {
        **transforms.TRANSFORMS,
        **transforms_text.TRANSFORMS,
        **transforms_time.TRANSFORMS,
        **transforms_cast.TRANSFORMS,
    }
    root = exp.Tuple(expressions=[tree.copy()])
    for node in reversed(list(root.expressions[0].walk(bfs=False))):
        rule = rules.get(type(node))
        if isinstance(node.parent, exp.SafeFunc):
            node.parent.replace(null_instead_of_error(node, rule(node) if rule else node))
        elif rule is not None:
            becomes = rule(node)
            function_to_operator = isinstance(node, exp.Func) or not isinstance(node, exp.Binary)
            if function_to_operator and isinstance(becomes, exp.Binary) and not isinstance(becomes, exp.Dot):
                becomes = exp.Paren(this=becomes)
            if becomes is not node:
                node.replace(becomes)
    return cast("exp.Expr", root.expressions[0])
