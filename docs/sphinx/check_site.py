"""Checks the finished site: every link leads to a page and a place that exist, and no page loads anything from another host.

`python docs/sphinx/check_site.py FOLDER` prints what is wrong, and ends with 1 if anything is. Links that a reader follows to other
hosts are not followed here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_LOADS: Final = {
    "img": "src",
    "script": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
}
_STYLE_LOADS: Final = re.compile(r"(?:@import\s+|url\()\s*['\"]?\s*((?:https?:)?//[^'\")\s]+)")


class _Page(HTMLParser):
    """The addresses that a page loads, those that it links to, and the places in it."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for each element."""
        found = {name: value for name, value in attrs if value is not None}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        self.loads += _STYLE_LOADS.findall(found.get("style", ""))
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif _LOADS.get(tag) in found:
            self.loads.append(found[_LOADS[tag]])


@cache
def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def problems(site: Path) -> Iterator[str]:
    """What is wrong with the HTML files and style sheets below the folder `site`, one sentence each."""
    for path in sorted(site.rglob("*.html")):
        page = _read(path)
        where = path.relative_to(site).as_posix()
        yield from (f"{where} loads {url} from another host" for url in page.loads if urlsplit(url).netloc)
        for url in page.links + page.loads:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = path.parent / unquote(parts.path) if parts.path else path
            if not target.exists():
                yield f"{where} links to {url}, which is not there"
            elif (
                parts.fragment
                and target.suffix == ".html"
                and unquote(parts.fragment) not in _read(target).places
            ):
                yield f"{where} links to {url}, which has no such place"
    for path in sorted(site.rglob("*.css")):
        for url in _STYLE_LOADS.findall(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site).as_posix()} loads {url} from another host"


if __name__ == "__main__":
    found = list(problems(Path(sys.argv[1])))
    print(
        "\n".join(found) or "every link of the site leads somewhere, and nothing is loaded from another host"
    )
    sys.exit(bool(found))
