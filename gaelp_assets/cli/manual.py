"""The page `docs/command-line.md`, made from the commands themselves. Write it again with: python -m gaelp_assets.cli.manual"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import typer

from gaelp_assets.settings import CHECKOUT, VARIABLES

if TYPE_CHECKING:
    from typer import _click

PAGE: Final = CHECKOUT / "docs" / "command-line.md"
_INTRODUCTION: Final = """\
# The command line

Made from the commands by `python -m gaelp_assets.cli.manual`; edit their help instead.

`gaelp -h`, and `-h` after any command, shows the same. `gaelp --version` tells the version. `gaelp --install-completion` lets your
shell (bash, zsh, fish) complete commands and options from its next start on.

- **For programs**: `--json` makes one JSON document of a list or a page, and prints nothing else on stdout: numbers with all their
  digits, moments as RFC 3339 in UTC, BYTES as base64, NUMERIC as text, what is not finite as `"NaN"`, `"Infinity"` or `"-Infinity"`.
- **On a terminal** tables fit its width; where the columns do not fit beside each other, each row becomes a block of lines. In a pipe or
  a file every value stands in full.
- **Exit codes**: 0 all is well; 1 a mistake or a failure, with its words on stderr; 2 the command was typed wrong (`gaelp deploy
  --dry-run`: there are changes); 3 it ran, but lines are rejected or something is set aside; 75 try again later.
- **Log file**: `$GAELP_HOME/logs/gaelp.log` says which commands ran, how they ended, and what was warned of; never a row, a query or
  an argument. It is kept to 1 MB, with five older ones beside it.
- **Settings** are environment variables or keys of `gaelp.toml`, which is looked for in the folder where you start `gaelp`, then in the
  home. The environment comes first, then the file where you start, then the one in the home. `gaelp config` shows each setting and
  where it came from. A variable that starts with `GAELP_` and is none of these is warned of.
"""
_EXAMPLE: Final = """\

```toml
# gaelp.toml; a relative folder is taken from where this file lies
catalog = ["relations"]
gateway = "file:///data/export_gateway"
first_date = 2026-01-01
query_seconds = 60
```
"""


def manual(command: _click.Command) -> str:
    """The page of a group of commands and all below it."""
    lines = [_INTRODUCTION, "| variable | key | takes |", "|---|---|---|"]
    lines += [
        f"| `{name}` | `{name.removeprefix('GAELP_').lower()}` | {_cell(words)} |"
        for name, words in VARIABLES.items()
    ]
    lines.append(_EXAMPLE)
    for path, each in commands(command):
        lines += _section(" ".join(("gaelp", *path)), each)
    return "\n".join(lines).rstrip() + "\n"


def commands(
    command: _click.Command, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], _click.Command]]:
    """Each command that does something, with the words that call it."""
    below: dict[str, _click.Command] | None = getattr(command, "commands", None)
    if below is None:
        yield above, command
        return
    for name, each in sorted(below.items()):
        yield from commands(each, (*above, name))


def _section(words: str, command: _click.Command) -> Iterator[str]:
    parameters: list[Any] = [p for p in command.params if p.name != "help"]
    arguments = [p for p in parameters if p.param_type_name == "argument"]
    usage = " ".join([words, *(_usage(p) for p in arguments)])
    yield f"## {words}\n"
    yield f"`{usage}{' [OPTIONS]' if len(arguments) < len(parameters) else ''}`\n"
    yield inspect.cleandoc(command.help or "") + "\n"
    if parameters:
        yield "| argument or option | |\n|---|---|"
        yield from (f"| {_spelled(p)} | {_cell(p.help or '')}{_default(p)} |" for p in parameters)
        yield ""


def _usage(parameter: Any) -> str:
    name = str(parameter.name).upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{str(parameter.name).upper()}`"
    spelled = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.is_flag:
        return spelled
    return f"{spelled} `{parameter.metavar or _kind(parameter)}`"


def _kind(parameter: Any) -> str:
    kind = parameter.type_descriptor.annotation
    kind = get_args(kind)[0] if get_args(kind) else kind
    return {str: "TEXT", int: "INTEGER", float: "FLOAT", Path: "PATH"}.get(kind, "VALUE")


def _default(parameter: Any) -> str:
    shown = parameter.default
    if shown is None or isinstance(shown, bool) or shown == [] or callable(shown):
        return ""
    return f" (`{shown}` if left out)"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def write_manual(page: Path = PAGE) -> Path:
    """Writes the page; its path."""
    from gaelp_assets.cli.main import app

    page.write_text(manual(typer.main.get_command(app)), encoding="utf-8")
    return page


if __name__ == "__main__":
    print(write_manual())
