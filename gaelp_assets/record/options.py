"""What a recorder can be told, proved when it is made: all that is wrong at once."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from gaelp_assets.catalog.slices import ENVIRONMENT_ID_ADVICE, ENVIRONMENT_ID_WORDS, parse_environment
from gaelp_assets.errors import GaelpError, Problem, unknown
from gaelp_assets.record.spaces import environment_id
from gaelp_assets.record.values import lower_snake, plain, word

ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
RUN_LENGTH: Final = 160
"""Ids of episodes and evaluations are made of the run's, and have 200 characters at most."""
FAMILIES: Final = (
    "actor_critic", "baseline", "evolutionary", "imitation", "model_based", "other", "planning", "policy_gradient", "value_based",
)  # fmt: skip
KNOWN_FAMILIES: Final[Mapping[str, str]] = {
    "random": "baseline",
    **dict.fromkeys(
        ("dqn", "qrdqn", "qr_dqn", "c51", "rainbow", "q_learning", "sarsa", "sarsa_lambda"), "value_based"
    ),
    **dict.fromkeys(("reinforce", "vpg"), "policy_gradient"),
    **dict.fromkeys(
        ("a2c", "a3c", "ppo", "trpo", "sac", "td3", "ddpg", "recurrent_ppo", "maskable_ppo"), "actor_critic"
    ),
    **dict.fromkeys(("es", "ars", "cma_es"), "evolutionary"),
    **dict.fromkeys(("bc", "gail", "dagger"), "imitation"),
    **dict.fromkeys(("dreamer", "dreamerv3", "muzero", "mbpo"), "model_based"),
}
OBSERVATIONS: Final = ("inline", "reference")
UNKNOWN: Final = "unknown"


def problems_of_ids(run: object, agent: object, environment: object) -> list[Problem]:
    """What is wrong with the ids; None stands for one that is not given."""
    problems = []
    words = "letters, digits, '.', '_', ':' and '-', the first one a letter or digit"
    if not isinstance(run, str) or not ID.fullmatch(run) or len(run) > RUN_LENGTH:
        problems.append(Problem(f"{run!r} is no id", "run", f"1 to {RUN_LENGTH} {words}"))
    if agent is not None and not (isinstance(agent, str) and ID.fullmatch(agent)):
        problems.append(Problem(f"{agent!r} is no id", "agent", f"1 to 200 {words}"))
    if environment is not None:
        try:
            parse_environment(environment if isinstance(environment, str) else "")
        except ValueError:
            remedy = f"Id: {environment_id(environment)}" if isinstance(environment, str) else ""
            expected = f"{ENVIRONMENT_ID_WORDS}; {ENVIRONMENT_ID_ADVICE}"
            problems.append(Problem(f"{environment!r} is no id", "environment", expected, remedy))
    return problems


def problems_of_numbers(**given: object) -> list[Problem]:
    """What is wrong with numbers that must be greater than 0."""
    return [
        Problem(f"{value!r} is refused", name, "a number greater than 0")
        for name, value in given.items()
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf
    ]


def problems_of_words(algorithm: object, family: object, observations: object, seed: object) -> list[Problem]:
    """What is wrong with the algorithm, its family, how observations are kept, and the seed."""
    problems = []
    if algorithm is not None and not (isinstance(algorithm, str) and lower_snake(algorithm)):
        problems.append(
            Problem(f"{algorithm!r} names none", "algorithm", "a name with a letter or digit, such as PPO")
        )
    if family is not None and family not in FAMILIES:
        problems.append(unknown("family", str(family), FAMILIES, where="algorithm_family"))
    if observations not in OBSERVATIONS:
        problems.append(unknown("way", str(observations), OBSERVATIONS, where="observations"))
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63):
        problems.append(Problem(f"{seed!r} is no seed", "seed", "an integer from 0 to 2**63 - 1, or None"))
    return problems


def problems_of_texts(
    description: object, parent_agent: object, code_version: object, team: object
) -> list[Problem]:
    """What is wrong with what is told of the agent, and of who trains it; None stands for what is not given."""
    problems = [
        Problem(
            f"a {type(value).__name__} is no such text",
            name,
            f"a text of {shortest} to {longest:,} characters",
        )
        for name, value, shortest, longest in (
            ("description", description, 0, 10_000),
            ("code_version", code_version, 0, 200),
            ("team", team, 0, 200),
        )
        if value is not None and not (isinstance(value, str) and len(value) <= longest)
    ]
    if parent_agent is not None and not (isinstance(parent_agent, str) and ID.fullmatch(parent_agent)):
        words = "letters, digits, '.', '_', ':' and '-', the first one a letter or digit"
        problems.append(Problem(f"{parent_agent!r} is no id", "parent_agent", f"1 to 200 {words}"))
    return problems


def every(transitions: object, where: str = "transitions") -> int:
    """Of so many episodes one has its steps recorded; 0 for none.

    Raises:
        GaelpError: it is neither a bool nor a whole number greater than 0.
    """
    if isinstance(transitions, bool):
        return int(transitions)
    if isinstance(transitions, int) and transitions > 0:
        return transitions
    problem = Problem(
        f"{transitions!r} is refused", where, "True (each episode), False (none), or N (each Nth episode)"
    )
    raise GaelpError(problem)


def purpose(text: str) -> str:
    """`training` or `evaluation`.

    Raises:
        GaelpError: it is neither.
    """
    known = ("training", "evaluation")
    if text not in known:
        raise GaelpError(unknown("purpose", text, known))
    return text


def hyperparameters(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """As JSON keeps them."""
    return {word(name): plain(value) for name, value in (given or {}).items()}


def default_agent(algorithm: str, parameters: Mapping[str, Any]) -> str:
    """The id of an agent that nobody named: its algorithm, and a digest of its hyperparameters where there are any."""
    if not parameters:
        return algorithm
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()
    return f"{algorithm}-{digest[:8]}"
