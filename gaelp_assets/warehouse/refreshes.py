"""What was written when, and what was computed from what: the questions about `ops.import_logs` and `ops.refreshes`, as GoogleSQL.

An *entry* is what has put rows into a slice: a row of the ledger for a loaded table, the newest refresh for a derived one. What a refresh
has read is kept as the number and a digest of the entries of its sources, taken in its own transaction. Where they differ from the
entries that are there now, the slice is stale: no clock and no order of commits is asked.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.catalog.derivation import code_version, slice_dimensions, slice_sources
from gaelp_assets.catalog.model import ReadsSlices
from gaelp_assets.catalog.window_sql import query_of_windows, text_literal
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.warehouse.ledger import LEDGER, REFRESHES
from gaelp_assets.warehouse.parameters import ParameterValue
from gaelp_assets.warehouse.ranges import PartitionRange
from gaelp_assets.warehouse.slices import Rectangle, rectangles

if TYPE_CHECKING:
    import polars as pl


class Why(StrEnum):
    """Why a slice of a derived relation is stale."""

    NEVER_COMPUTED = "never computed"
    NEW_ROWS = "new rows"
    OTHER_CODE = "other code"
    """Its rows were computed by another version of the SQL, of a view that it reads through, or of the columns."""


# A moment in microseconds is summed modulo a prime: the sum of 9 thousand million of them fits into INT64.
_DIGEST: Final = "SUM(MOD(UNIX_MICROS({moment}), 1000000007))"
_WRITTEN_AT: Final = "COALESCE(written_at, loaded_at)"
_SLICE: Final = "dataset, `table`, slice_date, slice_environment"

_NEWEST: Final = (
    "ROW_NUMBER() OVER (PARTITION BY dataset, `table`, slice_date, slice_environment ORDER BY {moment} DESC)"
)
_MADE: Final = f"""
  SELECT {_SLICE}, refreshed_at, code_version, read_entries, read_digest
  FROM (SELECT *, {_NEWEST.format(moment="refreshed_at")} AS place FROM {REFRESHES})
  WHERE place = 1"""
_ENTRIES: Final = f"""
  SELECT {_SLICE}, COUNT(*) AS entries, {_DIGEST.format(moment=_WRITTEN_AT)} AS digest
  FROM {LEDGER}
  WHERE mode <> 'sort'
  GROUP BY dataset, `table`, slice_date, slice_environment
  UNION ALL
  SELECT {_SLICE}, 1 AS entries, MOD(UNIX_MICROS(refreshed_at), 1000000007) AS digest
  FROM made"""

REFRESH_COLUMNS: Final = (
    "dataset", "table", "slice_date", "slice_environment", "code_version", "refreshed_at", "read_entries",
    "read_digest", "run_id",
)  # fmt: skip
"""The columns of `refresh_entries`, in their order."""


def refresh_entries(catalog: Catalog, relation: Relation, slices: Sequence[Slice]) -> str:
    """A query of one row for each slice: what their refresh enters into `ops.refreshes`, in its own transaction. Parameter: `run_id`."""
    sources = slice_sources(catalog, relation)
    by_date, by_environment = slice_dimensions(relation)
    conditions = [" OR ".join(_is(source) for source in sources) or "FALSE"]
    if by_date:
        conditions += _days(relation)
    if by_environment:
        conditions.append("entry.slice_environment = wanted.slice_environment")
    joined = " AND ".join(f"({condition})" for condition in conditions)
    return f"""WITH made AS ({_MADE}
), entry AS ({_ENTRIES}
), wanted AS (
  {_union([_wanted(found) for found in rectangles(slices)])}
)
SELECT {_text(relation.dataset)} AS dataset, {_text(relation.name)} AS `table`, wanted.slice_date, wanted.slice_environment,
  {_text(code_version(catalog, relation))} AS code_version, CURRENT_TIMESTAMP() AS refreshed_at,
  COALESCE(SUM(entry.entries), 0) AS read_entries, COALESCE(SUM(entry.digest), 0) AS read_digest, @run_id AS run_id
