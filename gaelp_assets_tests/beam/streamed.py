"""In Beam's environment: lines and watermarks of a JSON file through a `TestStream`; each telling of a window is a line of another file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from gaelp_assets.stream.beam.pipeline import REJECTED, ProveMessages, as_json, windows
from gaelp_assets.stream.beam.work import Work


def main(given: Path, told: Path) -> None:
    """Runs what the first file says, and writes the second."""
    content = json.loads(given.read_text(encoding="utf-8"))
    work = Work.from_json(content["work"])
    stream = TestStream()
    for step in content["steps"]:
        stream = stream.advance_watermark_to(Timestamp(micros=step["watermark"]))
        lines = [TimestampedValue(line.encode(), Timestamp(micros=at)) for at, line in step["lines"]]
        stream = stream.add_elements(lines) if lines else stream
    stream = stream.advance_watermark_to_infinity()
    options = PipelineOptions(["--runner=BundleBasedDirectRunner"])
    options.view_as(StandardOptions).streaming = True

    def note(kind: str, found: Any) -> None:
        with told.open("a", encoding="utf-8") as file:
            file.write(as_json({"kind": kind, "found": found}) + "\n")

    with beam.Pipeline(options=options) as pipeline:
        proved = pipeline | stream | beam.ParDo(ProveMessages(work)).with_outputs(REJECTED, main="rows")
        _ = windows(proved.rows, work) | "NoteWindow" >> beam.Map(lambda found: note("window", found))
        _ = proved[REJECTED] | "NoteRejected" >> beam.Map(lambda found: note(REJECTED, found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
