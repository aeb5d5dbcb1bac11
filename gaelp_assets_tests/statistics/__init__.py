"""Tests of `gaelp_assets.statistics`."""
