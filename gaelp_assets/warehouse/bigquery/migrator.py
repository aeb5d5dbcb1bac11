"""Lets the datasets, tables and views of a project follow the catalogue."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.load import with_upstream
from gaelp_assets.errors import Problem
from gaelp_assets.settings import BigQueryAddress
from gaelp_assets.warehouse.bigquery import ledger, retry
from gaelp_assets.warehouse.bigquery.changes import TableChanges
from gaelp_assets.warehouse.bigquery.datasets import Datasets
from gaelp_assets.warehouse.bigquery.engine import BigQueryEngine
from gaelp_assets.warehouse.bigquery.jobs import ClientFactory, as_script
from gaelp_assets.warehouse.bigquery.read import ReaderFactory
from gaelp_assets.warehouse.ledger import DEAD_LETTER, LEDGER
from gaelp_assets.warehouse.refreshes import with_ledgers
from gaelp_assets.warehouse.schema.model import RelationPlan


class BigQueryMigrator(BigQueryEngine):
    """Keeps `migrator.Migrator`."""

    def __init__(
        self,
        address: BigQueryAddress,
        catalog: Catalog,
        *,
        factory: ClientFactory | None = None,
        reader: ReaderFactory | None = None,
    ) -> None:
        super().__init__(address, catalog, factory=factory, reader=reader)
        self._datasets = Datasets(self._jobs, self._names, address.location)
        self._changes = TableChanges(self._jobs, self._names, self._tables, self._datasets, self._views)

    def ensure(self, relations: Sequence[Relation]) -> None:
        """Makes these relations, and those that derived ones among them read, fit for rows of the catalogue's shape."""
        self._changes.ensure(with_upstream(self._catalog, with_ledgers(self._catalog, relations)))

    def make_dataset(self, dataset: str) -> None:
        """Makes a dataset; nothing happens if it is there."""
        self._datasets.make(dataset)

    @contextmanager
    def changing(self) -> Iterator[Callable[[RelationPlan], RelationPlan]]:
        """Carries out plans, from any number of threads; a relation is compared again unless it is to be made."""
        yield self._changes.apply

    def drop(self, relation: Relation) -> None:
        """Removes the relation and, where it is loaded, what ledger and dead letter say of it."""
        books = (self._catalog[LEDGER], self._catalog[DEAD_LETTER]) if relation.is_loaded else ()
        if not (books and all(self._tables.find(book) is not None for book in books)):
            self._changes.drop(relation)
            return
        labels = {"asset": relation.id}
        rows = self._rows(ledger.loads_query(self._names, books[0], relation), labels)
        self._changes.drop(relation)
        text = as_script(ledger.forget_statements(self._names, *books, relation))
        parameters = {"batches": json.dumps([row["batch_id"] for row in rows])}
        retry.until_undisturbed(
            lambda: self._run(text, f"forget {relation.id}", parameters, labels),
            Problem(f"other writes came first {retry.WRITE_ROUNDS} times", self.location, "a turn"),
            rounds=retry.WRITE_ROUNDS,
        )
