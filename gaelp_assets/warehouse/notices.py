"""What is said, and stops nothing, when a question reads relations that are not what the catalogue says."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Final

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import Problem
from gaelp_assets.warehouse.schema.model import RelationPlan, Status

_LOG: Final = logging.getLogger(__name__)


class DriftNotices:
    """Warns of each relation that differs from the catalogue once, however often it is read, from any number of threads.

    A relation is compared when it is first read and there: what happens to it afterwards is not said.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._compared: set[str] = set()
        self._differing: set[str] = set()

    def due(self, relations: Iterable[Relation]) -> list[Relation]:
        """Those of the relations that were not compared yet."""
        with self._lock:
            return [relation for relation in relations if relation.id not in self._compared]

    def any_differs(self, relations: Iterable[Relation]) -> bool:
        """Whether one of the relations was found to differ from the catalogue."""
        with self._lock:
            return any(relation.id in self._differing for relation in relations)

    def say(self, plans: Iterable[RelationPlan]) -> None:
        """Warns of those plans' relations that are there and differ."""
        for planned in plans:
            if planned.status is Status.CREATE:
                continue
            with self._lock:
                known = planned.relation.id in self._compared
                self._compared.add(planned.relation.id)
                if planned.status is not Status.UNCHANGED:
                    self._differing.add(planned.relation.id)
            if not known and planned.status is not Status.UNCHANGED:
                _LOG.warning("%s", notice(planned))


def notice(planned: RelationPlan) -> Problem:
    """A relation's difference from the catalogue in words."""
    parts = [f"{refusal.field}: {refusal.what}".removeprefix(": ") for refusal in planned.refusals]
    parts += [
        f"{change.action.value.replace('_', ' ')} {change.field}".rstrip() for change in planned.changes
    ]
    return Problem(
        f"differs from the catalogue ({'; '.join(parts)}), and is read as it is",
        planned.relation.id,
        remedy="`gaelp deploy` brings it up to the catalogue, or says what stands in the way.",
    )
