"""Runs a command with both emulators beside it: `python -m gaelp_assets_tests.emulators gaelp dev`. It is what `make dev-gcp` does.

The command finds the emulators through its environment and knows nothing of them otherwise. The bucket lives in memory, so everything
else begins again with it: Dagster's instance, the warehouse and the checkpoints are in `$GAELP_HOME/gcp`, which is emptied at each start
and left for a look afterwards.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from filelock import FileLock, Timeout

from gaelp_assets.errors import GaelpError
from gaelp_assets.settings import CHECKOUT, load_settings
from gaelp_assets_tests.contract.gcs_server import GcsServer
from gaelp_assets_tests.emulators.bigquery import HOST_VARIABLE, PROJECT, NoPython, running

BUCKET: Final = "gaelp-dev"
EXIT_WRONG: Final = 2


def main(command: Sequence[str]) -> int:
    """Runs the command until it ends; its exit code."""
    if not command:
        print("usage: python -m gaelp_assets_tests.emulators COMMAND [ARGUMENT ...]", file=sys.stderr)
        return EXIT_WRONG
    try:
        home = load_settings().home / "gcp"
    except GaelpError as error:
        print(error, file=sys.stderr)
        return EXIT_WRONG
    home.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{home}.lock", timeout=0), emulators(home) as variables:
            print(f"The emulators are up. For a second terminal: . {home / 'env.sh'}", flush=True)
            return _run(command, {**os.environ, **variables})
    except Timeout:
        print(f"{home} is in use: stop the other one, or set GAELP_HOME to another folder", file=sys.stderr)
    except NoPython as error:
        print(error, file=sys.stderr)
    return EXIT_WRONG


@contextmanager
def emulators(home: Path) -> Iterator[dict[str, str]]:
    """Both emulators as long as the context lasts, and an empty home; the environment variables that lead to them.

    Raises:
        NoPython: no Python 3.13 is installed.
    """
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with GcsServer(BUCKET).running() as storage, running(home / "bigquery") as bigquery:
        storage.record = False
        variables = {
            "GAELP_HOME": str(home),
            "GAELP_GATEWAY": f"gs://{BUCKET}/export_gateway",
            "GAELP_WAREHOUSE": f"bigquery://{PROJECT}?location=US&dataset_prefix=gaelp_",
            HOST_VARIABLE: bigquery.address,
            "STORAGE_EMULATOR_HOST": storage.url,
        }
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
        (home / "env.sh").write_text("".join(lines), encoding="utf-8")
        yield variables


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    # A Ctrl-C in a terminal reaches the command too, which ends in its own time; any other signal reaches this process alone.
    passed_on = (signal.SIGTERM,) if sys.stdin.isatty() else (signal.SIGTERM, signal.SIGINT)
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        if process is None:
            early.append(number)
        elif number in passed_on:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        process = subprocess.Popen(list(command), env=environment, cwd=CHECKOUT)
        if early:
            process.terminate()
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
