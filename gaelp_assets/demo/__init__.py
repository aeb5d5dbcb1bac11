"""The training orchestrator in miniature: real agents in real environments, written into the export gateway."""
