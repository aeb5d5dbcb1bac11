"""GoogleSQL to DuckDB. Here: the way through; what is allowed is in `functions`, what is mended is in `transforms`."""

from __future__ import annotations

from functools import lru_cache

from gaelp_assets.errors import GaelpError, Problem


@lru_cache(maxsize=1024)
def to_duckdb(sql: str) -> str:
    """One GoogleSQL query as DuckDB's SQL, with `@name` parameters as `$name`.

    The session that runs it must have `TimeZone = 'UTC'`.

    Raises:
        GaelpError: not one query, or something in it gives other results in DuckDB.
    """
    import sqlglot
    from sqlglot import exp

    try:
        statements = [s for s in sqlglot.parse(sql, dialect="bigquery") if s is not None]
    except sqlglot.errors.SqlglotError as error:
        raise GaelpError(Problem(str(error).splitlines()[0], "SQL", "one GoogleSQL SELECT statement")) from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise GaelpError(Problem("not one SELECT statement", "SQL", "one GoogleSQL SELECT statement"))
    return statements[0].sql(dialect="duckdb")
