"""`gaelp gateway retry`: files of `failed/`, put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaelp_assets.cli import render

if TYPE_CHECKING:
    from gaelp_assets.platform import Platform


def retry(platform: Platform, pattern: str) -> None:
    """Puts the failed files whose names match back where they came from, and tells Dagster that they are set aside no more.

    Raises:
        GaelpError: no file is meant, or some cannot go back.
    """
    from gaelp_assets.assets.rejections import report_retried
    from gaelp_assets.cli.dev import dagster_instance

    if not platform.gateway.failed():
        render.print_line("there are no failed files")
        return
    moved = platform.gateway.retry(pattern)
    for failed, name in moved:
        render.print_line(f"{failed} -> {name}")
    with dagster_instance(platform.settings) as instance:
        report_retried(instance, platform, [failed for failed, _ in moved])
