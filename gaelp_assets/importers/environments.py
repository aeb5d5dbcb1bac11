"""The row of an environment, of the specification that gymnasium writes as JSON and of spaces as Minari describes them. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from gaelp_assets.importers import spaces
from gaelp_assets.importers.source import non_finite

_ID: Final = re.compile(r"(?:(?P<namespace>[^/]+)/)?(?P<name>.+?)(?:-v(?P<version>[0-9]+))?")
_NAME_LENGTH: Final = 100


def environment_row(
    environment_id: str,
    spec: Mapping[str, Any],
    observation_space: spaces.Space,
    action_space: spaces.Space,
    updated_at: str,
) -> dict[str, object]:
    """The row of `training.environments`; what the specification does not say is left out.

    Args:
        environment_id: as the platform spells it.
        spec: gymnasium's `EnvSpec.to_json`, parsed; empty where there is none.
        observation_space: of the environment.
        action_space: likewise.
        updated_at: moment of the row.

    Raises:
        ValueError: a space that nobody knows.
    """
    match = _ID.fullmatch(str(spec.get("id") or environment_id))
    found = match.groupdict() if match else {}
    version = found.get("version")
    entry_point = spec.get("entry_point")
    entry_point = entry_point if isinstance(entry_point, str) and len(entry_point) <= 300 else None
    row: dict[str, object] = {
        "environment_id": environment_id,
        "name": (found.get("name") or environment_id)[:_NAME_LENGTH],
        "namespace": (found.get("namespace") or "")[:_NAME_LENGTH] or None,
        "version": int(version) if version is not None and int(version) <= 10_000 else None,
        "library": (entry_point or "").partition(":")[0].partition(".")[0][:_NAME_LENGTH] or None,
        "entry_point": entry_point,
        "parameters": plain(spec["kwargs"]) if isinstance(spec.get("kwargs"), dict) else None,
        **spaces.fields("observation", observation_space),
        **spaces.fields("action", action_space),
        "action_count": action_space.get("n") if action_space.get("type") == "Discrete" else None,
        "max_episode_steps": _positive(spec.get("max_episode_steps")),
        "reward_threshold": _finite(spec.get("reward_threshold")),
        "nondeterministic": spec["nondeterministic"]
        if isinstance(spec.get("nondeterministic"), bool)
        else None,
        "updated_at": updated_at,
    }
    return {name: value for name, value in row.items() if value is not None}


def plain(value: object) -> object:
    """A JSON value whose numbers that JSON lacks are texts: an infinity keeps its sign.

    >>> plain({"limit": float("-inf"), "seeds": [2**70]})
    {'limit': '-Infinity', 'seeds': ['1180591620717411303424']}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return non_finite(value)
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return str(value)
    return value


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _finite(value: object) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None  # type: ignore[arg-type]
