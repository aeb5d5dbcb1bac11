"""BigQuery as a warehouse. Knows nothing of the other engines."""
