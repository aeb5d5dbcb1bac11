"""Asset checks of what the warehouse holds, apart from any load: schema, keys, references and sequences of loaded tables, and the keys
and references that derived relations declare.

A check that cannot run ends with a warning and its reason: neither passed, nor a failure of the data. The checks of one load,
`accounting` and `rejected_rows`, belong to `assets.tables`, which has the load's counts.
"""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
import datetime as dt
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import dagster as dg

from gaelp_assets.assets.evaluations import overtaken, report
from gaelp_assets.assets.key_queries import repeated_keys, slices_of_repeated_keys
from gaelp_assets.assets.metadata import Metadata, table
from gaelp_assets.assets.partitions import (
    asset_key,
    op_name,
    partitions_def,
    scopes,
    slices_of,
)
from gaelp_assets.assets.steps import check_step
from gaelp_assets.catalog import Catalog, Relation
from gaelp_assets.catalog.keys import names_slices, spans_slices
from gaelp_assets.catalog.model import AssetCheckName, ForeignKey, RowSequence
from gaelp_assets.catalog.slices import words
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.operations.lineage import hidden_columns, lineage_folder
from gaelp_assets.warehouse.ranges import PartitionRange, together
from resources.platform import PlatformResource

if TYPE_CHECKING:
    import polars as pl

    from gaelp_assets.platform_reader import PlatformReader
    from gaelp_assets.warehouse.schema.model import RelationPlan

SAMPLE_ROWS: Final = 20_000
"""Rows of a rectangle that are validated again. Every row was validated when it was loaded; this finds what was changed since."""

IDS_NAMED: Final = 20
"""Ids that are told of those which a foreign key names in vain, those of the most rows first."""

CheckOutcome = tuple[bool, Metadata]
"""Whether the check passed, and its metadata."""


def checked(catalog: Catalog) -> list[Relation]:
    """The relations that have checks of what the warehouse holds: loaded tables, and derived relations that declare a key."""
    return [
        r
        for r in catalog
        if r.is_loaded or (r.is_derived and (r.primary_key or r.foreign_keys or r.expect_no_rows))
    ]


def warehouse_checks(relation: Relation, catalog: Catalog, first_date: dt.date) -> dg.AssetChecksDefinition:
    """The checks of one relation of `checked`, for the slice or the range of a run, or else the whole of it."""
    key = asset_key(relation)
    checks: dict[str, tuple[str, Callable[[PlatformReader, Sequence[PartitionRange]], CheckOutcome]]] = {}
    if relation.is_loaded:
        checks[AssetCheckName.SCHEMA_CONFORMANCE.value] = (
            "Nobody has changed the table away from the catalogue, and the first "
            f"{SAMPLE_ROWS:,} rows of the slice keep the table's rules.",
            lambda platform, found: schema_conformance(platform, relation, found),
        )
    if relation.primary_key:
        checks[AssetCheckName.KEY_UNIQUENESS.value] = (
            f"No two rows of the {'table' if spans_slices(relation) else 'slice'} have the same {', '.join(relation.primary_key)}.",
            lambda platform, found: key_uniqueness(platform, relation, found),
        )
    if relation.foreign_keys:
        targets = ", ".join(foreign.references for foreign in relation.foreign_keys)
        checks[AssetCheckName.FOREIGN_KEYS.value] = (
            f"What the slice's rows refer to is there: {targets}.",
            lambda platform, found: foreign_keys(platform, relation, catalog, found),
        )

    if relation.sequences:
        orders = ", ".join(
            f"{sequence.order_by} of one {', '.join(sequence.within)}" for sequence in relation.sequences
        )
        checks[AssetCheckName.SEQUENCES.value] = (
            f"No row of the slice follows the one that ends its sequence: {orders}.",
            lambda platform, found: sequences(platform, relation, found),
        )

    if relation.expect_no_rows:
        checks[AssetCheckName.NO_ROWS.value] = (
            f"The slice has no row: each is a problem, by {', '.join(relation.primary_key)}.",
            lambda platform, found: no_rows(
                platform,
                relation,
                found,
                hidden_columns(relation, catalog, lineage_folder(platform.settings)),
            ),
        )

    def in_warehouse(
        context: dg.AssetCheckExecutionContext, platform: PlatformResource
    ) -> Iterator[dg.AssetCheckResult]:
        slices = slices_of(context.run.tags, partitions_def(relation, first_date), context.instance)
        opened = platform.open()
        covered = scopes(slices, first_date, opened.last_date)
        selected = sorted(context.selected_asset_check_keys, key=lambda found: found.name)
        results = [
            _result(key, found.name, relation, words(slices), partial(checks[found.name][1], opened, covered))
            for found in selected
        ]
        yield from results
        if overtaken(context.instance, context.run.run_id, selected):
            report(context.instance, results)

    specs = [
        dg.AssetCheckSpec(name, asset=key, description=description)
        for name, (description, _) in checks.items()
    ]
    # A relation's own step has no capitals.
    return check_step(f"{op_name(relation)}_CHECKS", specs, in_warehouse)


