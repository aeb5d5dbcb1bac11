"""Declared windows past one machine: the same declaration, executed by Apache Beam.

`work` is what a pipeline is handed, `figures` what it says of a window's rows, both without Beam; `pipeline` alone imports it, and runs in
an environment of its own (`requirements-beam.lock`). No part knows a warehouse or Dagster. That its windows are those of the catalogue's
SQL is for the tests to hold (`gaelp_assets_tests/beam`).
"""
