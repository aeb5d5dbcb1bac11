"""What an object's name says about it: stage, table, slice. Pure: names in, files or problems out, and the names they get next."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gaelp_assets.catalog import WHOLE, Catalog, Kind, Relation, Slice
from gaelp_assets.catalog.slices import ENVIRONMENT_ID_ADVICE, ENVIRONMENT_ID_WORDS, parse_slice_path
from gaelp_assets.errors import GaelpError, Problem, unknown
from gaelp_assets.gateway.names import shown
from gaelp_assets.gateway.store import StoredObject

RAW_FOLDER: Final = "_raw"
ERROR_ENDING: Final = ".error.json"
# The file systems' 255 bytes, less what a name gets on its way: a suffix of 13 and the ending of its error file.
NAME_BYTES: Final = 200
# Google Cloud Storage allows 1024 bytes for the whole name.
FAILED_PATH_BYTES: Final = 900
_SUFFIX: Final = re.compile(r"(?<=.)~[0-9a-f]{12}\Z", re.DOTALL)
_REPLAY: Final = re.compile(r"(?:.*/)?(?:[^/]+\.)?replay-(?P<times>[0-9]+)\.ndjson", re.DOTALL)
_REPLAYED: Final = re.compile(r"(?:\A|\.)replay-[0-9]+\Z")
_FILE_NAME: Final = re.compile(r"(?P<stem>.+?)\.(?P<ending>ndjson(?:\.gz|\.zst)?|json)")


class Stage(StrEnum):
    """The gateway's top-level folders, in the order in which a file passes them."""

    RAW = "raw"
    TRANSFORMED = "transformed"
    CLOUD_READY = "cloud_ready"
    SENT = "sent"
    FAILED = "failed"


STAGES: Final = tuple(stage.value for stage in Stage)


@dataclass(frozen=True)
class GatewayFile:
    """A file whose name is sound: rows of `relation`, and of `slice` as far as its folders say."""

    stored: StoredObject
    stage: Stage
    relation: Relation
    slice: Slice
    """What the folders promise; in `raw`, or unsorted, it can lack the date or the environment that the table is sliced by."""
    name: str
    """The last part: `part-0.ndjson.gz`."""
    sorted: bool
    """Whether it holds one slice of its table by its place, and can be loaded as it is; raw files never can."""

    @property
    def path(self) -> str:
        """`training/episodes/date=2026-11-20/part-0.ndjson`: the same in every stage, without what moves add to the name."""
        return "/".join(part for part in (folder(self.relation, self.slice), _unsuffixed(self.name)) if part)

    @property
    def ending(self) -> str:
        """`ndjson`, `ndjson.gz`, `ndjson.zst` or `json`."""
        return split_name(self.name)[1]


@dataclass(frozen=True)
class _Place:
    """What the folders of a name say; the relation is None where the file's own name has to say it."""

    stage: Stage
    folders: tuple[str, ...]
    relation: Relation | Problem | None
    slice: Slice | Problem
    sorted: bool


class Names:
    """Names, read through a catalogue. What a folder says is found out once, however many files are in it."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._places: dict[str, _Place | Problem] = {}

    def parse(self, stored: StoredObject) -> GatewayFile | Problem:
        """The file that the object's name describes, or what is wrong with that name and what is allowed."""
        folder_name, _, name = stored.name.rpartition("/")
        place = self._places.get(folder_name)
        if place is None:
            place = self._places[folder_name] = self._place(stored.name)
        if isinstance(place, Problem):
            return place
        problem = _odd_characters(stored.name) or _wrong_file_name(name, place.stage, place.folders)
        if problem:
            return _at(problem, stored.name)
        relation = place.relation if place.relation is not None else _relation([], name, self._catalog)
        if isinstance(relation, Problem):
            return _at(relation, stored.name)
        if isinstance(place.slice, Problem):
            return _at(place.slice, stored.name)
        complete = place.sorted and is_complete(relation, place.slice)
        return GatewayFile(stored, place.stage, relation, place.slice, name, complete)

    def _place(self, stored_name: str) -> _Place | Problem:
        stage_name, *folders = stored_name.split("/")
        if stage_name not in STAGES or not folders:
            return unknown("folder", shown(stage_name), STAGES, where=shown(stored_name))
        stage = Stage(stage_name)
        name = folders.pop()
        kept_raw = stage is Stage.SENT and folders[2:3] == [RAW_FOLDER]
        of_slice = [*folders[:2], *folders[3:]] if kept_raw else folders
        relation = _relation(of_slice, name, self._catalog) if of_slice else None
        slice_ = _slice(relation, of_slice[2:]) if isinstance(relation, Relation) else WHOLE
        placed = stage in {Stage.CLOUD_READY, Stage.SENT} and not kept_raw
        return _Place(stage, tuple(folders), relation, slice_, placed)


