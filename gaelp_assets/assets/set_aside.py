"""Derived relations that cannot be used as assets: each shows its problems, and a run of it fails with them. Nothing else fails."""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with its classes, not with their names.
import datetime as dt
import hashlib
import re
from collections.abc import Collection
from typing import Final

import dagster as dg

from gaelp_assets.assets.metadata import Metadata, SpecArguments, describe, failure, table
from gaelp_assets.assets.partitions import partitions_def
from gaelp_assets.assets.steps import Results, asset_step
from gaelp_assets.catalog.set_aside import SetAside
from gaelp_assets.errors import GaelpError
from resources.platform import PlatformResource

TAG: Final = "set_aside"
"""The tag of such an asset: the UI finds all of them by it."""


def set_aside_asset(
    found: SetAside, known: Collection[str], engine: str, first_date: dt.date
) -> dg.AssetsDefinition:
    """The asset of a relation that is set aside, with the key and the slices that it has without its problems.

    `known` are the ids of the relations that are assets: lineage leads to no other.
    """
    dataset, _, name = found.id.partition(".")
    dataset, name = _plain(dataset), _plain(name)
    key = dg.AssetKey([dataset, name])
    relation = found.relation
    problems = "\n".join(f"- {problem}" for problem in found.problems)
    description = f"Set aside: it has problems, and is not computed until they are mended.\n\n{problems}"
    shared: SpecArguments
    if relation is None:
        shared = {
            "description": description,
            "group_name": dataset,
            "owners": [],
            "kinds": {engine},
            "tags": {},
        }
    else:
        shared = describe(relation, engine)
        shared["description"] = f"{description}\n\n{relation.description}"
    shared["tags"] = {**shared["tags"], TAG: "true"}
    rows = [
        {"where": p.where, "problem": p.what, "expected": p.expected, "remedy": p.remedy}
        for p in found.problems
    ]
    metadata: Metadata = {
        "problems": table(rows, where="string", problem="string", expected="string", remedy="string")
    }
    if relation is not None and relation.sql is not None:
        metadata["sql"] = dg.MetadataValue.md(f"```sql\n{relation.sql.strip()}\n```")

    def fail(_: dg.AssetExecutionContext, __: PlatformResource) -> Results:
        raise failure(GaelpError(*found.problems))

    spec = dg.AssetSpec(
        key,
        deps=[dg.AssetKey(read.split(".")) for read in sorted(found.reads & {*known} - {found.id})],
        metadata=metadata,
        partitions_def=partitions_def(relation, first_date) if relation is not None else None,
        **shared,
    )
    return asset_step(f"{dataset}__{name}_SET_ASIDE_{_digest(found.id)}", spec, fail)


def _plain(word: str) -> str:
    """The word, or one that Dagster takes and that is no other relation's: what is wrong with a relation may be its name."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", word)
    return word if plain == word else f"{plain}_{_digest(word)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
