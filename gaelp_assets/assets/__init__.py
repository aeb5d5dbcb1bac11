"""Dagster assets and asset checks, each made from the catalogue by a factory.

Here belongs what Dagster shows and starts for a relation. How rows are loaded does not (`ingest`), nor when a run is due
(`runs`), and no module names a relation of the catalogue.
"""
