"""The export gateway: what lies in which stage, and the moves between them. Works on any `Store`.

No step here needs another one to have happened in the same process: after a crash, each is done again with the same result.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from gaelp_assets.catalog import WHOLE, Catalog, Relation, Slice
from gaelp_assets.errors import GaelpError, Problem, TransientError, unknown
from gaelp_assets.gateway import paths
from gaelp_assets.gateway.explanation import Explanation, RejectedLines, explanation, read_explanation
from gaelp_assets.gateway.names import EXPORTS, RECORDINGS, is_left, shown
from gaelp_assets.gateway.paths import ERROR_ENDING, GatewayFile, Stage
from gaelp_assets.gateway.store import ObjectChanged, Store, StoredObject

# After every name that starts with what stands before it.
_LAST: Final = "\U0010ffff"


@dataclass(frozen=True)
class Listing:
    """What lies in the stages that were asked for: the files, and the objects whose names are wrong, with what is wrong."""

    files: list[GatewayFile] = field(default_factory=list)
    misplaced: list[tuple[StoredObject, Problem]] = field(default_factory=list)


@dataclass
class PendingSlice:
    """What is still to load of a slice: number of files, their bytes as stored, and when the oldest was written."""

    files: int
    bytes: int
    oldest: dt.datetime

    def add(self, stored: StoredObject) -> None:
        """Counts one more file."""
        self.files += 1
        self.bytes += stored.size
        self.oldest = min(self.oldest, stored.modified)


@dataclass(frozen=True)
class Queue:
    """The load queue in one pass over `cloud_ready/`: bounded by the number of slices, whatever the number of files."""

    slices: dict[tuple[str, Slice], PendingSlice] = field(default_factory=dict)
    """By relation id and slice."""
    unsorted: dict[str, PendingSlice] = field(default_factory=dict)
    """By relation id: the files that `unsorted()` lists too, since their places name no whole slice."""
    misplaced: list[tuple[StoredObject, Problem]] = field(default_factory=list)


@dataclass(frozen=True)
class StageCount:
    """How much lies in a stage; `oldest` is None where there is nothing. Error files are not counted."""

    files: int
    bytes: int
    oldest: dt.datetime | None


class FailedFile(NamedTuple):
    """A file in `failed/`, why it is there, and the name that it came with (None if nobody wrote it down)."""

    stored: StoredObject
    problems: tuple[Problem, ...]
    original: str | None


class Gateway:
    """The stages in a store, read through a catalogue. Every operation raises what the store's operations raise."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self.store = store
        self.catalog = catalog

    @property
    def url(self) -> str:
        """Where the gateway is: `file:///...` or `gs://...`."""
        return self.store.url

    def prepare(self) -> None:
        """Makes the stages where they need making, and finds out whether the store can be reached. Idempotent."""
        self.store.prepare([stage.value for stage in Stage])

    def require(self) -> None:
        """Finds out whether the gateway is there and can be reached. A root that is gone is an error, never a new gateway."""
        self.store.require([stage.value for stage in Stage])

    def pending(self) -> Listing:
        """The files in the load queue that can be loaded as they are, and what is misplaced there."""
        listing = self._listing(Stage.CLOUD_READY)
        return Listing([file for file in listing.files if file.sorted], listing.misplaced)

    def unsorted(self, *, live_until: dt.datetime | None = None) -> Listing:
        """The files whose rows are still to be sorted into slices: `raw/`, `transformed/`, and those of the queue that name no whole slice.

        What is misplaced in the queue is left to `pending`, live files that are younger than `live_until` are left out.
        """
        raw = self.unsorted_raw(live_until=live_until)
        queued = [file for file in self._listing(Stage.CLOUD_READY).files if not file.sorted]
        return Listing(raw.files + queued, raw.misplaced)

    def unsorted_raw(self, *, live_until: dt.datetime | None = None) -> Listing:
        """What of `unsorted()` is in `raw/` or `transformed/`; the rest is in `queue().unsorted`, counted. Leaves out what `queue` does."""
        listing = self._listing(Stage.RAW, Stage.TRANSFORMED)
        files = [file for file in listing.files if not is_left(file.name, file.stored.modified, live_until)]
        return Listing(files, listing.misplaced)

    def _listing(self, *stages: Stage) -> Listing:
        listing = Listing()
        for stored, found in self._parsed(*stages):
            if isinstance(found, Problem):
                listing.misplaced.append((stored, found))
            else:
                listing.files.append(found)
        return listing

    def _parsed(self, *stages: Stage) -> Iterator[tuple[StoredObject, GatewayFile | Problem]]:
        names = paths.Names(self.catalog)
        for stage in stages:
            for stored in self.store.list(f"{stage}/"):
                yield stored, names.parse(stored)

    def queue(self, *, live_until: dt.datetime | None = None) -> Queue:
        """The whole load queue, counted by slice; without live files that are younger than that moment."""
        queue = Queue()
        for stored, found in self._parsed(Stage.CLOUD_READY):
            if is_left(stored.name, stored.modified, live_until):
                continue
            if isinstance(found, Problem):
                queue.misplaced.append((stored, found))
            elif found.sorted:
                queue.slices.setdefault((found.relation.id, found.slice), _nothing(stored)).add(stored)
            else:
                queue.unsorted.setdefault(found.relation.id, _nothing(stored)).add(stored)
        return queue

    def pending_slices(self) -> dict[tuple[str, Slice], PendingSlice]:
        """What is to load, by relation id and slice."""
        return self.queue().slices

    def slice_files(self, relation: Relation, slice_: Slice, *stages: Stage) -> list[GatewayFile]:
        """The files of one slice in these stages, in order of name; only the slice's own folders are listed."""
        files = []
        names = paths.Names(self.catalog)
        for stage in stages:
            for stored in self._direct(f"{stage}/{paths.folder(relation, slice_)}/"):
                found = names.parse(stored)
                if isinstance(found, GatewayFile) and found.slice == slice_:
                    files.append(found)
            if slice_ == WHOLE:
                for ending in ("json", "ndjson", "ndjson.gz", "ndjson.zst"):
                    top = self.store.find(f"{stage}/{relation.name}.{ending}")
                    file = names.parse(top) if top else None
                    if isinstance(file, GatewayFile):
                        files.append(file)
        return files

    def _direct(self, prefix: str) -> Iterator[StoredObject]:
        """The objects right below the prefix: what lies in a folder there is skipped without being listed."""
        start_after: str | None = ""
        while start_after is not None:
            listed, start_after = self.store.list(prefix, start_after=start_after), None
            for stored in listed:
                inner, slash, _ = stored.name.removeprefix(prefix).partition("/")
                if slash:
                    start_after = f"{prefix}{inner}/{_LAST}"
                    break
                yield stored

    def open(self, file: GatewayFile) -> BinaryIO:
        """The file's bytes, seekable, from the start. Raises `ObjectChanged`, at the latest while reading, if it was replaced."""
        return self.store.open(file.stored)

    def claim(self, file: GatewayFile) -> GatewayFile:
        """Takes a raw or unsorted file into `transformed/`; one that is there already stays. A crash leaves it there, still unsorted.

        Raises:
            ObjectChanged: it is gone: another process has it.
        """
        if file.stage is Stage.TRANSFORMED:
            return file
        return self._moved(file, paths.claimed_name(file))

    def claimed(self, file: GatewayFile) -> GatewayFile | None:
        """The file in `transformed/` that a claim of this one has made, and that nobody has finished; None if there is none."""
        found = self.store.find(paths.claimed_name(file))
        return None if found is None else self._file(found)

    def publish(
        self, relation: Relation, slice_: Slice, name: str, chunks: Iterable[bytes]
    ) -> GatewayFile | None:
        """Writes a new file of a slice into the load queue.

        Args:
            relation: the table that the rows are of.
            slice_: the slice that all of them belong to.
            name: the file's name, with its ending: `part-0.ndjson.gz`.
            chunks: the file's bytes, in pieces of any size.

        Returns:
            The file; None, with nothing changed, if the name is taken.

        Raises:
            GaelpError: the name or the slice is not allowed.
        """
        stored = self.store.create(paths.published_name(relation, slice_, name), chunks)
        return (
            None
            if stored is None
            else GatewayFile(stored, Stage.CLOUD_READY, relation, slice_, name, sorted=True)
        )

    def archive(self, file: GatewayFile, batch_id: str) -> GatewayFile:
        """Moves a loaded file to its slice in `sent/`, under its name and `~` with the first 12 digits of its batch id.

        Raises:
            ObjectChanged: it is gone, and is not in `sent/` either.
        """
        return self._archived(file, paths.archived_name(file, batch_id))

    def archive_raw(self, file: GatewayFile, batch_id: str) -> GatewayFile:
        """Moves a file whose lines went on in files of one slice each to `sent/DATASET/TABLE/_raw/`. Raises as `archive` does."""
        return self._archived(file, paths.archived_raw_name(file, batch_id))

    def _archived(self, file: GatewayFile, name: str) -> GatewayFile:
        if file.stored.name == name:
            return file
        try:
            return self._moved(file, name)
        except ObjectChanged:
            archived = self.store.find(name)
            if archived is None:
                raise
            return self._file(archived)

    def _moved(self, file: GatewayFile, name: str) -> GatewayFile:
        return self._file(self.store.move(file.stored, name))

    def _file(self, stored: StoredObject) -> GatewayFile:
        found = paths.parse_name(stored, self.catalog)
        if isinstance(found, Problem):
            raise GaelpError(found)
        return found

    def fail(
        self,
        item: GatewayFile | StoredObject,
        problems: Sequence[Problem],
        rejected: RejectedLines | None = None,
    ) -> StoredObject:
        """Sets a file aside in `failed/`, with `NAME.error.json` beside it, which is written first: nothing fails unexplained.

        Args:
            item: the file.
            problems: why.
            rejected: its rejected lines, if it is set aside for them.

        Raises:
            ObjectChanged: it is gone, or was replaced; nothing lies in `failed/` then.
        """
        stored = item.stored if isinstance(item, GatewayFile) else item
        target = paths.failed_name(stored)
        content = explanation(target, stored.name, problems, rejected)
        error_file = self._explain(target + ERROR_ENDING, content)
        try:
            return self.store.move(stored, target)
        except ObjectChanged:
            moved_before = self.store.find(target)
            if moved_before is not None:
                return moved_before
            if error_file is not None:
                self.store.delete(error_file)
            raise

    def _explain(self, name: str, content: bytes) -> StoredObject | None:
        """Writes the error file; one that is left of an earlier failure of the same file gives way."""
        created = self.store.create(name, [content])
        if created is None:
            left = self.store.find(name)
            if left is not None:
                self.store.delete(left)
            created = self.store.create(name, [content])
        return created

    def failed(self, relation: Relation | None = None) -> list[FailedFile]:
        """The files in `failed/`, or those of a relation by their names, in order of name, each with its explanation."""
        return [self._explained(stored) for stored in self._failed(relation)]

    def rejected(self, relation: Relation | None = None) -> Iterator[tuple[StoredObject, Explanation]]:
        """The files in `failed/` that were set aside for their lines, or those of a relation, in order of name."""
        for stored in self._failed(relation):
            found = self._explanation(stored)
            if found is not None and found.rejected is not None:
                yield stored, found

    def _failed(self, relation: Relation | None) -> Iterator[StoredObject]:
        prefixes = [f"{Stage.FAILED}/"]
        if relation is not None:
            prefixes = [f"{Stage.FAILED}/{paths.folder(relation, WHOLE)}/"]
            if [same.id for same in paths.relations_named(relation.name, self.catalog)] == [relation.id]:
                prefixes.append(f"{Stage.FAILED}/{relation.name}~")
        for prefix in prefixes:
            for stored in self.store.list(prefix):
                if not stored.name.endswith(ERROR_ENDING):
                    yield stored

    def _explanation(self, stored: StoredObject) -> Explanation | None:
        """What lies beside a failed file; None if that cannot be read."""
        error_file = self.store.find(stored.name + ERROR_ENDING)
        if error_file is None:
            return None
        try:
            with self.store.open(error_file) as file:
                return read_explanation(json.load(file))
        except (ValueError, LookupError, TypeError, AttributeError, ObjectChanged):
            return None

    def _explained(self, stored: StoredObject) -> FailedFile:
        found = self._explanation(stored)
        if found is not None:
            return FailedFile(stored, found.problems, found.original_name)
        missing = Problem(
            "there is no readable explanation beside it",
            shown(stored.name),
            f"NAME{ERROR_ENDING}",
            "Move the file back to where it came from by hand.",
        )
        return FailedFile(stored, (missing,), None)

    def retry(self, pattern: str) -> list[tuple[str, str]]:
        """Moves failed files back to where they came from: those of that name, or (`*`, `?`, `[...]`) of names like it.

        The pattern can stand for the name in `failed/`, with or without that folder, the original name, or its last part.
        A name that is taken stays as it is: the file then gets a number. Returns (name in `failed/`, new name).

        Raises:
            GaelpError: no file is meant, or one that is meant has no known origin, and nothing is moved then; or some came with names
                that no object gets again: the others are moved.
        """
        failed = self.failed()
        meant = [file for file in failed if _is_meant(file, pattern)]
        if not meant:
            known = (
                ", ".join(shown(file.stored.name) for file in failed[:10])
                or "nothing, there are no failed files"
            )
            raise GaelpError(
                Problem(
                    f"no failed file is called {pattern!r}", f"{self.url}/{Stage.FAILED}", f"one of {known}"
                )
            )
        lost = [file.problems[0] for file in meant if file.original is None]
        if lost:
            raise GaelpError(*lost)
        moved: list[tuple[str, str]] = []
        refused: list[Problem] = []
        for file in meant:
            try:
                moved.append((file.stored.name, self._restore(file, str(file.original))))
            except TransientError:
                raise
            except ObjectChanged:
                continue  # somebody else retries it
            except GaelpError as error:
                refused += error.problems
        if refused:
            raise GaelpError(*refused)
        return moved

    def _restore(self, file: FailedFile, original: str) -> str:
        name, number = original, 1
        while self.store.find(name) is not None:
            number += 1
            name = paths.free_name(original, number)
        self.store.move(file.stored, name)
        error_file = self.store.find(file.stored.name + ERROR_ENDING)
        if error_file is not None:
            self.store.delete(error_file)
        return name

    def strays(self, *stages: Stage) -> list[tuple[str, Problem]]:
        """What no stage takes: links, pipes and the like in these stages (or in all), and what lies outside of them and of `recordings/`.

        Each once, a folder as a whole, in order of name. None of it is followed, moved or read.
        """
        found = [
            (name, Problem(f"{kind}, which is neither read nor followed", shown(name), "a file"))
            for folder in ("", *(stages or tuple(Stage)))
            for name, kind in self.store.specials(folder)
        ]
        return sorted((*found, *self._outside()), key=lambda stray: stray[0])

    def _outside(self) -> Iterator[tuple[str, Problem]]:
        start_after: str | None = ""
        while start_after is not None:
            listed, start_after = self.store.list("", start_after=start_after), None
            for stored in listed:
                top, slash, _ = stored.name.partition("/")
                if not slash or top not in {*paths.STAGES, RECORDINGS, EXPORTS}:
                    name = f"{top}{slash}"
                    problem = unknown(
                        "folder" if slash else "file", shown(top), paths.STAGES, where=shown(name)
                    )
                    yield name, problem
                if slash:
                    start_after = f"{top}/{_LAST}"
                    break

    def counts(self, *stages: Stage) -> dict[Stage, StageCount]:
        """How much lies in these stages, or in all."""
        result = {}
        for stage in stages or tuple(Stage):
            files = size = 0
            oldest: dt.datetime | None = None
            for stored in self.store.list(f"{stage}/"):
                if stage is Stage.FAILED and stored.name.endswith(ERROR_ENDING):
                    continue
                files += 1
                size += stored.size
                oldest = stored.modified if oldest is None else min(oldest, stored.modified)
            result[stage] = StageCount(files, size, oldest)
        return result


def _nothing(stored: StoredObject) -> PendingSlice:
    return PendingSlice(0, 0, stored.modified)


def _is_meant(file: FailedFile, pattern: str) -> bool:
    original = file.original or ""
    names = {
        file.stored.name,
        file.stored.name.removeprefix(f"{Stage.FAILED}/"),
        original,
        original.rpartition("/")[2],
        shown(original),
    }
    return pattern in names or any(fnmatch.fnmatchcase(name, pattern) for name in names if name)
