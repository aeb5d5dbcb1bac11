"""The declarative catalogue: one JSON file for each relation, and everything that can be said of it without I/O."""

from gaelp_assets.catalog.load import Catalog, load_catalog
from gaelp_assets.catalog.model import Check, Field, Kind, Relation
from gaelp_assets.catalog.slices import WHOLE, Slice

__all__ = ["WHOLE", "Catalog", "Check", "Field", "Kind", "Relation", "Slice", "load_catalog"]
