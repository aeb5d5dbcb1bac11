"""What other tools wrote, as rows of the catalogue: one module for each kind, found by its name in `kinds`.

A kind's `rows` is a generator of (table, row), and nothing else: it reads the source, and counts in a `Tally` what becomes of it. What is
done with the rows stands in `operations.importing`. What a source does not know is left out of its rows, never made up.
"""
