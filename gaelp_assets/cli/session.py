"""One call of the command line: its settings, and its lines in the log file `$GAELP_HOME/logs/gaelp.log`.

The file says which commands ran, how they ended, what was warned of and which problems there were. It never holds a row, a rejected line,
a query or an argument: of what was typed, only the names of commands are kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gaelp_assets.errors import Problem, origin
from gaelp_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    from typer import _click

LOG_FILE: Final = Path("logs", "gaelp.log")
LOG_BYTES: Final = 1 << 20
LOG_FILES: Final = 5
"""Older files than so many are removed: `gaelp.log.1` is the newest of them."""
_log: Final = logging.getLogger("gaelp_assets.cli")
_kept: Final[dict[Path, logging.Handler]] = {}


def current_settings() -> Settings:
    """The settings of this process; from now on, its log file is kept.

    Raises:
        GaelpError: they are wrong.
    """
    settings = load_settings()
    keep_log(settings)
    return settings


def keep_log(settings: Settings) -> None:
    """Writes the platform's own log to the home's file, where there is a home: what only looks makes none.

    A disk that is full, or a home that cannot be written, keeps nobody from working.
    """
    path = settings.home / LOG_FILE
    if path in _kept or not settings.home.is_dir():
        return
    from logging.handlers import RotatingFileHandler

    stop_logs()
    with suppress(OSError):
        if not path.parent.exists():
            path.parent.mkdir()
            path.parent.chmod(0o2770 if settings.shared else 0o700)
        handler = RotatingFileHandler(
            path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, delay=True, encoding="utf-8"
        )
        handler.handleError = lambda record: None  # type: ignore[method-assign] # noqa: ARG005
        formatter = logging.Formatter(
            "%(asctime)s.%(msecs)03dZ %(process)d %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"
        )
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
        _kept[path] = handler
        logger = logging.getLogger("gaelp_assets")
        logger.addHandler(handler)
        if logger.getEffectiveLevel() > logging.INFO:
            logger.setLevel(logging.INFO)


def stop_logs() -> None:
    """Closes the log files."""
    for handler in _kept.values():
        logging.getLogger("gaelp_assets").removeHandler(handler)
        handler.close()
    _kept.clear()


def log_problems(problems: Sequence[Problem]) -> None:
    """Notes what a person was told."""
    for problem in problems:
        _log.info("problem: %s", problem)


def log_end(command: str, code: int | str | None, seconds: float) -> None:
    """Notes how a command ended."""
    _log.info("gaelp %s ended with %s after %.2f s", command, code or 0, seconds)


def log_defect(command: str, error: BaseException) -> None:
    """Notes where an error came from that nobody foresaw."""
    _log.info("gaelp %s ended with %s", command, origin(error))


def command_words(group: _click.Command, arguments: Sequence[str]) -> str:
    """The names of the command and its groups among what was typed, and nothing else of it.

    >>> import typer
    >>> from gaelp_assets.cli.main import app
    >>> command_words(typer.main.get_command(app), ["dead-letter", "list", "--raw"])
    'dead-letter list'
    """
    words: list[str] = []
    command: _click.Command | None = group
    for argument in arguments:
        commands = getattr(command, "commands", None)
        if commands is None:
            break
        command = commands.get(argument)
        if command is None:
            break
        words.append(argument)
    return " ".join(words) or "(no command)"
