"""The archived files of some slices of windows, as work for a pipeline: what a run of Dagster hands to Beam's environment."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.gateway.paths import Stage
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.settings import LocalGateway
from gaelp_assets.stream.beam.work import Work


def archived_work(platform: PlatformReader, relation: Relation, slices: Sequence[Slice], output: str) -> Work:
    """The windows that begin on the days of these slices, of all files that their source has been loaded from.

    Args:
        platform: whose archive is read.
        relation: one with windows of a loaded table, kept in slices as that is.
        slices: slices of it.
        output: the folder for what is told.
    """
    window = relation.window
    assert window is not None
    source = platform.catalog[window.source]
    gateway = platform.settings.gateway
    root = str(gateway.folder) if isinstance(gateway, LocalGateway) else gateway.url
    files = [
        f"{root}/{file.stored.name}"
        for slice_ in slices_read(relation, slices)
        for file in platform.gateway.slice_files(source, slice_, Stage.SENT)
    ]
    days = {found.date for found in slices if found.date is not None}
    return Work(
        relation,
        source,
        platform.settings.first_date,
        platform.last_date,
        tuple(files),
        output,
        begin_on=frozenset(days),
    )


def slices_read(relation: Relation, slices: Sequence[Slice]) -> list[Slice]:
    """The slices of the source that slices of windows are made of, each once."""
    after = relation.reads_slices.after if relation.reads_slices is not None else 0
    assert isinstance(after, int)
    found = {
        each if each.date is None else Slice(each.date + dt.timedelta(days=days), each.environment)
        for each in slices
        for days in range(after + 1)
    }
    return sorted(found, key=lambda each: each.sort_key)


def output_folder(platform: PlatformReader, relation: Relation, run_id: str) -> Path:
    """Where a run's windows go."""
    return platform.settings.home / "beam" / f"{relation.dataset}.{relation.name}" / run_id
