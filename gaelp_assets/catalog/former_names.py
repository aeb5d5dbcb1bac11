"""Whether the former names of a relation's fields (`was`) can be told from one another, and from today's names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from gaelp_assets.catalog.model import Relation, walk_fields
from gaelp_assets.errors import Problem


def former_name_problems(relation: Relation) -> Iterator[Problem]:
    """What is wrong with them."""
    said = [(path, field.was) for path, field in walk_fields(relation.fields) if field.was]
    where = relation.where()
    if said and not relation.is_loaded:
        yield Problem(f"`was` on a {relation.kind}", where, "a loaded table, whose files keep former names")
    now = {name.lower() for name in relation.field_names}
    times = Counter(former.lower() for _, was in said for former in was)
    for path, was in said:
        at = f"{where}, field {path}, was"
        if "." in path:
            yield Problem("`was` inside of a record", at, "a field of the table itself")
        for former in was:
            if former.lower() in now:
                yield Problem(f"{former!r} is the name of a field", at, "a name that no field has any more")
            elif times[former.lower()] > 1:
                yield Problem(f"{former!r} is the former name of two fields", at, "each former name once")
