"""The SQL of one write, as text: how staged rows are settled by key, and the one transaction that enters them. Nothing is run here.

Every statement names its slice by constants, so that BigQuery reads one partition and no other. What differs from write to write
(batches, moments, counts) travels as parameters that hold JSON.

Two transactions that only add rows do not disturb each other in BigQuery, and each would see the slice without the other's rows. So
each write of a relation first changes the one row of the relation's lock table: of two at once BigQuery cancels one
(https://cloud.google.com/bigquery/docs/transactions#transaction_concurrency), and that one plans again.

Aliases start with an underscore: a column of the catalogue that is called `s` must not be taken for a table of that alias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gaelp_assets.catalog import Catalog, Relation, Slice
from gaelp_assets.catalog.definition import definition_of
from gaelp_assets.catalog.keys import spans_slices
from gaelp_assets.catalog.model import Latest
from gaelp_assets.catalog.slices import WHOLE
from gaelp_assets.warehouse.bigquery import keys
from gaelp_assets.warehouse.bigquery.dialect import (
    Names,
    columns,
    literal,
    quote,
    slice_condition,
    slices_condition,
)
from gaelp_assets.warehouse.bigquery.errors import CHANGED, KEY_ELSEWHERE
from gaelp_assets.warehouse.bigquery.ledger import of_slice, of_table
from gaelp_assets.warehouse.bigquery.staged_values import as_text, fits, unstaged
from gaelp_assets.warehouse.ledger import REFRESHES, WriteMode
from gaelp_assets.warehouse.loader import SliceWrite
from gaelp_assets.warehouse.refreshes import REFRESH_COLUMNS, refresh_entries


@dataclass(frozen=True)
class WriteScript:
    """The statements of one write of one slice.

    `rows`, `letters` and `fates` are the full names of staged tables: clean rows, dead letters, and fates of rows whose key is
    contested. None where there is nothing of that kind.
    """

    names: Names
    write: SliceWrite
    ledger: Relation
    dead_letter: Relation
    lock: str
    rows: str | None = None
    shared: Sequence[str] = ()
    """The batches of the write, where `rows` holds those of other writes, too."""
    dead_letters: str | None = None
    counts: str | None = None
    replaces: bool = False
    """Whether rows that the slice holds make way for later versions."""
    across: bool = False
    """Whether rows are settled with those of other slices too."""
    displaces: bool = False
    """Whether rows that other slices hold make way for later versions."""

    @property
    def _sorts(self) -> bool:
        return self.write.mode is WriteMode.SORT

    @property
    def _rebuilds(self) -> bool:
        return self.write.mode is WriteMode.REBUILD

    @property
    def _table(self) -> str:
        return self.names.table(self.write.relation)

    @property
    def _slice(self) -> Slice:
        return WHOLE if self._sorts else self.write.slice

    @property
    def staged(self) -> str:
        """The write's clean rows, as what stands behind FROM."""
        if not self.shared:
            return quote(self.rows or "")
        listed = ", ".join(literal(batch) for batch in self.shared)
        return f"(SELECT * FROM {quote(self.rows or '')} WHERE _batch_id IN ({listed}))"

    def _in_slice(self, prefix: str = "") -> str:
        return slice_condition(self.write.relation, self.write.slice, prefix)

    def _of_slice(self) -> str:
        return of_slice(self.write.relation, self._slice, sorts=self._sorts)

    def merge_query(self) -> str:
        """A query of the fate of each row whose key is contested: staged twice, or held already, by the slice or (`across`) another.

        The rules are those of `warehouse.settle`. Parameter `batches`: the batch ids, in order, as a JSON array.
        Columns: `_batch_id`, `_line_number`, `_byte_offset`, `_held`, `_key`, `_fate`; `_slice_date` and `_slice_environment`, NULL but
        for a row that another slice holds, and for one that is in conflict with such a row.
        """
        assert self.rows is not None
        relation = self.write.relation
        conflict = relation.on_key_conflict
        staged_version, held_version = (
            f"{alias}.{quote(conflict.latest)}" if isinstance(conflict, Latest) else "0"
            for alias in ("_s", "_t")
        )
        staged_key = self._key("_s.", staged=True)
        fit = self._fit()
        unfit = (
            ""
            if fit == "TRUE"
            else f"""
        UNION ALL
        SELECT _batch_id, _line_number, _byte_offset, FALSE, '', 'json_number', {", ".join(keys.NO_SLICE)}
        FROM {self.staged} AS _s WHERE NOT ({fit})"""
        )
        stored = among_held = ""
        for position, condition, (date, environment) in self._held_rows():
            stored += f"""
            UNION ALL
            SELECT {position}, _t._batch_id, 0, 0, TRUE, _t._row_hash, {held_version}, _k._key, {self._content("_t.", staged=False)},
                {date}, {environment}
            FROM (SELECT *, {self._key("_t.", staged=False)} AS _slice_key FROM {self._table} AS _t WHERE {condition}) AS _t
            INNER JOIN contested AS _k ON _k._key = _t._slice_key"""
            among_held += f"""
            UNION DISTINCT
            {self._keys_held(condition, "SELECT _key FROM staged_key")}"""
        return f"""
        WITH batch AS (
            SELECT batch_id, position FROM UNNEST(JSON_VALUE_ARRAY(@batches)) AS batch_id WITH OFFSET AS position
        ), staged_key AS (
            SELECT {staged_key} AS _key FROM {self.staged} AS _s WHERE {fit}
        ), contested AS (
            SELECT _key FROM staged_key GROUP BY _key HAVING COUNT(*) > 1{among_held}
        ), contender AS (
            SELECT _b.position AS _position, _s._batch_id, _s._line_number, _s._byte_offset, FALSE AS _held, _s._row_hash,
                {staged_version} AS _version, _k._key, {self._content("_s.", staged=True)} AS _content,
                {keys.NO_SLICE[0]} AS _slice_date, {keys.NO_SLICE[1]} AS _slice_environment
            FROM (SELECT *, {self._key("", staged=True)} AS _staged_key FROM {self.staged} AS _s WHERE {fit}) AS _s
            INNER JOIN batch AS _b ON _b.batch_id = _s._batch_id
            INNER JOIN contested AS _k ON _k._key = _s._staged_key{stored}
        ), ranked AS (
            SELECT *, DENSE_RANK() OVER (PARTITION BY _key ORDER BY _version) AS _rank FROM contender
        ), arrived AS (
            SELECT _batch_id, _line_number, _byte_offset, _held, _key, _row_hash, _content, _rank, _slice_date, _slice_environment,
                MAX(_rank) OVER (
                    PARTITION BY _key ORDER BY _position, _line_number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
                ) AS _rank_before,
                MAX(_rank) OVER (PARTITION BY _key) AS _best_rank,
                FIRST_VALUE(_row_hash) OVER (PARTITION BY _key, _rank ORDER BY _position, _line_number) AS _winner_hash,
                FIRST_VALUE(_content) OVER (PARTITION BY _key, _rank ORDER BY _position, _line_number) AS _winner_content,
                FIRST_VALUE(_slice_date) OVER (PARTITION BY _key, _rank ORDER BY _position, _line_number) AS _winner_date,
                FIRST_VALUE(_slice_environment) OVER (PARTITION BY _key, _rank ORDER BY _position, _line_number) AS _winner_environment
            FROM ranked
        )
        SELECT _batch_id, _line_number, _byte_offset, _held, _key,
            CASE
                WHEN _held AND _rank < _best_rank THEN 'replaced'
                WHEN _rank_before IS NULL OR _rank > _rank_before
                    THEN IF(_rank = _best_rank, 'loaded', 'replaced')
                WHEN _rank < _rank_before THEN 'duplicate'
                WHEN _row_hash = _winner_hash OR _content = _winner_content THEN 'duplicate'
                ELSE 'key_conflict'
            END AS _fate,
            IF(_held, _slice_date, _winner_date) AS _slice_date,
            IF(_held, _slice_environment, _winner_environment) AS _slice_environment
        FROM arrived{unfit}"""

    def _held_rows(self) -> list[tuple[int, str, tuple[str, str]]]:
        """The rows that the table holds and that staged ones can meet, first those of the slice: their position before all batches, their
        condition, and the date and environment of their slice if it is another one."""
        relation = self.write.relation
        found = [] if self._rebuilds else [(-2, self._in_slice("_t."), keys.NO_SLICE)]
        if self.across:
            condition = keys.elsewhere(relation, self.write.slice, "_t.")
            found.append((-1, condition, keys.slice_of(relation, "_t.")))
        return found

    def _keys_held(self, condition: str, among: str) -> str:
        key = self._key("_t.", staged=False)
        return (
            f"SELECT DISTINCT {key} AS _key FROM {self._table} AS _t WHERE {condition} AND {key} IN ({among})"
        )

    def count_fates(self) -> str:
        """A query of how many rows of each batch met each fate; `_held` tells rows that were held before, by the slice or another one."""
        assert self.counts is not None
        names = "_batch_id, _held, _fate, _slice_date, _slice_environment"
        return f"SELECT {names}, COUNT(*) AS _rows FROM {quote(self.counts)} GROUP BY {names}"

    def refused(self) -> str:
        """A query of the lines that are refused, with the rule: in conflict, or with a number that BigQuery would round."""
        assert self.counts is not None
        return (
            f"SELECT _batch_id, _line_number, _byte_offset, _fate, _slice_date, _slice_environment FROM {quote(self.counts)} "
            "WHERE NOT _held AND _fate IN ('key_conflict', 'json_number') "
            "ORDER BY _batch_id, _byte_offset"
        )

    def statements(self) -> list[str]:
        """The transaction, one statement each.

        Parameters: `seen` (fingerprint of the ledger that the plan saw), `holder` (who writes), `run_id`, `ledger` (a JSON array of
        the ledger's rows to add), `replaced` (a JSON array of `{batch_id, rows}`), `known` (a JSON array of the batch ids that a
        rebuild replaces), `seen_table` (the fingerprint of all slices that a plan `across` saw), `displaced` (see `keys`).
        """
        found = [
            "BEGIN TRANSACTION",
            f"UPDATE {quote(self.lock)} SET holder = @holder WHERE TRUE",
            f"ASSERT ({self.fingerprint()}) = @seen AS {literal(CHANGED)}",
        ]
        if self.across:
            seen = self.table_fingerprint()
            found.append(f"ASSERT ({seen}) = @seen_table AS {literal(CHANGED)}")
        if self._rebuilds:
            found.append(f"DELETE FROM {self._table} WHERE {self._in_slice()}")
        if self.replaces:
            found.append(self._delete_replaced())
        if self.displaces:
            found.append(self._delete_displaced())
        if self.rows is not None and not self.across and spans_slices(self.write.relation):
            found.append(self._assert_keys())
        if self.rows is not None:
            found.append(self._insert_rows())
        if self._rebuilds:
            found += self._replace_dead_letters()
            found.append(f"DELETE FROM {self.names.table(self.ledger)} WHERE {self._of_slice()}")
        elif self.dead_letters is not None:
            found.append(self._insert_dead_letters())
        if self.replaces:
            found.append(self._correct_ledger())
        if self.displaces:
            found.append(keys.displaced_correction(self.names, self.ledger, self.write.relation))
        found += [self._insert_ledger(), "COMMIT TRANSACTION"]
        return found

    def fingerprint(self) -> str:
        """A query of one text that differs whenever the ledger of the slice does; see `bigquery_stage.fingerprint`."""
        return (
            "SELECT TO_HEX(SHA256(COALESCE(STRING_AGG(CONCAT(batch_id, ' ', CAST(position AS STRING), ' ', mode, ' ', "
            "CAST(loaded AS STRING), ' ', run_id, ' ', COALESCE(corrected_by, ''), ' ', "
            "COALESCE(reason, '')), '\\n' ORDER BY batch_id), ''))) "
            f"FROM {self.names.table(self.ledger)} WHERE {self._of_slice()}"
        )

    def table_fingerprint(self) -> str:
        """A query of one text that differs whenever the ledger of any slice does."""
        return keys.table_fingerprint(self.names, self.ledger, self.write.relation)

    def _key(self, prefix: str, *, staged: bool) -> str:
        """The key as one text: whatever its types, it can be compared, grouped and joined."""
        fields = [self.write.relation.field(name) for name in self.write.relation.primary_key]
        return as_text(fields, prefix, staged=staged)

    def _content(self, prefix: str, *, staged: bool) -> str:
        return as_text(self.write.relation.fields, prefix, staged=staged)

    def _fit(self) -> str:
        """The condition of staged rows whose JSON BigQuery can hold exactly."""
        conditions = [fits(field, f"_s.{quote(field.name)}") for field in self.write.relation.fields]
        return " AND ".join(condition for condition in conditions if condition) or "TRUE"

    def _delete_replaced(self) -> str:
        return (
            f"DELETE FROM {self._table} WHERE {self._in_slice()} AND {self._key('', staged=False)} IN "
            f"(SELECT _key FROM {quote(self.counts or '')} WHERE _held AND _fate = 'replaced' AND _slice_date IS NULL)"
        )

    def _delete_displaced(self) -> str:
        condition = keys.elsewhere(self.write.relation, self.write.slice)
        return (
            f"DELETE FROM {self._table} WHERE {condition} AND {self._key('', staged=False)} IN "
            f"(SELECT _key FROM {quote(self.counts or '')} WHERE _held AND _fate = 'replaced' AND _slice_date IS NOT NULL)"
        )

    def _assert_keys(self) -> str:
        anti, condition = self._loaded_rows()
        staged = f"SELECT {self._key('_s.', staged=True)} AS _key FROM {self.staged} AS _s{anti}{condition}"
        held = self._keys_held(keys.elsewhere(self.write.relation, self.write.slice, "_t."), staged)
        return f"ASSERT (SELECT COUNT(*) FROM ({held}) AS _h) = 0 AS {literal(KEY_ELSEWHERE)}"

    def _loaded_rows(self) -> tuple[str, str]:
        """The join and the condition that leave, of the staged rows `_s`, those that are loaded."""
        if self.counts is None:
            return "", ""
        return (
            f" LEFT JOIN (SELECT _batch_id, _line_number FROM {quote(self.counts)} WHERE NOT _held AND _fate <> 'loaded') AS _f "
            "ON _f._batch_id = _s._batch_id AND _f._line_number = _s._line_number",
            " WHERE _f._batch_id IS NULL",
        )

    def _insert_rows(self) -> str:
        fields = self.write.relation.fields
        values = ", ".join(unstaged(field, f"_s.{quote(field.name)}") for field in fields)
        anti, condition = self._loaded_rows()
        return (
            f"INSERT INTO {self._table} ({columns(fields)}, _batch_id, _loaded_at, _row_hash) "
            f"SELECT {values}, _s._batch_id, _b.loaded_at, _s._row_hash FROM {self.staged} AS _s "
            f"INNER JOIN ({_BATCHES}) AS _b ON _b.batch_id = _s._batch_id{anti}{condition}"
        )

    def _dead_letters(self) -> str:
        date = f"CAST({literal(self._slice.date)} AS DATE)"
        environment = f"CAST({literal(self._slice.environment)} AS STRING)"
        relation = self.write.relation
        return (
            f"SELECT _l.batch_id, {literal(relation.dataset)} AS dataset, {literal(relation.name)} AS `table`, "
            f"{date} AS slice_date, {environment} AS slice_environment, _b.file, _l.line_number, _l.byte_offset, "
            f"FROM_BASE64(_l.raw) AS raw, _l.reasons, _b.loaded_at AS rejected_at, @run_id AS run_id "
            f"FROM {quote(self.dead_letters or '')} AS _l INNER JOIN ({_BATCHES}) AS _b ON _b.batch_id = _l.batch_id"
        )

    def _insert_dead_letters(self) -> str:
        return f"INSERT INTO {self.names.table(self.dead_letter)} ({_LETTER_COLUMNS}) {self._dead_letters()}"

    def _replace_dead_letters(self) -> list[str]:
        """Replaces the slice's dead letters; which of them were replayed or acknowledged stays."""
        dead_letters = (
            f"{of_table(self.write.relation, self._slice)} AND batch_id IN UNNEST(JSON_VALUE_ARRAY(@known))"
        )
        table = self.names.table(self.dead_letter)
        found = [
            f"CREATE TEMP TABLE _settled AS SELECT batch_id, line_number, replayed_at, acknowledged_at FROM {table} "
            f"WHERE {dead_letters} AND COALESCE(replayed_at, acknowledged_at) IS NOT NULL",
            f"DELETE FROM {table} WHERE {dead_letters}",
        ]
        if self.dead_letters is not None:
            found.append(
                f"INSERT INTO {table} ({_LETTER_COLUMNS}, replayed_at, acknowledged_at) "
                f"SELECT _n.*, _r.replayed_at, _r.acknowledged_at FROM ({self._dead_letters()}) AS _n "
                "LEFT JOIN _settled AS _r ON _r.batch_id = _n.batch_id AND _r.line_number = _n.line_number"
            )
        return found

    def _correct_ledger(self) -> str:
        return (
            f"UPDATE {self.names.table(self.ledger)} AS _l SET loaded = _l.loaded - _r.replaced_rows, "
            "duplicate = _l.duplicate + _r.replaced_rows "
            "FROM (SELECT JSON_VALUE(item, '$.batch_id') AS batch_id, CAST(JSON_VALUE(item, '$.rows') AS INT64) AS replaced_rows "
            "FROM UNNEST(JSON_QUERY_ARRAY(@replaced)) AS item) AS _r "
            f"WHERE {of_slice(self.write.relation, self._slice, '_l.')} AND _l.batch_id = _r.batch_id"
        )

    def _insert_ledger(self) -> str:
        relation = self.write.relation
        counts = ", ".join(f"CAST(JSON_VALUE(item, '$.{name}') AS INT64)" for name in _LEDGER_COUNTS)
        corrections = ", ".join(
            f"JSON_VALUE(item, '$.{name}')" for name in ("superseded_by", "corrected_by", "reason")
        )
        return (
            f"INSERT INTO {self.names.table(self.ledger)} (batch_id, dataset, `table`, slice_date, slice_environment, file, mode, "
            "loaded_at, written_at, run_id, definition, bytes, `lines`, loaded, duplicate, rejected, sorted, position, "
            "superseded, withdrawn, revision, superseded_by, corrected_by, reason) "
            f"SELECT JSON_VALUE(item, '$.batch_id'), {literal(relation.dataset)}, {literal(relation.name)}, "
            f"CAST({literal(self._slice.date)} AS DATE), CAST({literal(self._slice.environment)} AS STRING), "
            f"JSON_VALUE(item, '$.file'), {literal(self.write.mode.value)}, CAST(JSON_VALUE(item, '$.loaded_at') AS TIMESTAMP), "
            f"CURRENT_TIMESTAMP(), @run_id, {literal(str(definition_of(relation)))}, {counts}, {corrections} "
            "FROM UNNEST(JSON_QUERY_ARRAY(@ledger)) AS item"
        )


