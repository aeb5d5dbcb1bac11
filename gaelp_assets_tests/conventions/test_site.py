"""The check of the built site finds dead links, and what would be loaded from another host."""

from __future__ import annotations

import runpy
from pathlib import Path

from gaelp_assets.settings import CHECKOUT

CHECK = runpy.run_path(str(CHECKOUT / "docs" / "sphinx" / "check_site.py"))


def _site(folder: Path, **files: str) -> list[str]:
    for name, text in files.items():
        stem, _, ending = name.rpartition("_")
        (folder / f"{stem}.{ending}").write_text(text, encoding="utf-8")
    return list(CHECK["problems"](folder))


def test_a_site_that_leads_everywhere_has_no_problems(tmp_path: Path) -> None:
    assert (
        _site(
            tmp_path,
            index_html='<link href="site.css"><a href="other.html#place">x</a><a href="https://dagster.io">x</a>',
            other_html='<h1 id="place">x</h1><a href="#place">x</a><img src="data:image/png;base64,AA==">',
            site_css="body { background: url('data:image/svg+xml,x') }",
        )
        == []
    )


def test_dead_links_are_found(tmp_path: Path) -> None:
    assert _site(
        tmp_path, index_html='<a href="gone.html">x</a><a href="#nowhere">x</a><img src="gone.png">'
    ) == [
        "index.html links to gone.html, which is not there",
        "index.html links to #nowhere, which has no such place",
        "index.html links to gone.png, which is not there",
    ]


def test_what_another_host_would_serve_is_found(tmp_path: Path) -> None:
    assert _site(
        tmp_path,
        index_html='<script src="https://example.com/x.js"></script><p style="background: url(//example.com/x.png)">',
        site_css="@import 'https://example.com/x.css'; @font-face { src: url(https://example.com/x.woff2) }",
    ) == [
        "index.html loads https://example.com/x.js from another host",
        "index.html loads //example.com/x.png from another host",
        "site.css loads https://example.com/x.css from another host",
        "site.css loads https://example.com/x.woff2 from another host",
    ]
