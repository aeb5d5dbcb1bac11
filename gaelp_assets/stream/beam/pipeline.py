"""The pipeline: lines are proved as in a load, rows go to their windows by event time, and each window tells its figures.

Of files, which are bounded, each window is told once, and nothing is late. Of messages it is told when the watermark passes its end, and
again with each row that comes within the allowed lateness; what comes later is dropped, and is in the catalogue's table alone.
"""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Final

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import FixedWindows, SlidingWindows, TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from gaelp_assets.catalog.window import SECOND, microseconds
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets.ingest.validate import Validator, Validators
from gaelp_assets.stream.beam.figures import Figures, Kept
from gaelp_assets.stream.beam.work import Work

REJECTED: Final = "rejected"


class _Prove(beam.DoFn):  # type: ignore[misc]
    """The clean rows of what is read, each at its event time, and what is wrong with the other lines, beside them."""

    def __init__(self, work: Work) -> None:
        self._work = work.to_json()

    def setup(self) -> None:
        """Compiles the relation once in each worker."""
        work = Work.from_json(self._work)
        self._figures = Figures(work.relation, work.source)
        validators = Validators(first_date=work.first_date, last_date=work.last_date)
        self._validator: Validator = validators.of(work.source)

    def _proved(self, stream: BinaryIO, name: str) -> Iterator[Any]:
        for chunk in self._validator.validate(LineReader(stream, name)):
            for row in chunk.rows.iter_rows(named=True):
                if self._figures.counts(row):
                    yield TimestampedValue(row, Timestamp(micros=self._figures.moment(row)))
            for row in chunk.rejects.select("line_number", "byte_offset", "reasons").iter_rows(named=True):
                yield beam.pvalue.TaggedOutput(REJECTED, {"file": name, **row})


class ProveFiles(_Prove):
    """Of paths or addresses of gateway files."""

    def process(self, element: str) -> Iterator[Any]:
        """A file's rows and rejected lines."""
        with FileSystems.open(element, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
            yield from self._proved(stream, element)


class ProveMessages(_Prove):
    """Of messages, each of which holds one line or several."""

    def process(self, element: bytes) -> Iterator[Any]:
        """A message's rows and rejected lines."""
        yield from self._proved(io.BytesIO(element), "message.ndjson")


class _Keep(beam.CombineFn):  # type: ignore[misc]
    """The rows of a window by their keys."""

    def create_accumulator(self) -> Kept:
        return {}

    def add_input(self, accumulator: Kept, element: Kept) -> Kept:
        for key, values in element.items():
            accumulator.setdefault(key, values)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Kept]) -> Kept:
        merged: Kept = {}
        for found in accumulators:
            self.add_input(merged, found)
        return merged

    def extract_output(self, accumulator: Kept) -> Kept:
        return accumulator


def windows(rows: Any, work: Work) -> Any:
    """The rows of windows, with the number of source rows that each is told from: of two of one window and group, the greater is the later.

    Args:
        rows: a PCollection of clean rows at their event times.
        work: what they are windowed by.
    """
    window = work.relation.window
    assert window is not None
    size, every = microseconds(window.size) or 0, microseconds(window.every) or 0
    lateness = microseconds(window.allowed_lateness or "0s") or 0
    figures = Figures(work.relation, work.source)
    into = FixedWindows(size // SECOND) if size == every else SlidingWindows(size // SECOND, every // SECOND)

    def told(
        found: tuple[str, Kept], window: Any = beam.DoFn.WindowParam
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        group, kept = found
        if not work.begin_on or window.start.to_utc_datetime().date() in work.begin_on:
            yield len(kept), figures.told(group, window.start.micros, kept)

    return (
        rows
        | "GroupAndKey" >> beam.Map(lambda row: (figures.group(row), figures.kept(row)))
        | "IntoWindows"
        >> beam.WindowInto(
            into,
            trigger=AfterWatermark(late=AfterCount(1)),
            accumulation_mode=AccumulationMode.ACCUMULATING,
            allowed_lateness=Duration(micros=lateness),
        )
        | "KeepRows" >> beam.CombinePerKey(_Keep())
        | "Tell" >> beam.FlatMap(told)
    )


def run_files(work: Work, arguments: list[str]) -> dict[str, int]:
    """Tells the windows of files, as NDJSON in the output folder beside what was rejected; how many rows, rejected lines and windows.

    Args:
        work: with files and an output folder.
        arguments: Beam's pipeline options, such as `--runner=DataflowRunner`.
    """
    from apache_beam.metrics import Metrics
    from apache_beam.metrics.metric import MetricsFilter
    from apache_beam.options.pipeline_options import PipelineOptions

    def counted(name: str) -> Any:
        counter = Metrics.counter("gaelp", name)

        def count(element: Any) -> Any:
            counter.inc()
            return element

        return f"Count {name}" >> beam.Map(count)

    pipeline = beam.Pipeline(options=PipelineOptions(arguments))
    proved = (
        pipeline
        | beam.Create(list(work.files))
        | beam.Reshuffle()
        | beam.ParDo(ProveFiles(work)).with_outputs(REJECTED, main="rows")
    )
    told = windows(proved.rows | counted("rows"), work) | counted("windows")
    written = FileSystems.join(work.output, "windows")
    _ = told | beam.Map(lambda found: as_json(found[1])) | "Write" >> beam.io.WriteToText(written, ".ndjson")
    rejected = FileSystems.join(work.output, "rejected")
    _ = (
        proved[REJECTED]
        | counted(REJECTED)
        | beam.Map(as_json)
        | "WriteRejected" >> beam.io.WriteToText(rejected, ".ndjson")
    )
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace("gaelp"))["counters"]
    totals = {each.key.metric.name: int(each.committed) for each in found}
    return {name: totals.get(name, 0) for name in ("rows", REJECTED, "windows")}


def as_json(row: dict[str, Any]) -> str:
    """A row as a line, moments and dates as the gateway writes them."""
    return json.dumps(
        row, default=lambda value: value.isoformat() if isinstance(value, dt.date) else str(value)
    )
