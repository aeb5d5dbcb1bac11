"""What several commands do at their end: load what is pending, refresh what is derived, tell Dagster how the checks stand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from gaelp_assets.cli import render
from gaelp_assets.cli.exits import EXIT_PROBLEM, EXIT_REJECTED, EXIT_TRY_AGAIN
from gaelp_assets.gateway.names import is_live

if TYPE_CHECKING:
    from gaelp_assets.catalog import Relation
    from gaelp_assets.gateway import GatewayFile
    from gaelp_assets.platform import Platform
    from gaelp_assets.runs.in_process import RunResult

POLL_SECONDS: Final = 1.0
"""How often it is looked whether others are done."""


def load_pending(
    platform: Platform, *, refresh_only: bool = False, quiet: bool = False, wait: bool = False
) -> int:
    """Loads what is pending, and says what was rejected or set aside; the exit code.

    Args:
        platform: where it waits, and where it goes.
        refresh_only: sorts and loads nothing, and refreshes what is stale.
        quiet: prints no runs.
        wait: waits for other processes that load, and loads what they leave.
    """
    from gaelp_assets.cli.dev import dagster_instance
    from gaelp_assets.definitions import build_definitions
    from gaelp_assets.operations.rejects import open_lines, rejected_by
    from gaelp_assets.operations.status import out_of_range
    from gaelp_assets.runs.in_process import run_pending
    from gaelp_assets.runs.orphans import runs_of_daemon

    before = set() if refresh_only else {file.stored.name for file in platform.gateway.failed()}
    definitions = build_definitions(platform.settings, platform.catalog)
    with dagster_instance(platform.settings) as instance, render.progress() as show:
        waiting = _Waiting(show)

        def once() -> list[RunResult]:
            return run_pending(
                definitions,
                platform,
                instance,
                lambda slot, number, count, _: show(f"{slot} ({number} of {count})"),
                refresh_only=refresh_only,
                on_wait=waiting.tell if wait else None,
            )

        results = once()
        left = set() if refresh_only else _left_to_others(platform, runs_of_daemon(instance))
        while wait and left:
            _wait_for_runs(lambda: runs_of_daemon(instance), waiting, _daemon_words(platform))
            results += once()
            # What came later is for a later call: a producer that goes on would never let this one end.
            left &= _left_to_others(platform, runs_of_daemon(instance))
    if not quiet and (results or not left):
        render.print_runs(results)
    if refresh_only:
        return 0 if all(result.success for result in results) else EXIT_PROBLEM
    failed = platform.gateway.failed()
    rejected = rejected_by(platform, [result.run_id for result in results])
    set_aside = [file for file in failed if file.stored.name not in before]
    render.print_rejects(rejected, set_aside, open_lines(platform))
    if failed:
        render.print_line(f"{len(failed)} files are set aside, with the reasons: gaelp gateway list")
    live = [file for file in _waiting(platform) if is_live(file.name)]
    if live:
        render.print_line(
            f"{len(live)} new files of streams are left to their receiver (gaelp stream) for a minute"
        )
    not_taken = out_of_range(platform)
    render.print_out_of_range(not_taken)
    render.print_set_aside(platform.catalog.set_aside.values())
    if not all(result.success for result in results):
        return EXIT_PROBLEM
    if left:
        render.print_line(
            f"others are loading {len(left)} of the files that wait ({_daemon_words(platform)}): gaelp ingest --wait waits for them"
        )
        return EXIT_TRY_AGAIN
    return EXIT_REJECTED if rejected or set_aside or not_taken else 0


class _Waiting:
    """Says what is waited for: as progress all the time, and as a line once for each of them."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._told: set[str] = set()

    def tell(self, whom: str, more: str = "") -> None:
        """Waits for `whom`; `more` is what may change while it goes on."""
        if whom not in self._told:
            self._told.add(whom)
            render.print_notice(f"waiting for {whom}")
        self._show(f"waiting for {whom}{more}")


def _wait_for_runs(runs: Callable[[], Mapping[str, str]], waiting: _Waiting, whom: str) -> None:
    """Waits until none of the runs that are under way now is."""
    first = set(runs())
    while still := first & set(runs()):
        waiting.tell(whom, f": {len(still)} of {len(first)} runs to go")
        time.sleep(POLL_SECONDS)


def _left_to_others(platform: Platform, runs: Mapping[str, str]) -> set[str]:
    """The files that wait while runs of others are under way, but for those that nobody takes."""
    from gaelp_assets.operations.status import out_of_range

    if not runs:
        return set()
    files = {file.stored.name for file in _waiting(platform)}
    return files - {file.stored.name for file in out_of_range(platform)}


def _waiting(platform: Platform) -> list[GatewayFile]:
    return platform.gateway.pending().files + platform.gateway.unsorted().files


def _daemon_words(platform: Platform) -> str:
    """The `gaelp dev` of this home, with its address and process; or whatever else runs a daemon."""
    from gaelp_assets.cli.dev import dev_lock
    from gaelp_assets.runs.holders import holder_of, is_held

    lock = dev_lock(platform.settings)
    holder = holder_of(lock) if is_held(lock) else None
    return str(holder) if holder is not None else "a daemon of Dagster"


def report_checks(platform: Platform, relations: Sequence[Relation]) -> None:
    """Tells Dagster how the checks of these tables stand now, beside any run."""
    from gaelp_assets.assets.rejections import report_verdicts
    from gaelp_assets.cli.dev import dagster_instance

    if relations:
        with dagster_instance(platform.settings) as instance:
            report_verdicts(instance, platform, relations)
