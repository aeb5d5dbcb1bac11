"""Made-up catalogues of any size: what benchmarks of many relations write, so that all of them measure the same shapes.

Of ten relations seven are loaded tables (one of them a dimension) and three are derived: a table that is kept in slices, a view that
joins, and a view over both. Columns are nested, have rules and keys, and refer to other tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

GROUP: Final = 10
"""Relations that belong together; no relation reads one of another group."""
GROUPS_OF_A_DATASET: Final = 5
_SOURCES: Final = 6

Content = dict[str, object]


def write(folder: Path, relations: int, *, extra: bool = False) -> None:
    """Writes a catalogue folder.

    Args:
        folder: is made where it is missing; files of an earlier call are replaced.
        relations: how many.
        extra: whether each loaded table has one field more.
    """
    for dataset, name, content, sql in islice(_relations(extra), relations):
        path = folder / dataset / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2), encoding="utf-8")
        if sql is not None:
            path.with_suffix(".sql").write_text(sql, encoding="utf-8")


def _relations(extra: bool) -> Iterator[tuple[str, str, Content, str | None]]:
    """Dataset, name, file and SQL of one relation after another, without an end."""
    group = 0
    while True:
        dataset = f"source{group // GROUPS_OF_A_DATASET}"
        agents, facts = f"agents_{group}", [f"measures_{group}_{place}" for place in range(_SOURCES)]
        yield dataset, agents, _dimension(extra), None
        for place, name in enumerate(facts):
            yield dataset, name, _facts(place, f"{dataset}.{agents}", extra), None
        daily, best, board = f"daily_{group}", f"best_{group}", f"board_{group}"
        yield dataset, daily, _daily(), _DAILY.format(facts=f"{dataset}.{facts[0]}")
        yield (
            dataset,
            best,
            _best(),
            _BEST.format(facts=f"{dataset}.{facts[3]}", agents=f"{dataset}.{agents}"),
        )
        yield dataset, board, _board(), _BOARD.format(daily=f"{dataset}.{daily}", best=f"{dataset}.{best}")
        group += 1


def _facts(place: int, agents: str, extra: bool) -> Content:
    """A loaded table of 18 columns, two of them nested; tables are sliced in each of the three ways."""
    text = {"name": "str_matches", "arguments": {"pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$"}}
    partitioning = ({"date": "date", "environment": "environment_id"}, {"date": "date"}, None)[place % 3]
    fields = [
        _field("measure_id", "STRING", "REQUIRED", checks=[text]),
        _field("date", "DATE", "REQUIRED"),
        _field("environment_id", "STRING", "REQUIRED", checks=[{"name": "environment_id"}]),
        _field("agent_id", "STRING", "REQUIRED", checks=[text]),
        _field("purpose", "STRING", "REQUIRED", checks=[_rule("isin", allowed_values=["training", "evaluation"])]),
        _field("step", "INTEGER", "REQUIRED", checks=[_rule("greater_than_or_equal_to", min_value=0)]),
        _field("measured_at", "TIMESTAMP", "REQUIRED"),
        _field("terminated", "BOOLEAN", "REQUIRED"),
        *(_field(f"value_{number}", "FLOAT", checks=[_rule("in_range", min_value=-1e9, max_value=1e9)]) for number in range(7)),
        _field("price", "NUMERIC"),
        _field("device", "RECORD", fields=[_field("vendor", "STRING"), _field("serial", "STRING"), _field("firmware", "STRING")]),
        _field("readings", "RECORD", "REPEATED", fields=[_field("sensor", "STRING", "REQUIRED"), _field("value", "FLOAT")]),
        *([_field("extra", "JSON")] if extra else []),
    ]  # fmt: skip
    return {
        **_common("what one run measured at one step"),
        "fields": fields,
        "primary_key": ["measure_id"],
        "foreign_keys": [{"fields": ["agent_id"], "references": agents}],
        "partitioning": partitioning,
        "clustering": ["environment_id", "agent_id"],
        "freshness_hours": 48,
    }


def _dimension(extra: bool) -> Content:
    fields = [
        _field("agent_id", "STRING", "REQUIRED"),
        _field("algorithm", "STRING", "REQUIRED"),
        _field("updated_at", "TIMESTAMP", "REQUIRED"),
        _field("settings", "JSON"),
        *([_field("extra", "JSON")] if extra else []),
    ]
    return {
        **_common("the newest version of each agent"),
        "fields": fields,
        "primary_key": ["agent_id"],
        "on_key_conflict": {"latest": "updated_at"},
    }


_DAILY: Final = """\
SELECT
  m.date,
  m.environment_id,
  m.agent_id,
  COUNT(*) AS measures,
  SUM(m.value_0) AS sum_value,
  MAX(m.step) AS last_step
