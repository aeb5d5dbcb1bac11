"""What the tests of importers share: rows by table, and fixtures that are kept compressed."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import msgspec

from gaelp_assets.importers.kinds import kind
from gaelp_assets.importers.source import Lines, Options, Tally

FIXTURES = Path(__file__).parent / "fixtures"


def read(name: str, path: Path, options: Options) -> tuple[dict[str, list[dict[str, Any]]], Tally]:
    """The rows of a source by table, as JSON has them, and the tally."""
    tally, found = Tally(), dict[str, list[dict[str, Any]]]()
    for table, row in kind(name).rows(path, options, tally):
        rows = found.setdefault(table, [])
        if isinstance(row, Lines):
            decoded = [msgspec.json.decode(line) for line in row.content.splitlines()]
            assert len(decoded) == row.number
            assert all(line["date"] == row.date for line in decoded)
            rows.extend(decoded)
        else:
            rows.append(msgspec.json.decode(msgspec.json.encode(row)))
    return found, tally


def unpacked(source: Path, folder: Path) -> Path:
    """A copy of a fixture, with its `.gz` files unpacked."""
    target = folder / source.name
    shutil.copytree(source, target)
    for path in target.rglob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    return target
