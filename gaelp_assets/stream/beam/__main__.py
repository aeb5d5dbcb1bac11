"""Runs a pipeline in Beam's environment: `python -m gaelp_assets.stream.beam WORK.json [Beam's options]`. Prints its counts as JSON.

Started by Dagster through Pipes, it reports them there too.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from gaelp_assets.stream.beam.pipeline import run_files
from gaelp_assets.stream.beam.work import Work


def main(arguments: list[str]) -> None:
    """Runs the work of a file; the rest are Beam's options."""
    path, *options = arguments
    counts = run_files(Work.from_json(Path(path).read_text(encoding="utf-8")), options)
    print(json.dumps(counts))
    if "DAGSTER_PIPES_CONTEXT" in os.environ:
        from dagster_pipes import open_dagster_pipes

        with open_dagster_pipes() as pipes:
            pipes.report_custom_message(counts)


if __name__ == "__main__":
    main(sys.argv[1:])
