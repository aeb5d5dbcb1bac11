"""DuckDB as a warehouse, the embedded default. Knows nothing of the other engines."""
