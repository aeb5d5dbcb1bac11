"""Brings live files into the warehouse: many of a table at once, with a few transactions for all of them."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import polars as pl

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.errors import GaelpError, Problem, TransientError
from gaelp_assets.gateway import ObjectChanged
from gaelp_assets.ingest.load_slices import load_slices
from gaelp_assets.ingest.report import REASON_SCHEMA
from gaelp_assets.ingest.sort import SortedFile, sort_together
from gaelp_assets.ingest.validate import Validators
from gaelp_assets.platform import Platform
from gaelp_assets.stream.batch import RUN_PREFIX, Arrived, Fates, KeyTakenError
from gaelp_assets.stream.fates import Sorts, as_duplicates, fates, stem_of
from gaelp_assets.warehouse.ledger import LineCounts

_log: Final = logging.getLogger("gaelp_assets.stream")
DEFECTS: Final = (Exception, pl.exceptions.PanicException)
"""What nobody foresaw. A panic of Polars is no `Exception`, and would end a thread without a word."""


@dataclass
class Outcome:
    """What came of a batch so far."""

    fates: Fates | None = None
    """None where not all of its rows are loaded yet."""
    reasons: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REASON_SCHEMA))
    """Why lines were rejected while the file was sorted."""
    error: GaelpError | None = None
    """Why it was not taken, or what keeps it from being loaded."""
    settled: bool = False
    """Whether nothing is left to do: its rows are loaded, or it was not taken."""


class LiveLoader:
    """Loads live files of one platform. Belongs to one thread.

    Args:
        platform: the gateway and the warehouse.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._day = platform.last_date
        self._validators = Validators.for_run(platform)
        self._open: dict[str, set[Slice]] = {}
        """What was handed on to the load queue, and is not known to be loaded."""
        self.writes = 0
        """How many writes of the warehouse it has asked for."""

    def open(self, slices: Mapping[str, set[Slice]]) -> None:
        """Has slices loaded too, by table: those with live files in the load queue that others have left."""
        for relation_id, found in slices.items():
            self._open.setdefault(relation_id, set()).update(found)

    @property
    def open_relations(self) -> list[Relation]:
        """The tables with slices that are still to be loaded."""
        return [self._platform.catalog[relation_id] for relation_id, slices in self._open.items() if slices]

    def load(self, relation: Relation, arrived: Sequence[Arrived]) -> list[Outcome]:
        """Sorts and loads files of one table; what came of each, in their order.

        Raises:
            TransientError: gateway or warehouse are out of reach, locked or full; nothing is lost, try again later.
            GaelpError: the warehouse refuses the table.
        """
        found: dict[int, Outcome] = {}
        try:
            for part in _apart(arrived):
                outcomes = self._outcomes(relation, [arrived[place] for place in part])
                found |= zip(part, outcomes, strict=True)
            return [found[place] for place in range(len(arrived))]
        except TransientError:
            raise
        except DEFECTS:
            self._open.pop(relation.id, None)  # Dagster's sensors say what is wrong with them
            raise

    def _outcomes(self, relation: Relation, arrived: Sequence[Arrived]) -> list[Outcome]:
        if self._platform.last_date != self._day:  # another day may have rows from now on
            self._day = self._platform.last_date
            self._validators = Validators.for_run(self._platform)
        self._validators.ensure(self._platform, relation)
        outcomes = [Outcome() for _ in arrived]
        before = self._sorts(relation, arrived)
        new: list[tuple[Arrived, Outcome]] = []
        for one, outcome in zip(arrived, outcomes, strict=True):
            if before.is_other(one):
                outcome.error, outcome.settled = KeyTakenError(relation), True
                self._set_aside(one, outcome.error)
            elif (told := before.told(one)) is not None:
                self._archive(one)
                outcome.fates, outcome.settled = told, True
            else:
                new.append((one, outcome))
        if new or self._open.get(relation.id):
            self._load(relation, new)
        return outcomes

    def _load(self, relation: Relation, new: Sequence[tuple[Arrived, Outcome]]) -> None:
        run_id = f"{RUN_PREFIX}{uuid.uuid4()}"
        slices = self._open.setdefault(relation.id, set())
        files = [one.file for one, _ in new]
        found = sort_together(self._platform, relation, files, self._validators, run_id, slices)
        for (_, outcome), result in zip(new, found, strict=True):
            if result is not None:  # else another process has it, and the ledger will tell
                outcome.reasons = result.reasons
                if result.problems:
                    outcome.error, outcome.settled = GaelpError(*result.problems), True
        self.writes += bool(new) + len(slices)
        problems: list[Problem] = []
        loads: dict[str, dict[str, LineCounts]] = {}
        ordered = sorted(slices, key=lambda slice_: slice_.sort_key)
        for slice_, loaded in load_slices(
            self._platform, relation, ordered, run_id=run_id, validators=self._validators
        ):
            if isinstance(loaded, GaelpError):
                if not loaded.permanent:
                    raise loaded
                _log.warning("%s, %s: %s", relation.id, slice_, loaded)
                problems += loaded.problems
            else:
                problems += [problem for file in loaded.set_aside for problem in file.problems]
                for file in loaded.files:
                    if file.counts is not None:
                        loads.setdefault(stem_of(file.file), {})[file.file] = file.counts
            slices.discard(slice_)
        self._tell(relation, new, found, loads, problems)

    def _tell(
        self,
        relation: Relation,
        new: Sequence[tuple[Arrived, Outcome]],
        found: Sequence[SortedFile | None],
        loads: Mapping[str, Mapping[str, LineCounts]],
        problems: Sequence[Problem],
    ) -> None:
        """Notes what became of batches that were sorted (or not: `found`) and loaded (`loads`, by stem and file)."""
        asked: list[tuple[Arrived, Outcome, SortedFile | None]] = []
        for (one, outcome), result in zip(new, found, strict=True):
            if outcome.settled:
                continue
            told = loads.get(one.stem, {})
            if result is None or any(counts.already_in_ledger for counts in told.values()):
                asked.append((one, outcome, result))
            else:
                outcome.fates = _fates(result, [asdict(counts) for counts in told.values()])
        if asked:
            ledger = self._sorts(relation, [one for one, _, _ in asked])
            for one, outcome, result in asked:
                if result is None:
                    outcome.fates = ledger.of(one)
                else:
                    told = loads.get(one.stem, {})
                    rows = [ledger.load(file) or as_duplicates(counts) for file, counts in told.items()]
                    outcome.fates = _fates(result, rows)
        for _, outcome in new:
            if outcome.fates is not None:
                outcome.settled = True
            elif problems and not outcome.settled:
                outcome.error = GaelpError(*problems)

    def _sorts(self, relation: Relation, arrived: Sequence[Arrived]) -> Sorts:
        return Sorts(self._platform.warehouse, relation, arrived, dt.datetime.now(dt.UTC))

    def _set_aside(self, one: Arrived, error: GaelpError) -> None:
        """Puts a file that is not taken into `failed/`: its producer may have been answered before, and be gone."""
        try:
            self._platform.gateway.fail(one.file, error.problems)
            _log.warning("%s is set aside: %s", one.file.path, error)
        except ObjectChanged:
            _log.warning("%s was moved by another process before it was refused", one.file.path)

    def _archive(self, one: Arrived) -> None:
        try:
            self._platform.gateway.archive_raw(one.file, one.digest)
        except ObjectChanged:
            return  # another process has done that


def _apart(arrived: Sequence[Arrived]) -> list[list[int]]:
    """The places of batches, in parts that are loaded one after the other: in each, a name and the same bytes stand once.

    What becomes of the first of them tells what becomes of the others: whether a name is taken, which rows are there already.
    """
    parts: list[list[int]] = [[]]
    known: list[set[str]] = [set()]
    for place, one in enumerate(arrived):
        number = 1 + max((n for n, each in enumerate(known) if each & {one.stem, one.digest}), default=-1)
        if number == len(parts):
            parts.append([])
            known.append(set())
        parts[number].append(place)
        known[number] |= {one.stem, one.digest}
    return parts


def _fates(result: SortedFile, loads: Sequence[Mapping[str, Any]]) -> Fates | None:
    return fates(result.lines, result.rejected, result.went_on, loads)
