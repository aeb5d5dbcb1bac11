"""Dagster resources: thin wrappers that hand the gateway and the warehouse to assets and sensors."""
