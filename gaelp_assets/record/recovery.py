"""The starts of a run: who records it now, and what earlier starts that were killed have left to publish."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Final

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway.names import RECORDINGS
from gaelp_assets.gateway.store import Store
from gaelp_assets.record import journal, places, rows
from gaelp_assets.record.compiling import File, References, Told, files
from gaelp_assets.record.values import stamp

KILLED: Final = "the process ended without closing its recorder"


@dataclass(frozen=True)
class Recovered:
    """What the start of a run that was killed had left, and what has become of it."""

    attempt: int
    episodes: int
    """Episodes that were under way: written as unfinished."""
    files: int
    """Files that were not there yet."""


def recover(gateway: str | os.PathLike[str] | None, run: str) -> list[Recovered]:
    """Publishes what recorders of the run that were killed have left. Doing it again changes nothing.

    A new `Recorder` of the run does it too; this is for a run that does not go on.

    Args:
        gateway: as `Recorder` takes it.
        run: the run's id.

    Returns:
        One for each start of the run that had something left.

    Raises:
        GaelpError: a process on this machine still records the run.
    """
    store = places.open_store(places.address(gateway))
    return recover_all(store, run, places.stem(run))[1]


def recover_all(store: Store, run: str, stem: str) -> tuple[dict[str, Any], list[Recovered], int]:
    """Recovers every start of the run; the state that the last one left, what was recovered, and the number of the last start.

    Raises:
        GaelpError: a process on this machine still records the run.
    """
    folder = f"{RECORDINGS}/{stem}"
    started: dict[int, bool] = {}
    for stored in store.list(f"{folder}/attempt-"):
        number, _, ending = stored.name.removeprefix(f"{folder}/attempt-").partition(".")
        started[int(number)] = started.get(int(number), False) or ending == "state.json"
    recovered = []
    for attempt in sorted(number for number, settled in started.items() if not settled):
        content = journal.read(store, f"{folder}/attempt-{attempt}.json")
        starter = json.loads(content or b"{}")
        if content and _is_recording(starter, store.url, stem):
            raise GaelpError(
                Problem(
                    f"process {starter['pid']} of this machine is recording it",
                    f"run {run}",
                    "one recorder at a time",
                    "Close that recorder (or end its process) first, or give this run another id.",
                )
            )
        found = _recover(store, folder, attempt)
        if found is not None:
            recovered.append(found)
    last = max(started, default=0)
    state: dict[str, Any] = {}
    for attempt in sorted(started, reverse=True):
        content = journal.read(store, f"{folder}/attempt-{attempt}.state.json")
        if content:
            state = json.loads(content)
        if state:
            break
    return state, recovered, last


LIVE: Final[set[tuple[str, str]]] = set()
"""The recordings of this process that are not closed: by gateway and stem."""


def _is_recording(starter: dict[str, Any], url: str, stem: str) -> bool:
    if starter["pid"] == os.getpid() and journal.process() == {
        key: starter.get(key) for key in journal.process()
    }:
        return (url, stem) in LIVE
    return journal.is_alive(starter)


def claim(store: Store, stem: str, last: int) -> int:
    """The number of this start of the run, which no other start gets."""
    attempt = last + 1
    content = json.dumps(journal.process()).encode()
    while store.create(f"{RECORDINGS}/{stem}/attempt-{attempt}.json", [content]) is None:
        attempt += 1
    return attempt


def settle(store: Store, folder: str, attempt: int, state: dict[str, Any]) -> None:
    """Everything of that start is published: its counters stay, its journals go."""
    name = f"{folder}/attempt-{attempt}.state.json"
    store.create(name, [json.dumps(state).encode()])
    journal.remove(store, [stored.name for stored in store.list(f"{folder}/a{attempt}/")])


def _recover(store: Store, folder: str, attempt: int) -> Recovered | None:
    names = [stored.name for stored in store.list(f"{folder}/a{attempt}/")]
    journals = sorted(name for name in names if name.endswith(".journal"))
    if not journals:
        settle(store, folder, attempt, {})
        return None
    content = journal.read(store, journals[-1])
    assert content is not None
    header, finals = journal.unpacked(content)
    written = 0
    for number, name in enumerate(header["files"]):
        source = journal.part_name(f"{folder}/a{attempt}", header["part"], number)
        written += journal.publish(store, source, name)
    told = [
        _told(store, folder, attempt, fields, final)
        for fields, final in zip(header["ongoing"], finals, strict=True)
    ]
    refs = References(**header["references"])
    kept = files(refs, "recovered", told, lambda *_: None)
    if header["run_row"]:
        ended = header["at"]
        row = {
            **header["run_row"],
            "status": "failed",
            "error_message": KILLED,
            "finished_at": stamp(ended),
            # A microsecond later than the row that it follows.
            "updated_at": stamp(ended + 2e-6),
        }
        kept.append(File(refs.file_name("training_runs", "recovered"), rows.lines([row])))
    written += sum(store.create(file.name, [file.content]) is not None for file in kept)
    settle(store, folder, attempt, header["state"])
    return Recovered(attempt, len(told), written)


def _told(store: Store, folder: str, attempt: int, fields: dict[str, Any], final: bytes) -> Told:
    key = (fields["purpose"], fields["number"])
    pieces = []
    for part in fields["parts"]:
        content = journal.read(store, f"{folder}/a{attempt}/p{part:06d}.steps")
        pieces += journal.pieces_of(content).get(key, []) if content else []
    array = None if fields["final"] is None else journal.array_of(fields["final"], final)
    return Told(journal.episode_of(fields, array), fields["environment"], pieces)
