"""Puts all files of a table into the queue again, to be loaded by another partitioning or key.

The files go to `raw/` as copies, line for line, under names that keep their order; then the table is dropped with what the ledger and
the dead letter say of its slices. Until then nothing is loaded into the table: `warehouse.layout` refuses it. So a call that was
killed leaves a table that is whole, and another call does all of it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaelp_assets.catalog import Relation
from gaelp_assets.catalog.slices import WHOLE
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway import GatewayFile, Stage
from gaelp_assets.gateway.paths import RAW_FOLDER, folder, split_name
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets.ingest.staging import staging_folder
from gaelp_assets.operations.losses import losses_of, refuse_losses, refuse_other_keys
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.history import is_load, ledger_rows, slice_of
from gaelp_assets.warehouse.layout import laid_out_otherwise

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Reloaded:
    """What went back into the queue."""

    relation_id: str
    files: int


def reload_table(platform: Platform, relation: Relation, *, accept_loss: bool = False) -> Reloaded:
    """Puts every file that the table's slices were loaded from into the queue, and drops the table.

    No row may be loaded into the table in the meantime. Whether dead letters were acknowledged or replayed is forgotten.

    Args:
        platform: its gateway keeps the files.
        relation: the table, loaded by another partitioning or key.
        accept_loss: whether rows may be lost whose lines are rejected by now, or whose key is another row's, and corrections undone.

    Raises:
        GaelpError: the table was loaded by this partitioning and key; files are gone; rows would be lost, or corrections undone.
    """
    if relation.id not in laid_out_otherwise(platform.warehouse, [relation]):
        raise GaelpError(
            Problem(
                "there is no need to load it again: all that it holds was loaded by this partitioning and key",
                relation.id,
                "a table whose partitioning or key changed since rows were loaded",
            )
        )
    rows = ledger_rows(platform.warehouse, relation)
    files = _archived(platform, relation, rows)
    if not accept_loss:
        _refuse_corrections(relation, rows)
        losses = losses_of(platform, relation, ((WHOLE, file) for file in files))
        refuse_losses(relation, losses, "loading it again")
        refuse_other_keys(platform.warehouse, relation)
    sorted_before = {row["batch_id"] for row in rows if not is_load(row)}
    with staging_folder(platform) as place:
        for number, file in enumerate(files):
            copy = place / "copy.ndjson"
            digest = _copy(platform, file, copy, sorted_before)
            stem, _ = split_name(file.name)
            name = f"reload-{number:06}-{stem.rpartition('~')[0][:100] or 'file'}-{digest[:12]}.ndjson"
            platform.gateway.store.create(f"{Stage.RAW}/{folder(relation, WHOLE)}/{name}", _blocks(copy))
    platform.warehouse.drop(relation)
    return Reloaded(relation.id, len(files))


def _refuse_corrections(relation: Relation, rows: Iterable[Mapping[str, Any]]) -> None:
    """Nothing, if no file corrects others: by its name it does so in its own slice alone.

    Raises:
        GaelpError: some do.
    """
    corrections = {row["batch_id"] for row in rows if is_load(row) and row["revision"] is not None}
    if corrections:
        raise GaelpError(
            Problem(
                f"loading it again would undo {len(corrections)} revisions and withdrawals",
                relation.id,
                "a table without corrections: a file's name says what it corrects in its own slice",
                "Put the partitioning and the key back in the catalogue; or add --accept-loss, and correct the rows once more "
                "when they are loaded (gaelp revise, gaelp withdraw).",
            )
        )


def _archived(platform: Platform, relation: Relation, rows: Sequence[Mapping[str, Any]]) -> list[GatewayFile]:
    """The files in `sent/` of the batches that the ledger holds for the table's slices, each once, in order of loading.

    Raises:
        GaelpError: some are gone.
    """
    prefix = f"{Stage.SENT}/{folder(relation, WHOLE)}/"
    by_batch = {}
    for stored in platform.gateway.store.list(prefix):
        if not stored.name.startswith(f"{prefix}{RAW_FOLDER}/"):
            stem, _ = split_name(stored.name.rpartition("/")[2])
            by_batch[stored.name.rpartition("/")[0], stem.rpartition("~")[2]] = stored
    found: dict[str, GatewayFile] = {}
    problems = []
    for row in filter(is_load, rows):
        slice_ = slice_of(row)
        at = f"{Stage.SENT}/{folder(relation, slice_)}"
        archived = by_batch.get((at, row["batch_id"][:12]))
        if archived is None:
            problems.append(
                Problem(
                    f"{row['lines']} lines of {row['file']} would be lost",
                    f"{relation.id}, {slice_}",
                    "the file in sent/",
                    "Bring the file back, or put the partitioning back in the catalogue.",
                )
            )
        else:
            name = archived.name.rpartition("/")[2]
            # The same bytes in two slices are the same lines: sorted once, each goes to its slice.
            file = GatewayFile(archived, Stage.SENT, relation, slice_, name, sorted=True)
            found.setdefault(row["batch_id"], file)
    if problems:
        raise GaelpError(*problems)
    return list(found.values())


def _copy(platform: Platform, file: GatewayFile, copy: Path, sorted_before: set[str]) -> str:
    """Writes the file's lines; the SHA-256 of what was written.

    Blank lines make another batch of it than any that was sorted before: of one that the ledger knows, lines that are rejected by now
    would not go to the dead letter.
    """
    digest = hashlib.sha256()
    with platform.gateway.open(file) as stream, copy.open("wb") as out:
        for block in LineReader(stream, file.name):
            for line in block.lines:
                text = bytes(line).rstrip(b"\r\n") + b"\n"
                digest.update(text)
                out.write(text)
        while digest.hexdigest() in sorted_before:
            digest.update(b"\n")
            out.write(b"\n")
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield block
