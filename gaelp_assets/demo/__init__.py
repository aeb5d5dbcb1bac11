"""The training orchestrator in miniature: real agents in real environments, written into the export gateway.

It is a producer like any other: it writes files and knows nothing of the warehouse. It is the only package, beside the tests,
that names tables of the catalogue.
"""
