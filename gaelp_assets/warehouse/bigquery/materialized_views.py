"""Materialized views that BigQuery keeps by itself: the statements that make and refresh them, and when each is due. Nothing is run
here.

A definition can only be replaced, never altered, and a view does not survive its table. Both are noticed by looking: the view's label
`definition` holds the digest of what made it, and a view that works is never older than what it reads.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from typing import Final

from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.model import Kind
from gaelp_assets.warehouse.bigquery.dialect import Names, literal, quote, selected
from gaelp_assets.warehouse.bigquery.materialization_rules import Decision, Materialization, decide
from gaelp_assets.warehouse.bigquery.resources import Resource, clean_labels

DEFINITION: Final = "definition"
TYPE: Final = "MATERIALIZED_VIEW"
"""What the API calls the type of such a table."""
# BigQuery refreshes within 5 minutes of a change, and not more often than this.
REFRESH_MINUTES: Final = 30
# https://cloud.google.com/bigquery/docs/materialized-views-create#max_staleness: from 30 minutes to 3 days.
SHORTEST_STALENESS: Final = dt.timedelta(minutes=30)
LONGEST_STALENESS: Final = dt.timedelta(days=3)
USUAL_STALENESS: Final = dt.timedelta(hours=4)


class NativeViews:
    """Which relations of a catalogue BigQuery keeps by itself, and how each is described and made."""

    def __init__(self, names: Names, catalog: Catalog) -> None:
        self._names = names
        self._catalog = catalog
        self._datasets = frozenset(relation.dataset for relation in catalog)
        self._decided: dict[str, Decision] = {}

    def keeping(self, relation: Relation) -> Materialization | None:
        """How BigQuery keeps the relation; None if the platform does."""
        if relation.kind is not Kind.MATERIALIZED_VIEW:
            return None
        decision = self._decided.get(relation.id)
        if decision is None:
            decision = self._decided[relation.id] = decide(relation, self._catalog)
        return decision.keeping if decision.is_native else None

    def bases(self, relation: Relation) -> list[Relation]:
        """The relations that it reads."""
        return [self._catalog[relation_id] for relation_id in sorted(self._catalog.upstream[relation.id])]

    def resource(self, relation: Relation, keeping: Materialization) -> Resource:
        """The view as the API describes it, as far as the catalogue says."""
        project, dataset, table = self._names.table_id(relation).split(".")
        query = self._query(relation)
        return {
            "tableReference": {"projectId": project, "datasetId": dataset, "tableId": table},
            "description": relation.description,
            "labels": _labels(relation, definition(relation, keeping, query)),
            "materializedView": {"query": query},
        }

    def statement(self, relation: Relation, keeping: Materialization) -> str:
        """The statement that makes the view (see `create_statement`)."""
        return create_statement(self._names, relation, keeping, self._query(relation))

    def _query(self, relation: Relation) -> str:
        assert relation.sql is not None
        return self._names.qualify(selected(relation.sql), self._datasets)


def create_statement(names: Names, relation: Relation, keeping: Materialization, query: str) -> str:
    """The statement that makes the view of a query whose names are full ones, in place of one that is there.

    Partitions expire with those of the table below, so that the view has no expiration of its own.
    """
    made = _labels(relation, definition(relation, keeping, query))
    pairs = ", ".join(f"({literal(key)}, {literal(value)})" for key, value in made.items())
    described = [f"description={literal(relation.description)}", f"labels=[{pairs}]"]
    options = ", ".join([*described, *_refreshing(relation, keeping)])
    head = f"CREATE OR REPLACE MATERIALIZED VIEW {names.table(relation)}"
    return f"{head}\n{_layout(relation)}OPTIONS ({options})\nAS {query}"


def definition(relation: Relation, keeping: Materialization, query: str) -> str:
    """A digest of all that a view is made from, but for what a label or a description says."""
    text = "\n".join([_layout(relation), *_refreshing(relation, keeping), query])
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def survives(live: Resource, bases: Iterable[Resource | None]) -> bool:
    """Whether a view can still be read: it is lost when a table that it reads is dropped, and stays so when that is made again.

    `live` and `bases` are tables as the API describes them, None where there is none.
    """
    made = int(live["creationTime"])
    return all(base is not None and int(base["creationTime"]) <= made for base in bases)


def refresh_statement(names: Names, relation: Relation) -> str:
    """The statement that brings a view up to its tables at once."""
    return f"CALL BQ.REFRESH_MATERIALIZED_VIEW({literal(names.table_id(relation))})"


def needs_refresh(live: Resource, bases: Iterable[Resource | None]) -> bool:
    """Whether a view that may lag behind does so: a table that it reads has changed since its last refresh began."""
    status = (live.get("materializedViewStatus") or {}).get("refreshWatermark")
    refreshed = (live.get("materializedView") or {}).get("lastRefreshTime")
    if status is not None:
        seen = dt.datetime.fromisoformat(status).timestamp() * 1000
    elif refreshed is not None:
        seen = float(refreshed)
    else:
        return True
    return any(float(base["lastModifiedTime"]) >= seen for base in bases if base is not None)


def max_staleness(relation: Relation) -> dt.timedelta:
    """How far a view that is not incremental may lag behind: its `freshness_hours`, within what BigQuery takes."""
    wanted = (
        USUAL_STALENESS if relation.freshness_hours is None else dt.timedelta(hours=relation.freshness_hours)
    )
    return min(max(wanted, SHORTEST_STALENESS), LONGEST_STALENESS)


def _layout(relation: Relation) -> str:
    lines = []
    if relation.partitioning is not None:
        column = relation.partitioning.date
        is_date = relation.field(column).type == "DATE"
        lines.append(
            f"PARTITION BY {quote(column) if is_date else f'TIMESTAMP_TRUNC({quote(column)}, DAY)'}\n"
        )
    if relation.clustering:
        lines.append(f"CLUSTER BY {', '.join(quote(column) for column in relation.clustering)}\n")
    return "".join(lines)


def _refreshing(relation: Relation, keeping: Materialization) -> list[str]:
    options = ["enable_refresh=TRUE", f"refresh_interval_minutes={REFRESH_MINUTES}"]
    if keeping is Materialization.MAX_STALENESS:
        minutes = int(max_staleness(relation).total_seconds()) // 60
        options += [
            "allow_non_incremental_definition=TRUE",
            f"max_staleness=INTERVAL '{minutes // 60}:{minutes % 60}:0' HOUR TO SECOND",
        ]
    return options


def _labels(relation: Relation, digest: str) -> dict[str, str]:
    return clean_labels(
        {**relation.tags, "owner": relation.owner, "kind": relation.kind.value, DEFINITION: digest}
    )
