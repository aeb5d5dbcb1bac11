"""Revisions and withdrawals by hand: looks at what is loaded, hands over the file that a producer could have sent, and loads it.

Nothing here writes rows. What a command publishes is a correction like any other (see `gateway.corrections`), whose name has a number
greater than all of the table's. Killed anywhere, a command is completed by the sensors or by being called again.
"""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway.corrections import revision_name, version, withdrawal_name
from gaelp_assets.gateway.paths import Stage, folder, split_name, times_replayed
from gaelp_assets.ingest.compiled import slice_columns
from gaelp_assets.ingest.in_force import too_many_rejected
from gaelp_assets.ingest.load import load_slice
from gaelp_assets.ingest.predecessors import Predecessors
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets.ingest.sort import SliceFiles, digest, sort_file
from gaelp_assets.ingest.staging import staging_folder
from gaelp_assets.ingest.validate import Validators
from gaelp_assets.ingest.withdrawals import every_row, key_relation
from gaelp_assets.platform import Platform
from gaelp_assets.warehouse.history import is_load, ledger_rows, slice_of
from gaelp_assets.warehouse.ledger import LEDGER, Note
from gaelp_assets.warehouse.parameters import ParameterValue

# A part of a batch's id as short as this is not taken for one.
_ID_DIGITS: Final = 6
_SHOWN: Final = 10


@dataclass(frozen=True)
class Corrected:
    """What a correction did: the slices that it is about, and whether they were as it wants them before."""

    relation_id: str
    slices: tuple[Slice, ...]
    changed: bool
    name: str = ""
    """The name of the file that says so, from now on."""
    superseded: int = 0
    withdrawn: int = 0
    """Lines of the slices that count no more, of all corrections."""


def revise(platform: Platform, relation: Relation, file: Path, note: Note, *, batch: str = "") -> Corrected:
    """Puts a file in the place of what was loaded before under a name.

    Args:
        platform: gateway and warehouse.
        relation: the table.
        file: NDJSON, compressed or not, on this machine: all rows of the new version.
        note: who does it and why.
        batch: the name, or the first digits of the id, of what it stands in the place of; by default, what has the file's own name.

    Raises:
        GaelpError: nothing of that name is loaded, or several files are; more lines are rejected than of what is loaded; rows are of
            slices in which it has none. Nothing has changed then.
    """
    _check_loaded(relation)
    history = ledger_rows(platform.warehouse, relation)
    stem = _stem(relation, history, batch or file.name)
    validators = Validators.for_run(platform)
    before = Predecessors.of(platform, relation, stem)
    with staging_folder(platform) as staging:
        sorter = SliceFiles(slice_columns(relation), staging)
        rejected = 0
        try:
            stream = file.open("rb")
        except OSError as error:
            raise GaelpError(Problem(f"cannot be read: {error.strerror}", str(file), "a file")) from error
        with stream:
            for chunk in validators.of(relation).validate(LineReader(stream, file.name)):
                rejected += chunk.rejects.height
                sorter.add(chunk)
        digests = {slice_: digest(path) for slice_, path in sorter.files.items()}
    problem = too_many_rejected(rejected, before.rejected) or _elsewhere(relation, stem, digests, before)
    if problem is not None:
        raise GaelpError(problem)
    slices = before.slices | digests.keys()
    notes = dict.fromkeys((*digests.values(), _digest(every_row(stem))), note)
    if before.slices <= digests.keys() and all(
        _in_force(history, stem, slice_, batch_id) for slice_, batch_id in digests.items()
    ):
        _note_missing(platform, relation, validators, notes)
        return Corrected(relation.id, _ordered(slices), changed=False)
    name = revision_name(stem, _next_number(history), split_name(file.name)[1])
    path = "/".join((folder(relation, Slice()), name))
    with file.open("rb") as stream:
        platform.gateway.store.create(f"{Stage.RAW}/{path}", iter(lambda: stream.read(1 << 20), b""))
    for raw in platform.gateway.unsorted().files:
        if raw.path == path:
            _raise_problems(
                problem
                for report in sort_file(platform, raw, validators, "").files
                for problem in report.problems
            )
    return _load(platform, relation, slices, validators, notes, name)


def withdraw_batch(platform: Platform, relation: Relation, batch: str, note: Note) -> Corrected:
    """Takes out every row of what was loaded under a name.

    Args:
        platform: gateway and warehouse.
        relation: the table.
        batch: the name, or the first digits of the id, of a loaded file.
        note: who does it and why.

    Raises:
        GaelpError: nothing of that name is loaded, or several files are.
    """
    _check_loaded(relation)
    history = ledger_rows(platform.warehouse, relation)
    stem = _stem(relation, history, batch)
    before = Predecessors.of(platform, relation, stem)
    if not before.slices:
        _note_missing(platform, relation, Validators.for_run(platform), {_digest(every_row(stem)): note})
        return Corrected(relation.id, _ordered(before.known), changed=False)
    name = withdrawal_name(stem, _next_number(history))
    return _publish(platform, relation, before.slices, name, every_row(stem), note)


