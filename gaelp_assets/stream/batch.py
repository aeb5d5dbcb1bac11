"""What arrives together: lines of one table, under a name that the same lines get again whenever they arrive again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gaelp_assets.catalog import Relation
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway import GatewayFile
from gaelp_assets.gateway.names import LIVE

STEM_LENGTH: Final = 150
"""What leaves room for all that moves and replays add to a file's name."""
RUN_PREFIX: Final = "stream-"
"""What the ledger's `run_id` starts with where a receiver loaded the rows."""
_STEM: Final = re.compile(rf"{LIVE}[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Batch:
    """Rows that arrived together, and become one file of the gateway.

    Args:
        relation: the loaded table that they are of.
        stem: the file's name without its ending.
        lines: the file's bytes: one line for each row.
        ending: what the bytes are: `ndjson`, `ndjson.gz`, `ndjson.zst` or `json`.

    Raises:
        ValueError: no file of a stream may be called so.
    """

    relation: Relation
    stem: str
    lines: bytes
    ending: str = "ndjson"

    def __post_init__(self) -> None:
        if not _STEM.fullmatch(self.stem) or len(self.stem) > STEM_LENGTH or ".." in self.stem:
            raise ValueError(f"{self.stem!r} is no name of a live file")

    @property
    def name(self) -> str:
        """The file's name, with its ending."""
        return f"{self.stem}.{self.ending}"


@dataclass(frozen=True)
class Arrived:
    """A batch whose file is in the gateway."""

    relation: Relation
    stem: str
    digest: str
    """What the ledger knows the file by: SHA-256 of its bytes, in hexadecimal."""
    file: GatewayFile

    @property
    def size(self) -> int:
        """Of the file, in bytes."""
        return self.file.stored.size


@dataclass(frozen=True)
class Fates:
    """What became of a batch's lines, as the ledger tells it: `lines` is the sum of the others."""

    lines: int
    loaded: int
    duplicate: int
    rejected: int
    superseded: int = 0
    withdrawn: int = 0


class KeyTakenError(GaelpError):
    """The name stands for other rows already: a producer gave the same key to two batches."""

    def __init__(self, relation: Relation) -> None:
        super().__init__(
            Problem(
                "the key stands for other rows already, and these are not taken",
                relation.id,
                "a key of its own for each batch, and the same bytes whenever it is sent again",
                "Send them under a new key.",
            )
        )
