"""One process at a time works on a home, the others are told which one; a killed one keeps nobody out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gaelp_assets.runs.holders import Held, holder_of, holding, is_held

HOLD = (
    "import sys, time; from pathlib import Path; from gaelp_assets.runs.holders import holding\n"
    "with holding(Path(sys.argv[1]), 'gaelp dev', 'http://127.0.0.1:3000'):\n"
    "    print('held', flush=True); sys.stdin.read()\n"
)


@contextmanager
def other(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock, until its input ends."""
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_holder_is_named_and_a_killed_one_keeps_nobody_out(tmp_path: Path) -> None:
    lock = tmp_path / "home" / "dev.lock"
    with other(lock) as process:
        with pytest.raises(Held) as caught, holding(lock, "gaelp dev"):
            pass
        assert f"gaelp dev at http://127.0.0.1:3000, process {process.pid}, since " in caught.value.words
        assert is_held(lock)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert holder_of(lock) is not None, "its note is still there"
        assert not is_held(lock)
        with holding(lock, "gaelp dev"):
            holder = holder_of(lock)
            assert holder is not None
            assert holder.process == os.getpid()
    assert holder_of(lock) is None


def test_who_waits_is_told_for_what_and_goes_on_when_it_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "ingest.lock"
    with other(lock) as process:
        told: list[str] = []

        def wait(words: str) -> None:
            told.append(words)
            process.kill()
            process.wait()

        with holding(lock, "gaelp ingest", on_wait=wait):
            assert f"process {process.pid}" in told[0]


def test_a_note_that_is_none_names_nobody(tmp_path: Path) -> None:
    lock = tmp_path / "dev.lock"
    for text in ("", "[]", json.dumps({"pid": 1}), "{"):
        lock.with_suffix(".json").write_text(text)
        assert holder_of(lock) is None
    assert not is_held(lock)
    assert not lock.exists()
