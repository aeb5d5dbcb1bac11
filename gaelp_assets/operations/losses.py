"""Tables whose definition changed since rows were loaded, and which of these rows are no rows any more: only questions.

The count reads the archived files again, line by line, with today's rules: SQL does not know all of them, nor the fields that a line had.
It tells of lines that are rejected by now; what a change of the key does to rows is told by the rebuild itself, which refuses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from gaelp_assets.catalog import Relation, Slice
from gaelp_assets.catalog.definition import definition_of, keys_of
from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.gateway import GatewayFile, Stage
from gaelp_assets.ingest.decode.chunks import row_hash
from gaelp_assets.ingest.read.lines import LineReader
from gaelp_assets.ingest.validate import Validators
from gaelp_assets.platform_reader import PlatformReader
from gaelp_assets.warehouse.history import is_load, ledger_rows, slice_of
from gaelp_assets.warehouse.ledger import LEDGER, WriteMode
from gaelp_assets.warehouse.reader import Reader

_BATCHES_AT_ONCE: Final = 500


@dataclass(frozen=True)
class ChangedTable:
    """A loaded table that holds rows of another definition than the catalogue's."""

    relation: Relation
    slices: tuple[Slice, ...]
    rows: int
    other_keys: bool
    """Whether its key, or what is done about two rows with one key, is another."""

    def __str__(self) -> str:
        slices = "1 slice" if len(self.slices) == 1 else f"{len(self.slices)} slices"
        rows = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
        keys = ", with another key or conflict rule" if self.other_keys else ""
        return f"{self.relation.id}: {slices} of {rows} were loaded under another definition{keys}"


@dataclass(frozen=True)
class Losses:
    """Rows that a table holds and whose lines are rejected by today's definition."""

    rows: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    """`field: rule`, and how many of the rows it rejects; the commonest first."""

    def __str__(self) -> str:
        if not self.rows:
            return "no row"
        reasons = ", ".join(f"{reason} ({rows:,})" for reason, rows in self.reasons.items())
        return f"{self.rows:,} {'row' if self.rows == 1 else 'rows'}: {reasons}"


def changed_tables(warehouse: Reader, relations: Iterable[Relation]) -> list[ChangedTable]:
    """The tables that hold rows of another definition; rows that are older than the ledger's note of it count as today's."""
    held = warehouse.query(
        "SELECT dataset, `table`, slice_date, slice_environment, definition, SUM(loaded) AS loaded "
        f"FROM {LEDGER} WHERE mode <> @sort AND definition IS NOT NULL "
        "GROUP BY dataset, `table`, slice_date, slice_environment, definition "
        "ORDER BY dataset, `table`, slice_date, slice_environment, definition",
        {"sort": WriteMode.SORT.value},
        labels={"asset": LEDGER},
    ).frame
    found = []
    for relation in relations:
        if not relation.is_loaded:
            continue
        now = definition_of(relation)
        other = [
            row
            for row in held.filter(dataset=relation.dataset, table=relation.name).to_dicts()
            if row["definition"] != str(now)
        ]
        if other:
            slices = dict.fromkeys(Slice(row["slice_date"], row["slice_environment"]) for row in other)
            keys = any(keys_of(row["definition"]) != now.keys for row in other)
            found.append(ChangedTable(relation, tuple(slices), sum(row["loaded"] for row in other), keys))
    return found


def count_losses(platform: PlatformReader, changed: ChangedTable) -> Losses:
    """What a rebuild of a changed table would lose because lines are rejected by now. Reads every archived file of its slices.

    Raises:
        GaelpError: a file cannot be read.
    """
    files = (
        (slice_, file)
        for slice_ in changed.slices
        for file in platform.gateway.slice_files(changed.relation, slice_, Stage.SENT)
    )
    return losses_of(platform, changed.relation, files)


def check_kept(platform: PlatformReader, relation: Relation) -> None:
    """Nothing, if today's definition takes every row that a table holds, which can then be dropped and rebuilt.

    Raises:
        GaelpError: it does not, and the reasons; or a file cannot be read.
    """
    if not relation.is_loaded:
        return
    rows = ledger_rows(platform.warehouse, relation)
    slices = dict.fromkeys(slice_of(row) for row in rows if is_load(row) and row["loaded"] > 0)
    files = (
        (slice_, file)
        for slice_ in slices
        for file in platform.gateway.slice_files(relation, slice_, Stage.SENT)
    )
    refuse_losses(relation, losses_of(platform, relation, files), "making it again")


