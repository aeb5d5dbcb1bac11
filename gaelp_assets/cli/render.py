"""What the command line prints: problems, progress and tables, with rich."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.filesize import decimal
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from gaelp_assets.cli import tables
from gaelp_assets.cli.render_json import print_json, status_values
from gaelp_assets.cli.tables import table
from gaelp_assets.errors import Problem

if TYPE_CHECKING:
    from gaelp_assets.catalog import Relation
    from gaelp_assets.catalog.set_aside import SetAside
    from gaelp_assets.gateway import FailedFile, GatewayFile, Listing
    from gaelp_assets.operations.receivers import ReceiverState
    from gaelp_assets.operations.status import PlatformStatus
    from gaelp_assets.platform_reader import PlatformReader
    from gaelp_assets.runs.in_process import RunResult
    from gaelp_assets.warehouse.bigquery.materialization_rules import Decision
    from gaelp_assets.warehouse.quotas import QuotaLeft
    from gaelp_assets.warehouse.reader import Cost

_COUNTS: Final = ("rejected", "superseded", "withdrawn")
_out: Final = tables.OUT
_err: Final = tables.ERR


def print_line(text: str) -> None:
    """One line, as it is."""
    _out.print(escape(text), highlight=False)


def print_marked(mark: str, style: str, text: str) -> None:
    """One line after a mark of that style."""
    _out.print(f"[{style}]{escape(mark)}[/] {escape(text)}", highlight=False)


def print_problems(problems: Sequence[Problem]) -> None:
    """Problems, each on a line of its own, on stderr."""
    for problem in problems:
        _err.print(f"[bold red]error:[/] {escape(str(problem))}", highlight=False)


def print_notice(text: str) -> None:
    """A line on stderr that is no problem."""
    _err.print(f"[yellow]notice:[/] {escape(text)}", highlight=False)


class _Notices(logging.Handler):
    """Shows warnings of the platform's own as notices."""

    def emit(self, record: logging.LogRecord) -> None:
        print_notice(record.getMessage())


def show_notices() -> None:
    """From now on, what the platform warns of is shown on stderr."""
    logger = logging.getLogger("gaelp_assets")
    if not any(isinstance(handler, _Notices) for handler in logger.handlers):
        logger.addHandler(_Notices(logging.WARNING))


def counted(rows: int) -> str:
    """`1 row`, `1,000 rows`."""
    return f"{rows:,} {'row' if rows == 1 else 'rows'}"


