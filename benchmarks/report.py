"""What was measured, as tables and a picture: `report.md` and `report.png`, made from `results/`.

`python -m benchmarks.report` makes them again without measuring.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypedDict, TypeVar

from benchmarks import append, bad_input, environments, memory, slices, starts, statistics, verdict
from benchmarks.peers import BASE, OURS, PEERS

FOLDER: Final = Path(__file__).parent
T = TypeVar("T")


class RunFigures(TypedDict):
    """What one run took, or the medians of several."""

    seconds: float
    cpu_seconds: float
    startup_seconds: float
    rows: float
    peak_mb: float


class PeerFigures(RunFigures):
    """Medians of one peer's runs."""

    lines: int
    runs: int


class Compared(TypedDict):
    """One case with the figures of its peers."""

    table: str
    rows: int
    bad: float
    threads: int
    peers: Sequence[str]
    bytes: int
    medians: dict[str, PeerFigures]


def table(result: Compared) -> str:
    """One case as a Markdown table: its peers, the fastest first."""
    medians = result["medians"]
    ours, base = medians.get(OURS), medians.get(BASE)
    head = f"{result['table']}: {result['rows']:,} lines, {result['bytes'] / 1e6:.0f} MB"
    if result["bad"]:
        head += f", {result['bad']:.2%} bad"
    head += f", {result['threads']} core" + ("s" if result["threads"] > 1 else "")
    lines = [
        f"**{head}**",
        "",
        "| | checks | s per million | rows/s | of unchecked DuckDB | slower than gaelp | peak MB | lines | runs |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for peer, found in sorted(medians.items(), key=lambda item: -_speed(item[1])):
        of_base = f"{_speed(found) / _speed(base):.2f}" if base else ""
        slower = f"{_speed(ours) / _speed(found):.1f} x" if ours and peer != OURS else ""
        lines.append(
            f"| {peer} | {PEERS[peer].checks} | {1e6 / _speed(found):.2f} | {_speed(found):,.0f} | {of_base} | {slower} "
            f"| {found['peak_mb']:.0f} | {found['lines']:,} | {found['runs']} |"
        )
    return "\n".join(lines)


def _speed(figures: PeerFigures) -> float:
    """Lines a second."""
    return float(figures["lines"] / figures["seconds"])


def write() -> None:
    """Writes report.md and report.png from the results that lie there."""
    compared = _results("compare", Compared)
    parts = [
        "# How fast, beside what",
        "Each run is a fresh process; peers take turns; the figures are medians. What is compared is the time "
        "from the call to the closed DuckDB file, without imports. Trust the ratios: the machine "
        "is a shared one. `make bench` measures it all again.",
        "![Rows a second of each peer, for three tables](report.png)",
        *(table(result) for result in compared),
        "## The verdict on 10,000 parsed rows",
        verdict.table(_results("verdict", verdict.Figures)),
        "## Memory as the file grows",
        memory.table(_results("memory", memory.Figures)),
        "## Bad lines, and files that unfold",
        "`gaelp ingest` as a command, with its start. A file of which more than half is bad is given up as soon as no further line "
        "could save it.",
        bad_input.table(_results("bad_input", bad_input.Figures)),
        "## 10,000 more rows as their slice grows",
        append.table(_results("append", append.Figures)),
        "## Many small slices",
        "`gaelp ingest` as a command, with its start: verdicts, ledger, checks, derived relations, pictures and Dagster's events.",
        slices.table(_results("slices", slices.Figures)),
        "## What each process pays as the catalogue grows",
        "CPU seconds with those of Python's and Dagster's own imports, and peak memory; made-up catalogues beside the shipped one.",
        starts.table(_results("starts", starts.Figures)),
        "## Many environments",
        "Three years of days. CPU seconds of a whole process, with its imports, and its peak memory.",
        environments.table(_results("environments", environments.Figures)),
        "## Statistics of runs",
        "Beside rliable, in an environment of its own; and how often who looks after each seed is told of a difference.",
        statistics.table(_results("statistics", statistics.Figures)),
    ]
    (FOLDER / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    if peers := [result for result in compared if result["threads"] == 1 and not result["bad"]]:
        _plot(peers)


def _results(name: str, _kind: type[T]) -> list[T]:
    file = FOLDER / "results" / f"{name}.json"
    found: list[T] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return found


def _plot(results: Sequence[Compared]) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(
        1, len(results), figsize=(4.6 * len(results), 3.6), sharex=True, squeeze=False
    )
    for panel, result in zip(panels[0], results, strict=True):
        speeds = sorted((_speed(found), peer) for peer, found in result["medians"].items())
        names = [peer for _, peer in speeds]
        bars = panel.barh(
            names,
            [speed for speed, _ in speeds],
            color=["#2a6fbb" if name == OURS else "#b8bec6" for name in names],
        )
        panel.bar_label(bars, [f"{speed / 1000:,.0f} k" for speed, _ in speeds], padding=3, fontsize=8)
        panel.set_xscale("log")
        panel.margins(x=0.25)
        panel.set_title(
            f"{result['table']}, {result['bytes'] / result['rows']:.0f} bytes a line", fontsize=10
        )
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    figure.supxlabel("rows a second, one core (logarithmic)", fontsize=9)
    figure.tight_layout()
    figure.savefig(FOLDER / "report.png", dpi=140)


if __name__ == "__main__":
    write()
