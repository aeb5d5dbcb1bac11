"""Queries over tables for lineage: random ones of the generator, and the forms that it does not write."""

# ruff: noqa: E501 - a query is a line.
from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Final

from gaelp_assets.catalog.model import Field, FieldType
from gaelp_assets_tests.sql.generated import NAMES, VALUES, Queries

_WORDS: Final[Mapping[str, FieldType]] = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN"}
_CHOICE: Final = random.Random(7)
_KINDS: Final = {
    f"lab.t{number}": [(name, _CHOICE.choice(tuple(VALUES))) for name in _CHOICE.sample(NAMES, 3)]
    for number in range(24)
}
_PARTS: Final = (Field(name="x", type="INTEGER"), Field(name="n", type="STRING"))
TABLES: Final[Mapping[str, Sequence[Field]]] = {
    **{
        id_: [Field(name=name, type=_WORDS.get(kind, kind)) for name, kind in columns]  # type: ignore[arg-type]
        for id_, columns in _KINDS.items()
    },
    "lab.runs": [
        Field(name="run", type="STRING"),
        Field(name="seed", type="INTEGER"),
        Field(name="score", type="FLOAT"),
        Field(name="day", type="DATE"),
        Field(name="kind", type="STRING"),
        Field(name="tags", type="STRING", mode="REPEATED"),
        Field(name="info", type="RECORD", fields=(*_PARTS, Field(name="deep", type="RECORD", fields=_PARTS))),
        Field(name="parts", type="RECORD", mode="REPEATED", fields=_PARTS),
    ],
    "lab.agents": [Field(name="run", type="STRING"), Field(name="agent", type="STRING"), Field(name="weight", type="FLOAT")],
}  # fmt: skip


class TableQueries(Queries):
    """Random queries whose tables are those of `TABLES`, not literals."""

    def _table(self) -> tuple[str, list[tuple[str, str]]]:
        id_ = self._r.choice(tuple(_KINDS))
        return id_, list(_KINDS[id_])


