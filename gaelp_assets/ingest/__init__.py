"""Files of a slice -> fates -> warehouse: reads, proves, stages and commits, and accounts for every line."""
