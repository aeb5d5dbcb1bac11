"""Receivers killed at random instants, whose answers are lost and to whom everything comes again: nothing is lost, doubled or altered.

What must have become of the rows is worked out here from what was sent, and not by the platform.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gaelp_assets_tests.chaos.killed_receiver import ADDRESS, PARTITION, receive
from gaelp_assets_tests.chaos.processes import DEADLINE_SECONDS, Kills, start
from gaelp_assets_tests.platforms import TABLE, checkpoint, ndjson, platform_in, rows
from gaelp_assets_tests.processes import FORKED, PRELOADED

KILLS_OF_A_HOME = 50
BODIES = 60
MESSAGES = 250
COUNTS = ("loaded", "duplicate", "rejected", "superseded", "withdrawn")


class Producer(threading.Thread):
    """Pushes bodies until each is accepted, and many again; a key of its own for each.

    Args:
        home: of the receiver.
        bodies: by their keys.
        chance: draws what is pushed next.
        asks: whether it sends again what was accepted and not loaded yet, until it knows what became of each line.
    """

    def __init__(self, home: Path, bodies: dict[str, bytes], chance: random.Random, *, asks: bool) -> None:
        super().__init__(daemon=True)
        self.asks = asks
        self.home, self.bodies, self.chance = home, bodies, chance
        self.answers: dict[str, dict[str, Any]] = {}
        self.accepted: set[str] = set()
        """What was answered with 200 or 202: it must be loaded whether it is sent again or not."""
        self.wrong: list[str] = []
        self.sent = self.unanswered = 0
        self.ends = False

    def run(self) -> None:
        while not self.ends or self.left():
            left = self.left()
            known = sorted(self.answers)
            if not left and not known:
                time.sleep(0.02)
                continue
            try:
                self.push(self.chance.choice(left if left and self.chance.random() < 0.7 else known or left))
            except (OSError, http.client.HTTPException):
                self.unanswered += 1
                time.sleep(0.02)

    def left(self) -> list[str]:
        """The bodies that are still to be sent."""
        done = self.answers if self.asks else self.accepted
        return [key for key in self.bodies if key not in done]

    def push(self, key: str) -> None:
        """Pushes a body, and looks at the answer.

        Raises:
            OSError: nobody is there, or the answer is lost.
        """
        address = (self.home / ADDRESS).read_text()
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
        try:
            self.sent += 1
            wait = "wait=30" if self.ends else f"wait={self.chance.choice([0, 1, 5])}"
            headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": key, "Prefer": wait}
            connection.request("POST", f"/v1/rows/{TABLE.replace('.', '/')}", self.bodies[key], headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status in {200, 202}:
            self.accepted.add(key)
        elif answer.status not in {
            429,
            500,
            503,
        }:  # 500: how the server itself answers where an answer is lost
            self.wrong.append(f"{answer.status} {content!r}")
        if answer.status == http.client.OK:
            told = {name: count for name, count in json.loads(content).items() if name != "reasons"}
            if self.answers.setdefault(key, told) != told:
                self.wrong.append(f"{self.answers[key]} and then {told}")


def test_a_thousand_kills_of_receivers_lose_nothing_double_nothing_and_alter_nothing(
    tmp_path: Path, seed: int, kills: int
) -> None:
    FORKED.set_forkserver_preload([*PRELOADED, receive.__module__])
    killer = Kills(seed, 1.2)
    sent = unanswered = lines = number = 0
    while killer.done < kills:
        number += 1
        home = tmp_path / str(number)
        producers = _life(home, killer, min(kills, killer.done + KILLS_OF_A_HOME))
        lines += _judge(home, producers)
        sent += sum(each.sent for each in producers)
        unanswered += sum(each.unanswered for each in producers)
    print(f"{killer.done} kills, {sent} requests, {unanswered} of them without an answer, {lines} lines")


def _life(home: Path, killer: Kills, until: int) -> list[Producer]:
    """Has receivers of one home killed, and one of them end well."""
    platform_in(home)
    chance = killer.chance
    messages: list[Any] = ["nonsense" if chance.random() < 0.05 else _row(n) for n in range(MESSAGES)]
    (home / PARTITION).write_bytes(ndjson(messages))
    producers = []
    for name in "ab":
        bodies = {}
        for body in range(BODIES):
            first = MESSAGES + 10 * body + 10_000 * ord(name)
            content: list[Any] = [_row(first + n) for n in range(chance.randint(1, 6))]
            content += [f'{{"bad": "{name}-{body}"}}'] * chance.choice([0, 0, 0, 1])
            # Rows that others send too.
            content += [_row(chance.randrange(MESSAGES)) for _ in range(chance.choice([0, 0, 2]))]
            bodies[f"{name}-{body}"] = ndjson(content)
        producers.append(Producer(home, bodies, random.Random(chance.random()), asks=name == "a"))
        producers[-1].start()
    while killer.done < until:
        killer.kill(receive, home, chance.random(), False)
    (home / ADDRESS).unlink(missing_ok=True)
    worker = start(receive, home, 0, True)
    for each in producers:
        each.ends = True
    for each in producers:
        each.join(DEADLINE_SECONDS)
        assert not each.is_alive(), f"{len(each.answers)} of {len(each.bodies)} bodies are answered"
    pid = worker.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    worker.finish()
    return producers


def _row(number: int) -> dict[str, Any]:
    return checkpoint(number, environment_id=("CartPole-v1", "Taxi-v4", "Pendulum-v1")[number % 3])


def _judge(home: Path, producers: list[Producer]) -> int:
    """Compares what is in the warehouse with what was sent; the number of lines."""
    assert not [wrong for each in producers for wrong in each.wrong]
    platform = platform_in(home)
    bodies = [body for each in producers for body in each.bodies.values()]
    messages = (home / PARTITION).read_bytes().splitlines()
    lines = [line for body in bodies for line in body.splitlines()]
    good = {line for line in (*lines, *messages) if b"checkpoint_id" in line}
    expected = {row["checkpoint_id"]: row for row in map(json.loads, good)}
    found = rows(platform, f"SELECT * FROM {TABLE}")
    assert Counter(row["checkpoint_id"] for row in found) == Counter(dict.fromkeys(expected, 1))
    for row in found:
        was = expected[row["checkpoint_id"]]
        is_ = {name: row[name] for name in was}
        is_ |= {"date": str(is_["date"]), "created_at": f"{is_['created_at']:%Y-%m-%dT%H:%M:%SZ}"}
        is_["metrics"] = json.loads(is_["metrics"]) if isinstance(is_["metrics"], str) else is_["metrics"]
        assert is_ == was
    dead = Counter(bytes(row["raw"]) for row in rows(platform, "SELECT raw FROM ops.dead_letter"))
    # A message that comes again among others is another batch; each time, it is rejected.
    assert dead.pop(b'["no JSON object","nonsense"]') >= messages.count(b"nonsense") > 0
    assert dead == Counter(line for line in lines if b"checkpoint_id" not in line)
    for each in producers:
        for key, told in each.answers.items():
            assert told["lines"] == sum(told[name] for name in COUNTS) == len(each.bodies[key].splitlines())
    [ledger] = rows(platform, "SELECT SUM(loaded) AS loaded FROM ops.import_logs")
    assert ledger["loaded"] == len(expected)
    assert not platform.gateway.failed()
    assert not platform.gateway.pending().files
    assert not platform.gateway.unsorted().files
    return len(lines) + len(messages)
