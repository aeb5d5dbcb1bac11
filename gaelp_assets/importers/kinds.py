"""The kinds of sources, by name. Each module is imported when its kind is asked for: some need libraries that take time."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from gaelp_assets.errors import GaelpError, unknown
from gaelp_assets.importers.source import Kind

KINDS: Final = (
    "cleanrl",
    "d4rl",
    "minari",
    "mlflow",
    "rllib",
    "sb3-evaluations",
    "sb3-monitor",
    "tensorboard",
    "wandb",
)


def kind(name: str) -> Kind:
    """The kind of that name; its module is called like it.

    Raises:
        GaelpError: there is no such kind; close ones are named.
    """
    if name not in KINDS:
        raise GaelpError(unknown("kind", name, KINDS))
    found = import_module(f"gaelp_assets.importers.{name.replace('-', '_')}").KIND
    assert isinstance(found, Kind)
    return found
