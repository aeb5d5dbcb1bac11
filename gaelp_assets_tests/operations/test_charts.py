"""What producers name their runs and metrics, and the numbers they send: a picture has to be drawn of all of it."""

from __future__ import annotations

import polars as pl
import pytest

from gaelp_assets.catalog import Relation, load_catalog
from gaelp_assets.catalog.model import Chart
from gaelp_assets.operations.charts import draw, left_out, series_names
from gaelp_assets.operations.interactive import interactive


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


def of(relation: Relation, **chart: str) -> Relation:
    """The relation with another picture."""
    return relation.model_copy(update={"chart": Chart.model_validate(chart)})


SEEDS = pl.DataFrame(
    {
        "agent_id": ["ppo"] * 3 + ["dqn"] * 3,
        "step": [1, 2, 3] * 2,
        "mean": [1.0, 2.0, None, 3.0, 4.0, 5.0],
        "low": [0.5, None, None, 2.0, 2.0, 2.0],
        "high": [1.5, None, None, 5.0, 5.0, 5.0],
        "runs": [5, 5, 2, 3, 3, 3],
        "problems": [0, 1, None, 0, 0, 0],
    }
)
BANDED = {"y": "mean", "low": "low", "high": "high", "count": "runs", "marked": "problems"}


@pytest.mark.parametrize("mark", ["line", "bar", "interval"])
def test_each_mark_is_drawn_with_ranges_counts_and_crosses(metrics: Relation, mark: str) -> None:
    drawable = SEEDS.drop_nulls("mean")
    plain = of(metrics, x="step", y="mean", series="agent_id", mark=mark)
    told = of(metrics, x="step", series="agent_id", mark=mark, **BANDED)
    assert draw(told, drawable, None) != draw(plain, drawable, None)


def test_a_legend_tells_how_many_runs_stand_behind_each_line(metrics: Relation) -> None:
    chart = of(metrics, x="step", series="agent_id", **BANDED).chart
    assert chart is not None
    assert series_names(chart, SEEDS, ["ppo", "dqn"]) == ["ppo: 5 to 2 runs", "dqn: 3 runs"]
    alone = chart.model_copy(update={"series": None})
    assert series_names(alone, SEEDS, [None]) == ["5 to 2 runs"]


def test_more_bars_than_there_is_room_for_are_told(metrics: Relation) -> None:
    many = pl.DataFrame({"agent_id": [f"agent {i:02}" for i in range(30)], "mean": [1.0] * 30})
    bars = of(metrics, x="agent_id", y="mean", mark="bar")
    assert left_out(bars, many) == "shown are the first 24 of 30 values of agent_id"
    assert draw(bars, many, None).startswith(b"\x89PNG")


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Decimal(38, 9)])
@pytest.mark.parametrize("mark", ["bar", "interval"])
def test_a_range_around_what_is_no_float_ended_the_report(
    metrics: Relation, mark: str, dtype: pl.DataType
) -> None:
    counts = SEEDS.drop_nulls("mean").with_columns(pl.col("mean", "low", "high").cast(dtype))
    told = of(metrics, x="step", series="agent_id", mark=mark, **BANDED)
    assert draw(told, counts, None).startswith(b"\x89PNG")
    assert interactive(told, counts).panels


def test_two_agents_whose_long_names_begin_alike_were_one_bar_of_their_sum(metrics: Relation) -> None:
    names = [f"ppo, learning rate 0.0003, clip 0.2, entropy 0.01, seed {seed}" for seed in (1, 2)]
    frame = pl.DataFrame({"agent_id": names, "mean": [1.0, 2.0]})
    bars = of(metrics, x="agent_id", y="mean", mark="bar")
    [panel] = interactive(bars, frame).panels
    [rows] = panel.specification["datasets"].values()
    assert len({row["x"] for row in rows}) == 2
    assert {layer["encoding"]["x"]["stack"] for layer in panel.specification["layer"]} == {None}
    lines = of(metrics, x="mean", y="mean", series="agent_id").chart
    assert lines is not None
    assert len(set(series_names(lines, frame, names))) == 2


def test_a_bar_of_a_number_that_is_none_has_no_place(metrics: Relation) -> None:
    frame = pl.DataFrame({"rate": [0.1, float("nan")], "mean": [1.0, 2.0]})
    bars = of(metrics, x="rate", y="mean", mark="bar")
    assert draw(bars, frame, None).startswith(b"\x89PNG")
    [panel] = interactive(bars, frame).panels
    [rows] = panel.specification["datasets"].values()
    assert [row["told_x"] for row in rows] == ["0.1"]