def withdraw_key(platform: Platform, relation: Relation, key: Mapping[str, str], note: Note) -> Corrected:
    """Takes out the row with a key, in every slice that has it.

    Args:
        platform: gateway and warehouse.
        relation: the table.
        key: the text of each field of the primary key. It is sent to the warehouse as parameters, and named by no message.
        note: who does it and why.

    Raises:
        GaelpError: these are not the key's fields, or no row has the key.
    """
    _check_loaded(relation)
    if set(key) != set(relation.primary_key):
        raise GaelpError(
            Problem(
                "these are not the fields of the key",
                relation.id,
                " ".join(f"--key {name}=VALUE" for name in relation.primary_key),
            )
        )
    content = (
        json.dumps({name: _json_value(relation, name, key[name]) for name in relation.primary_key}).encode()
        + b"\n"
    )
    slices = _slices_with(platform, relation, content)
    history = ledger_rows(platform.warehouse, relation)
    batch_id = _digest(content)
    if not slices:
        before = {slice_of(row) for row in history if row["batch_id"] == batch_id and is_load(row)}
        if before:
            _note_missing(platform, relation, Validators.for_run(platform), {batch_id: note})
            return Corrected(relation.id, _ordered(before), changed=False)
        raise GaelpError(Problem("no row has that key", relation.id, "the key of a row that is loaded"))
    name = withdrawal_name(f"withdrawal-{batch_id[:12]}", _next_number(history))
    return _publish(platform, relation, slices, name, content, note)


def _publish(
    platform: Platform, relation: Relation, slices: Iterable[Slice], name: str, content: bytes, note: Note
) -> Corrected:
    validators = Validators.for_run(platform)
    found = _ordered(slices)
    oldest = validators.oldest_kept(relation)
    _raise_problems(
        Problem(
            "is older than what is kept, and goes by itself",
            f"{relation.id}, {slice_}",
            f"a day from {oldest} on",
        )
        for slice_ in found
        if oldest is not None and slice_.date is not None and slice_.date < oldest
    )
    for slice_ in found:
        platform.gateway.publish(relation, slice_, name, [content])
    return _load(platform, relation, found, validators, {_digest(content): note}, name)


def _load(
    platform: Platform,
    relation: Relation,
    slices: Iterable[Slice],
    validators: Validators,
    notes: Mapping[str, Note],
    name: str,
) -> Corrected:
    """Loads the slices.

    Raises:
        GaelpError: the correction was set aside.
    """
    found = _ordered(slices)
    superseded = withdrawn = 0
    for slice_ in found:
        report = load_slice(platform, relation, slice_, run_id="", validators=validators, notes=notes)
        _raise_problems(
            problem
            for file in report.set_aside
            if version(file.file) == version(name)
            for problem in file.problems
        )
        ledger = platform.warehouse.ledger(relation, slice_)
        superseded += int(ledger["superseded"].sum())
        withdrawn += int(ledger["withdrawn"].sum())
    _note_missing(platform, relation, validators, notes)
    return Corrected(relation.id, found, changed=True, name=name, superseded=superseded, withdrawn=withdrawn)


def _note_missing(
    platform: Platform, relation: Relation, validators: Validators, notes: Mapping[str, Note]
) -> None:
    """Writes the note of corrections that are in force without one: a sensor was faster, or an earlier call was killed."""
    slices = {
        slice_of(row)
        for row in ledger_rows(platform.warehouse, relation)
        if row["batch_id"] in notes
        and row["corrected_by"] is None
        and is_load(row)
        and version(row["file"]).corrects
    }
    for slice_ in _ordered(slices):
        load_slice(platform, relation, slice_, run_id="", rebuild=True, validators=validators, notes=notes)


def _check_loaded(relation: Relation) -> None:
    if not relation.is_loaded:
        raise GaelpError(
            Problem(f"a {relation.kind.replace('_', ' ')} is not corrected", relation.id, "a loaded table")
        )


