"""Makes the project's docstrings fit for Sphinx: plain text in Google style, in which single backticks mark code, as in Markdown."""

from __future__ import annotations

import builtins
import re
from typing import TYPE_CHECKING, Any, Final

from sphinx.domains.python import PythonDomain
from sphinx.ext.napoleon import Config, GoogleDocstring

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_CODE: Final = re.compile(r"(`[^`]+`)")
# What reStructuredText would read as emphasis, a substitution, an escape or a reference.
_SIGNS: Final = re.compile(r"([*|\\]|(?<=\w)_(?!\w))")
_STYLE: Final = Config(napoleon_use_rtype=False)


def restructured(docstring: str, *, is_value: bool) -> list[str]:
    """The lines of a docstring as reStructuredText.

    Args:
        docstring: as it stands in the source, without its indentation.
        is_value: whether it describes an attribute or a constant, of which Google's style would read `word: text` as `type: text`.
    """
    paragraphs = re.split(r"(\n[ \t]*\n)", docstring)
    text = "".join(part if part.lstrip().startswith(">>>") else _paragraph(part) for part in paragraphs)
    lines: list[str] = GoogleDocstring(text, _STYLE, what="function" if is_value else "class").lines()
    return lines


def _paragraph(text: str) -> str:
    """Code in double backticks; no other sign has a meaning."""
    return "".join(
        f"`{part}`" if part.startswith("`") else _SIGNS.sub(r"\\\1", part) for part in _CODE.split(text)
    )


class Names(PythonDomain):  # type: ignore[misc]  # Sphinx is not where the types are checked
    """Finds an object by its name alone, too, where only one is called so: docstrings say `GaelpError`, without its module."""

    def find_obj(
        self, env: Any, modname: str, classname: str, name: str, kind: str | None, searchmode: int = 0
    ) -> list[Any]:
        """What a reference may mean: (full name, object) pairs. A built-in name means Python's own."""
        if hasattr(builtins, name):
            return []
        found = super().find_obj(env, modname, classname, name, kind, searchmode)
        if found:
            return list(found)
        last = name.rpartition(".")[2]
        alike = [pair for pair in self.objects.items() if pair[0].rpartition(".")[2] == last]
        return alike if len(alike) == 1 and last[:1].isupper() else []


def _on_docstring(
    _app: Sphinx, kind: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    lines[:] = restructured("\n".join(lines), is_value=kind in {"attribute", "data", "property"})


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx when it starts."""
    app.connect("autodoc-process-docstring", _on_docstring)
    app.add_domain(Names, override=True)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