FROM wanted
LEFT JOIN entry ON {joined}
GROUP BY wanted.slice_date, wanted.slice_environment"""


def refuse_to_query(relation: Relation) -> None:
    """Nothing, if the relation is one that a warehouse computes and keeps by its SQL.

    Raises:
        GaelpError: it is not.
    """
    if not (relation.is_derived and relation.is_stored):
        raise GaelpError(
            Problem(f"a {relation.kind} is not refreshed", relation.id, "a stored derived relation")
        )
    if relation.sql is None:
        raise GaelpError(
            Problem(
                "its rows are computed by a function",
                relation.id,
                "a relation with SQL",
                "See `operations.compute`.",
            )
        )


def query_of_slices(
    catalog: Catalog, relation: Relation, slices: Sequence[Slice]
) -> tuple[str, dict[str, ParameterValue]]:
    """The GoogleSQL of a refresh, of whose rows those of the slices are taken, and its parameters. That of windows reads their days alone.

    Args:
        catalog: what the relation is of.
        relation: one that is computed by SQL.
        slices: slices of it.
    """
    assert relation.sql is not None
    dates = [found.date for found in slices if found.date is not None]
    if relation.window is None or not dates:
        return relation.sql, {}
    source, last = catalog[relation.window.source], max(dates)
    if relation.reads_slices is not None and relation.reads_slices.after != "all":
        last += dt.timedelta(days=relation.reads_slices.after)
    days, parameters = PartitionRange(min(dates), last).condition(source, "s", prefix="read_")
    return query_of_windows(relation, source, days), parameters


def known_entries(entries: pl.DataFrame) -> str:
    """A query of the rows that `refresh_entries` gave earlier, for a refresh that has read its sources since. Parameter: `run_id`.

    What was written to the sources in between is not in them: the slice is stale then, and is computed once more.
    """
    return _union(
        [
            f"SELECT {_text(row['dataset'])} AS dataset, {_text(row['table'])} AS `table`, {_date(row['slice_date'])} AS slice_date, "
            f"{_text(row['slice_environment'])} AS slice_environment, {_text(row['code_version'])} AS code_version, "
            f"CURRENT_TIMESTAMP() AS refreshed_at, {row['read_entries']:d} AS read_entries, {row['read_digest']:d} AS read_digest, "
            "@run_id AS run_id"
            for row in entries.iter_rows(named=True)
        ]
    )


def _wanted(found: Rectangle) -> str:
    dates, environments = found.dates, found.environments
    if len(dates) == len(environments) == 1:
        return f"SELECT {_date(dates[0])} AS slice_date, {_text(environments[0])} AS slice_environment"
    listed = ", ".join(map(_date, dates)), ", ".join(map(_text, environments))
    return (
        f"SELECT slice_date, slice_environment FROM UNNEST([{listed[0]}]) AS slice_date "
        f"CROSS JOIN UNNEST([{listed[1]}]) AS slice_environment"
    )


def _days(relation: Relation) -> list[str]:
    """The conditions on the days of the entries that a slice is made of."""
    window = relation.reads_slices or ReadsSlices()
    found = []
    if window.before != "all":
        found.append(f"entry.slice_date >= DATE_SUB(wanted.slice_date, INTERVAL {window.before} DAY)")
    if window.after != "all":
        found.append(f"entry.slice_date <= DATE_ADD(wanted.slice_date, INTERVAL {window.after} DAY)")
    return found


def stale_query(
    catalog: Catalog, limit: int, today: dt.date, first_date: dt.date = dt.date.min
) -> str | None:
    """A query of the stale slices of stored derived relations; None if the catalogue has no such relation.

    Columns: `dataset`, `table`, `slice_date`, `slice_environment`, `why` (a word of `Why`). At most `limit` rows of each relation: slices
    whose sources have changed come before those whose code alone has, and new dates before old ones. Slices whose source is not kept any
    more on that day (UTC) are stale only if it has other rows since: computed again, what they hold would be gone, also where they
    were computed before `ops.refreshes` told of it.

    A slice that is made of other days too (`reads_slices`) is stale with each of them, and there is one for each day within reach of a
    source's day: what is shifted by a day has a slice where its source has none. Nothing before `first_date` is stale.
    """
    readers = [relation for relation in catalog.derived if relation.is_stored]
    linked = [(reader, source) for reader in readers for source in slice_sources(catalog, reader)]
    if not linked:
        return None
    windowed = [
        reader for reader in readers if reader.reads_slices is not None and slice_sources(catalog, reader)
    ]
    with_windows = "".join(
        f""", {_window_name(number)} AS (
  {_window(reader, today)}
)"""
        for number, reader in enumerate(windowed)
    )
    from_windows = "".join(
        f"""
  UNION ALL
  SELECT {_SLICE}, entries, digest, 0 AS made, 0 AS read_entries, 0 AS read_digest, '' AS code_version
  FROM {_window_name(number)}"""
        for number in range(len(windowed))
    )
    versions = [
        f"SELECT {_text(reader.dataset)} AS dataset, {_text(reader.name)} AS `table`, "
        f"{_text(code_version(catalog, reader))} AS wanted, {_date(_kept_since(catalog, reader, today))} AS kept_since"
        for reader in readers
    ]
    return f"""WITH link AS (
  {_union([_link(reader, source) for reader, source in linked])}
), version AS (
  {_union(versions)}
), made AS ({_MADE}
), entry AS ({_ENTRIES}
), read AS (
  SELECT link.reader_dataset AS dataset, link.reader AS `table`, link.windowed,
    IF(link.by_date, entry.slice_date, NULL) AS slice_date,
    IF(link.by_environment, entry.slice_environment, NULL) AS slice_environment, entry.entries, entry.digest
  FROM entry
  INNER JOIN link ON link.source_dataset = entry.dataset AND link.source = entry.`table`
){with_windows}, slice AS (
  SELECT {_SLICE}, entries, digest, 0 AS made, 0 AS read_entries, 0 AS read_digest, '' AS code_version
  FROM read
  WHERE NOT windowed
  UNION ALL
  SELECT {_SLICE}, 0 AS entries, 0 AS digest, 1 AS made, read_entries, read_digest, code_version
  FROM made{from_windows}
), compared AS (
  SELECT {_SLICE}, SUM(entries) AS entries, SUM(digest) AS digest, SUM(made) AS made, SUM(read_entries) AS read_entries,
    SUM(read_digest) AS read_digest, MAX(code_version) AS code_version
  FROM slice
  GROUP BY dataset, `table`, slice_date, slice_environment
), judged AS (
  SELECT compared.dataset, compared.`table`, compared.slice_date, compared.slice_environment,
    CASE
      WHEN compared.slice_date < {_date(first_date)} THEN ''
      WHEN compared.made > 0 AND (compared.entries <> compared.read_entries OR compared.digest <> compared.read_digest)
        THEN '{Why.NEW_ROWS}'
      WHEN compared.slice_date < version.kept_since THEN ''
      WHEN compared.made = 0 THEN '{Why.NEVER_COMPUTED}'
      WHEN compared.code_version <> version.wanted THEN '{Why.OTHER_CODE}'
      ELSE ''
    END AS why
  FROM compared
  INNER JOIN version ON version.dataset = compared.dataset AND version.`table` = compared.`table`
), ordered AS (
  SELECT {_SLICE}, why, ROW_NUMBER() OVER (
    PARTITION BY dataset, `table` ORDER BY why = '{Why.OTHER_CODE}', slice_date DESC, slice_environment
  ) AS place
  FROM judged
  WHERE why <> ''
)
SELECT {_SLICE}, why
FROM ordered
WHERE place <= {int(limit)}
ORDER BY place, dataset, `table`"""


def with_ledgers(catalog: Catalog, relations: Sequence[Relation]) -> list[Relation]:
    """These relations and, where a stored derived one is among them, those that a refresh reads and writes beside it.

    A catalogue that lacks them can be deployed, and nothing of it refreshed.
    """
    computed = any(relation.is_derived and relation.is_stored for relation in relations)
    ledgers = [catalog.relations[name] for name in (LEDGER, REFRESHES) if name in catalog.relations]
    return [*relations, *(ledgers if computed else ())]


def forget_statement(relation: Relation, refreshes: str) -> str:
    """What takes a relation out of `ops.refreshes`, whose quoted name is given: its slices have yet to be computed.

    The text is SQL of both engines: the column `table` is named through an alias, as they quote it in different ways.
    """
    return f"DELETE FROM {refreshes} AS made WHERE made.dataset = '{relation.dataset}' AND made.table = '{relation.name}'"


WRITERS_QUERY: Final = f"""WITH written AS (
  SELECT {_SLICE}, {_WRITTEN_AT} AS written_at, run_id, loaded
  FROM {LEDGER}
  WHERE mode <> 'sort'
  UNION ALL
  SELECT {_SLICE}, refreshed_at AS written_at, run_id, NULL AS loaded
  FROM {REFRESHES}
)
SELECT {_SLICE}, written_at, run_id, row_count
FROM (
  SELECT *, {_NEWEST.format(moment="written_at")} AS place,
    SUM(loaded) OVER (PARTITION BY dataset, `table`, slice_date, slice_environment) AS row_count
  FROM written
)
WHERE place = 1 AND written_at >= @since"""
"""A query of the slices that were written since a moment, with the newest write of each, its run, and a loaded table's rows.
Parameter: `since`, a TIMESTAMP."""


def _link(reader: Relation, source: Relation) -> str:
    by_date, by_environment = slice_dimensions(reader)
    return (
        f"SELECT {_text(reader.dataset)} AS reader_dataset, {_text(reader.name)} AS reader, "
        f"{_text(source.dataset)} AS source_dataset, {_text(source.name)} AS source, "
        f"{by_date} AS by_date, {by_environment} AS by_environment, {reader.reads_slices is not None} AS windowed"
    )


def _window_name(number: int) -> str:
    return f"window_{number}"


def _window(reader: Relation, today: dt.date) -> str:
    """The entries within reach of each slice of a relation that is made of other days too, summed.

    A running total of the entries by day is looked up at both ends of a slice's days: one pass, however many days these are.
    """
    days = reader.reads_slices or ReadsSlices()
    reach_back = 0 if days.before == "all" else days.before
    reach_ahead = 0 if days.after == "all" else days.after
    name = f"dataset = {_text(reader.dataset)} AND `table` = {_text(reader.name)}"
    until = (
        "DATE '9999-12-31'" if days.after == "all" else f"DATE_ADD(slice_date, INTERVAL {reach_ahead} DAY)"
    )
    first = (
        ""
        if days.before == "all"
        else f"""
      UNION ALL
      SELECT slice_date, slice_environment, DATE_SUB(slice_date, INTERVAL {reach_back + 1} DAY) AS day, -1 AS sign,
        0 AS entries, 0 AS digest
      FROM due"""
    )
    return f"""SELECT {_text(reader.dataset)} AS dataset, {_text(reader.name)} AS `table`, slice_date, slice_environment,
    SUM(sign * entries) AS entries, SUM(sign * digest) AS digest
  FROM (
    SELECT slice_date, slice_environment, sign, SUM(entries) OVER (PARTITION BY slice_environment ORDER BY day) AS entries,
      SUM(digest) OVER (PARTITION BY slice_environment ORDER BY day) AS digest
    FROM (
      WITH due AS (
        SELECT DISTINCT day AS slice_date, read.slice_environment
        FROM read
        CROSS JOIN UNNEST(GENERATE_DATE_ARRAY(
          DATE_SUB(read.slice_date, INTERVAL {reach_ahead} DAY), DATE_ADD(read.slice_date, INTERVAL {reach_back} DAY)
        )) AS day
        WHERE {name} AND day <= {_date(today + dt.timedelta(days=1))}
        UNION DISTINCT
        SELECT slice_date, slice_environment FROM made WHERE {name}
      )
      SELECT slice_date, slice_environment, slice_date AS day, 0 AS sign, entries, digest FROM read WHERE {name}
      UNION ALL
      SELECT slice_date, slice_environment, {until} AS day, 1 AS sign, 0 AS entries, 0 AS digest FROM due{first}
    )
  )
  WHERE sign <> 0
  GROUP BY slice_date, slice_environment"""


def _kept_since(catalog: Catalog, reader: Relation, today: dt.date) -> dt.date | None:
    """The first date of which all slices' sources are kept; None if they are always kept."""
    days = [s.retention_days for s in slice_sources(catalog, reader) if s.retention_days is not None]
    return today - dt.timedelta(days=min(days)) if days else None


def _union(queries: Sequence[str]) -> str:
    return "\n  UNION ALL ".join(queries)


def _is(source: Relation) -> str:
    return f"entry.dataset = {_text(source.dataset)} AND entry.`table` = {_text(source.name)}"


def _date(date: dt.date | None) -> str:
    return "CAST(NULL AS DATE)" if date is None else f"DATE '{date.isoformat()}'"


def _text(value: str | None) -> str:
    """A STRING constant."""
    return "CAST(NULL AS STRING)" if value is None else text_literal(value)
