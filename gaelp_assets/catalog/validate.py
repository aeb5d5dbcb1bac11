"""What a relation's parts, and the relations among themselves, must agree on. Every problem names file and key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from gaelp_assets.catalog.former_names import former_name_problems
from gaelp_assets.catalog.keys import scope_problems
from gaelp_assets.catalog.model import Check, Field, Kind, Latest, Relation, walk_fields
from gaelp_assets.catalog.references import NotAQueryError, place_of_reference, topological_order
from gaelp_assets.catalog.streams import shared_streams, stream_problems
from gaelp_assets.catalog.texts import reads
from gaelp_assets.errors import GaelpError, Problem, unknown

CheckProblems = Callable[[Check, Field | None, Relation], list[str]]
"""What is wrong with a check on a field (or, with None, on a relation), in words; empty if nothing is."""

PARTITION_TYPES = {"DATE", "TIMESTAMP"}
# BigQuery clusters by these; [BQ:clustered-tables].
CLUSTERING_TYPES = {"STRING", "INTEGER", "BOOLEAN", "DATE", "DATETIME", "TIMESTAMP", "NUMERIC"}
KEY_TYPES = CLUSTERING_TYPES | {"BYTES", "TIME"}
CHART_NUMBERS = {"BOOLEAN", "FLOAT", "INTEGER", "NUMERIC"}
CHART_LINE = CLUSTERING_TYPES | CHART_NUMBERS
ORDER_TYPES = {"INTEGER", "NUMERIC", "DATE", "DATETIME", "TIMESTAMP"}


def cross_file_problems(
    relations: Sequence[Relation],
    check_problems: CheckProblems | None = None,
    *,
    unread: Collection[str] = (),
) -> list[Problem]:
    """Everything that is wrong with these relations, each by itself and among one another.

    `unread` are ids of relations whose files could not be read: what refers to them is not called dangling as well.
    """
    unread = {*unread, *map(_last_part, unread)}
    problems = [problem for relation in relations for problem in _relation_problems(relation, check_problems)]
    problems += _colliding_names(relations)
    problems += shared_streams(relations)
    by_name = _by_name(relations)
    problems += [
        problem for relation in relations for problem in _foreign_key_problems(relation, by_name, unread)
    ]
    problems += _sql_problems(relations, unread)
    return problems


def upstream_of(relations: Iterable[Relation]) -> dict[str, frozenset[str]]:
    """For each derived relation, the ids of the relations that it is computed from."""
    return {relation.id: reads(relation) for relation in relations if relation.is_derived}


def _by_name(relations: Iterable[Relation]) -> dict[str, list[Relation]]:
    """The relations that an id, or the last part of one, can mean."""
    found: dict[str, list[Relation]] = {}
    for relation in relations:
        for name in (relation.id, relation.name):
            found.setdefault(name, []).append(relation)
    return found


def _last_part(name: str) -> str:
    return name.rpartition(".")[2]


def _where(relation: Relation, key: str = "", *, sql: bool = False) -> str:
    file = relation.where(sql=sql)
    return f"{file}, {key}" if key else file


def _relation_problems(relation: Relation, check_problems: CheckProblems | None) -> Iterable[Problem]:
    yield from _kind_problems(relation)
    yield from _field_problems(relation)
    yield from former_name_problems(relation)
    yield from _sequence_problems(relation)
    yield from stream_problems(relation)
    if check_problems is not None:
        for path, field in walk_fields(relation.fields):
            for check in field.checks:
                for text in check_problems(check, field, relation):
                    yield Problem(text, _where(relation, f"field {path}, check {check.name}"))
        for check in relation.checks:
            for text in check_problems(check, None, relation):
                yield Problem(text, _where(relation, f"check {check.name}"))


def _kind_problems(relation: Relation) -> Iterable[Problem]:
    derived = relation.kind in {Kind.VIEW, Kind.MATERIALIZED_VIEW, Kind.DERIVED_TABLE}
    if derived and not relation.is_derived and not {"sql", "python", "window"} & relation.unread:
        yield Problem(
            f"a {relation.kind} without SQL",
            _where(relation),
            f"{relation.name}.sql beside it, the key python with a function, or the key window",
        )
    yield from _python_problems(relation)
    if not derived and relation.sql is not None and relation.window is None:
        yield Problem(
            f"a {relation.kind} with SQL", _where(relation, sql=True), "no SQL, or the kind of a view"
        )
    if relation.is_loaded and not relation.primary_key and "primary_key" not in relation.unread:
        yield Problem("no primary_key", _where(relation), "at least one field: every loaded table has a key")
    if not relation.is_loaded and relation.on_key_conflict != "reject":
        yield Problem(
            f"on_key_conflict on a {relation.kind}", _where(relation, "on_key_conflict"), "a loaded table"
        )
    if relation.reads_slices is not None and not (derived and relation.is_stored and relation.partitioning):
        found = "a relation without partitioning" if derived and relation.is_stored else f"a {relation.kind}"
        yield Problem(
            f"reads_slices on {found}",
            _where(relation, "reads_slices"),
            "a derived table that is kept in slices",
        )
    if relation.measures and not derived:
        yield Problem(f"measures on a {relation.kind}", _where(relation, "measures"), "a derived relation")
    if relation.expect_no_rows and not (derived and relation.primary_key):
        found = f"a {relation.kind}" + (" without primary_key" if derived else "")
        yield Problem(
            f"expect_no_rows on {found}",
            _where(relation, "expect_no_rows"),
            "a derived relation with a key, by which its rows are named",
        )
    yield from scope_problems(relation, relation.where())
    if relation.require_partition_filter and not (relation.is_loaded and relation.partitioning):
        found = "a table without partitioning" if relation.is_loaded else f"a {relation.kind}"
        yield Problem(
            f"require_partition_filter on {found}",
            _where(relation, "require_partition_filter"),
            "a loaded table with partitioning",
        )


def _python_problems(relation: Relation) -> Iterable[Problem]:
    """What is wrong with how a relation says that a function computes it; the function itself is looked at by `code`."""
    declared = [field.name for field in relation.fields if field.computed_from]
    if relation.python is None:
        if relation.inputs and "python" not in relation.unread:
            yield Problem("inputs without python", _where(relation, "inputs"), "a relation in Python")
        if declared and "python" not in relation.unread:
            found = f"computed_from of {', '.join(declared)}"
            yield Problem(
                found, _where(relation, "fields"), "a relation in Python: of SQL, it is read from the query"
            )
        return
    if relation.sql is not None:
        yield Problem("both SQL and python", _where(relation, "python"), "one of them")
    if relation.kind is not Kind.DERIVED_TABLE:
        yield Problem(
            f"a {relation.kind} in Python",
            _where(relation, "kind"),
            "derived_table: no warehouse calls a function when it is read",
        )
    if not relation.inputs and relation.is_read("inputs"):
        yield Problem("no inputs", _where(relation, "inputs"), "the relations that the function is given")
    for field in relation.fields:
        for name in field.computed_from:
            if name.rpartition(".")[0] not in relation.inputs:
                known = sorted(set(relation.inputs))
                yield unknown(
                    "input",
                    name.rpartition(".")[0],
                    known,
                    where=_where(relation, f"field {field.name}, computed_from"),
                )
        if not field.computed_from and relation.is_read(field.name):
            yield Problem(
                f"field {field.name!r} says nothing of where it comes from",
                _where(relation, f"field {field.name}"),
                '"computed_from": ["DATASET.NAME.FIELD", ...]',
            )


def _field_problems(relation: Relation) -> Iterable[Problem]:
    names = Counter(field.name.lower() for field in relation.fields)
    for name in sorted(name for name, count in names.items() if count > 1):
        yield Problem(
            f"field {name!r} stands {names[name]} times", _where(relation, "fields"), "each name once"
        )
    for name in sorted(n for n in relation.field_names if n.startswith("_") and relation.is_loaded):
        yield Problem(
            f"field {name!r} starts with '_'", _where(relation, "fields"), "a letter: '_' is the platform's"
        )
    key_fields = [("primary_key", name, KEY_TYPES) for name in relation.primary_key]
    key_fields += [("clustering", name, CLUSTERING_TYPES) for name in relation.clustering]
    if relation.partitioning is not None:
        key_fields.append(("partitioning.date", relation.partitioning.date, PARTITION_TYPES))
        if relation.partitioning.environment is not None:
            key_fields.append(("partitioning.environment", relation.partitioning.environment, {"STRING"}))
    if isinstance(relation.on_key_conflict, Latest):
        key_fields.append(
            ("on_key_conflict.latest", relation.on_key_conflict.latest, {"INTEGER", "TIMESTAMP", "DATE"})
        )
    for key, name, types in key_fields:
        yield from _typed_field(relation, key, name, types)
    required = (
        {name for key, name, _ in key_fields if not key.startswith("clustering")}
        if relation.is_loaded
        else set()
    )
    for name in sorted(required & set(relation.field_names)):
        if not relation.field(name).required and relation.is_read(name):
            yield Problem(
                f"field {name!r} is {relation.field(name).mode}",
                _where(relation, "fields"),
                "mode REQUIRED, since it is part of a key, a partition or a version",
            )
    if relation.chart is not None:
        chart = relation.chart
        for key in ("x", "y", "series", "facet", "low", "high", "count", "marked"):
            name = getattr(chart, key)
            if name is not None and name not in relation.field_names:
                if relation.is_read(name):
                    yield unknown("field", name, relation.field_names, where=_where(relation, f"chart.{key}"))
            elif name is not None and relation.field(name).sensitive:
                yield Problem(
                    f"field {name!r} is sensitive", _where(relation, f"chart.{key}"), "another field"
                )
        typed = [(key, CHART_NUMBERS) for key in ("y", "low", "high")] + [("count", {"INTEGER"})]
        typed += [("marked", {"BOOLEAN", "INTEGER"}), *([("x", CHART_LINE)] if chart.mark == "line" else [])]
        for key, types in typed:
            name = getattr(chart, key)
            if name is not None and name in relation.field_names:
                yield from _typed_field(relation, f"chart.{key}", name, types)


def _sequence_problems(relation: Relation) -> Iterable[Problem]:
    if relation.sequences and not relation.is_loaded:
        yield Problem(f"sequences on a {relation.kind}", _where(relation, "sequences"), "a loaded table")
    for index, sequence in enumerate(relation.sequences):
        key = f"sequences.{index}"
        for name in sequence.within:
            yield from _typed_field(relation, f"{key}.within", name, KEY_TYPES)
        yield from _typed_field(relation, f"{key}.order_by", sequence.order_by, ORDER_TYPES)
        for name in sequence.ends_where:
            yield from _typed_field(relation, f"{key}.ends_where", name, {"BOOLEAN"})


def _typed_field(relation: Relation, key: str, name: str, types: set[str]) -> Iterable[Problem]:
    if not relation.is_read(name):
        return
    if name not in relation.field_names:
        yield unknown("field", name, relation.field_names, where=_where(relation, key))
        return
    field = relation.field(name)
    if field.repeated or field.type not in types:
        found = f"{field.type}, REPEATED" if field.repeated else field.type
        yield Problem(
            f"field {name!r} is {found}", _where(relation, key), "one of " + ", ".join(sorted(types))
        )


def _colliding_names(relations: Sequence[Relation]) -> Iterable[Problem]:
    """Dagster's steps and BigQuery's lock tables are called `DATASET__NAME`."""
    flat: dict[str, list[Relation]] = {}
    for relation in relations:
        flat.setdefault(f"{relation.dataset}__{relation.name}", []).append(relation)
    for name, found in sorted(flat.items()):
        if len(found) > 1:
            files = ", ".join(relation.where() for relation in found)
            yield Problem(
                f"both are called {name} where dataset and name are one word", files, "another name"
            )


def _foreign_key_problems(
    relation: Relation, by_name: Mapping[str, Sequence[Relation]], unread: Collection[str]
) -> Iterable[Problem]:
    for index, key in enumerate(relation.foreign_keys):
        where = _where(relation, f"foreign_keys.{index}")
        for name in key.fields:
            if name not in relation.field_names and relation.is_read(name):
                yield unknown("field", name, relation.field_names, where=where)
        targets = by_name.get(key.references, [])
        if len(targets) > 1:
            ids = ", ".join(target.id for target in targets)
            yield Problem(f"{len(targets)} relations are called {key.references!r}", where, f"one of {ids}")
            continue
        if not targets:
            if key.references not in unread:
                ids_of_all = {found.id for each in by_name.values() for found in each}
                yield unknown("relation", key.references, ids_of_all, where=where)
            continue
        [target] = targets
        if len(key.targets) != len(key.fields):
            yield Problem(
                f"{len(key.fields)} fields refer to {len(key.targets)}",
                where,
                "as many of the one as of the other",
            )
        for name, target_name in zip(key.fields, key.targets, strict=False):
            if not target.is_read(target_name):
                continue
            if target_name not in target.field_names:
                yield unknown("field", target_name, target.field_names, where=f"{where}, {target.id}")
            elif (
                name in relation.field_names
                and relation.is_read(name)
                and relation.field(name).type != target.field(target_name).type
            ):
                yield Problem(
                    f"{name} is {relation.field(name).type}, {target.id}.{target_name} is {target.field(target_name).type}",
                    where,
                    "the same type on both sides",
                )


def _read_at(relation: Relation, name: str) -> str:
    if relation.window is not None:
        return f"{relation.where(sql=True)}.source"
    if relation.sql is None:
        return _where(relation, "inputs")
    return _where(relation, place_of_reference(relation.sql or "", name), sql=True)


def _unknown_columns(relation: Relation, by_name: Mapping[str, list[Relation]]) -> Iterable[Problem]:
    """Columns of inputs that fields say they come from, and that are none."""
    for field in relation.fields:
        for name in field.computed_from:
            source, _, column = name.rpartition(".")
            for found in by_name.get(source, ()):
                if column not in found.field_names and found.is_read(column):
                    where = _where(relation, f"field {field.name}, computed_from")
                    yield unknown(f"field of {found.id}", column, found.field_names, where=where)


def _sql_problems(relations: Sequence[Relation], unread: Collection[str]) -> list[Problem]:
    by_name, names = _by_name(relations), {relation.name for relation in relations}
    problems: list[Problem] = []
    upstream: dict[str, frozenset[str]] = {}
    for relation in relations:
        if not relation.is_derived:
            continue
        try:
            read = reads(relation)
        except NotAQueryError as error:
            problems.append(
                Problem(error.what, _where(relation, error.place, sql=True), "one GoogleSQL SELECT statement")
            )
            continue
        problems += [
            unknown("relation", name, [r.id for r in relations], where=_read_at(relation, name))
            for name in sorted(read - by_name.keys())
            if name not in unread
        ]
        problems += [
            Problem(
                f"reads {name!r}",
                _read_at(relation, name),
                "the dataset before it: " + " or ".join(r.id for r in by_name[name]),
            )
            for name in sorted(read & names)
        ]
        problems += _unknown_columns(relation, by_name)
        upstream[relation.id] = frozenset(r.id for name in read for r in by_name.get(name, ()))
    try:
        topological_order(upstream)
    except GaelpError as error:
        problems.extend(error.problems)
    return problems