def parse_name(stored: StoredObject, catalog: Catalog) -> GatewayFile | Problem:
    """The file that the object's name describes, or what is wrong with that name and what is allowed."""
    return Names(catalog).parse(stored)


def is_complete(relation: Relation, slice_: Slice) -> bool:
    """Whether the slice has all that the relation is sliced by."""
    by = relation.partitioning
    if by is None:
        return slice_ == WHOLE
    return slice_.date is not None and (slice_.environment is not None) == (by.environment is not None)


def folder(relation: Relation, slice_: Slice) -> str:
    """`training/episodes/date=2026-11-20/environment=CartPole-v1`."""
    return "/".join(part for part in (relation.dataset, relation.name, slice_.path) if part)


def layout(relation: Relation) -> str:
    """Where the relation's files belong, below their stage, for messages."""
    by = relation.partitioning
    dimensions = "" if by is None else "date=YYYY-MM-DD/" + ("environment=ID/" if by.environment else "")
    return f"{relation.dataset}/{relation.name}/{dimensions}NAME.ndjson[.gz|.zst]"


def split_name(name: str) -> tuple[str, str]:
    """Stem and ending of a file's name; what has no known ending is parted at its last dot.

    >>> split_name("part-0.ndjson.gz")
    ('part-0', 'ndjson.gz')
    """
    match = _FILE_NAME.fullmatch(name)
    if match:
        return match["stem"], match["ending"]
    stem, _, ending = name.rpartition(".")
    return stem or name, ending if stem else ""


def published_name(relation: Relation, slice_: Slice, name: str) -> str:
    """The name of a new file of a slice in the load queue.

    Raises:
        GaelpError: the slice is not one of the relation's, or the file's name is not allowed.
    """
    problem = _odd_characters(name) or _wrong_file_name(name, Stage.CLOUD_READY, [])
    if problem is None and ("/" in name or name.startswith(".")):
        problem = Problem("not the name of a file", expected="one part that does not start with a dot")
    if problem is None and not is_complete(relation, slice_):
        problem = Problem(f"{slice_} is not a slice of {relation.id}", expected=layout(relation))
    if problem:
        raise GaelpError(_at(problem, name))
    return f"{Stage.CLOUD_READY}/{folder(relation, slice_)}/{name}"


def claimed_name(file: GatewayFile) -> str:
    """Its name in `transformed/`, which is another for each version: a claim never replaces another file."""
    return f"{Stage.TRANSFORMED}/{folder(file.relation, file.slice)}/{_suffixed(file.name, _identity(file.stored))}"


def archived_name(file: GatewayFile, batch_id: str) -> str:
    """Its name in `sent/`: the same bytes under the same name collapse, other bytes never replace them."""
    return sent_name(file.relation, file.slice, file.name, batch_id)


def sent_name(relation: Relation, slice_: Slice, name: str, batch_id: str) -> str:
    """The name in `sent/` that a slice's file of that name and those bytes has once it is loaded."""
    return f"{Stage.SENT}/{folder(relation, slice_)}/{_suffixed(name, batch_id)}"


def archived_raw_name(file: GatewayFile, batch_id: str) -> str:
    """The name in `sent/` of a file whose lines went on in files of one slice each: never taken for a slice's file."""
    parts = (
        Stage.SENT,
        folder(file.relation, WHOLE),
        RAW_FOLDER,
        file.slice.path,
        _suffixed(file.name, batch_id),
    )
    return "/".join(part for part in parts if part)


