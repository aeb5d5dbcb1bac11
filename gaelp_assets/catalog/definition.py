"""The version of a loaded table's definition: a short text that differs whenever the table would hold other rows of the same files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from gaelp_assets.catalog.model import Relation, walk_fields

_DIGITS = 8


@dataclass(frozen=True)
class Definition:
    """Digests of what decides which rows a table holds, each in 8 hexadecimal digits."""

    slices: str
    """Of how it is partitioned: which slice a row belongs to."""
    keys: str
    """Of its key, and of what is done about two rows with one key: which of the rows stay."""
    rules: str
    """Of its fields and checks: which lines are rows, and which values they have."""

    def __str__(self) -> str:
        return f"{self.slices}-{self.keys}-{self.rules}"


def definition_of(relation: Relation) -> Definition:
    """The definition of a loaded table. Descriptions, owners, tags, charts and the like are no part of it.

    >>> from gaelp_assets.catalog import load_catalog
    >>> len(str(definition_of(load_catalog()["training.episodes"])))
    26
    """
    said = relation.model_dump(mode="json")
    fields = sorted(
        (path, field.type, field.mode, [check.model_dump(mode="json") for check in field.checks], field.was)
        for path, field in walk_fields(relation.fields)
    )
    return Definition(
        slices=_digest(said["partitioning"]),
        keys=_digest([said["primary_key"], said["on_key_conflict"], said.get("key_scope")]),
        rules=_digest([fields, said["checks"]]),
    )


def keys_of(definition: str) -> str:
    """The part of a definition's text that is of the key."""
    return definition.split("-")[1]


def slices_of(definition: str) -> str:
    """The part of a definition's text that is of the slices."""
    return definition.split("-")[0]


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