FORMS: Final = tuple(
    text.strip()
    for text in r"""
SELECT run, p.x, p.n AS label FROM lab.runs, UNNEST(parts) AS p
SELECT r.run, x, n, o FROM lab.runs AS r LEFT JOIN UNNEST(r.parts) WITH OFFSET AS o WHERE r.seed > 1
SELECT r.run, tag FROM lab.runs AS r, r.tags AS tag WHERE tag <> r.kind
SELECT run, info.x AS a, info.deep.n AS b, info.deep AS c FROM lab.runs
SELECT s.a, s FROM (SELECT STRUCT(seed AS a, score * 2 AS b) AS s FROM lab.runs)
SELECT run, ARRAY(SELECT AS STRUCT p.x AS x, p.n || r.kind AS n FROM UNNEST(r.parts) AS p WHERE p.x > r.seed) AS found FROM lab.runs AS r
SELECT run, parts[SAFE_OFFSET(seed)].n AS one, tags[ORDINAL(1)] AS first FROM lab.runs
SELECT e.x, e.n FROM lab.runs AS r, UNNEST([STRUCT(r.seed AS x, r.kind AS n), STRUCT(1, 'a')]) AS e
SELECT e.v FROM lab.runs AS r, UNNEST(ARRAY(SELECT AS STRUCT a.weight AS v FROM lab.agents AS a WHERE a.run = r.run)) AS e
WITH a AS (SELECT run, SUM(score) AS s FROM lab.runs WHERE day > DATE '2024-01-01' GROUP BY run), b AS (SELECT run, s + 1 AS t FROM a WHERE s > 0) SELECT b.run, b.t, a.s FROM a JOIN b USING (run)
WITH runs AS (SELECT agent AS run FROM lab.agents) SELECT run FROM runs
WITH RECURSIVE w AS (SELECT run, seed AS n FROM lab.runs UNION ALL SELECT w.run, w.n + a.weight_n FROM w JOIN (SELECT run, CAST(weight AS INT64) AS weight_n FROM lab.agents) AS a ON a.run = w.run WHERE w.n < 5) SELECT run, n FROM w
SELECT run, agent, score FROM lab.runs JOIN lab.agents USING (run)
SELECT run, agent FROM lab.runs FULL JOIN lab.agents USING (run)
SELECT run, agent FROM lab.runs RIGHT JOIN lab.agents USING (run)
SELECT r.run AS mine, a.run AS theirs FROM lab.runs AS r LEFT JOIN lab.agents AS a USING (run)
SELECT * FROM lab.agents
SELECT * EXCEPT (weight) REPLACE (weight + 1 AS agent) FROM (SELECT run, weight AS agent, weight FROM lab.agents)
SELECT a.*, r.info.* FROM lab.agents AS a JOIN lab.runs AS r ON a.run = r.run AND a.weight > r.score
SELECT run FROM lab.runs UNION ALL SELECT agent FROM lab.agents
SELECT seed AS n FROM lab.runs UNION DISTINCT SELECT weight FROM lab.agents
SELECT run, kind FROM lab.runs EXCEPT DISTINCT SELECT run, agent FROM lab.agents
SELECT run FROM lab.runs INTERSECT DISTINCT SELECT run FROM lab.agents
(SELECT run, seed FROM lab.runs ORDER BY score LIMIT 3) UNION ALL SELECT agent, 1 FROM lab.agents ORDER BY seed LIMIT 5
SELECT DISTINCT run, seed FROM lab.runs
SELECT run, (SELECT MAX(a.weight) FROM lab.agents AS a WHERE a.run = r.run) AS top FROM lab.runs AS r
SELECT run, EXISTS(SELECT a.weight FROM lab.agents AS a WHERE a.run = r.run) AS there FROM lab.runs AS r
SELECT run FROM lab.runs AS r WHERE EXISTS(SELECT 1 FROM lab.agents AS a WHERE a.run = r.run AND a.weight > r.score)
SELECT run, kind IN (SELECT agent FROM lab.agents WHERE weight > 1) AS known FROM lab.runs
SELECT run FROM lab.runs WHERE run NOT IN (SELECT run FROM lab.agents)
SELECT (SELECT STRUCT(a.agent AS agent, a.weight AS w) FROM lab.agents AS a WHERE a.run = r.run LIMIT 1).w AS w FROM lab.runs AS r
SELECT run, RANK() OVER (PARTITION BY kind ORDER BY score DESC) AS place, LAG(seed) OVER (ORDER BY day, run) AS before FROM lab.runs
SELECT run, SUM(score) OVER w AS total, FIRST_VALUE(seed) OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS first FROM lab.runs WINDOW w AS (PARTITION BY kind ORDER BY day)
SELECT run, COUNT(*) OVER () AS n, LAST_VALUE(kind IGNORE NULLS) OVER (PARTITION BY run ORDER BY seed) AS last FROM lab.runs
SELECT run, score FROM lab.runs WHERE TRUE QUALIFY ROW_NUMBER() OVER (PARTITION BY run ORDER BY day DESC) = 1
SELECT kind, SUM(SUM(score)) OVER (ORDER BY kind) AS running FROM lab.runs GROUP BY kind
SELECT kind, COUNT(*) AS n, COUNTIF(score > 1) AS good, AVG(IF(seed > 1, score, NULL)) AS mean FROM lab.runs GROUP BY kind HAVING MAX(day) > DATE '2024-01-01'
SELECT kind, ARRAY_AGG(run ORDER BY score DESC LIMIT 2) AS best, STRING_AGG(DISTINCT run, '-' ORDER BY run) AS names FROM lab.runs GROUP BY kind
SELECT kind, ARRAY_AGG(STRUCT(run AS run, score AS score) ORDER BY day) AS found FROM lab.runs GROUP BY kind
SELECT f.score FROM (SELECT kind, ARRAY_AGG(STRUCT(run AS run, score AS score)) AS found FROM lab.runs GROUP BY kind), UNNEST(found) AS f
SELECT ANY_VALUE(info).x AS x FROM lab.runs GROUP BY ALL
SELECT DIV(seed, 2) AS half, EXTRACT(YEAR FROM day) AS year, COUNT(DISTINCT run) AS n FROM lab.runs GROUP BY half, 2 ORDER BY n DESC, half
SELECT kind, seed, SUM(score) AS s FROM lab.runs GROUP BY ROLLUP (kind, seed)
SELECT CASE WHEN seed > 1 THEN kind WHEN score > 2 THEN run ELSE 'x' END AS a, CASE kind WHEN run THEN seed END AS b, COALESCE(kind, run) AS c, NULLIF(seed, 3) AS d, IFNULL(score, 0) AS e FROM lab.runs
SELECT IF(seed > 1, STRUCT(kind AS a, 1 AS b), STRUCT(run, seed)).b AS b FROM lab.runs
SELECT SAFE_CAST(run AS INT64) AS n, CAST(seed AS STRING) AS s, run AS r, (kind) AS k, SAFE.LN(score) AS l FROM lab.runs
SELECT * FROM (SELECT run, kind, score FROM lab.runs) PIVOT (SUM(score) AS total, COUNT(*) AS n FOR kind IN ('a', 'b'))
SELECT * FROM (SELECT kind, score FROM lab.runs) PIVOT (AVG(score) FOR kind IN ('a', 'b'))
SELECT run, what, value FROM (SELECT run, score, CAST(seed AS FLOAT64) AS other FROM lab.runs) UNPIVOT (value FOR what IN (score, other))
SELECT t FROM lab.agents AS t
SELECT run FROM (SELECT run, seed FROM lab.runs ORDER BY score LIMIT 2) WHERE seed > 1 ORDER BY run
SELECT a.run FROM lab.agents AS a CROSS JOIN (SELECT MAX(day) AS last FROM lab.runs WHERE kind = 'x') AS newest WHERE newest.last > DATE '2024-01-01'
SELECT r.run, (SELECT SUM(p.x) FROM UNNEST(r.parts) AS p WHERE p.n = r.kind AND EXISTS(SELECT 1 FROM lab.agents AS a WHERE a.run = r.run AND a.weight > p.x)) AS s FROM lab.runs AS r
SELECT TO_JSON_STRING(info) AS j, ARRAY_LENGTH(parts) AS n, ARRAY_TO_STRING(tags, ',') AS t FROM lab.runs
SELECT run FROM lab.runs GROUP BY run, day HAVING COUNT(*) > 1
""".strip().splitlines()
)