def no_rows(
    platform: "PlatformReader",
    relation: Relation,
    covered: Sequence[PartitionRange],
    hidden: Collection[str] = (),
) -> CheckOutcome:
    """Counts the rows of a relation that should have none, and names the first `IDS_NAMED` by their keys, but for hidden columns."""
    shown = [name for name in relation.primary_key if name not in hidden]
    names = ", ".join(f"t.`{name}`" for name in shown) or "1 AS row"
    rows = 0
    first: list[dict[str, str]] = []
    for scope in covered:
        condition, parameters = scope.condition(relation, "t")
        labels = {"asset": relation.id, "purpose": "no_rows"}
        counted = platform.warehouse.query(
            f"SELECT COUNT(*) AS n FROM {relation.quoted_id} AS t WHERE {condition}",
            parameters,
            labels=labels,
        ).frame
        found = int(counted.item())
        if found and len(first) < IDS_NAMED:
            order = ", ".join(str(place + 1) for place in range(max(len(shown), 1)))
            frame = platform.warehouse.query(
                f"SELECT {names} FROM {relation.quoted_id} AS t WHERE {condition} ORDER BY {order}",
                parameters,
                labels=labels,
                row_limit=IDS_NAMED - len(first),
            ).frame
            first += [{name: str(value) for name, value in row.items()} for row in frame.to_dicts()]
        rows += found
    metadata: Metadata = {"rows": rows}
    if first and shown:
        metadata["problems"] = table(first, **dict.fromkeys(shown, "string"))
    return rows == 0, metadata


def _result(
    key: dg.AssetKey, name: str, relation: Relation, covered: str, evaluate: Callable[[], CheckOutcome]
) -> dg.AssetCheckResult:
    try:
        passed, metadata = evaluate()
    except GaelpError as error:
        return dg.AssetCheckResult(
            asset_key=key,
            check_name=name,
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"Could not run: {error}",
            metadata={"outcome": "could not run", "checked": covered},
        )
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=passed,
        severity=dg.AssetCheckSeverity(relation.severity(AssetCheckName(name))),
        metadata={"outcome": "passed" if passed else "failed", "checked": covered, **metadata},
    )


def schema_conformance(
    platform: "PlatformReader", relation: Relation, covered: Sequence[PartitionRange]
) -> CheckOutcome:
    """Compares the table as it is with the catalogue, and validates the first `SAMPLE_ROWS` rows of each rectangle.

    Descriptions, labels and other differences that no row depends on are shown, and do not fail the check.
    """
    from gaelp_assets.warehouse.schema.model import FOR_ROWS, Action, Status

    (planned,) = platform.warehouse.diff([relation])
    drifted = bool(planned.refusals) or any(change.action in FOR_ROWS for change in planned.changes)
    metadata: Metadata = {}
    if planned.status is not Status.UNCHANGED:
        columns = dict.fromkeys(("column", "declared", "found", "remedy"), "string")
        metadata["columns"] = table(_drift(planned), **columns)
    rows = 0
    failures: list[dict[str, str | int]] = []
    names = ", ".join(f"t.`{name}`" for name in relation.field_names)
    if not any(change.action in {Action.CREATE, Action.ADD_FIELD} for change in planned.changes):
        for scope in covered:
            condition, parameters = scope.condition(relation, "t")
            frame = platform.warehouse.query(
                f"SELECT {names} FROM {relation.quoted_id} AS t WHERE {condition}",
                parameters,
                labels={"asset": relation.id, "purpose": "schema_conformance"},
                row_limit=SAMPLE_ROWS,
            ).frame
            rows += frame.height
            failures += _rule_failures(relation, frame)
    metadata |= {"rows validated": rows, "rows validated at most": SAMPLE_ROWS * len(covered)}
    if failures:
        metadata["failures"] = table(failures, column="string", check="string", rows="int")
    return not drifted and not failures, metadata