FROM {facts} AS m
WHERE m.purpose = 'training'
GROUP BY m.date, m.environment_id, m.agent_id
"""


def _daily() -> Content:
    return {
        **_common("measures of an agent in an environment on a day"),
        "kind": "derived_table",
        "fields": [
            _field("date", "DATE", "REQUIRED"),
            _field("environment_id", "STRING", "REQUIRED"),
            _field("agent_id", "STRING", "REQUIRED"),
            _field("measures", "INTEGER", "REQUIRED"),
            _field("sum_value", "FLOAT"),
            _field("last_step", "INTEGER", "REQUIRED"),
        ],
        "partitioning": {"date": "date", "environment": "environment_id"},
    }


_BEST: Final = """\
WITH ranked AS (
  SELECT
    m.agent_id,
    m.environment_id,
    m.value_1,
    ROW_NUMBER() OVER (PARTITION BY m.environment_id ORDER BY m.value_1 DESC, m.measure_id) AS place
  FROM {facts} AS m
  WHERE m.purpose = 'evaluation' AND m.value_1 IS NOT NULL AND m.date >= DATE '2000-01-01'
)
SELECT
  ranked.environment_id,
  ranked.agent_id,
  agents.algorithm,
  ranked.value_1 AS best_value
FROM ranked
INNER JOIN {agents} AS agents ON agents.agent_id = ranked.agent_id
WHERE ranked.place = 1
"""


def _best() -> Content:
    return {
        **_common("the best agent of each environment"),
        "kind": "view",
        "fields": [_field(name, "STRING") for name in ("environment_id", "agent_id", "algorithm")]
        + [_field("best_value", "FLOAT")],
        "primary_key": ["environment_id"],
    }


_BOARD: Final = """\
SELECT
  best.environment_id,
  best.algorithm,
  best.best_value,
  COALESCE(SUM(daily.measures), 0) AS measures,
  SAFE_DIVIDE(SUM(daily.sum_value), SUM(daily.measures)) AS mean_value
FROM {best} AS best
LEFT JOIN {daily} AS daily
  ON daily.environment_id = best.environment_id AND daily.agent_id = best.agent_id
GROUP BY best.environment_id, best.algorithm, best.best_value
"""


def _board() -> Content:
    return {
        **_common("the best agents, with all that was measured of them"),
        "kind": "view",
        "fields": [
            _field("environment_id", "STRING"),
            _field("algorithm", "STRING"),
            _field("best_value", "FLOAT"),
            _field("measures", "INTEGER"),
            _field("mean_value", "FLOAT"),
        ],
    }


def _common(description: str) -> Content:
    return {"description": description, "owner": "team:research", "tags": {"layer": "made_up"}}


def _field(name: str, type_: str, mode: str = "NULLABLE", **more: object) -> Content:
    return {"name": name, "type": type_, "mode": mode, "description": f"what {name} is", **more}


def _rule(name: str, **arguments: object) -> Content:
    return {"name": name, "arguments": arguments}
