"""Loads many slices of one table: small appends together, in one transaction, and each slice with a fate of its own.

Whatever is not a plain append of a few small files goes the way of `ingest.load`, slice by slice: rebuilds, corrections, a slice that was
loaded under another definition, a file that is replaced at that moment. So does a slice that keeps others from being written with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TypeAlias

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.errors import GaelpError, TransientError
from gaelp_assets.gateway import ObjectChanged
from gaelp_assets.ingest.load import SliceLoad, load_slice
from gaelp_assets.ingest.report import SliceReport
from gaelp_assets.ingest.staging import StagedFile, staging_folder
from gaelp_assets.ingest.validate import Validators
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.losses import DefinitionChanged
from gaelp_assets.warehouse.protocol import LineCounts, SliceChanged, SliceWrite

Outcome: TypeAlias = SliceReport | GaelpError
"""What a slice's load did, or why it failed."""


def load_slices(
    platform: Platform,
    relation: Relation,
    slices: Sequence[Slice],
    *,
    run_id: str,
    rebuild: bool = False,
    accept_loss: bool = False,
    validators: Validators | None = None,
) -> Iterator[tuple[Slice, Outcome]]:
    """Loads slices as `load_slice` does each, in their order.

    Args:
        platform: the gateway and the warehouse to load between.
        relation: the table.
        slices: of the table.
        run_id: what the ledger names as the run that loaded the rows.
        rebuild: whether to replace the slices.
        accept_loss: whether a rebuild may lose rows.
        validators: those of the run.

    Returns:
        Each slice with its report, or with the error that kept it from being loaded; the others are loaded all the same.
    """
    validators = validators or Validators.for_run(platform)
    at_once = 1 if rebuild else platform.warehouse.capabilities.slices_at_once
    for start in range(0, len(slices), at_once):
        group = slices[start : start + at_once]
        if len(group) > 1:
            loads = [
                SliceLoad(platform, relation, slice_, validators, run_id, None, {}, accept_loss=accept_loss)
                for slice_ in group
            ]
            yield from _group(platform, relation, loads, validators)
            continue
        try:
            yield group[0], load_slice(
                platform, relation, group[0],
                run_id=run_id, rebuild=rebuild, accept_loss=accept_loss, validators=validators,
            )  # fmt: skip
        except GaelpError as error:
            yield group[0], error


def _group(
    platform: Platform, relation: Relation, loads: Sequence[SliceLoad], validators: Validators
) -> Iterator[tuple[Slice, Outcome]]:
    """Appends to the slices of these loads: to as many of them as can be together."""
    started = time.monotonic()
    try:
        validators.check_layout(platform.warehouse, relation)
        validators.ensure(platform, relation)
        done = _together(platform, loads)
    except GaelpError as error:  # of the table, or of what all of them need
        yield from ((load.slice, error) for load in loads)
        return
    seconds = (time.monotonic() - started) / len(loads)
    for load in loads:
        started = time.monotonic()
        try:
            if load not in done:
                load.append()
            yield load.slice, load.report(seconds + time.monotonic() - started)
        except GaelpError as error:
            yield load.slice, error


def _together(platform: Platform, loads: Sequence[SliceLoad]) -> set[SliceLoad]:
    """Loads what is pending in one transaction; those of the loads that are done.

    Raises:
        TransientError: the warehouse is out of reach, locked or full.
    """
    staged: list[tuple[SliceLoad, list[StagedFile]]] = []
    with staging_folder(platform) as folder:
        for load in loads:
            with suppress(GaelpError):  # it will say so when it is loaded by itself
                pending = load.few_files()
                if pending is not None:
                    staged.append((load, load.stage(pending, folder)))
        writes = [load.appended(files) for load, files in staged if files]
        counts = iter(_written(platform, writes))
        done = set()
        for load, files in staged:
            found = next(counts) if files else []
            if found is not None:
                # Likewise: its rows are in the table, and its files are still to be moved.
                with suppress(GaelpError):
                    load.finish(files, found)
                    done.add(load)
        return done


def _written(platform: Platform, writes: Sequence[SliceWrite]) -> list[list[LineCounts] | None]:
    """The fates of each write's batches; None for a write that keeps others from being carried out with it."""
    if not writes:
        return []
    try:
        return [*platform.warehouse.write_all(writes)]
    except TransientError:
        raise
    except (GaelpError, SliceChanged, DefinitionChanged, ObjectChanged):
        if len(writes) == 1:
            return [None]
        half = len(writes) // 2
        return _written(platform, writes[:half]) + _written(platform, writes[half:])
