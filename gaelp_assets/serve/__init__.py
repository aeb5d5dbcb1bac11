"""A small HTTP interface that only reads: rows of relations for notebooks and dashboards. It knows neither Dagster nor the terminal."""
