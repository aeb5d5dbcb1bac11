"""`gaelp import`: the rows of a source, handed over to the gateway as files of one slice each.

Nothing is handed over before the whole source is read: until then its rows lie in a folder of their own. The names of the files follow
from their bytes, and the bytes from the source alone: the same source again is the same files, of a source that has grown the first ones
are. So importing twice is importing once, and may be killed anywhere.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec

from gaelp_assets.catalog import WHOLE, Catalog, Relation, Slice
from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.gateway import paths
from gaelp_assets.gateway.gateway import Gateway
from gaelp_assets.gateway.names import RECORDINGS
from gaelp_assets.gateway.paths import Stage
from gaelp_assets.importers.source import Kind, Lines, Options, Row, Rows, Tally, proven
from gaelp_assets.ingest.validate import oldest_kept

ROWS_OF_A_FILE: Final = 100_000
_ENCODED_AT_ONCE: Final = 2_000
_WAITING_AT_MOST: Final = 20_000
_READ_AT_ONCE: Final = 1 << 20


@dataclass
class Imported:
    """What an import did."""

    tally: Tally
    rows: Counter[str] = field(default_factory=Counter)
    """Rows of the source, by table."""
    written: list[str] = field(default_factory=list)
    """The files that were handed over, by name."""
    known: list[str] = field(default_factory=list)
    """The files that had been handed over before."""
    days: dict[str, tuple[dt.date, dt.date]] = field(default_factory=dict)
    """First and last day of each table's rows, where it has days."""


class _Part:
    """Rows of one slice that are not handed over yet: at most those of one file."""

    def __init__(self, relation: Relation, slice_: Slice, folder: Path, number: int) -> None:
        self.relation, self.slice, self.rows = relation, slice_, 0
        self.path = folder / f"{number:06d}"
        self._waiting: list[Row] = []
        self._encoder = msgspec.json.Encoder(decimal_format="number")

    def add(self, row: Row) -> bool:
        """Takes a row; whether there is room for another."""
        self.rows += 1
        self._waiting.append(row)
        if len(self._waiting) == _ENCODED_AT_ONCE:
            self.flush()
        return self.rows < ROWS_OF_A_FILE

    def add_lines(self, lines: Lines) -> bool:
        """Takes rows that are encoded; whether there is room for others."""
        self.flush()
        self.rows += lines.number
        with self.path.open("ab") as file:
            file.write(lines.content)
        return self.rows < ROWS_OF_A_FILE

    def flush(self) -> None:
        with self.path.open("ab") as file:
            file.write(self._encoder.encode_lines(self._waiting))
        self._waiting.clear()


