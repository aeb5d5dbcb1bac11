"""Golden cases: a folder of data for each."""
