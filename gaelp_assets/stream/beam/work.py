"""What a pipeline is handed, as one JSON document: the declaration, what it reads, and the days that rows may be of."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass

from gaelp_assets.catalog.model import FROM_PLACE, Relation

_PLACE = ("dataset", "name")


@dataclass(frozen=True)
class Work:
    """A relation with windows, and the rows that they are of.

    Args:
        relation: the one that declares windows, without problems.
        source: the loaded table that they are of.
        first_date: the first day that a row may be of.
        last_date: the last one.
        files: gateway files of the source, as paths or addresses; empty for what arrives as messages.
        output: a folder for the windows and for what was rejected.
        begin_on: the days on which windows begin that are to be told; empty: all.
    """

    relation: Relation
    source: Relation
    first_date: dt.date
    last_date: dt.date
    files: Sequence[str] = ()
    output: str = ""
    begin_on: frozenset[dt.date] = frozenset()

    def to_json(self) -> str:
        """The document.

        >>> from gaelp_assets.catalog import load_catalog
        >>> catalog = load_catalog()
        >>> days = dt.date(2026, 1, 1), dt.date(2026, 12, 31)
        >>> work = Work(catalog["analytics.hourly_learning"], catalog["training.episodes"], *days)
        >>> Work.from_json(work.to_json()).relation.window == work.relation.window
        True
        """
        return json.dumps(
            {
                "relation": _content(self.relation),
                "source": _content(self.source),
                "first_date": self.first_date.isoformat(),
                "last_date": self.last_date.isoformat(),
                "files": list(self.files),
                "output": self.output,
                "begin_on": sorted(day.isoformat() for day in self.begin_on),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Work:
        """The work of a document."""
        found = json.loads(text)
        return cls(
            Relation.model_validate(found["relation"]),
            Relation.model_validate(found["source"]),
            dt.date.fromisoformat(found["first_date"]),
            dt.date.fromisoformat(found["last_date"]),
            tuple(found["files"]),
            found["output"],
            frozenset(map(dt.date.fromisoformat, found["begin_on"])),
        )


def _content(relation: Relation) -> dict[str, object]:
    """What the relation's file says, with its place. Its SQL is no part: a pipeline has the declaration."""
    said = relation.model_dump(mode="json", exclude_defaults=True, exclude=set(FROM_PLACE) | {"reads_slices"})
    return {**said, **{key: getattr(relation, key) for key in _PLACE}}
