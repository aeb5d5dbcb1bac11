"""The site's navigation and start page. The pages themselves hold prose alone, as they are also read on a code host."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sphinx.application import Sphinx

CHAPTERS: Final = {
    "README": [
        "docs/your-training-loop",
        "docs/recording",
        "docs/importing",
        "docs/exporting",
        "docs/serving",
        "docs/streaming",
        "docs/examples",
        "docs/views",
        "docs/windows",
        "docs/integrity",
        "docs/lineage",
        "docs/statistics",
        "docs/architecture",
        "docs/glossary",
        "docs/command-line",
        "docs/changing-a-table",
        "docs/catalogue-reference",
        "docs/production",
        "docs/upgrading",
        "docs/tables",
        "docs/api",
        "docs/decisions",
        "benchmarks/report",
        "CONTRIBUTING",
        "CHANGELOG",
    ],
    "docs/tables": ["tables/*"],
    "docs/decisions": ["decisions/*"],
    "docs/api": ["api/gaelp_assets/index", "api/resources/index", "api/sensors/index"],
}
"""Page -> the pages below it. Sphinx refuses a page that stands below none."""

_FOLDER_LINK: Final = re.compile(r"\]\(((?:docs/|\.\./)?(?:tables|decisions))/?\)")


def _on_read(_app: Sphinx, page: str, source: list[str]) -> None:
    """Adds the page's chapters, and leads a link to a folder to the page of that name."""
    text = _FOLDER_LINK.sub(r"](\1.md)", source[0])
    if page in CHAPTERS:
        hidden = ":hidden:\n" if page == "README" else ""
        chapters = "\n".join(CHAPTERS[page])
        text += f"\n\n```{{toctree}}\n:glob:\n:maxdepth: 1\n{hidden}\n{chapters}\n```\n"
    source[0] = text


def _on_finish(app: Sphinx, error: Exception | None) -> None:
    """The README is the start page, under the name that web servers look for."""
    if error is None and app.builder.format == "html":
        shutil.copyfile(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx when it starts."""
    app.connect("source-read", _on_read)
    app.connect("build-finished", _on_finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