_LEDGER_COUNTS = (
    "bytes", "lines", "loaded", "duplicate", "rejected", "sorted", "position", "superseded", "withdrawn", "revision",
)  # fmt: skip
_BATCHES = (
    "SELECT JSON_VALUE(item, '$.batch_id') AS batch_id, JSON_VALUE(item, '$.file') AS file, "
    "CAST(JSON_VALUE(item, '$.loaded_at') AS TIMESTAMP) AS loaded_at FROM UNNEST(JSON_QUERY_ARRAY(@ledger)) AS item"
)
_LETTER_COLUMNS = (
    "batch_id, dataset, `table`, slice_date, slice_environment, file, line_number, byte_offset, raw, reasons, "
    "rejected_at, run_id"
)


def refresh_statements(
    names: Names, relation: Relation, slices: Sequence[Slice], lock: str, query: str, entries: str
) -> list[str]:
    """The transaction that computes slices of a stored derived relation again, and makes their entries (see `refresh_entries_statement`).

    Parameters: `holder` (who writes), `run_id`.
    """
    table, fields = names.table(relation), columns(relation.fields)
    condition = slices_condition(relation, slices)
    return [
        "BEGIN TRANSACTION",
        f"UPDATE {quote(lock)} SET holder = @holder WHERE TRUE",
        f"DELETE FROM {table} WHERE {condition}",
        f"INSERT INTO {table} ({fields}) SELECT {fields} FROM (\n{query}\n) WHERE {condition}",
        entries,
        "COMMIT TRANSACTION",
    ]


def refresh_entries_statement(
    names: Names, catalog: Catalog, relation: Relation, slices: Sequence[Slice]
) -> str:
    """What enters a refresh of slices into `ops.refreshes`. Parameter: `run_id`.

    Rows are only added: transactions that delete from one table would keep each other from running. The newest row counts.
    """
    query = names.qualify(refresh_entries(catalog, relation, slices), {catalog[REFRESHES].dataset})
    return entries_statement(names, catalog, query)


def entries_statement(names: Names, catalog: Catalog, query: str) -> str:
    """What enters the rows of a query of `REFRESH_COLUMNS` into `ops.refreshes`."""
    made = ", ".join(quote(name) for name in REFRESH_COLUMNS)
    return f"INSERT INTO {names.table(catalog[REFRESHES])} ({made})\n{query}"