def _stem(relation: Relation, history: list[dict[str, Any]], named: str) -> str:
    """What the producer calls the file that is meant by its name or by the first digits of its batch's id.

    Raises:
        GaelpError: nothing of that name is loaded, or several files of one slice are.
    """
    loads = [row for row in history if is_load(row) and not version(row["file"]).withdraws]
    stems = {version(row["file"]).stem for row in loads}
    by_id = {
        version(row["file"]).stem
        for row in history
        if len(named) >= _ID_DIGITS
        and row["batch_id"].startswith(named)
        and not version(row["file"]).withdraws
    }
    stem = version(named).stem
    if stem not in stems and len(by_id) == 1:
        [stem] = by_id
    if stem not in stems:
        close = difflib.get_close_matches(stem, sorted(stems), n=_SHOWN) or sorted(stems)[:_SHOWN]
        raise GaelpError(
            Problem(
                f"no file called {stem!r} is loaded",
                relation.id,
                f"the name or the batch id of one, such as {', '.join(close)}" if close else "a loaded file",
                f"`SELECT DISTINCT file, batch_id FROM {LEDGER}` lists them all.",
            )
        )
    same = Counter(
        (slice_of(row), version(row["file"]).number)
        for row in loads
        if version(row["file"]).stem == stem
        and row["superseded_by"] is None
        and not times_replayed(row["file"])
    )
    several = {slice_: count for (slice_, _), count in same.items() if count > 1}
    _raise_problems(
        Problem(
            f"{count} files are called {stem!r}, and a revision or withdrawal would be of all",
            f"{relation.id}, {slice_}",
            "a name that one file of the slice has",
            "Correct single rows: send a revision under another name, which has the last word on the keys of its rows, "
            "or withdraw keys.",
        )
        for slice_, count in several.items()
    )
    return stem


def _elsewhere(
    relation: Relation, stem: str, found: Mapping[Slice, str], before: Predecessors
) -> Problem | None:
    strange = _ordered(found.keys() - before.known)
    if not strange:
        return None
    return Problem(
        f"the revision has rows of slices in which {stem!r} has none: {', '.join(map(str, strange[:_SHOWN]))}",
        relation.id,
        "rows of " + ", ".join(map(str, _ordered(before.known)[:_SHOWN])),
        "Send these rows as a file of their own.",
    )


def _in_force(history: list[dict[str, Any]], stem: str, slice_: Slice, batch_id: str) -> bool:
    """Whether a batch is what its slice says of the file, whole."""
    return any(
        row["batch_id"] == batch_id
        and slice_of(row) == slice_
        and version(row["file"]).stem == stem
        and is_load(row)
        and row["superseded_by"] is None
        and not (row["superseded"] or row["withdrawn"])
        for row in history
    )


def _next_number(history: list[dict[str, Any]]) -> int:
    """Greater than all of the table's, so that it has the last word on whatever is corrected by now."""
    return 1 + max((version(row["file"]).number for row in history), default=1)


def _json_value(relation: Relation, name: str, text: str) -> Any:
    """The value of a key's field as JSON has it.

    Raises:
        GaelpError: it is none of the field's type.
    """
    kinds: dict[str, Callable[[str], Any]] = {"INTEGER": int, "FLOAT": float, "BOOLEAN": json.loads}
    try:
        return kinds.get(relation.field(name).type, str)(text)
    except ValueError:
        raise GaelpError(_no_key(relation)) from None


def _no_key(relation: Relation) -> Problem:
    types = ", ".join(f"{name} ({relation.field(name).type})" for name in relation.primary_key)
    return Problem("the value is none of the field's type", relation.id, types)


def _slices_with(platform: Platform, relation: Relation, content: bytes) -> list[Slice]:
    """The slices that have a row with the key.

    Raises:
        GaelpError: it is no key of the table's.
    """
    validator = Validators.for_run(platform).of_variant(key_relation(relation, sliced=False))
    keys = [
        row
        for chunk in validator.validate(LineReader(io.BytesIO(content), "withdrawal.ndjson"))
        for row in chunk.rows.select(relation.primary_key).to_dicts()
    ]
    if len(keys) != 1:
        raise GaelpError(_no_key(relation))
    parameters: dict[str, ParameterValue] = {f"key_{i}": value for i, value in enumerate(keys[0].values())}
    conditions = [f"t.`{name}` = @key_{i}" for i, name in enumerate(keys[0])]
    by = relation.partitioning
    names = [name for name in (by.date, by.environment) if name] if by else []
    if by is not None:
        # All of the dates: only so that tables which insist on a filter of their partitions have one.
        days: list[Any] = [platform.settings.first_date, platform.last_date + dt.timedelta(days=1)]
        if relation.field(by.date).type == "TIMESTAMP":
            days = [dt.datetime.combine(day, dt.time(), dt.UTC) for day in days]
        conditions.append(f"t.`{by.date}` >= @first AND t.`{by.date}` < @after")
        parameters |= {"first": days[0], "after": days[1]}
    selected = ", ".join(f"t.`{name}`" for name in names) or "1 AS found"
    frame = platform.warehouse.query(
        f"SELECT DISTINCT {selected} FROM {relation.quoted_id} AS t WHERE {' AND '.join(conditions)}",
        parameters,
    ).frame
    columns = slice_columns(relation)
    if not columns:
        return [Slice()] if frame.height else []
    return [Slice(**row) for row in frame.select(**columns).unique().to_dicts()]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _ordered(slices: Iterable[Slice]) -> tuple[Slice, ...]:
    return tuple(sorted(slices, key=lambda slice_: slice_.sort_key))


def _raise_problems(problems: Iterable[Problem]) -> None:
    found = list(problems)
    if found:
        raise GaelpError(*found)
