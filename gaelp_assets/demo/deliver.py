"""The demo as a producer: writes what the orchestrator makes into the export gateway, as any producer would."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from gaelp_assets.demo.orchestrator import DayReport, ProducedFile, Progress, default_dates, produce
from gaelp_assets.demo.tasks import DEFAULT_DAYS, SIZES
from gaelp_assets.errors import GaelpError, unknown
from gaelp_assets.gateway import Gateway
from gaelp_assets.settings import Settings


def deliver(
    settings: Settings,
    gateway: Gateway,
    *,
    size: str,
    days: int = DEFAULT_DAYS,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Iterator[DayReport]:
    """Trains the demo's agents date by date, up to yesterday, and delivers each date's files; a report for each date.

    Delivered again on the same day, the files are the same, byte for byte: the ledger knows them.

    Raises:
        GaelpError: there is no such size.
    """
    if size not in SIZES:
        raise GaelpError(unknown("size", size, SIZES))
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    return produce(
        lambda file: _publish(gateway, file),
        _Checkpoints(settings.home / "checkpoints").save,
        dates=default_dates(yesterday, days),
        size=SIZES[size],
        on_progress=on_progress,
    )


def _publish(gateway: Gateway, file: ProducedFile) -> None:
    places = (file.stage, file.dataset, file.table, file.slice.path if file.slice else "")
    name = "/".join([*(place for place in places if place), f"{file.name}.ndjson"])
    encoder = msgspec.json.Encoder()
    gateway.store.create(name, (encoder.encode(row) + b"\n" for row in file.rows))


class _Checkpoints:
    """Keeps checkpoints in a folder, where their rows say that they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, name: str, content: bytes) -> str:
        """Writes a checkpoint once, and returns its address."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path.as_uri()
