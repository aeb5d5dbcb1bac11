"""Which columns a derived relation's columns are made of. Read from the SQL; nothing is run."""

from __future__ import annotations

from gaelp_assets.catalog.load import Catalog
from gaelp_assets.catalog.model import Relation, stored_fields
from gaelp_assets.catalog.texts import references
from gaelp_assets.errors import GaelpError, Problem


def column_lineage(relation: Relation, catalog: Catalog) -> dict[str, list[tuple[str, str]]]:
    """For each field, the columns `(relation id, column)` of directly read relations that its values come from.

    Common table expressions and subqueries are seen through, other views are not: they have their own lineage. What only filters,
    joins or groups is not listed, so that `COUNT(*)` comes from nowhere. A relation without SQL has an empty dictionary.

    Raises:
        GaelpError: the SQL names a column or a relation that the catalogue does not have, or lacks a declared field.
    """
    if relation.sql is None:
        return {}
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
    from sqlglot.lineage import lineage
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope

    result: dict[str, list[tuple[str, str]]] = {}
    try:
        # Of what it reads alone: with the columns of all relations, each view takes as long as the catalogue is large.
        columns: dict[str, dict[str, dict[str, str]]] = {}
        for name in sorted(references(relation.sql) & catalog.relations.keys()):
            known = catalog[name]
            # The types do not matter to lineage; what matters is which column belongs to which table.
            columns.setdefault(known.dataset, {})[known.name] = {
                f.name: "STRING" for f in stored_fields(known)
            }
        schema: dict[str, object] = dict(columns)
        tree = sqlglot.parse_one(relation.sql, dialect="bigquery")
        qualified = qualify(tree, schema=schema, dialect="bigquery")
        scope = build_scope(qualified)
        for name in relation.field_names:
            found = set()
            for node in lineage(
                name, qualified, schema=schema, dialect="bigquery", scope=scope, copy=False
            ).walk():
                if isinstance(node.expression, exp.Table):
                    source = ".".join(part.name for part in node.expression.parts)
                    found.add((source, sqlglot.parse_one(node.name).name))
            result[name] = sorted(found)
    except (SqlglotError, ValueError) as error:
        problem = Problem(
            str(error).splitlines()[0], relation.where(sql=True), "columns that the catalogue has"
        )
        raise GaelpError(problem) from None
    return result
