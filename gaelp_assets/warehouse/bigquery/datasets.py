"""Makes datasets, and the small tables that writers of one relation take turns by."""

from __future__ import annotations

import threading
import uuid
from typing import Final

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError
from gaelp_assets.warehouse.bigquery.dialect import STAGING, Names, quote
from gaelp_assets.warehouse.bigquery.jobs import Jobs
from gaelp_assets.warehouse.bigquery.resources import dataset_resource
from gaelp_assets.warehouse.bigquery.schema import wrong_location
from gaelp_assets.warehouse.bigquery.tables import Tables

LOCKS: Final = "locks"
"""The dataset of the lock tables: one row each, for each relation that is written to."""


class Datasets:
    """The datasets of one project and location. What was seen once is not looked for again."""

    def __init__(self, jobs: Jobs, names: Names, location: str) -> None:
        self._jobs = jobs
        self._names = names
        self._location = location
        self._lock = threading.Lock()
        self._ready: set[str] = set()

    def make(self, dataset: str, *, staging: bool = False) -> None:
        """Makes a dataset; nothing happens if it is there.

        Raises:
            GaelpError: it is in another location.
        """
        dataset_id = self._names.dataset_id(dataset)
        with self._lock:
            if dataset_id in self._ready:
                return
        client = self._jobs.client
        live = self._jobs.call(f"look up the dataset {dataset_id}", client.get_dataset, dataset_id)
        if live is None:
            resource = dataset_resource(self._names, dataset, self._location, staging=staging)
            from google.cloud import bigquery

            live = self._jobs.call(
                f"make the dataset {dataset_id}",
                client.create_dataset,
                bigquery.Dataset.from_api_repr(resource),
                exists_ok=True,
            )
            assert live is not None
        refusal = wrong_location(dataset_id, live.location, self._location)
        if refusal is not None:
            raise GaelpError(refusal.problem)
        with self._lock:
            self._ready.add(dataset_id)


class Locks:
    """The lock tables of a project's relations."""

    def __init__(self, jobs: Jobs, names: Names, tables: Tables, datasets: Datasets) -> None:
        self._jobs = jobs
        self._names = names
        self._tables = tables
        self._datasets = datasets
        self._lock = threading.Lock()
        self._ready: set[str] = set()

    def of(self, relation: Relation) -> str:
        """The full name of the relation's lock table, which is made if it is missing."""
        name = f"{relation.dataset}__{relation.name}"
        table = f"{self._names.dataset_id(LOCKS)}.{name}"
        with self._lock:
            if table in self._ready:
                return table
        self._datasets.make(LOCKS)
        self._datasets.make(STAGING, staging=True)
        if self._tables.get(table) is None:
            # One statement makes the table with its row, so that nobody ever sees it empty.
            self._jobs.query(
                f"CREATE TABLE IF NOT EXISTS {quote(table)} AS SELECT CAST('' AS STRING) AS holder",
                f"gaelp_lock_{uuid.uuid4().hex}",
                f"make the lock table of {relation.id}",
            )
        with self._lock:
            self._ready.add(table)
        return table
