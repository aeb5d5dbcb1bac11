"""Rows from running trainings, in seconds: whatever arrives becomes a file of the gateway first, and is loaded as any other file.

`receiver` is what every source hands its batches to; `loading` brings them into the warehouse, `fates` asks the ledger what became of them.
Sources know their protocol and nothing of the warehouse: `http` is one, others are in `sources`.
"""
