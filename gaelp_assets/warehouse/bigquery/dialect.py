"""GoogleSQL as BigQuery is given it: types, full names of datasets and tables, quoting, constants, a slice as a condition."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from gaelp_assets.catalog import Field, Relation, Slice
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse import slices

GOOGLESQL: Final[Mapping[str, str]] = {
    "STRING": "STRING",
    "BYTES": "BYTES",
    "INTEGER": "INT64",
    "FLOAT": "FLOAT64",
    "NUMERIC": "NUMERIC",
    "BOOLEAN": "BOOL",
    "TIMESTAMP": "TIMESTAMP",
    "DATE": "DATE",
    "DATETIME": "DATETIME",
    "TIME": "TIME",
    "JSON": "JSON",
}
STAGING = "staging"
"""The dataset of what a write stages; the catalogue has none of that name, and its tables expire by themselves."""


@dataclass(frozen=True)
class Names:
    """Where the catalogue's datasets are: in a project, each with a prefix before its name."""

    project: str
    prefix: str

    def dataset_id(self, dataset: str) -> str:
        """`project.prefix_dataset`, as Google's client takes it."""
        return f"{self.project}.{self.prefix}{dataset}"

    def table_id(self, relation: Relation) -> str:
        """`project.prefix_dataset.name`, as Google's client takes it."""
        return f"{self.dataset_id(relation.dataset)}.{relation.name}"

    def staged_id(self, name: str) -> str:
        """The full name of a table in the staging dataset."""
        return f"{self.dataset_id(STAGING)}.{name}"

    def table(self, relation: Relation) -> str:
        """The full name, quoted for SQL."""
        return quote(self.table_id(relation))

    def qualify(self, sql: str, datasets: Collection[str]) -> str:
        """The same text with the project and the prefix before each of these datasets, where it names a table in one.

        Raises:
            GaelpError: the text is not one statement of GoogleSQL.
        """
        pieces, end = [], 0
        for start, stop, dataset in sorted(set(_datasets_named(parse_statement(sql), datasets))):
            rest = sql[start:stop].strip("`").removeprefix(dataset)
            pieces += [sql[end:start], quote(f"{self.project}.{self.prefix}{dataset}{rest}")]
            end = stop
        return "".join([*pieces, sql[end:]])


def parse_statement(sql: str) -> exp.Expr:
    """The tree of one GoogleSQL statement.

    Raises:
        GaelpError: it cannot be read, or there are several.
    """
    try:
        trees = [tree for tree in sqlglot.parse(sql, dialect="bigquery") if tree is not None]
    except SqlglotError as error:
        raise GaelpError(
            Problem(f"cannot be read as GoogleSQL: {str(error).splitlines()[0]}", "query", "one SELECT")
        ) from None
    if len(trees) != 1:
        raise GaelpError(Problem(f"holds {len(trees)} statements", "query", "one SELECT"))
    return trees[0]


def selected(sql: str) -> str:
    """The text of a query without its closing semicolon.

    Raises:
        GaelpError: it is not one SELECT.
    """
    tree = parse_statement(sql)
    if not isinstance(tree, exp.Query):
        raise GaelpError(
            Problem(f"a {tree.key.upper()} is not a query", "query", "one SELECT, which changes nothing")
        )
    if any(isinstance(table.this, exp.Func) for table in tree.find_all(exp.Table)):
        raise GaelpError(Problem("reads a table function", "query", "relations of the catalogue"))
    return sql.strip().rstrip(";").rstrip()


def _datasets_named(tree: exp.Expr, datasets: Collection[str]) -> Iterator[tuple[int, int, str]]:
    """Start and end of each identifier in the text that names a dataset, and the dataset."""
    for table in tree.find_all(exp.Table):
        dataset = table.args.get("db")
        if (
            table.args.get("catalog") is None
            and isinstance(dataset, exp.Identifier)
            and dataset.name in datasets
        ):
            yield int(dataset.meta["start"]), int(dataset.meta["end"]) + 1, dataset.name


def quote(name: str) -> str:
    """A name (a whole path too) as a GoogleSQL identifier; the catalogue's names hold no backquote."""
    return f"`{name}`"


def googlesql_type(field: Field) -> str:
    """The GoogleSQL type of a field: `INT64`, `ARRAY<FLOAT64>`, ``ARRAY<STRUCT<`field` STRING>>``."""
    if field.type == "RECORD":
        base = f"STRUCT<{', '.join(f'`{part.name}` {googlesql_type(part)}' for part in field.fields)}>"
    else:
        base = GOOGLESQL[field.type]
    return f"ARRAY<{base}>" if field.repeated else base


def columns(fields: Sequence[Field], prefix: str = "") -> str:
    """The fields' names as a list for SQL, each after the prefix."""
    return ", ".join(prefix + quote(field.name) for field in fields)


def literal(value: str | dt.date | dt.datetime | None) -> str:
    """A constant in GoogleSQL: text, a date, or a moment (which must have a time zone); NULL for None."""
    if value is None:
        return "NULL"
    if isinstance(value, dt.datetime):
        return f"TIMESTAMP '{value.astimezone(dt.UTC).isoformat(sep=' ')}'"
    if isinstance(value, dt.date):
        return f"DATE '{value.isoformat()}'"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def slice_condition(relation: Relation, slice_: Slice, prefix: str = "") -> str:
    """The slice as a GoogleSQL condition of constants (see `slices.slice_condition`)."""
    return slices.slice_condition(relation, slice_, prefix, quote, literal)


def slices_condition(relation: Relation, slices_: Sequence[Slice]) -> str:
    """Several slices as one condition (see `slices.slices_condition`)."""
    return slices.slices_condition(relation, slices_, "", quote, literal)