def print_cost(rows: int, cost: Cost) -> None:
    """What a query cost, on stderr: rows, seconds and, where the engine tells, bytes."""
    parts = [f"{counted(rows)} in {cost.seconds:.2f} s"]
    for label, size in (("read", cost.bytes_read), ("billed", cost.bytes_billed)):
        if size is not None:
            parts.append(f"{decimal(size)} {label}")
    _err.print(f"[dim]{escape(', '.join(parts))}[/]", highlight=False)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Shows what is being done, for as long as it takes; the callable takes the current step in words."""
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=_err, transient=True
    ) as bar:
        task = bar.add_task("starting")
        yield lambda text: bar.update(task, description=escape(text))


@contextmanager
def progress_of(total: int) -> Iterator[Callable[[str], None]]:
    """A bar over that many things; the callable takes the one that is done, in words."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_err, transient=True) as bar:
        task = bar.add_task("starting", total=total)
        yield lambda text: bar.update(task, advance=1, description=escape(text))


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """A number that grows; the callable takes it."""
    columns = (TextColumn("{task.completed:,} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=_err, transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda number: shown.update(task, completed=number)


def print_relations(relations: Sequence[Relation]) -> None:
    """The catalogue, a line for each relation."""
    rows = [
        (
            relation.id,
            relation.kind.value,
            len(relation.fields),
            slicing(relation),
            relation.owner,
            relation.description,
        )
        for relation in relations
    ]
    table(
        f"{len(relations)} relations",
        ("relation", "kind", "fields", "sliced by", "owner", "description"),
        rows,
    )


def print_set_aside(found: Iterable[SetAside]) -> None:
    """The relations that are left out of everything for now, with their problems on stderr."""
    for each in found:
        print_problems(each.problems)
        print_line(f"{each.id} is set aside until its problems are mended; everything else goes on")


def slicing(relation: Relation) -> str:
    """What slices the relation, in words."""
    if relation.partitioning is None:
        return "nothing"
    return " x ".join(
        name for name in (relation.partitioning.date, relation.partitioning.environment) if name
    )


def print_relation(
    relation: Relation, *, reads: Sequence[str], feeds: Sequence[str], decision: Decision | None = None
) -> None:
    """Everything that the catalogue says of a relation and, of a stored derived one, how BigQuery keeps it and why."""
    from gaelp_assets.catalog.model import Latest, walk_fields

    conflict = relation.on_key_conflict
    facts = [
        ("file", relation.where()),
        ("kind", relation.kind.value),
        ("description", relation.description),
        ("owner", relation.owner),
        ("primary key", ", ".join(relation.primary_key)),
        ("on key conflict", f"latest by {conflict.latest}" if isinstance(conflict, Latest) else conflict),
        ("sliced by", slicing(relation)),
        ("clustered by", ", ".join(relation.clustering)),
        ("kept by BigQuery as", decision and decision.summary),
        ("kept by DuckDB as", decision and "a table that the platform refreshes"),
        ("kept for", f"{relation.retention_days} days" if relation.retention_days else "ever"),
        ("reads", ", ".join(reads)),
        ("feeds", ", ".join(feeds)),
    ]
    facts += [
        ("refers to", f"{', '.join(key.fields)} -> {key.references} ({', '.join(key.targets)})")
        for key in relation.foreign_keys
    ]
    facts += [
        ("ends", f"{', '.join(of.within)} by {of.order_by}: nothing follows {' or '.join(of.ends_where)}")
        for of in relation.sequences
    ]
    facts += [("rule", f"{check.name} {dict(check.arguments)}") for check in relation.checks]
    table(relation.id, ("", ""), [fact for fact in facts if fact[1]])
    rows = [
        (
            path,
            field.type,
            field.mode,
            "; ".join(f"{c.name} {dict(c.arguments)}" for c in field.checks),
            field.description,
        )
        for path, field in walk_fields(relation.fields)
    ]
    table("fields", ("field", "type", "mode", "rules", "description"), rows)
    if relation.measures:
        measures = [(measure.name, measure.sql, measure.description) for measure in relation.measures]
        table("measures", ("measure", "SQL", "description"), measures)
    if decision is not None and decision.reasons:
        table(
            "what keeps BigQuery from more",
            ("found", "leaves", "what to change"),
            [(reason.what, reason.leaves.value, reason.remedy) for reason in decision.reasons],
        )
    if relation.sql:
        print_line(relation.sql)
    if relation.python:
        print_line(f"computed by {relation.python} from {', '.join(relation.inputs)}")


def print_runs(results: Sequence[RunResult]) -> None:
    """The runs that were executed: what each loaded, and why any of them failed."""
    if not results:
        print_line("nothing is pending")
        return
    rows = [
        (
            result.slot,
            len(result.assets),
            result.rows_loaded,
            result.seconds,
            "yes" if result.success else "no",
        )
        for result in results
    ]
    table(f"{len(results)} runs", ("slice", "assets", "rows loaded", "seconds", "succeeded"), rows)
    for result in results:
        for text in (*result.failures, *(f"check did not pass: {name}" for name in result.failed_checks)):
            _err.print(f"[yellow]{escape(result.slot)}:[/] {escape(text)}", highlight=False)


def print_rejects(rejected: Mapping[str, int], set_aside: Sequence[FailedFile], still_open: int) -> None:
    """What this call rejected and set aside, and what is open in all."""
    if rejected:
        total = sum(rejected.values())
        table(f"{total:,} lines were rejected", ("table", "lines"), list(rejected.items()))
    if set_aside:
        _print_failures(set_aside, f"set aside: {len(set_aside)}")
    if still_open:
        print_line(f"{still_open:,} rejected lines are open in all: gaelp dead-letter list")


def print_out_of_range(files: Sequence[GatewayFile]) -> None:
    """The files that no run takes because of their dates; nothing if there are none."""
    if files:
        _print_files("not loaded: dates before GAELP_FIRST_DATE or in the future", files)


def print_summary(platform: PlatformReader) -> None:
    """What is now where: tables and views with their rows, and where the warehouse and the gateway are."""
    from gaelp_assets.operations.status import read_status

    now = read_status(platform)
    tables = {t.relation_id: t for t in now.tables}
    rows: list[tuple[object, ...]] = []
    for relation in platform.catalog:
        stored = platform.warehouse.describe(relation)
        ledger = tables.get(relation.id)
        rows.append(
            (
                relation.id,
                relation.kind.value,
                stored.rows if stored else 0,
                ledger.slices if ledger else None,
                ledger.rejected if ledger else None,
            )
        )
    table("what is now where", ("relation", "kind", "rows", "slices", "rejected lines"), rows)
    _print_failures(now.failures)
    print_line(f"warehouse  {platform.warehouse.location}\ngateway    {platform.gateway.url}")
    print_line("Look at it with: gaelp dev, gaelp status, gaelp query, gaelp dead-letter list")


def _print_receivers(receivers: Sequence[ReceiverState]) -> None:
    """What waits at receivers of streams, and how far behind they are; nothing where none runs."""
    if not receivers:
        return
    rows: list[tuple[object, ...]] = []
    for one in receivers:
        rows.append((one.address or f"process {one.pid}", "waits for the warehouse", one.batches, "", ""))
        rows += [
            (
                "",
                f"{lag.source} {lag.topic}, partition {lag.partition}",
                "" if lag.messages is None else lag.messages,
                lag.position,
                round(lag.seconds, 1),
            )
            for lag in one.streams
        ]
    table("receivers", ("receiver", "stream", "waiting", "position", "seconds behind"), rows)


def print_status(status: PlatformStatus, warehouse: str, gateway: str, *, as_json: bool) -> None:
    """Queue, failures, stuck files and tables."""
    if as_json:
        print_json({"warehouse": warehouse, "gateway": gateway, **status_values(status)})
        return
    print_line(f"gateway    {gateway}\nwarehouse  {warehouse}")
    table(
        "gateway",
        ("stage", "files", "bytes", "oldest (UTC)"),
        [(stage.value, count.files, count.bytes, count.oldest) for stage, count in status.stages.items()],
    )
    _print_failures(status.failures)
    print_out_of_range(status.out_of_range)
    if status.stuck:
        _print_files("stuck files", status.stuck)
    _print_receivers(status.receivers)
    table(
        "tables",
        ("table", "rows", "slices", "files", *_COUNTS, "last import (UTC)", "stale"),
        [
            (
                t.relation_id,
                t.rows,
                t.slices,
                t.files,
                *(getattr(t, name) for name in _COUNTS),
                t.last_import,
                "stale" if t.stale else "",
            )
            for t in status.tables
        ],
    )
    if status.derived:
        table(
            "derived slices that wait for a refresh",
            ("relation", "why", "slices"),
            [(count.relation_id, count.why, count.slices) for count in status.derived],
        )
    if status.quota_left is not None:
        _print_head_room(status.quota_left)


def _print_head_room(room: QuotaLeft) -> None:
    table(
        "limits of today",
        ("limit", "a day", "used", "left", "slice writes that fit", "renewed (UTC)"),
        [
            (
                "load jobs of the project",
                room.limits.load_jobs,
                room.used,
                room.left,
                room.writes_left,
                room.renewed_at,
            )
        ],
    )
    if room.used is None:
        print_line(f"What is used is not known, and is taken for nothing: {room.unknown_because}")


def print_gateway(
    pending: Listing,
    unsorted: Listing,
    failures: Sequence[FailedFile],
    strays: Sequence[tuple[str, Problem]],
) -> None:
    """What waits to be loaded or sorted, what was set aside, and what no stage takes."""
    _print_files("waiting to be loaded", pending.files)
    _print_files("waiting to be sorted", unsorted.files)
    misplaced = [(stored.name, str(problem)) for stored, problem in (*pending.misplaced, *unsorted.misplaced)]
    if misplaced:
        table("misplaced", ("file", "problem"), misplaced)
    if strays:
        table(
            "in no stage, and never touched",
            ("name", "problem"),
            [(name, str(problem)) for name, problem in strays],
        )
    _print_failures(failures)


def _print_files(title: str, files: Sequence[GatewayFile]) -> None:
    rows = [(file.stored.name, file.stored.size, file.stored.modified) for file in files]
    table(f"{title}: {len(files)}", ("file", "bytes", "since (UTC)"), rows)


def _print_failures(failures: Sequence[FailedFile], title: str = "") -> None:
    rows = [
        (failure.stored.name, "\n".join(str(problem) for problem in failure.problems)) for failure in failures
    ]
    table(title or f"failed: {len(failures)}", ("file", "problems"), rows)
