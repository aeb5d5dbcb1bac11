"""What producers name their runs and metrics, and the numbers they send: a picture has to be drawn of all of it."""

from __future__ import annotations

import polars as pl
import pytest

from gaelp_assets.catalog import Relation, load_catalog
from gaelp_assets.operations.charts import draw


@pytest.fixture(scope="module")
def metrics() -> Relation:
    return load_catalog()["analytics.metric_curves"]


def curves(name: str, values: list[float], run: str = "run", step: int = 10) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "name": [name] * len(values),
            "training_run_id": [run] * len(values),
            "step": [step * i for i in range(len(values))],
            "mean_value": values,
            "low_value": values,
            "high_value": values,
        }
    )


@pytest.mark.parametrize("name", [r"loss/$\frac{$", "$$", "中文 🚀", "_hidden", "a\n\nb", "x" * 500])
def test_a_name_is_no_formula_and_may_be_in_any_script(metrics: Relation, name: str) -> None:
    assert draw(metrics, curves(name, [0.0, 1.0], run=name), name).startswith(b"\x89PNG")


@pytest.mark.parametrize("values", [[1.7e308, -1.7e308], [5e-324, 0.0], [1e300, 1e300], [0.0]])
def test_the_greatest_and_smallest_numbers_are_drawn(metrics: Relation, values: list[float]) -> None:
    assert draw(metrics, curves("loss", values, step=2**61), None).startswith(b"\x89PNG")
