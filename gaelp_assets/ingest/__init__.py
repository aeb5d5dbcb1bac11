"""Files of a slice -> fates -> warehouse: reads, validates, stages and commits, and accounts for every line."""