def _drift(planned: "RelationPlan") -> list[dict[str, str]]:
    """What `gaelp deploy` would refuse or change, a record each."""
    refused = [
        {
            "column": refusal.field,
            "declared": refusal.wanted,
            "found": refusal.found,
            "remedy": refusal.remedy,
        }
        for refusal in planned.refusals
    ]
    return refused + [
        {"column": change.field, "declared": change.wanted, "found": change.found, "remedy": "gaelp deploy"}
        for change in planned.changes
    ]


def _rule_failures(relation: Relation, frame: "pl.DataFrame") -> list[dict[str, str | int]]:
    """Which rules the rows break, and how many rows each; never the values."""
    from gaelp_assets.validation.verdict import Verdict

    _, reasons = Verdict.of(relation).failing(frame)
    broken = Counter(
        rule
        for found in reasons.to_list()
        for rule in {(reason["field"], reason["rule"]) for reason in found}
    )
    return [{"column": field, "check": rule, "rows": rows} for (field, rule), rows in sorted(broken.items())]


def key_uniqueness(
    platform: "PlatformReader", relation: Relation, covered: Sequence[PartitionRange]
) -> CheckOutcome:
    """Counts keys that several rows have: in the whole table those of the covered rows, or in each slice where it keeps its own keys.

    Raises:
        GaelpError: there is no such table.
    """
    _check_there(platform, relation)
    everywhere = PartitionRange(platform.settings.first_date, platform.last_date)
    labels = {"asset": relation.id, "purpose": AssetCheckName.KEY_UNIQUENESS.value}
    keys, parameters = repeated_keys(relation, covered, everywhere)
    counted = f"SELECT COUNT(*) AS repeated, COALESCE(SUM(k.n), 0) - COUNT(*) AS surplus FROM ({keys}) AS k"
    frame = platform.warehouse.query(counted, parameters, labels=labels).frame
    repeated, surplus = int(frame["repeated"].item()), int(frame["surplus"].item())
    metadata: Metadata = {"keys with several rows": repeated, "surplus rows": surplus}
    if repeated and names_slices(relation):
        sql, parameters = slices_of_repeated_keys(relation, covered, everywhere)
        found = platform.warehouse.query(sql, parameters, labels=labels).frame.rename({"n": "rows"})
        metadata["slices with these keys"] = table(found.to_dicts(), slice="string", rows="int")
    return not repeated, metadata


def foreign_keys(
    platform: "PlatformReader", relation: Relation, catalog: Catalog, covered: Sequence[PartitionRange]
) -> CheckOutcome:
    """Counts the rows whose foreign key finds nothing; a key with a NULL in it refers to nothing, as in SQL.

    A table that is referred to and not there is an empty one.

    Raises:
        GaelpError: there is no such table.
    """
    _check_there(platform, relation)
    rows: list[dict[str, str | int]] = []
    absent: list[dict[str, str | int]] = []
    in_all = 0
    for foreign in relation.foreign_keys:
        target = catalog.find(foreign.references)
        missing: Counter[str] = Counter()
        for scope in together(covered):
            missing.update(_missing(platform, relation, foreign, target, scope))
        in_all += missing.total()
        rows.append(
            {
                "fields": ", ".join(foreign.fields),
                "references": f"{target.id} ({', '.join(foreign.targets)})",
                "rows without it": missing.total(),
                "ids that are missing": len(missing),
            }
        )
        if any(owner.field(name).sensitive for owner, name in _ends(relation, foreign, target)):
            continue
        absent += [
            {"missing": key, "in": target.id, "rows": number}
            for key, number in sorted(missing.items(), key=lambda found: (-found[1], found[0]))[:IDS_NAMED]
        ]
    columns = {
        "fields": "string",
        "references": "string",
        "rows without it": "int",
        "ids that are missing": "int",
    }
    metadata: Metadata = {
        "rows without what they refer to": in_all,
        "foreign keys": table(rows, **columns),
    }
    if absent:
        metadata["ids that are missing"] = table(absent, missing="string", **{"in": "string", "rows": "int"})
        metadata["what follows"] = (
            "The rows are loaded, and count: relations that join them show these ids, with NULL for what the missing rows "
            "would tell. A row with that id, handed over at any time, mends it; the check is made again after the next load."
        )
    return not in_all, metadata


