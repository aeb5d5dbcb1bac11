"""The exit codes of the command line. What each command means by them is in its help and in `docs/command-line.md`."""

from __future__ import annotations

from typing import Final

EXIT_PROBLEM: Final = 1
EXIT_REJECTED: Final = 3
"""Everything ran, and yet not every line is loaded, or a relation is set aside for its problems."""
EXIT_TRY_AGAIN: Final = 75
"""Trying again later may help: EX_TEMPFAIL of sysexits.h."""
