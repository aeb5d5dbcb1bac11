"""Relations that a question reads and the warehouse does not hold: a table reads as an empty one, a view as its SQL in the catalogue.

The platform's own tables are read by the platform's own questions, which name every field. So where such a table is older than the
catalogue, the fields that it does not have yet read as NULL, as they will in its old rows once a load or a deployment has added them.

Pure: which relations need a substitute, and the question's text with the substitutes in it. An engine says what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from gaelp_assets.catalog import Catalog, Field, Kind, Relation
from gaelp_assets.catalog.texts import references


def relations_read(catalog: Catalog, sql: str) -> list[Relation]:
    """The catalogue's relations that a query names as `dataset.name`; none where the text is no query, which the engine then says."""
    return [catalog.relations[name] for name in _names_read(sql) if name in catalog.relations]


@lru_cache(maxsize=1024)
def _names_read(sql: str) -> tuple[str, ...]:
    try:
        return tuple(sorted(references(sql)))
    except ValueError:
        return ()


def lacking(
    catalog: Catalog,
    relations: Sequence[Relation],
    *,
    is_view: Callable[[Relation], bool],
    is_there: Callable[[Relation], bool],
    is_short: Callable[[Relation], bool] = lambda _: False,
) -> list[Relation]:
    """Those of the relations, and of what views among them read, that cannot be read as they are, each after what it reads.

    Args:
        catalog: Tells what a view reads.
        relations: What a question names.
        is_view: Whether the engine computes the relation from others whenever it is read: such a one is lacking where one of these is.
        is_there: Whether the warehouse holds something under the relation's name; asked once for each.
        is_short: Whether what it holds there lacks fields that read as NULL (see `fields_to_come`). A view that is there reads such a
            table as it is.
    """
    readable: dict[str, bool] = {}
    found: list[Relation] = []

    def look(relation: Relation) -> bool:
        if relation.id not in readable:
            upstream = sorted(catalog.upstream.get(relation.id, ())) if is_view(relation) else ()
            below = [look(catalog[relation_id]) for relation_id in upstream]
            readable[relation.id] = is_there(relation) and all(below)
            if not readable[relation.id] or is_short(relation):
                found.append(relation)
        return readable[relation.id]

    for relation in relations:
        look(relation)
    return found


def fields_to_come(relation: Relation, stored: Callable[[], Iterable[str]]) -> tuple[Field, ...]:
    """The fields that a table of the platform's own does not have yet, and that read as NULL; none of any other relation.

    Args:
        relation: What is read.
        stored: The names of the columns that the warehouse holds; not asked about other relations.
    """
    if relation.kind is not Kind.LEDGER:
        return ()
    names = {name.lower() for name in stored()}
    return tuple(field for field in relation.fields if not field.required and field.name.lower() not in names)


def substitute(sql: str, tables: Mapping[str, str]) -> str:
    """A GoogleSQL query with other tables in place of relations; everything else of the text stays as it is.

    Args:
        sql: One query.
        tables: What stands in a FROM clause for a relation, by the relation's id: a name, or a query in parentheses. It gets the
            relation's name as its alias where the query gives it none.
    """
    if not tables:
        return sql
    import sqlglot
    from sqlglot import exp

    spans = []
    for table in sqlglot.parse_one(sql, dialect="bigquery").find_all(exp.Table):
        first, last = table.parts[0], table.parts[-1]
        text = tables.get(".".join(part.name for part in table.parts))
        if text is not None:
            alias = "" if table.alias else f" AS `{last.name}`"
            spans.append((int(first.meta["start"]), int(last.meta["end"]) + 1, text + alias))
    for start, end, text in sorted(spans, reverse=True):
        sql = sql[:start] + text + sql[end:]
    return sql
