"""The recorder: what a training loop uses to hand its runs, episodes and steps to the platform, through the export gateway.

It needs NumPy and msgspec, and of the platform the gateway's stores alone: a training machine has neither a warehouse nor Dagster.
What is named here is imported when it is asked for, so that a loop without gymnasium, SB3 or PettingZoo can record too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gaelp_assets.record.env import RecordEnv
    from gaelp_assets.record.pettingzoo import record_aec, record_parallel
    from gaelp_assets.record.recorder import Recorder
    from gaelp_assets.record.recovery import recover
    from gaelp_assets.record.sb3 import sb3_callback
    from gaelp_assets.record.vector import RecordVectorEnv

__all__ = [
    "RecordEnv",
    "RecordVectorEnv",
    "Recorder",
    "record_aec",
    "record_parallel",
    "recover",
    "sb3_callback",
]

_HOMES: Final = {
    "RecordEnv": "env",
    "RecordVectorEnv": "vector",
    "Recorder": "recorder",
    "record_aec": "pettingzoo",
    "record_parallel": "pettingzoo",
    "recover": "recovery",
    "sb3_callback": "sb3",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
