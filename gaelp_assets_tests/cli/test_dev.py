"""Starting and stopping processes together, and a port that is taken."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gaelp_assets.cli import dev
from gaelp_assets.cli.dev import _processes, run_dev
from gaelp_assets.errors import GaelpError
from gaelp_assets.runs.orphans import daemon_lives
from gaelp_assets.settings import load_settings

# A child that ignores SIGTERM's default by handing the work to a grandchild, as Dagster does with its code servers.
PARENT = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']);"
    "print(child.pid, flush=True); open(sys.argv[1], 'w').write(str(child.pid)); child.wait()"
)


def test_a_taken_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(GaelpError, match=f"port {port} .*gaelp dev --port {port + 1}"):
            run_dev(load_settings({"GAELP_HOME": str(tmp_path)}), port=port)


def test_children_and_their_children_are_gone_afterwards(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with _processes({"one": [sys.executable, "-c", PARENT, str(note)]}, os.environ) as running:
        while not (note.exists() and note.read_text()):
            assert running["one"].poll() is None
        grandchild = int(note.read_text())
    assert running["one"].returncode is not None
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(grandchild)], capture_output=True, text=True, check=False
    )
    # Dead, or a zombie that nobody in this container reaps.
    assert state.stdout.strip()[:1] in {"", "Z"}


def test_processes_that_open_a_new_instance_at_once_do_not_spoil_its_databases(tmp_path: Path) -> None:
    """Two that made them at once left `alembic_version` with two heads, and nothing started any more."""
    open_it = (
        "from gaelp_assets.cli.dev import dagster_instance; from gaelp_assets.settings import load_settings;"
        "dagster_instance(load_settings())"
    )
    environment = {**os.environ, "GAELP_HOME": str(tmp_path)}
    opening = [subprocess.Popen([sys.executable, "-c", open_it], env=environment) for _ in range(4)]
    assert [process.wait(120) for process in opening] == [0, 0, 0, 0]
    assert subprocess.run([sys.executable, "-c", open_it], env=environment, check=False).returncode == 0


STUBBORN = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "open(sys.argv[1], 'w').write('ready'); time.sleep(300)"
)


def test_the_end_says_what_it_waits_for_and_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev, "GRACE_SECONDS", 0.5)
    told: list[list[str]] = []
    stubborn = [sys.executable, "-c", STUBBORN, str(tmp_path / "ready")]
    obedient = [sys.executable, "-c", "import time; time.sleep(300)"]
    commands = {"a stubborn one": stubborn, "an obedient one": obedient}
    with _processes(commands, os.environ, lambda names: told.append(list(names))) as running:
        while not (tmp_path / "ready").exists():
            assert running["a stubborn one"].poll() is None
    assert [process.returncode for process in running.values()] == [-signal.SIGKILL, -signal.SIGTERM]
    assert told[0] == ["a stubborn one", "an obedient one"]
    assert told[-1] == ["a stubborn one"]


@pytest.mark.slow
def test_dagster_ends_when_who_started_it_is_killed(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gaelp_assets.cli.main", "dev", "--no-demo", "--port", str(port)]
    environment = {**os.environ, "GAELP_HOME": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        # The pipe's end comes only once nobody writes to it any more.
        said = [line for line in started.stdout if not _kill_once_ready(line, started)]
    assert any("loading the catalogue's assets" in line for line in said)
    with dev.dagster_instance(load_settings({"GAELP_HOME": str(tmp_path)})) as instance:
        assert not daemon_lives(instance)


def _kill_once_ready(line: str, process: subprocess.Popen[str]) -> bool:
    ready = line.startswith("Dagster's UI: ")
    if ready:
        process.kill()
    return ready


def test_code_in_the_first_folder_of_pythonpath_was_not_found_by_dagster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "code_of_mine.py").write_text("found = True\n")
    monkeypatch.setenv("PYTHONPATH", str(mine))
    settings = load_settings({"GAELP_HOME": str(tmp_path / "home")})
    settings.dagster_home.mkdir(parents=True)
    program = "import sys; from dagster._core.code_pointer import load_python_module as load; print(load(sys.argv[1], sys.argv[2]).found)"
    command = [sys.executable, "-c", program, "code_of_mine", str(settings.dagster_home)]
    answer = subprocess.run(
        command, env=dev.child_environment(settings), capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout.strip()) == (0, "True"), answer.stderr
