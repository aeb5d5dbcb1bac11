"""Dagster assets and asset checks, each made from the catalogue by a factory. No module here names a relation of it."""
