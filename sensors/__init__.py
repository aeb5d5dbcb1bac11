"""Dagster sensors: one module for each. A sensor asks `gaelp_assets.runs` for a plan and hands it to Dagster; it decides nothing itself."""