def failed_name(stored: StoredObject) -> str:
    """A name in `failed/` that any store can hold, is another for each name and version, and is the same when asked again."""
    identity = _identity(stored)
    parts = stored.name.split("/")
    if parts[0] in STAGES and len(parts) > 1:
        parts = parts[1:]
    *folders, name = (_encoded(part) for part in parts)
    if len(os.fsencode(name)) > NAME_BYTES:
        name = name[: NAME_BYTES // 2].encode("ascii", "replace").decode("ascii").replace("?", "_")
    folders = [part for part in folders if part]
    path = "/".join([Stage.FAILED.value, *folders, _suffixed(name or "unnamed", identity)])
    too_long = len(path.encode()) > FAILED_PATH_BYTES or any(
        len(part.encode()) > NAME_BYTES for part in folders
    )
    return f"{Stage.FAILED}/{_suffixed(name or 'unnamed', identity)}" if too_long else path


def free_name(name: str, number: int) -> str:
    """The name with a number, for a place that is taken.

    >>> free_name("raw/episodes.ndjson", 2)
    'raw/episodes-2.ndjson'
    """
    above, slash, last = name.rpartition("/")
    stem, ending = split_name(last)
    return f"{above}{slash}{stem}-{number}" + (f".{ending}" if ending else "")


def sorted_name(file: GatewayFile, digest: str) -> str:
    """A name for the lines of one slice of a raw file, of the digest of the new file's bytes: the same that it gets in `sent/`."""
    stem, _ = split_name(_unsuffixed(file.name))
    return _suffixed(f"{stem}.ndjson", digest)


def replay_name(path: str, times: int, digest: str) -> str:
    """A name for lines of a file that are replayed for the `times`-th time, of the digest of the new file's bytes.

    It starts as the file's own does, so that a revision of the file stands in the place of its replayed lines too.
    """
    stem = replayed_stem(path)
    fits = stem and len(stem.encode()) + len(f".replay-{times}.ndjson") <= NAME_BYTES
    return _suffixed(f"{stem}.replay-{times}.ndjson" if fits else f"replay-{times}.ndjson", digest)


def replayed_stem(path: str) -> str:
    """The stem of a file's name without what a replay has added; empty for a replay that does not say of which file.

    >>> replayed_stem("training/episodes/day.replay-2.ndjson")
    'day'
    """
    stem, _ = split_name(path.rpartition("/")[2])
    return _REPLAYED.sub("", stem)


def times_replayed(path: str) -> int:
    """How often the lines of a file have been replayed before, by its path (see `GatewayFile.path`); 0 for a producer's file."""
    match = _REPLAY.fullmatch(path)
    return int(match["times"]) if match else 0


def _unsuffixed(name: str) -> str:
    """The name without what a move has added."""
    stem, ending = split_name(name)
    return _SUFFIX.sub("", stem) + (f".{ending}" if ending else "")


def _suffixed(name: str, digest: str) -> str:
    stem, ending = split_name(_unsuffixed(name))
    return f"{stem}~{digest[:12]}" + (f".{ending}" if ending else "")


def _identity(stored: StoredObject) -> str:
    return hashlib.sha256(f"{stored.name}\n{stored.version}".encode("utf-8", "surrogatepass")).hexdigest()


def _encoded(part: str) -> str:
    """The part with what is odd in it as `%NN` of its bytes."""
    encoded = "".join(
        character
        if character.isprintable() and character not in "%\\"
        else "".join(f"%{byte:02X}" for byte in _bytes(character))
        for character in part
    )
    return encoded.replace(".", "%2E") if part.startswith(".") or part.endswith(".tmp") else encoded


def _bytes(character: str) -> bytes:
    try:
        return os.fsencode(character)
    except UnicodeEncodeError:
        return character.encode("utf-8", "surrogatepass")


def _at(problem: Problem, name: str) -> Problem:
    return Problem(problem.what, shown(name), problem.expected, problem.remedy)


def _odd_characters(name: str) -> Problem | None:
    if not name.isprintable() or "\\" in name:
        odd = next(character for character in name if not character.isprintable() or character == "\\")
        return Problem(
            f"the name has the character {shown(odd)!r}" if odd != "\\" else "the name has a backslash",
            expected="printable characters without backslash",
            remedy="Have the producer write the file under another name.",
        )
    if ".." in name or any(part in {"", "."} for part in name.split("/")):
        return Problem(
            'the name has "..", "." or nothing between two "/"', expected="plain folders and a file name"
        )
    return None


def _wrong_file_name(name: str, stage: Stage, folders: Sequence[str]) -> Problem | None:
    allowed = "NAME.ndjson, NAME.ndjson.gz or NAME.ndjson.zst"
    kept_raw = stage is Stage.SENT and RAW_FOLDER in folders
    takes_json = stage in {Stage.RAW, Stage.TRANSFORMED} or kept_raw
    match = _FILE_NAME.fullmatch(name)
    if match is None or (match["ending"] == "json" and not takes_json):
        remedy = (
            "A .json file, one object or an array of them, is taken in raw/ only."
            if name.endswith(".json")
            else ""
        )
        return Problem(
            f"a file with the ending {_ending_of(name)!r}",
            expected=allowed + (" or NAME.json" if takes_json else ""),
            remedy=remedy,
        )
    if len(name.encode()) > NAME_BYTES and len(_unsuffixed(name).encode()) > NAME_BYTES:
        return Problem("the file's name is too long", expected=f"at most {NAME_BYTES} bytes")
    return None


def _ending_of(name: str) -> str:
    return "".join(f".{part}" for part in name.split(".")[1:][-2:])


def relations_named(name: str, catalog: Catalog) -> tuple[Relation, ...]:
    """The relations that a name without a dataset can mean: the tables that take files, or else others of that name."""
    same = catalog.named(name)
    # A view or a ledger of that name takes no files: it makes the name of a table no less clear.
    return tuple(relation for relation in same if relation.is_loaded) or same


def _relation(folders: Sequence[str], name: str, catalog: Catalog) -> Relation | Problem:
    if not folders:
        table = split_name(name)[0]
        same = relations_named(table, catalog)
        if len(same) > 1:
            return Problem(
                f"{len(same)} tables are called {table!r}",
                expected="the folder of one of them: " + " or ".join(f"{r.dataset}/{r.name}/" for r in same),
            )
        found = same[0] if same else None
    elif len(folders) == 1:
        return Problem(
            f"the folder {folders[0]!r} alone does not name a table",
            expected="DATASET/TABLE/NAME.ndjson, or TABLE.ndjson without a folder",
            remedy=_likely(folders[0], catalog),
        )
    else:
        table = f"{folders[0]}.{folders[1]}"
        found = catalog.relations.get(table)
    if found is None:
        return Problem(
            f"unknown table {table!r}",
            expected="DATASET/TABLE of the catalogue, such as " + ", ".join(_near(table, catalog)),
            remedy="`gaelp catalog list` shows them all.",
        )
    if found.is_loaded:
        return found
    kind = (
        "is written by the platform itself"
        if found.kind is Kind.LEDGER
        else f"is a {found.kind.replace('_', ' ')}: its rows come from its SQL"
    )
    return Problem(
        f"{found.id} {kind}",
        expected="a table that is loaded from files, such as " + ", ".join(_near(table, catalog)),
    )


def _near(table: str, catalog: Catalog) -> list[str]:
    """Up to five loaded tables, those with similar names first."""
    by_id = {relation.id: relation for relation in catalog.loaded}
    names = {relation.name for relation in catalog.loaded}
    near = [by_id[close] for close in difflib.get_close_matches(table, by_id, n=5)]
    near += [
        relation
        for close in difflib.get_close_matches(table.rpartition(".")[2], names, n=5)
        for relation in catalog.named(close)
        if relation.is_loaded
    ]
    near += list(by_id.values())[:3] if not near else []
    return list(dict.fromkeys(f"{relation.dataset}/{relation.name}" for relation in near))[:5] or [
        "(it has none yet)"
    ]


def _likely(name: str, catalog: Catalog) -> str:
    meant = " or ".join(f"{relation.dataset}/{relation.name}/" for relation in catalog.named(name))
    return f"Did you mean {meant}?" if meant else ""


def _slice(relation: Relation, folders: list[str]) -> Slice | Problem:
    try:
        slice_ = parse_slice_path(folders)
    except ValueError as error:
        remedy = ""
        if any(segment.startswith("environment=") for segment in folders[:-1]):
            remedy = f"Use {ENVIRONMENT_ID_WORDS}; {ENVIRONMENT_ID_ADVICE}."
        return Problem(str(error), expected=layout(relation), remedy=remedy)
    by = relation.partitioning
    if by is None and slice_ != WHOLE:
        return Problem(f"{relation.id} is not sliced, and has no folders", expected=layout(relation))
    if by is not None and by.environment is None and slice_.environment is not None:
        return Problem(f"{relation.id} is sliced by date alone", expected=layout(relation))
    return slice_
