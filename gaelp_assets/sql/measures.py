"""Measures of a relation: aggregates over its fields that the catalogue names, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlglot import exp

from gaelp_assets.catalog.model import Measure, Relation
from gaelp_assets.catalog.references import NotAQueryError, parsed
from gaelp_assets.errors import GaelpError, Problem, unknown
from gaelp_assets.sql.grouping import has_aggregate, has_window
from gaelp_assets.sql.tables import tables_of
from gaelp_assets.sql.transpile import bind
from gaelp_assets.sql.types import Type

_BEFORE = "SELECT\n"
_TYPES = frozenset(
    {"INT64", "FLOAT64", "NUMERIC", "STRING", "BOOL", "DATE", "DATETIME", "TIMESTAMP"}
)  # What a figure can be.
_ONE = "one aggregate expression over fields of the relation"


def measure_query(relation: Relation, *measures: Measure) -> str:
    """The GoogleSQL query of measures over all rows of their relation, each under its name.

    >>> from gaelp_assets.catalog import load_catalog
    >>> curves = load_catalog()["analytics.learning_curves"]
    >>> print(measure_query(curves, curves.measures[0]))
    SELECT
    SUM(episodes)
    AS `total_episodes`
    FROM `analytics`.`learning_curves`
    """
    # A line of its own ends a comment that an expression may end with.
    items = ",\n".join(f"{measure.sql.strip()}\nAS `{measure.name}`" for measure in measures)
    return f"{_BEFORE}{items}\nFROM {relation.quoted_id}"


def measure_type(relation: Relation, measure: Measure) -> Type:
    """GoogleSQL's type of a measure that is sound."""
    columns = bind(measure_query(relation, measure), tables_of([relation])).columns
    assert columns is not None
    return columns[0].type


def measured_fields(measure: Measure) -> frozenset[str]:
    """The top-level fields that a sound measure is computed from, as they are written."""
    return frozenset(column.parts[0].name for column in _columns(measure))


def with_table(measure: Measure, table: str) -> str:
    """The text of a sound measure with `table.` before each field.

    >>> with_table(Measure(name="mean", description="-", sql="SUM(total) / COUNT(*)"), "t")
    'SUM(t.total) / COUNT(*)'
    """
    text = _BEFORE + measure.sql.strip()
    starts = sorted({int(column.parts[0].meta["start"]) for column in _columns(measure)}, reverse=True)
    for start in starts:
        text = f"{text[:start]}{table}.{text[start:]}"
    return text.removeprefix(_BEFORE)


def measure_problems(relation: Relation) -> list[Problem]:
    """What is wrong with a relation's measures, all of it."""
    return [
        problem
        for number, measure in enumerate(relation.measures)
        for problem in _problems(relation, measure, f"{relation.where()}, measures.{number}")
    ]


def _columns(measure: Measure) -> list[exp.Column]:
    return list(parsed(_BEFORE + measure.sql.strip()).find_all(exp.Column))


def _problems(relation: Relation, measure: Measure, where: str) -> Iterator[Problem]:
    names = Counter(name.lower() for name in [*relation.field_names, *(m.name for m in relation.measures)])
    if names[measure.name] > 1:
        what = f"the name {measure.name!r} stands {names[measure.name]} times among fields and measures"
        yield Problem(what, where, "a name of its own")
    not_one = _not_one(measure)
    if not_one:
        yield Problem(not_one, f"{where}.sql", _ONE)
        return
    fields = {field.name.lower(): field for field in relation.fields}
    written = sorted(measured_fields(measure))
    problems = [
        unknown("field", name, relation.field_names, where=f"{where}.sql")
        for name in written
        if name.lower() not in fields and relation.is_read(name)
    ]
    problems += [
        Problem(f"field {name!r} is sensitive", f"{where}.sql", "another field")
        for name in written
        if name.lower() in fields and fields[name.lower()].sensitive
    ]
    yield from problems
    if problems or relation.unread:
        return
    try:
        bound = bind(measure_query(relation, measure), tables_of([relation]))
    except GaelpError as error:
        yield Problem(error.problems[0].what, f"{where}.sql", _ONE)
        return
    for problem in bound.problems:
        yield Problem(problem.what, f"{where}.sql", problem.expected, problem.remedy)
    if not bound.problems and bound.columns is not None and bound.columns[0].type.name not in _TYPES:
        yield Problem(
            f"the measure is {bound.columns[0].type}", f"{where}.sql", "a number, text, date or BOOL"
        )


def _not_one(measure: Measure) -> str:
    """Why the text is no single aggregate; empty if it is one."""
    try:
        tree = parsed(_BEFORE + measure.sql.strip())
    except NotAQueryError as error:
        return f"not an expression: {error.what}"
    clauses = {name for name, value in tree.args.items() if value and name not in {"expressions", "kind"}}
    if not isinstance(tree, exp.Select) or clauses or len(tree.expressions) != 1 or tree.args.get("kind"):
        return "more than one expression"
    [item] = tree.expressions
    if isinstance(item, exp.Alias | exp.Aliases):
        return "an expression with a name of its own"
    if any(node.comments for node in tree.walk()):
        return "a comment in a measure"  # It would end in the text that a tool puts the measure into.
    if item.find(exp.Query) or item.find(exp.Parameter):
        return "a subquery or a parameter in a measure"
    if has_window(item):
        return "a function over a window in a measure"
    return "" if has_aggregate(item) else "not an aggregate"
