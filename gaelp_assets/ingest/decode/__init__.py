"""Lines of JSON to columns, strictly: natively where the library is built, in Python otherwise; with all reasons for what is no row."""
