"""The declarative catalogue: one JSON file for each relation, and everything that can be said of it without I/O.

What is named here is imported when it is asked for: what needs the rule of a name alone does not read the model.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaelp_assets.catalog.load import Catalog, load_catalog
    from gaelp_assets.catalog.model import Check, Field, Kind, Relation
    from gaelp_assets.catalog.slices import WHOLE, Slice

__all__ = ["WHOLE", "Catalog", "Check", "Field", "Kind", "Relation", "Slice", "load_catalog"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gaelp_assets.catalog import load, model, slices

    return next(vars(module)[name] for module in (slices, model, load) if name in vars(module))
