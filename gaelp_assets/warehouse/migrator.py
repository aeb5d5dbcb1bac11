"""How a warehouse follows the catalogue: the only part of it that makes, changes or drops a relation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from gaelp_assets.catalog import Relation
from gaelp_assets.warehouse.schema.model import RelationPlan


class Migrator(Protocol):
    """A warehouse as its relations are made and changed.

    Every operation raises `TransientError` where trying again may help (a locked file, a full disk, a busy server), and
    `GaelpError` where it cannot.
    """

    def ensure(self, relations: Sequence[Relation]) -> None:
        """Brings these relations and what they read as far as rows need it (`SchemaScope.ROWS`): made where missing, with new fields.

        Idempotent, and safe to call at the same time from several processes. Stored derived relations are created empty.

        Raises:
            GaelpError: rows of the catalogue's shape cannot be written to one of them; nothing is changed then.
        """
        ...

    def make_dataset(self, dataset: str) -> None:
        """Makes a dataset of the catalogue; nothing happens if it is there."""
        ...

    def changing(self) -> AbstractContextManager[Callable[[RelationPlan], RelationPlan]]:
        """What carries out plans, each for one relation whose dataset is there, and tells what was done; for as long as the context lasts.

        A relation is compared again first: what others did to it since it was planned is neither undone nor done twice. A failure
        leaves the relation as it was, and further plans can follow. Threads may share it where the engine has `parallel_changes`.

        Raises (the callable):
            GaelpError: the plan has refusals, or has some by now, or the engine refuses the change.
        """
        ...

    def drop(self, relation: Relation) -> None:
        """Removes the relation, its rows and what the ledger and the dead letter say of them; nothing happens if it is not there.

        Its files in `sent/` can be loaded again afterwards. The ledger's rows of sorted raw files stay.
        """
        ...
