"""Marks the tests that need the BigQuery emulator, which has an environment of its own and takes its time."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if "bigquery" in parameters.values() or "emulator" in item.path.parts:
            item.add_marker(pytest.mark.emulator)
