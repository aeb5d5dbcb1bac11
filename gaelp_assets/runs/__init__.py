"""Which Dagster runs to start: pure plans of the queue and of past runs, and what Dagster's instance knows of those."""
