"""The emulators outside of the tests: `make dev-gcp`, and any other command in its place."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gaelp_assets_tests.emulators import __main__ as launcher
from gaelp_assets_tests.emulators import bigquery
from gaelp_assets_tests.emulators.bigquery import NoPython

pytestmark = pytest.mark.slow

LAUNCH = (sys.executable, "-m", "gaelp_assets_tests.emulators")


@pytest.fixture(autouse=True)
def _emulator_there() -> None:
    try:
        bigquery.environment()
    except NoPython as reason:
        pytest.skip(str(reason))


def environment(home: Path) -> dict[str, str]:
    places = {name: value for name, value in os.environ.items() if not name.endswith("EMULATOR_HOST")}
    return {**places, "GAELP_HOME": str(home)}


LOAD = """
import sys
from gaelp_assets.cli.main import main
from gaelp_assets.platform import open_platform
from gaelp_assets.settings import load_settings
from gaelp_assets_tests.platforms import DATE, SLICE, TABLE, checkpoint, ndjson

platform = open_platform(load_settings())
platform.gateway.prepare()
platform.gateway.publish(platform.catalog[TABLE], SLICE, "a.ndjson", [ndjson(map(checkpoint, range(3)))])
for words in (["ingest"], ["query", f"SELECT COUNT(*) AS n FROM {TABLE} WHERE date = DATE '{DATE}'"], ["status"]):
    sys.argv = ["gaelp", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (words, end.code)
"""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        # A load by Dagster of one table, with what is derived from it.
        (("-c", LOAD), ("│ 3 │",)),
        pytest.param(
            ("-m", "gaelp_assets.cli.main", "demo", "--size", "quick", "--days", "1"),
            (),
            marks=pytest.mark.thorough,
        ),
    ],
    ids=["load", "demo"],
)
def test_it_runs_on_both_emulators_which_end_with_it(
    command: tuple[str, ...], said: tuple[str, ...], tmp_path: Path
) -> None:
    launched = (*LAUNCH, sys.executable, *command)
    done = subprocess.run(launched, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("bigquery://gaelp-test", "gs://gaelp-dev/export_gateway", *said):
        assert words in done.stdout
    assert not (tmp_path / "gcp" / "warehouse.duckdb").exists()
    lines = (tmp_path / "gcp" / "env.sh").read_text(encoding="utf-8").splitlines()
    variables = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    for name in ("BIGQUERY_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"):
        address = urlsplit(variables[name])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.hostname or "", address.port or 0), timeout=5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_command_and_its_exit_code_comes_back(
    tmp_path: Path, number: signal.Signals
) -> None:
    waiting = (
        "import signal, sys\n"
        "def end(*_): sys.exit(7)\n"
        f"signal.signal({int(number)}, end)\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen(
        [*LAUNCH, sys.executable, "-c", waiting],
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "ready\n":
                process.send_signal(number)
        assert process.wait(60) == 7


def test_a_missing_python_is_said_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GAELP_HOME", str(tmp_path))
    monkeypatch.setattr(bigquery, "ENVIRONMENT", tmp_path / "environment")
    monkeypatch.setattr(bigquery, "_find_python", lambda: None)
    assert launcher.main(["true"]) == launcher.EXIT_WRONG
    assert "apt-get install python3.13" in capsys.readouterr().err


def test_two_at_once_do_not_share_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from filelock import FileLock

    monkeypatch.setenv("GAELP_HOME", str(tmp_path))
    with FileLock(f"{tmp_path / 'gcp'}.lock"):
        assert launcher.main(["true"]) == launcher.EXIT_WRONG
    assert "is in use" in capsys.readouterr().err
