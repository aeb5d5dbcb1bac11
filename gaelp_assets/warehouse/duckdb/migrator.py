"""Makes the embedded warehouse's relations, and lets those that exist follow the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import duckdb

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.load import with_upstream
from gaelp_assets.warehouse.duckdb import schema
from gaelp_assets.warehouse.duckdb.ddl import table_name
from gaelp_assets.warehouse.duckdb.dialect import quote
from gaelp_assets.warehouse.duckdb.engine import DuckDBEngine
from gaelp_assets.warehouse.duckdb.ledger import forget_statements
from gaelp_assets.warehouse.ledger import DEAD_LETTER, LEDGER, REFRESHES
from gaelp_assets.warehouse.refreshes import forget_statement, with_ledgers
from gaelp_assets.warehouse.schema.model import (
    ObjectType,
    RelationPlan,
    SchemaScope,
    Status,
    recheck,
    refuse,
)


class DuckDBMigrator(DuckDBEngine):
    """Keeps `migrator.Migrator`. Each change takes the file's lock, in one transaction."""

    def ensure(self, relations: Sequence[Relation]) -> None:
        """Makes these relations, and those that derived ones among them read, fit for rows of the catalogue's shape."""
        ordered = with_upstream(self._catalog, with_ledgers(self._catalog, relations))
        if self._file.exists():
            plans = self._file.answer(
                "look for changes of the catalogue",
                lambda con: schema.compared(con, ordered, self._tables, SchemaScope.ROWS),
            )
            if all(planned.status is Status.UNCHANGED for planned in plans):
                return
        with self._file.writing("create relations") as con:
            plans = schema.compared(con, ordered, self._tables, SchemaScope.ROWS)
            refuse(plans)
            for planned in plans:
                self._carry_out(con, planned)

    def make_dataset(self, dataset: str) -> None:
        """Makes a schema; nothing happens if it is there."""
        with self._file.writing(f"make the dataset {dataset}") as con:
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(dataset)}")

    @contextmanager
    def changing(self) -> Iterator[Callable[[RelationPlan], RelationPlan]]:
        """Carries out plans, each in a transaction of its own, under one lock of the file."""
        with self._file.writing("change relations") as con:
            # Nobody else changes the file under the lock, and DuckDB lists all relations to tell one: once for all of them.
            found = schema.shapes(con, with_upstream(self._catalog, list(self._catalog)))

            def apply(planned: RelationPlan) -> RelationPlan:
                with self._file.savepoint(con, f"change {planned.relation.id}"):
                    (now,) = schema.compared(con, [planned.relation], self._tables, found=found)
                    done = recheck(planned, now)
                    self._carry_out(con, done, found)
                return done

            yield apply

    def drop(self, relation: Relation) -> None:
        """Removes the relation, its rows, and (for a loaded table) its loads from ledger and dead letter."""
        if not self._file.exists():
            return
        ledger, dead_letter = self._catalog[LEDGER], self._catalog[DEAD_LETTER]
        with self._file.writing(f"drop {relation.id}") as con:
            found = schema.shapes(con, [relation, ledger, dead_letter])
            if relation.id in found:
                kind = "VIEW" if found[relation.id].object_type is ObjectType.VIEW else "TABLE"
                con.execute(f"DROP {kind} {table_name(relation)}")
            self._forget_refreshes(con, relation)
            if relation.is_loaded and {ledger.id, dead_letter.id} <= found.keys():
                for statement in forget_statements(ledger, dead_letter, relation):
                    con.execute(statement)

    def _carry_out(
        self, con: duckdb.DuckDBPyConnection, planned: RelationPlan, known: Collection[str] | None = None
    ) -> None:
        if planned.status in {Status.CREATE, Status.REPLACE}:
            self._forget_refreshes(con, planned.relation, known)
        schema.carry_out(con, planned, self._tables)

    def _forget_refreshes(
        self, con: duckdb.DuckDBPyConnection, relation: Relation, known: Collection[str] | None = None
    ) -> None:
        """What is made again is empty, whatever was computed for it before.

        `known` are ids of relations that held something before this change: DuckDB lists all relations to tell whether one is there.
        """
        refreshes = [each for each in with_ledgers(self._catalog, [relation]) if each.id == REFRESHES]
        if refreshes and REFRESHES in (schema.ids(con) if known is None else known):
            con.execute(forget_statement(relation, table_name(*refreshes)))
