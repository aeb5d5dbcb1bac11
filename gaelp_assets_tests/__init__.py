"""Tests of gaelp_assets, by kind: unit, catalog, contract, property, golden, ui, conventions."""
