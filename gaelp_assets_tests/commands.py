"""`gaelp` for tests: as a process of its own, or in this one, where its imports are paid for once; a line as a page has it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from gaelp_assets.cli import main


def gaelp(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "gaelp_assets.cli.main", *arguments],
        env={**os.environ, "GAELP_HOME": str(home), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def gaelp_here(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, where its imports are paid for once."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch.dict(os.environ, {"GAELP_HOME": str(home), **variables}),
        mock.patch.object(sys, "argv", ["gaelp", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main.main()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def typed_here(home: Path, line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A line of a page that starts with `gaelp`, in this process; what its words are, the shell says."""
    told = in_shell("gaelp() { printf '%s\\0' \"$@\"; }; " + line)
    return gaelp_here(home, *told.stdout.split("\0")[:-1], **variables)


def in_shell(
    line: str, environment: Mapping[str, str] | None = None, place: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """A line as it is typed, in a folder and with variables that are not this process's own."""
    return subprocess.run(
        ["bash", "-c", line], env=environment, cwd=place, capture_output=True, text=True, check=False
    )