def refuse_losses(relation: Relation, losses: Losses, what: str) -> None:
    """Nothing, if there are none.

    Raises:
        GaelpError: there are, by `what`.
    """
    if losses.rows:
        raise GaelpError(
            Problem(
                f"{what} would lose {losses}",
                relation.id,
                "a definition by which every row that the table holds is still one",
                "Put back what else changed in the catalogue; or add --accept-loss (a rebuild then needs accept_loss: true): "
                "these lines go to the dead letter.",
            )
        )


def refuse_other_keys(warehouse: Reader, relation: Relation) -> None:
    """Nothing, if another key or conflict rule leaves the rows of a table as they are.

    It does where no two rows ever met with one key: no line is a duplicate or in conflict, and no two rows have one key by now.

    Raises:
        GaelpError: some did, so that other rows may stay than those that the table holds.
    """
    changed = [each for each in changed_tables(warehouse, [relation]) if each.other_keys]
    if not changed:
        return
    keys = ", ".join(f"t.`{name}`" for name in relation.primary_key)
    clashing = 0
    columns = getattr(warehouse.describe(relation), "columns", {})
    if all(name in columns for name in relation.primary_key):
        clashing = warehouse.query(
            f"SELECT COALESCE(SUM(n), 0) AS n FROM (SELECT COUNT(*) AS n FROM {relation.quoted_id} AS t "
            f"WHERE {_any_day(relation)} GROUP BY {keys} HAVING COUNT(*) > 1)",
            labels={"asset": relation.id},
        ).frame.item()
    rows = ledger_rows(warehouse, relation)
    met = sum(row["duplicate"] + row["rejected"] for row in rows if is_load(row))
    if clashing or met:
        raise GaelpError(
            Problem(
                f"by another key, other rows may stay: {int(clashing):,} rows share a key by now, and {met:,} lines were duplicates "
                "or rejected",
                relation.id,
                "the key and the conflict rule by which the rows were loaded",
                "Put them back in the catalogue; or add --accept-loss: what stays is then decided as in a fresh load.",
            )
        )


def losses_of(
    platform: PlatformReader, relation: Relation, files: Iterable[tuple[Slice, GatewayFile]]
) -> Losses:
    """The rows of these files, each said to be of a slice, that the table holds and that are rejected by now."""
    validators = Validators(first_date=platform.settings.first_date, last_date=platform.last_date)
    rejected: dict[str, dict[int, list[str]]] = {}
    for slice_, file in files:
        validator = validators.of(relation, slice_)
        with platform.gateway.open(file) as stream:
            reader = LineReader(stream, file.name)
            reasons: dict[int, list[str]] = {}
            for chunk in validator.validate(reader):
                for raw, found in chunk.rejects.select("raw", "reasons").iter_rows():
                    names = {f"{reason['field'] or 'line'}: {reason['rule']}" for reason in found}
                    reasons[row_hash(raw)] = sorted(names)
        if reasons:
            rejected[reader.digest] = reasons
    counted: Counter[str] = Counter()
    rows = 0
    for batch_id, hashed in _held(platform.warehouse, relation, list(rejected)).iter_rows():
        for reason in rejected[batch_id].get(hashed, ()):
            counted[reason] += 1
        rows += hashed in rejected[batch_id]
    return Losses(rows, dict(counted.most_common()))


def _held(warehouse: Reader, relation: Relation, batches: Sequence[str]) -> pl.DataFrame:
    """The rows that the table holds of these batches: `_batch_id`, `_row_hash`."""
    found = [pl.DataFrame(schema={"_batch_id": pl.String(), "_row_hash": pl.Int64()})]
    for start in range(0, len(batches), _BATCHES_AT_ONCE):
        parameters = {
            f"batch_{number}": batch for number, batch in enumerate(batches[start : start + _BATCHES_AT_ONCE])
        }
        among = ", ".join(f"@{name}" for name in parameters)
        found.append(
            warehouse.query(
                f"SELECT t._batch_id, t._row_hash FROM {relation.quoted_id} AS t "
                f"WHERE {_any_day(relation)} AND t._batch_id IN ({among})",
                parameters,
                labels={"asset": relation.id},
            ).frame
        )
    return pl.concat(found)


def _any_day(relation: Relation) -> str:
    """A condition of all rows of the table `t`: some tables answer no query that names no days."""
    by = relation.partitioning
    return "TRUE" if by is None else f"t.`{by.date}` >= {relation.field(by.date).type} '0001-01-01'"