def _ends(relation: Relation, foreign: ForeignKey, target: Relation) -> Iterator[tuple[Relation, str]]:
    for name, target_name in zip(foreign.fields, foreign.targets, strict=True):
        yield relation, name
        yield target, target_name


def _missing(
    platform: "PlatformReader",
    relation: Relation,
    foreign: ForeignKey,
    target: Relation,
    scope: PartitionRange,
) -> dict[str, int]:
    """The keys that find nothing, their parts joined by "|", with their numbers of rows."""
    condition, parameters = scope.condition(relation, "c")
    # All of the target's dates: only so that tables which insist on a filter of their partitions have one.
    everywhere = PartitionRange(platform.settings.first_date, platform.last_date)
    target_condition, target_parameters = everywhere.condition(target, "t", prefix="target_")
    pairs = list(zip(foreign.fields, foreign.targets, strict=True))
    present = " AND ".join(f"c.`{name}` IS NOT NULL" for name, _ in pairs)
    keys = ", ".join(f"t.`{name}`" for _, name in pairs)
    joined = " AND ".join(f"p.`{target_name}` = c.`{name}`" for name, target_name in pairs)
    frame = platform.warehouse.query(
        f"SELECT {', '.join(f'CAST(c.`{name}` AS STRING) AS k{number}' for number, (name, _) in enumerate(pairs))}, COUNT(*) AS n "
        f"FROM {relation.quoted_id} AS c "
        f"LEFT JOIN (SELECT DISTINCT {keys} FROM {target.quoted_id} AS t WHERE {target_condition}) AS p ON {joined} "
        f"WHERE {condition} AND {present} AND p.`{pairs[0][1]}` IS NULL "
        f"GROUP BY {', '.join(f'k{number}' for number in range(len(pairs)))}",
        {**parameters, **target_parameters},
        labels={"asset": relation.id, "purpose": "foreign_keys"},
    ).frame
    return {"|".join(row[:-1]): int(row[-1]) for row in frame.rows()}


def sequences(
    platform: "PlatformReader", relation: Relation, covered: Sequence[PartitionRange]
) -> CheckOutcome:
    """Counts the sequences of a rectangle that go on after their end, such as episodes with a step after the terminal one.

    Raises:
        GaelpError: there is no such table.
    """
    _check_there(platform, relation)
    rows: list[dict[str, str | int]] = []
    in_all = 0
    for sequence in relation.sequences:
        too_long = sum(_going_on(platform, relation, sequence, scope) for scope in covered)
        in_all += too_long
        rows.append(
            {
                "within": ", ".join(sequence.within),
                "ordered by": sequence.order_by,
                "ends where": " or ".join(sequence.ends_where),
                "go on after it": too_long,
            }
        )
    columns = {"within": "string", "ordered by": "string", "ends where": "string", "go on after it": "int"}
    return not in_all, {"sequences that go on after their end": in_all, "sequences": table(rows, **columns)}


def _going_on(
    platform: "PlatformReader", relation: Relation, sequence: RowSequence, scope: PartitionRange
) -> int:
    condition, parameters = scope.condition(relation, "t")
    keys = ", ".join(f"t.`{name}`" for name in sequence.within)
    order = f"t.`{sequence.order_by}`"
    ended = " OR ".join(f"t.`{name}`" for name in sequence.ends_where)
    frame = platform.warehouse.query(
        f"SELECT COUNT(*) AS too_long FROM (SELECT MAX({order}) AS last FROM {relation.quoted_id} AS t WHERE {condition} "
        f"GROUP BY {keys} HAVING MAX({order}) > MIN(IF({ended}, {order}, NULL))) AS s",
        parameters,
        labels={"asset": relation.id, "purpose": "sequences"},
    ).frame
    return int(frame.item())


def _check_there(platform: "PlatformReader", relation: Relation) -> None:
    """A table that is not there reads as empty: no row of it is wrong, and none was looked at."""
    from gaelp_assets.warehouse.schema.model import SchemaScope, Status

    (planned,) = platform.warehouse.diff([relation], scope=SchemaScope.ROWS)
    if planned.status is Status.CREATE:
        raise GaelpError(
            Problem("is not in the warehouse", relation.id, "a table", "Load it, or run `gaelp deploy`.")
        )
