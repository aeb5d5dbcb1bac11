"""Tells of a step as it runs, in OpenLineage's events: that it begins, and how it ended. What these say is in `operations.openlineage`.

Where no collector is set, nothing is done here. Nothing that goes wrong here is of the step.
"""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import dagster as dg

from gaelp_assets.assets.partition_metadata import partition_metadata
from gaelp_assets.assets.partitions import partitions_def, slices_of
from gaelp_assets.catalog import Slice
from gaelp_assets.catalog.slices import parse_partition_key
from gaelp_assets.errors import GaelpError
from resources.platform import PlatformResource

if TYPE_CHECKING:
    from gaelp_assets.operations.openlineage import Action, Assertion, Ending, Outcome, Step

_log = logging.getLogger(__name__)
Context = dg.AssetExecutionContext | dg.AssetCheckExecutionContext
Yielded = TypeVar("Yielded", bound="dg.MaterializeResult[None] | dg.AssetCheckResult")
_ROWS = ("rows loaded", "dagster/partition_row_count", "dagster/row_count")
"""Under which names a step's metadata tell its rows: the first that is there counts."""


def told(
    context: Context, platform: PlatformResource, key: dg.AssetKey, results: Iterator[Yielded]
) -> Iterator[Yielded]:
    """Passes a step's results on, and tells of the step where a collector is set."""
    settings, catalog = platform.opener.settings, platform.opener.catalog
    id_ = ".".join(key.path)
    if settings.openlineage is None or id_ not in catalog.relations:
        yield from results
        return
    teller = _Teller(context, platform, id_)
    teller.start()
    try:
        for result in results:
            teller.note(result)
            yield result
    except GeneratorExit:
        raise
    except Exception as error:
        teller.end("FAIL", _words(error))
        raise
    except BaseException as error:
        teller.end("ABORT", type(error).__name__)
        raise
    teller.end("COMPLETE")


def _words(error: Exception) -> str:
    """Why a step failed. Only the platform's own problems are known never to quote a row."""
    if isinstance(error, GaelpError):
        return str(error)
    cause = error.__cause__ if isinstance(error, dg.Failure) else None
    if isinstance(cause, GaelpError):
        return str(cause)
    return (error.description if isinstance(error, dg.Failure) else None) or type(error).__name__


class _Teller:
    """Tells of one step."""

    def __init__(self, context: Context, platform: PlatformResource, id_: str) -> None:
        self._context = context
        self._settings, self._catalog = platform.opener.settings, platform.opener.catalog
        self._relation = self._catalog[id_]
        self._assertions: list[Assertion] = []
        self._metadata: list[Mapping[str, object]] = []

    def start(self) -> None:
        """Tells that the step begins."""
        action = self._action
        self._safely(lambda: self._put([(self._step(action), "START")]))

    @property
    def _action(self) -> "Action":
        if isinstance(self._context, dg.AssetCheckExecutionContext):
            return "checks"
        return "load" if self._relation.is_loaded else "refresh"

    def note(self, result: "dg.MaterializeResult[None] | dg.AssetCheckResult") -> None:
        """Keeps what a result says for the event of the end."""
        from gaelp_assets.operations.openlineage import Assertion

        if isinstance(result, dg.AssetCheckResult):
            severity = result.severity.value
            self._assertions.append(Assertion(result.check_name or "", result.passed, severity))
        elif result.metadata:
            self._metadata.append(result.metadata)

    def end(self, ending: "Ending", message: str | None = None) -> None:
        """Tells how the step ended; checks of a load are a job of their own, whose input is the table."""
        self._safely(lambda: self._end(ending, message))

    def _end(self, ending: "Ending", message: str | None) -> None:
        from gaelp_assets.operations.openlineage import Outcome

        action = self._action
        outcome = Outcome(self._rows(), message=message)
        if action == "checks":
            self._put([(self._step(action), ending)], Outcome(assertions=self._assertions, message=message))
            return
        self._put([(self._step(action), ending)], outcome)
        if self._assertions:
            checks = self._step("load_checks")
            self._put([(checks, "START"), (checks, "COMPLETE")], Outcome(assertions=self._assertions))

    def _step(self, action: "Action") -> "Step":
        from gaelp_assets.operations.openlineage import Step

        run = self._context.run
        return Step(self._relation, action, self._slices(), run.run_id, run.job_name)

    def _slices(self) -> Sequence[Slice]:
        context = self._context
        if isinstance(context, dg.AssetCheckExecutionContext):
            by = partitions_def(self._relation, self._settings.first_date)
            return slices_of(context.run.tags, by, context.instance)
        if context.assets_def.partitions_def is None:
            return ()
        return [parse_partition_key(str(key)) for key in context.partition_keys]

    def _rows(self) -> int | None:
        found = [*self._metadata]
        if isinstance(self._context, dg.AssetExecutionContext):
            found += partition_metadata(self._context)
        for name in _ROWS:
            counts = [value for metadata in found if isinstance(value := metadata.get(name), int)]
            if counts:
                return sum(counts)
        return None

    def _put(self, told_: "Sequence[tuple[Step, Ending]]", outcome: "Outcome | None" = None) -> None:
        from gaelp_assets.operations.openlineage import Events
        from gaelp_assets.operations.openlineage_delivery import delivery_to

        target = self._settings.openlineage
        assert target is not None
        delivery, events = delivery_to(target), Events(self._settings, self._catalog)
        for step, ending in told_:
            delivery.put(events.event(step, ending, outcome))
        if told_[-1][1] != "START":
            delivery.flush()

    def _safely(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception as error:
            _log.warning("no OpenLineage event of %s: %s", self._relation.id, type(error).__name__)
