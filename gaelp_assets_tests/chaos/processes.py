"""Processes that work on a home, forked from a warm one so that hundreds of them can be killed in a minute."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final

from gaelp_assets_tests.chaos import workers
from gaelp_assets_tests.processes import FORKED

DEADLINE_SECONDS: Final = 240
"""How long anything may take before it counts as hanging: everything here takes seconds on a quiet machine."""

Work = Callable[..., None]


@dataclass
class Worker:
    """A process that does some work on a home. `seconds` are those from the beginning of the work itself to its end."""

    process: ForkServerProcess
    _begun: Connection
    started: float = 0.0

    def wait_until_begun(self) -> None:
        """Waits until the process has opened its platform and goes to work, or has ended."""
        assert self._begun.poll(DEADLINE_SECONDS), "the process has not begun"
        self.started = time.monotonic()

    def finish(self) -> float:
        """Waits for its proper end; the seconds that it worked."""
        self.process.join(DEADLINE_SECONDS)
        seconds = time.monotonic() - self.started
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"{self.process.name} hangs")
        assert self.process.exitcode == 0, f"{self.process.name} ended with {self.process.exitcode}"
        return seconds

    def kill_after(self, seconds: float) -> bool:
        """Kills the process, unless it ends before; whether it was killed."""
        self.process.join(seconds)
        self.process.kill()
        self.process.join(DEADLINE_SECONDS)
        assert self.process.exitcode in {0, -signal.SIGKILL}, f"ended with {self.process.exitcode}"
        return self.process.exitcode == -signal.SIGKILL


def start(work: Work, home: Path, *arguments: Any) -> Worker:
    """Starts `work(home, *arguments)` in a process of its own."""
    receiver, sender = FORKED.Pipe(duplex=False)
    process = FORKED.Process(
        target=workers.run, args=(work, sender, home, arguments), name=work.__name__, daemon=True
    )
    process.start()
    sender.close()
    return Worker(process, receiver)


@dataclass
class Kills:
    """Kills at random instants, which a seed repeats as far as the machine's own timing allows."""

    seed: int
    seconds: float
    """How long the work takes; made shorter whenever it has ended before its kill."""
    done: int = 0
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def kill(self, work: Work, home: Path, *arguments: Any) -> None:
        """Starts the work and kills it at an instant that is drawn."""
        worker = start(work, home, *arguments)
        worker.wait_until_begun()
        if worker.kill_after(self.chance.uniform(0, self.seconds)):
            self.done += 1
        else:
            self.seconds *= 0.8


def clean(work: Work, home: Path, *arguments: Any) -> float:
    """Does the work in one undisturbed process; the seconds that it took."""
    worker = start(work, home, *arguments)
    worker.wait_until_begun()
    return worker.finish()
