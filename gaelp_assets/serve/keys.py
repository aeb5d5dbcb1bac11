"""The keys of those who may ask: in a file of the home, as digests alone. A key itself is shown once, to who makes it.

A key is 256 bits of chance, so one SHA-256 of it is as good as a slow digest of a password.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from filelock import FileLock

from gaelp_assets.errors import GaelpError, Problem, of_the_system, unknown

ADD: Final = {"serve": "gaelp serve keys add NAME", "stream": "gaelp stream keys add NAME"}
"""What makes a key, by its kind."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WAIT_SECONDS: Final = 10


@dataclass(frozen=True)
class Key:
    """What is kept of a key.

    Args:
        name: of who has it, for people; it stands in the log.
        digest: the SHA-256 of the key.
        sensitive: whether it gets sensitive columns, too.
        made: when.
    """

    name: str
    digest: str
    sensitive: bool
    made: str


class Keys:
    """The keys of a home, read again whenever their file has changed.

    Args:
        home: where their file is.
        kind: the command that they are for: `serve` or `stream`.
    """

    def __init__(self, home: Path, kind: str = "serve") -> None:
        self.kind: Final = kind
        self.file: Final = home / f"{kind}_keys.json"
        self._read: tuple[object, tuple[Key, ...]] = (None, ())

    def all(self) -> tuple[Key, ...]:
        """All of them, in the order in which they were made.

        Raises:
            GaelpError: the file cannot be read, or is none of keys.
        """
        try:
            state = self.file.stat()
            now = (state.st_mtime_ns, state.st_size, state.st_ino)
            if self._read[0] != now:
                self._read = (now, self._parsed(self.file.read_bytes()))
        except FileNotFoundError:
            self._read = (None, ())
        except OSError as error:
            raise of_the_system(error, Problem(f"cannot read: {error.strerror}", str(self.file))) from error
        return self._read[1]

    def find(self, text: str) -> Key | None:
        """The key that this text is; None if it is none. Takes as long for every text."""
        digest = _digest(text)
        found = None
        for key in self.all():
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def add(self, name: str, *, sensitive: bool) -> str:
        """Makes a key of that name; its text, which is kept nowhere.

        Raises:
            GaelpError: the name is taken or none, or the file cannot be written.
        """
        if not _NAME.fullmatch(name):
            raise GaelpError(
                Problem("cannot be the name of a key", "NAME", "letters, digits, dots and dashes, 64 at most")
            )
        text = f"gaelp_{secrets.token_urlsafe(32)}"
        made = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        with self._changing() as keys:
            if name in (key.name for key in keys):
                raise GaelpError(
                    Problem(f"there is a key {name!r} already", "NAME", "another name", "Or remove it first.")
                )
            self._write([*keys, Key(name, _digest(text), sensitive, made)])
        return text

    def remove(self, name: str) -> None:
        """Removes a key: a server that runs refuses it from then on.

        Raises:
            GaelpError: there is none of that name, or the file cannot be written.
        """
        with self._changing() as keys:
            if name not in (key.name for key in keys):
                raise GaelpError(unknown("key", name, (key.name for key in keys), where="NAME"))
            self._write([key for key in keys if key.name != name])

    def _changing(self) -> _Changing:
        return _Changing(self)

    def _write(self, keys: Sequence[Key]) -> None:
        text = msgspec.json.format(msgspec.json.encode(_File(tuple(keys)))) + b"\n"
        unfinished = self.file.with_name(f".{self.file.name}.tmp")
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
        unfinished.replace(self.file)

    def _parsed(self, content: bytes) -> tuple[Key, ...]:
        try:
            return msgspec.json.decode(content, type=_File).keys
        except (msgspec.MsgspecError, ValueError):
            problem = Problem(
                "is not a file of keys",
                str(self.file),
                f"what `{ADD[self.kind]}` writes",
                "Move it aside, and make the keys again.",
            )
            raise GaelpError(problem) from None


@dataclass(frozen=True)
class _File:
    keys: tuple[Key, ...]


class _Changing:
    """The keys while nobody else changes them, read once more."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._lock = FileLock(keys.file.with_name(f"{keys.file.name}.lock"), timeout=_WAIT_SECONDS)

    def __enter__(self) -> tuple[Key, ...]:
        self._keys.file.parent.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        return self._keys.all()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._lock.release()
        if isinstance(error, OSError):
            problem = Problem(f"cannot write: {error.strerror}", str(self._keys.file))
            raise of_the_system(error, problem) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
