"""PettingZoo: environments of several agents, each of which has episodes of its own. PettingZoo is imported when one is wrapped.

The steps of a run are those of its agents: a parallel step of three agents is three. Episodes of agents are numbered like all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.record.tracks import SingleTrack

if TYPE_CHECKING:
    from gaelp_assets.record.recorder import Recorder


def record_parallel(env: Any, recorder: Recorder, transitions: bool | int | None = None) -> Any:
    """The parallel environment, recorded: what passes is not changed.

    Raises:
        GaelpError: PettingZoo is not installed, or the environment has no name, or values of its spaces cannot be columns.
    """
    try:
        from pettingzoo.utils.wrappers import BaseParallelWrapper
    except ImportError:
        raise GaelpError(_missing()) from None
    agents = Agents(env, recorder, transitions)

    class RecordParallel(BaseParallelWrapper):  # type: ignore[misc, unused-ignore]
        def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            observations, infos = super().reset(seed=seed, options=options)
            agents.reset(observations, seed)
            return observations, infos

        def step(self, actions: dict[str, Any]) -> Any:
            answer = super().step(actions)
            agents.step(actions, *answer[:4])
            return answer

    return RecordParallel(env)


def record_aec(env: Any, recorder: Recorder, transitions: bool | int | None = None) -> Any:
    """The environment of agents that take turns, recorded. An agent's reward is what it was given since its last action.

    Raises:
        GaelpError: PettingZoo is not installed, or the environment has no name, or values of its spaces cannot be columns.
    """
    try:
        from pettingzoo.utils.wrappers import BaseWrapper
    except ImportError:
        raise GaelpError(_missing()) from None
    turns = Turns(Agents(env, recorder, transitions))

    class RecordAec(BaseWrapper):  # type: ignore[misc, unused-ignore]
        def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
            super().reset(seed=seed, options=options)
            turns.reset(seed)

        def step(self, action: Any) -> None:
            turns.before(self.env, action)
            super().step(action)
            turns.after(self.env)

    return RecordAec(env)


def _missing() -> Problem:
    return Problem("PettingZoo is not installed", remedy="pip install pettingzoo")


class Agents:
    """A track for each agent of an environment."""

    def __init__(self, env: Any, recorder: Recorder, transitions: bool | int | None) -> None:
        self._recorder = recorder
        name = (getattr(env, "metadata", None) or {}).get("name")
        self.tracks: dict[str, SingleTrack] = {}
        for agent in env.possible_agents:
            track = recorder.add_track(
                spec=None,
                observation_space=env.observation_space(agent),
                action_space=env.action_space(agent),
                transitions=transitions,
                name=name,
                config={"agents": list(env.possible_agents)},
            )
            assert isinstance(track, SingleTrack)
            self.tracks[agent] = track

    @property
    def on(self) -> bool:
        """Whether there is still a recorder that listens."""
        return self._recorder.is_mine

    def reset(self, observations: Mapping[str, Any], seed: int | None) -> None:
        """All agents begin."""
        if self.on:
            for agent, observation in observations.items():
                self.begin(agent, observation, seed)

    def begin(self, agent: str, observation: Any, seed: int | None) -> None:
        """One agent begins."""
        try:
            self.tracks[agent].begin(observation, seed)
        except Exception as error:
            self._recorder.failed(self.tracks.get(agent), error)

    def one(
        self, agent: str, action: Any, reward: Any, terminated: Any, truncated: Any, observation: Any
    ) -> None:
        """One agent's step."""
        try:
            self.tracks[agent].step(action, reward, terminated, truncated, observation)
        except Exception as error:
            self._recorder.failed(self.tracks.get(agent), error)

    def step(
        self,
        actions: Mapping[str, Any],
        observations: Mapping[str, Any],
        rewards: Mapping[str, Any],
        terminated: Mapping[str, Any],
        truncated: Mapping[str, Any],
    ) -> None:
        """A step of all agents that act."""
        if not self.on:
            return
        for agent in actions:
            # An action for an agent that has left the environment is none; one that enters has no action yet.
            if agent in rewards and agent in observations and self.tracks[agent].episode is not None:
                flags = (terminated[agent], truncated[agent])
                self.one(agent, actions[agent], rewards[agent], *flags, observations[agent])
        for agent, observation in observations.items():
            if agent not in actions:
                self.begin(agent, observation, None)


class Turns:
    """Agents that take turns: an agent's step is whole when its next turn comes, or its end."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._seed: int | None = None
        self._acted: dict[str, Any] = {}

    def reset(self, seed: int | None) -> None:
        """A new episode of all agents."""
        self._seed = seed
        self._acted = {}
        for track in self._agents.tracks.values():
            track.close()

    def before(self, env: Any, action: Any) -> None:
        """The agent whose turn it is acts: its step before is whole with what it sees now."""
        if not self._agents.on:
            return
        agent = env.agent_selection
        # `last` answers with what the agent was given since it acted; asking changes nothing.
        _, reward, terminated, truncated, _ = env.last(observe=False)
        observation = env.observe(agent)
        if agent in self._acted:
            self._agents.one(agent, self._acted.pop(agent), reward, terminated, truncated, observation)
        elif not (terminated or truncated):
            self._agents.begin(agent, observation, self._seed)
        if action is not None and not (terminated or truncated):
            self._acted[agent] = action

    def after(self, env: Any) -> None:
        """Agents that leave with this step have no turn of their own any more, where the loop stops then."""
        if self._agents.on and not env.agents:
            self._acted = {}
