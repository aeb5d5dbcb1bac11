"""Dagster sensors: each a pure plan and a thin shell that carries it out."""
