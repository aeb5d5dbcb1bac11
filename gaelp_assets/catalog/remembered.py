"""Files in the home's cache: what was worked out in an earlier start. Any can be deleted at any time; without one, only time is lost."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path


def keep_cache(home: Path) -> None:
    """Makes the folder of what is remembered in a home that is there: without it, every start works all of it out again."""
    if home.is_dir():
        with suppress(OSError):
            (home / "cache").mkdir(exist_ok=True)


def read_json(file: Path) -> object:
    """What the file holds; None if it is not there, or is not JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_json(file: Path, content: object) -> None:
    """Replaces the file, at once and for all readers; does nothing where its folder is not there or cannot be written."""
    with suppress(OSError):
        handle, name = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
        Path(name).replace(file)


def digest(*parts: object) -> str:
    """A digest of values that JSON can hold, in hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