def import_rows(
    gateway: Gateway,
    kind: Kind,
    path: Path,
    options: Options,
    *,
    allow_damaged: bool = False,
    dry_run: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Imported:
    """Reads a source and hands its rows over.

    Args:
        gateway: takes them, in `cloud_ready/`.
        kind: of the source.
        path: where it is.
        options: what the user says of it.
        allow_damaged: whether the rows before a damage are handed over.
        dry_run: whether it is only read.
        on_progress: is told the number of rows so far, now and then.

    Raises:
        GaelpError: there is no such source, it lacks what its rows need, or it is damaged; nothing is handed over then.
    """
    done = Imported(Tally())
    moments, name = _remembered(gateway, kind.name)
    options = replace(proven(options), moments=dict(moments))
    with tempfile.TemporaryDirectory(prefix="gaelp-import-") as folder:
        parts = _parts(gateway.catalog, kind.rows(path, options, done.tally), Path(folder), done, on_progress)
        if done.tally.damage and not allow_damaged:
            raise GaelpError(*done.tally.damage)
        if not dry_run:
            # First, so that no moment is handed over that is not remembered.
            _remember(gateway, kind.name, options.moments, moments, name)
        # What others refer to comes first.
        for part in sorted(parts, key=lambda part: part.slice != WHOLE):
            _hand_over(gateway, part, kind.name, done, dry_run=dry_run)
    return done


def _remembered(gateway: Gateway, kind: str) -> tuple[dict[str, str], str]:
    """What was remembered, and the name under which more of it can be.

    Each import that has something new adds an object, and none is ever changed: a kill or two imports at once lose nothing.
    """
    moments: dict[str, str] = {}
    gateway.store.require([*Stage, RECORDINGS])
    for number in itertools.count(1):
        name = f"{RECORDINGS}/imports/{kind}.{number:06d}.json"
        stored = gateway.store.find(name)
        if stored is None:
            break
        with gateway.store.open(stored) as file:
            moments = {**msgspec.json.decode(file.read(), type=dict[str, str]), **moments}
    return moments, name


def _remember(
    gateway: Gateway, kind: str, moments: dict[str, str], known: Collection[str], name: str
) -> None:
    """Adds what is new.

    Raises:
        TransientError: another import of the kind did so since, and may have said other moments.
    """
    new = {key: found for key, found in moments.items() if key not in known}
    if new and gateway.store.create(name, [msgspec.json.encode(new)]) is None:
        raise TransientError(
            Problem(f"another import of {kind} came first", gateway.url, remedy="Import it again.")
        )


def _parts(
    catalog: Catalog,
    rows: Rows,
    folder: Path,
    done: Imported,
    on_progress: Callable[[int], None],
) -> list[_Part]:
    open_parts: dict[tuple[str, object, object], _Part] = {}
    parts: list[_Part] = []
    fields: dict[str, tuple[Relation, str, str]] = {}
    for number, (table, row) in enumerate(rows, 1):
        if number % 50_000 == 0:
            on_progress(number)
        if table not in fields:
            relation = catalog.find(table)
            by = relation.partitioning
            fields[table] = (relation, by.date if by else "", (by.environment or "") if by else "")
        relation, date, environment = fields[table]
        if isinstance(row, Lines):
            key: tuple[str, object, object] = (table, row.date, row.environment_id)
        else:
            get = row.get if isinstance(row, dict) else _getter(row)
            key = (table, get(date) if date else None, get(environment) if environment else None)
        part = open_parts.get(key)
        if part is None:
            slice_ = (
                WHOLE
                if not date
                else Slice(dt.date.fromisoformat(str(key[1])), str(key[2]) if environment else None)
            )
            part = open_parts[key] = _Part(relation, slice_, folder, len(parts))
            parts.append(part)
        done.rows[table] += row.number if isinstance(row, Lines) else 1
        if not (part.add_lines(row) if isinstance(row, Lines) else part.add(row)):
            part.flush()
            del open_parts[key]
        if number % _WAITING_AT_MOST == 0:
            for waiting in open_parts.values():
                waiting.flush()
    for part in open_parts.values():
        part.flush()
    for part in parts:
        if part.slice.date is not None:
            first, last = done.days.get(part.relation.id, (part.slice.date, part.slice.date))
            done.days[part.relation.id] = (min(first, part.slice.date), max(last, part.slice.date))
    return parts


def _getter(row: Row) -> Callable[[str], object]:
    return lambda name: getattr(row, name)


def _hand_over(gateway: Gateway, part: _Part, kind: str, done: Imported, *, dry_run: bool) -> None:
    with part.path.open("rb") as file:
        batch_id = hashlib.file_digest(file, "sha256").hexdigest()
    name = f"{kind}-{batch_id[:16]}.ndjson"
    if gateway.store.find(paths.sent_name(part.relation, part.slice, name, batch_id)) is not None:
        done.known.append(name)
        return
    if dry_run:
        done.written.append(name)
        return
    created = gateway.publish(part.relation, part.slice, name, _chunks(part.path))
    (done.known if created is None else done.written).append(name)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_READ_AT_ONCE):
            yield chunk


def out_of_reach(catalog: Catalog, done: Imported, first_date: dt.date, last_date: dt.date) -> list[str]:
    """What the user has to know of rows whose days no load takes."""
    texts = []
    for table, (first, _) in sorted(done.days.items()):
        if first < first_date:
            texts.append(
                f"{table} has rows of {first} and later: those before GAELP_FIRST_DATE ({first_date}) wait in the queue "
                f"until it is set to {first} or earlier"
            )
        oldest = oldest_kept(catalog[table], last_date)
        if oldest is not None and first < oldest:
            texts.append(f"{table} keeps rows from {oldest} on (retention_days): older ones will be rejected")
    return texts
