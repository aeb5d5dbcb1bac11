"""The recorder of one training run, as a loop uses it."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

from gaelp_assets.errors import GaelpError
from gaelp_assets.record import options, places, recovery
from gaelp_assets.record.loops import Loop
from gaelp_assets.record.recording import Files, Limits, Recording
from gaelp_assets.record.run_rows import RunRows

_LOG: Final = logging.getLogger("gaelp_assets.record")
CLOSE_SECONDS: Final = 30.0
RUN_ROW_SECONDS: Final = 60.0
EPISODES_DUE: Final = 5_000
"""So many episodes that have ended are a flush, also where no steps are recorded."""


class Recorder(Recording):
    """Records one training run into the export gateway: environment, agent, run, episodes, steps, evaluations, checkpoints, metrics.

    Use it as a context manager, or call `close()`. It is not for several threads at once, nor for another process than its own.

    Args:
        gateway: a URL (`file:///...`, `gs://bucket/prefix`, or `http://host:8600` of a `gaelp stream`) or a folder; None: what
            `GAELP_GATEWAY` or `GAELP_HOME` say.
        run: the run's id. The same id again goes on with the run.
        agent: the agent's id: algorithm, hyperparameters and code together. By default the algorithm and a digest of the hyperparameters.
        algorithm: such as `PPO`; written in small letters.
        hyperparameters: what the algorithm was configured with, by name.
        environment: the environment's id, where gymnasium does not know it, or knows it by another.
        seed: the seed that all of the run's random numbers come from, where it has one.
        algorithm_family: what the algorithm learns; known for the usual algorithms.
        description: what is special about the agent.
        parent_agent: the agent that this one was derived from.
        flush_rows: steps that are gathered before they are written.
        flush_seconds: after so long they are written, however few: what a kill can lose.
        transitions_every: of so many episodes one has its steps recorded, where a wrapper records them and does not say otherwise.
        observations: `inline`, as numbers in each row, or `reference`, as one `.npy` file for each episode, for images.
        buffer_bytes: memory for steps: a quarter for those being gathered, a half for those that wait to be written, a quarter for
            those of episodes that go on over flushes. What does not fit is dropped, and counted.
        code_version: of the code that trains; by default the commit of the script's folder.
        team: who pays for the run, as `analytics.cost_attribution` sums it up.

    Raises:
        GaelpError: something is wrong with what is given (all of it is said at once), or another process records the run.
        TransientError: the gateway is out of reach. Once a recorder is made, nothing of that kind raises any more.
    """

    def __init__(
        self,
        gateway: str | os.PathLike[str] | None = None,
        *,
        run: str,
        agent: str | None = None,
        algorithm: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        environment: str | None = None,
        seed: int | None = None,
        algorithm_family: str | None = None,
        description: str | None = None,
        parent_agent: str | None = None,
        flush_rows: int = 10_000,
        flush_seconds: float = 10.0,
        transitions_every: int = 1,
        observations: Literal["inline", "reference"] = "inline",
        buffer_bytes: int = 64 << 20,
        code_version: str | None = None,
        team: str | None = None,
    ) -> None:
        problems = options.problems_of_ids(run, agent, environment)
        problems += options.problems_of_words(algorithm, algorithm_family, observations, seed)
        problems += options.problems_of_texts(description, parent_agent, code_version, team)
        problems += options.problems_of_numbers(
            flush_rows=flush_rows,
            flush_seconds=flush_seconds,
            transitions_every=transitions_every,
            buffer_bytes=buffer_bytes,
        )
        try:
            where = places.address(gateway)
        except GaelpError as error:
            problems += error.problems
        if problems:
            raise GaelpError(*problems)
        store = places.open_store(where)
        stem = places.stem(run)
        state, recovered, last = recovery.recover_all(store, run, stem)
        for found in recovered:
            _LOG.warning(
                "run %s goes on: %d unfinished episodes of start %d are kept",
                run,
                found.episodes,
                found.attempt,
            )
        attempt = recovery.claim(store, stem, last)
        run_rows = RunRows(
            run=run,
            agent=agent,
            algorithm=algorithm,
            family=algorithm_family,
            hyperparameters=options.hyperparameters(hyperparameters),
            seed=seed,
            description=description,
            parent_agent=parent_agent,
            code_version=code_version,
            team=team,
            state=state,
        )
        super().__init__(
            store,
            run_rows,
            Files(stem, attempt, observations == "reference"),
            Limits(int(flush_rows), float(flush_seconds), int(buffer_bytes), int(transitions_every)),
            environment,
            state,
        )
        self._loop = Loop(self)
        recovery.LIVE.add((self._store.url, self._files_of.stem))
        self._at_exit = _closer(weakref.ref(self))
        atexit.register(self._at_exit)

    def flush(self, *, wait: bool = False, seconds: float = CLOSE_SECONDS) -> bool:
        """Hands over what was gathered so far.

        Args:
            wait: whether to wait until it is written.
            seconds: how long to wait.

        Returns:
            Whether it is known to be written.
        """
        self.flush_due()
        return self._writer is not None and wait and self._writer.wait(seconds)

    def reset(
        self, observations: Any, envs: Any = None, *, seed: Any = None, mask: Any = None, **told: Any
    ) -> None:
        """The first of three calls for a loop that wraps nothing: after the environment (or vector environment) was reset.

        Args:
            observations: what the reset gave.
            envs: the environment; needed at the first call.
            seed: what it was reset with.
            mask: which environments of a vector were reset, where not all were: shape (lanes,).
            told: `transitions`, `purpose`, as for the wrappers, at the first call.
        """
        self._loop.reset(observations, envs, seed, mask, told)

    def step(
        self,
        actions: Any,
        observations: Any,
        rewards: Any,
        terminated: Any,
        truncated: Any,
        infos: Any = None,
    ) -> None:
        """The second call: after each step, with what was given to it and what it gave.

        Args:
            actions: what was done.
            observations: what it led to.
            rewards: as the loop was given them.
            terminated: in a terminal state.
            truncated: cut off.
            infos: needed where a vector environment resets in the same step.
        """
        self._loop.step(actions, observations, rewards, terminated, truncated, infos)

    def training_reward(self, rewards: Any) -> None:
        """What the learner was given for the last step, where wrappers above the recorder have changed it: a number, or shape (lanes,)."""
        if self._tracks and self.is_mine:
            try:
                self._tracks[0].learner_got(rewards)
            except Exception as error:  # noqa: BLE001, RUF100 - training goes on
                self.failed(None, error)

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """A measure of the run at a step, by default the present one: one value of a name at a step, of several the last."""
        why = self.measures.metric(name, value, self.global_step if step is None else step)
        if why:
            self.lost("metrics", 1, why)

    def evaluation(self, returns: Sequence[float], **told: Any) -> str | None:
        """The policy was measured: the return of each episode, in their order.

        Args:
            returns: sums of undiscounted rewards.
            told: `lengths`, `terminated`, `truncated` (of each episode), `checkpoint` (its id), `evaluation_seed`, `policy_version`,
                `deterministic`, `normalisation` (the returns that count as score 0 and 1), `step`; what is not told is not known.

        Returns:
            The evaluation's id; None if it could not be recorded.

        Raises:
            GaelpError: there is no such option.
        """
        return self.measures.evaluation(self, returns, told)

    def checkpoint(
        self,
        content: bytes | bytearray | memoryview | str | os.PathLike[str],
        *,
        format: str | None = None,  # noqa: A002 - the field's own name
        policy_version: int | None = None,
        metrics: Mapping[str, Any] | None = None,
        parent: str | None = None,
        step: int | None = None,
    ) -> str | None:
        """A state of the policy was saved: its bytes, or the file that holds them. They are copied into the gateway.

        Returns:
            The checkpoint's id; None if it could not be recorded.
        """
        try:
            if isinstance(content, bytes | bytearray | memoryview):
                data, suffix = bytes(content), ""
            else:
                data, suffix = Path(content).read_bytes(), Path(content).suffix.lstrip(".")
        except OSError as error:
            self.lost("checkpoints", 1, f"its file cannot be read: {error.strerror}")
            return None
        except (TypeError, ValueError):
            self.lost("checkpoints", 1, "it is neither bytes nor the path of a file")
            return None
        kind = format or suffix or "bin"
        found = self.measures.checkpoint(self, data, kind, policy_version, metrics, parent, step)
        if found is None:
            return None
        self._files.append(found[1])
        return found[0]

    def told_agent(self, algorithm: str, hyperparameters: Mapping[str, Any]) -> None:
        """What a library knows of the agent, where the user did not say: before the first environment."""
        self._rows.told_agent(algorithm, options.hyperparameters(hyperparameters))

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or (issubclass(kind, SystemExit) and not getattr(error, "code", 1)):
            self.close()
        elif issubclass(kind, KeyboardInterrupt):
            self.close("cancelled")
        else:
            # The type alone: a message can quote what must not be kept.
            self.close("failed", kind.__name__)

    def close(self, status: str = "succeeded", error: str | None = None) -> None:
        """Writes what is left, episodes under way as unfinished, and the run's last row. Further calls do nothing.

        Args:
            status: `succeeded`, `failed`, `cancelled`, `paused` or `preempted`.
            error: why it failed.
        """
        if not self.is_mine:
            return
        self._status = status
        atexit.unregister(self._at_exit)
        for track in self._tracks:
            try:
                track.close()
            except Exception as failure:  # noqa: BLE001, RUF100 - the rest is still written
                self.failed(track, failure)
        if self._writer is None:
            _LOG.warning("run %s: nothing was recorded: no environment was wrapped", self.run)
        else:
            try:
                self._flush(status, error, final=True)
            except Exception as failure:
                self.failed(None, failure)
            self._writer.close(CLOSE_SECONDS)
        places.deliver(self._store, CLOSE_SECONDS)
        recovery.LIVE.discard((self._store.url, self._files_of.stem))
        if self._dropped:
            _LOG.warning("run %s: not everything was recorded; missing: %s", self.run, dict(self._dropped))

    def abandon(self) -> None:
        """Lets go of everything as a kill does: nothing more is written, and `recover` or a new recorder finds what was flushed."""
        self._status = "abandoned"
        atexit.unregister(self._at_exit)
        if self._writer is not None:
            self._writer.abandon()
        recovery.LIVE.discard((self._store.url, self._files_of.stem))


def _closer(this: weakref.ref[Recorder]) -> Any:
    """What closes a recorder that nobody closed, when the interpreter ends."""

    def close() -> None:
        recorder = this()
        if recorder is None or not recorder.is_mine:
            return
        failure = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if failure is None:
            recorder.close()
        else:
            recorder.close("failed", type(failure).__name__)

    return close
