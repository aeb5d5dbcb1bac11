"""Stand-ins for Google's services, started by the tests (and by `make dev-gcp`) as processes of their own."""
