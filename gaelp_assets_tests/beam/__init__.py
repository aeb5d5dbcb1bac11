"""The windows of Apache Beam against the catalogue's SQL and a count by hand; `make test-beam` runs them, in Beam's environment."""
