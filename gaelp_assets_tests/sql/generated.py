"""Random GoogleSQL: small tables with NULLs and dirty text, names that stand for several things, and every common clause."""

from __future__ import annotations

import random
from typing import Final

VALUES: Final = {
    "INT64": ("0", "1", "2", "3", "-1", "7", "NULL", "9223372036854775807"),
    "FLOAT64": ("0.5", "1.5", "-2.5", "1e308", "0.0", "NULL", "2.675", "3.0"),
    "STRING": (
        "'a'", "'b'", "''", "'12'", "'0x1F'", "'1.5'", "'straße'", "'n/a'", "NULL", "'2024-02-29'", "'TRUE'", "' 7 '", "'1e3'",
        "'2024-01-01 10:20:30+5'", "'{\"a\": 1}'", "'ä,b,,'", "'20240131'",
    ),
    "DATE": ("DATE '2024-02-29'", "DATE '2023-12-31'", "DATE '2024-01-01'", "NULL", "DATE '9999-12-31'"),
    "TIMESTAMP": ("TIMESTAMP '2024-02-29 23:59:59.999999+00'", "TIMESTAMP '1969-12-31 23:59:59.5+00'", "NULL"),
    "DATETIME": ("DATETIME '2024-02-29 10:11:12.5'", "DATETIME '2023-12-31 00:00:00'", "NULL"),
    "NUMERIC": ("NUMERIC '1.5'", "NUMERIC '-0.000000001'", "NUMERIC '19.99'", "NUMERIC '0'", "NULL"),
    "BOOL": ("TRUE", "FALSE", "NULL"),
    "BYTES": ("b'a'", "b''", "NULL"),
    "TIME": ("TIME '10:11:12.5'", "TIME '00:00:00'", "TIME '23:59:59.999999'", "NULL"),
}  # fmt: skip
# What can be made of values: {0}, {1}, ... are expressions of the types before the arrow.
FORMS: Final = tuple(
    (tuple(parts.split()), result, text)
    for parts, result, text in (
        line.split(" | ")
        for line in """
INT64 INT64 | INT64 | {0} + {1}
INT64 INT64 | INT64 | {0} - {1}
INT64 INT64 | INT64 | {0} * {1}
INT64 INT64 | FLOAT64 | {0} / {1}
INT64 INT64 | INT64 | MOD({0}, {1})
INT64 INT64 | INT64 | DIV({0}, {1})
INT64 | INT64 | -({0})
INT64 INT64 | INT64 | SAFE_ADD({0}, {1})
INT64 INT64 | INT64 | SAFE_MULTIPLY({0}, {1})
INT64 INT64 | INT64 | SAFE_SUBTRACT({0}, {1})
INT64 INT64 | INT64 | SAFE.MOD({0}, {1})
INT64 INT64 | INT64 | SAFE.DIV({0}, {1})
INT64 INT64 | INT64 | {0} & {1}
FLOAT64 | FLOAT64 | SAFE.LN({0})
INT64 | INT64 | [10, 20, NULL][SAFE_OFFSET({0})]
INT64 | INT64 | [10, 20, NULL][ORDINAL({0})]
STRING INT64 | STRING | SPLIT({0}, ',')[SAFE_ORDINAL({1})]
FLOAT64 INT64 | FLOAT64 | {0} * {1}
FLOAT64 FLOAT64 | FLOAT64 | {0} + {1}
FLOAT64 FLOAT64 | FLOAT64 | {0} * {1} - {0}
FLOAT64 FLOAT64 | FLOAT64 | {0} / {1}
FLOAT64 FLOAT64 | FLOAT64 | SAFE_ADD({0}, {1})
FLOAT64 FLOAT64 | FLOAT64 | SAFE_DIVIDE({0}, {1})
FLOAT64 | FLOAT64 | ROUND({0}, 1)
FLOAT64 | FLOAT64 | FLOOR({0})
FLOAT64 | INT64 | SAFE_CAST({0} AS INT64)
FLOAT64 | STRING | CAST({0} AS STRING)
NUMERIC NUMERIC | NUMERIC | {0} + {1}
NUMERIC NUMERIC | NUMERIC | {0} * {1}
NUMERIC NUMERIC | NUMERIC | {0} / {1}
NUMERIC INT64 | NUMERIC | {0} * {1}
NUMERIC FLOAT64 | FLOAT64 | {0} * {1}
NUMERIC INT64 | NUMERIC | DIV({0}, {1})
NUMERIC INT64 | NUMERIC | MOD({0}, {1})
NUMERIC | NUMERIC | ROUND({0}, 1)
NUMERIC | NUMERIC | TRUNC({0})
NUMERIC | STRING | CAST({0} AS STRING)
INT64 | STRING | CAST({0} AS STRING)
STRING | INT64 | SAFE_CAST({0} AS INT64)
STRING | FLOAT64 | SAFE_CAST({0} AS FLOAT64)
STRING | NUMERIC | SAFE_CAST({0} AS NUMERIC)
STRING | DATE | SAFE_CAST({0} AS DATE)
STRING | TIMESTAMP | SAFE_CAST({0} AS TIMESTAMP)
STRING | DATETIME | SAFE_CAST({0} AS DATETIME)
STRING | BOOL | SAFE_CAST({0} AS BOOL)
STRING | INT64 | CAST({0} AS INT64)
STRING | DATE | CAST({0} AS DATE)
STRING | STRING | JSON_VALUE({0}, '$.a')
STRING | STRING | JSON_QUERY({0}, '$.a')
STRING | STRING | TO_JSON_STRING({0})
STRING | STRING | UPPER({0})
STRING | STRING | SAFE.SUBSTR({0}, 1, -1)
STRING INT64 | STRING | RIGHT({0}, {1})
STRING STRING | INT64 | STRPOS({0}, {1})
STRING STRING | BOOL | {0} LIKE CONCAT('%', {1}, '%')
STRING | TIME | SAFE_CAST({0} AS TIME)
TIME | STRING | CAST({0} AS STRING)
TIME | INT64 | EXTRACT(MINUTE FROM {0})
STRING | STRING | LOWER({0})
STRING | STRING | TRIM({0})
STRING INT64 | STRING | SUBSTR({0}, {1})
STRING INT64 INT64 | STRING | SUBSTR({0}, {1}, {2})
STRING STRING | STRING | CONCAT({0}, {1})
STRING INT64 | STRING | {0} || {1}
STRING INT64 | STRING | LEFT({0}, {1})
STRING | INT64 | LENGTH({0})
STRING | INT64 | ARRAY_LENGTH(SPLIT({0}, ','))
STRING STRING | STRING | REPLACE({0}, {1}, 'z')
STRING STRING | BOOL | STARTS_WITH({0}, {1})
STRING | STRING | REGEXP_EXTRACT({0}, r'[a-z]+')
STRING | DATE | SAFE.PARSE_DATE('%Y-%m-%d', {0})
STRING | STRING | TO_HEX(MD5({0}))
STRING | BYTES | CAST({0} AS BYTES)
BYTES | STRING | TO_HEX({0})
BYTES | INT64 | LENGTH({0})
BYTES BYTES | BYTES | CONCAT({0}, {1})
BYTES | STRING | TO_HEX(SHA256({0}))
BYTES | STRING | SAFE_CAST({0} AS STRING)
DATE INT64 | DATE | {0} + {1}
DATE INT64 | DATE | {0} - {1}
INT64 DATE | DATE | {0} + {1}
DATE | DATE | {0} - 40
DATE INT64 | DATE | DATE_ADD({0}, INTERVAL {1} MONTH)
DATE | DATE | DATE_SUB({0}, INTERVAL 2 DAY)
DATE | DATE | DATE_TRUNC({0}, MONTH)
DATE | DATE | DATE_TRUNC({0}, WEEK)
DATE DATE | INT64 | DATE_DIFF({0}, {1}, DAY)
DATE | DATETIME | {0} + INTERVAL 1 DAY
DATE | INT64 | EXTRACT(DAYOFWEEK FROM {0})
DATE | STRING | CAST({0} AS STRING)
DATE | STRING | FORMAT_DATE('%Y/%m', {0})
TIMESTAMP | DATE | DATE({0})
TIMESTAMP | DATE | DATE({0}, 'Asia/Tokyo')
TIMESTAMP | DATETIME | DATETIME({0}, 'America/New_York')
TIMESTAMP | TIMESTAMP | TIMESTAMP_TRUNC({0}, DAY, 'Asia/Kolkata')
TIMESTAMP | TIMESTAMP | TIMESTAMP_TRUNC({0}, HOUR)
TIMESTAMP | INT64 | EXTRACT(HOUR FROM {0} AT TIME ZONE 'Asia/Tokyo')
TIMESTAMP TIMESTAMP | INT64 | TIMESTAMP_DIFF({0}, {1}, HOUR)
TIMESTAMP | STRING | CAST({0} AS STRING)
TIMESTAMP | INT64 | UNIX_SECONDS({0})
TIMESTAMP | TIME | EXTRACT(TIME FROM {0})
TIMESTAMP | TIMESTAMP | {0} - INTERVAL 3 HOUR
DATETIME | DATE | EXTRACT(DATE FROM {0})
DATETIME | DATETIME | DATETIME_ADD({0}, INTERVAL 1 HOUR)
DATETIME | DATETIME | DATETIME_TRUNC({0}, HOUR)
DATETIME DATETIME | INT64 | DATETIME_DIFF({0}, {1}, HOUR)
DATETIME | TIMESTAMP | TIMESTAMP({0}, 'America/New_York')
DATETIME | STRING | CAST({0} AS STRING)
BOOL | INT64 | CAST({0} AS INT64)
BOOL BOOL | BOOL | {0} AND {1}
BOOL BOOL | BOOL | {0} OR NOT {1}
C C | BOOL | {0} = {1}
C C | BOOL | {0} <> {1}
C C | BOOL | {0} < {1}
C C C | BOOL | {0} BETWEEN {1} AND {2}
T | BOOL | {0} IS NULL
C C | BOOL | {0} IN ({1}, {0})
BOOL T T | T | IF({0}, {1}, {2})
BOOL T T | T | CASE WHEN {0} THEN {1} ELSE {2} END
T T | T | COALESCE({0}, {1})
C C | T | NULLIF({0}, {1})
C C | O | GREATEST({0}, {1})
""".strip().splitlines()
    )
)
# What an inner query says of a value of the query around it. The names of the inner query may hide outer ones.
CORRELATED: Final = tuple(
    tuple(line.split(" | "))
    for line in """
INT64 | INT64 | (SELECT MAX(v) FROM UNNEST([1, 2, NULL, 7]) AS v WHERE v > {0})
INT64 | INT64 | (SELECT COUNT(*) FROM UNNEST([STRUCT(1 AS x, 'a' AS y), (2, NULL)]) AS p WHERE p.x = {0})
INT64 | INT64 | (SELECT SUM(x) FROM UNNEST([STRUCT(1 AS x, 'a' AS y), (2, 'b')]) WHERE y <> 'b')
STRING | INT64 | (SELECT o FROM UNNEST(['a', 'b', NULL]) AS v WITH OFFSET AS o WHERE v = {0})
T | INT64 | ARRAY_LENGTH(ARRAY(SELECT v FROM UNNEST([1, 2, 3]) AS v WHERE {0} IS NOT NULL))
C | BOOL | EXISTS(SELECT 1 FROM UNNEST([1, 2]) AS v WHERE {0} = {0} AND v > 1)
INT64 | BOOL | {0} IN (SELECT v FROM UNNEST([1, 2, NULL]) AS v WHERE v > 1 OR v IS NULL)
INT64 | BOOL | {0} NOT IN (SELECT v FROM UNNEST([1, 2]) AS v)
INT64 | BOOL | {0} IN UNNEST([1, 2, NULL])
STRING | STRING | (SELECT STRING_AGG(v, '-' ORDER BY o DESC) FROM UNNEST(SPLIT({0}, ',')) AS v WITH OFFSET AS o)
INT64 | INT64 | (SELECT AS STRUCT {0} AS k, 'b' AS n).k
""".strip().splitlines()
)
RECORDS: Final = (
    ("[STRUCT(1 AS x, 'a' AS n), (2, NULL), (NULL, 'b')]", (("x", "INT64"), ("n", "STRING"))),
    ("[STRUCT('12' AS k, DATE '2024-02-29' AS z), (NULL, NULL)]", (("k", "STRING"), ("z", "DATE"))),
)
FRAMES: Final = (
    "", "ROWS BETWEEN 1 PRECEDING AND CURRENT ROW", "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING", "ROWS UNBOUNDED PRECEDING",
    "ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING", "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
    "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW", "RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
)  # fmt: skip
# Functions over a window: what they take, what they give, and whether a frame may stand in their window.
NUMBERING: Final = (
    ("T", "INT64", "RANK()", False), ("T", "INT64", "DENSE_RANK()", False), ("T", "INT64", "ROW_NUMBER()", False),
    ("T", "INT64", "NTILE(2)", False), ("T", "FLOAT64", "PERCENT_RANK()", False), ("T", "FLOAT64", "CUME_DIST()", False),
    ("T", "T", "LAG({0})", False), ("T", "T", "LEAD({0}, 2)", False), ("C", "C", "FIRST_VALUE({0})", True),
    ("C", "C", "LAST_VALUE({0})", True), ("C", "C", "NTH_VALUE({0}, 2)", True), ("C", "C", "LAST_VALUE({0} IGNORE NULLS)", True),
    ("INT64", "INT64", "SUM({0})", True), ("NUMERIC", "NUMERIC", "AVG({0})", True), ("O", "O", "MAX({0})", True),
    ("T", "INT64", "COUNT({0})", True), ("BOOL", "INT64", "COUNTIF({0})", True), ("FLOAT64", "FLOAT64", "SUM({0})", True),
)  # fmt: skip
AGGREGATES: Final = (
    ("INT64", "INT64", "SUM({0})"), ("FLOAT64", "FLOAT64", "SUM({0})"), ("NUMERIC", "NUMERIC", "SUM({0})"),
    ("INT64", "FLOAT64", "AVG({0})"),
    ("NUMERIC", "NUMERIC", "AVG({0})"), ("T", "INT64", "COUNT({0})"), ("T", "INT64", "COUNT(DISTINCT {0})"), ("O", "O", "MAX({0})"),
    ("O", "O", "MIN({0})"), ("BOOL", "INT64", "COUNTIF({0})"), ("BOOL", "BOOL", "LOGICAL_OR({0})"), ("FLOAT64", "FLOAT64", "AVG({0})"),
)  # fmt: skip
SET_OPERATIONS: Final = ("UNION ALL", "UNION DISTINCT", "EXCEPT DISTINCT", "INTERSECT DISTINCT")
NAMES: Final = ("x", "y", "z", "k")
KINDS: Final = tuple(VALUES)


class Queries:
    """Writes one query after the other from a source of randomness."""

    def __init__(self, source: random.Random) -> None:
        self._r = source
        self._count = 0
        self.layered = False
        """Whether the query has a subquery, or groups that it leaves out again."""

    def query(self) -> str:
        """A query of one level or more, now and then with a mistake in it."""
        sql, columns = self._select(self._r.choice((0, 0, 1)))
        if self._r.random() < 0.15:
            for _ in range(self._r.choice((1, 1, 2))):
                other, _ = self._select(0, [kind for _, kind in columns])
                sql = f"({sql}) {self._r.choice(SET_OPERATIONS)} {other}"
            if self._r.random() < 0.3 and columns:
                sql += f" ORDER BY {', '.join(n for n, _ in columns)}"
        elif self._r.random() < 0.1:
            self.layered = True
            sql = f"WITH w AS ({sql}) SELECT * FROM w"
        return sql

    def _table(self) -> tuple[str, list[tuple[str, str]]]:
        columns = [(name, self._r.choice(KINDS)) for name in self._r.sample(NAMES, self._r.randint(2, 3))]
        first = ", ".join(f"CAST({self._value(kind)} AS {kind}) AS {name}" for name, kind in columns)
        rows = [", ".join(self._value(kind) for _, kind in columns) for _ in range(self._r.randint(1, 3))]
        return f"(SELECT {first} UNION ALL " + " UNION ALL ".join(
            f"SELECT {row}" for row in rows
        ) + ")", columns

    def _value(self, kind: str, *, null: bool = True) -> str:
        """A literal. One that is NULL may keep DuckDB from looking at what stands beside it in the same function."""
        return self._r.choice([v for v in VALUES[kind] if null or v != "NULL"])

    def _source(self, depth: int) -> tuple[str, list[tuple[str, str]]]:
        """FROM, and the columns that it makes visible, as they are written."""
        self.layered = self.layered or depth > 0
        inner, columns = self._select(depth - 1) if depth else self._table()
        left = f"t{self._number()}"
        text = f"{inner if not depth else f'({inner})'} AS {left}"
        named = [(name, kind) for name, kind in columns if name]
        chance = self._r.random()
        if chance < 0.25 and named:
            other, more = self._table()
            right = f"t{self._number()}"
            side = self._r.choice(("JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"))
            shared = [(n, k) for n, k in named if (n, k) in more and [c for c, _ in columns].count(n) == 1]
            if shared and self._r.random() < 0.8:
                return f"{text} {side} {other} AS {right} USING ({shared[0][0]})", named + [
                    c for c in more if c[0] not in dict(named)
                ]
            (a, _), pairs = self._r.choice(named), [n for n, k in more]
            on = (
                f"{left}.{a} IS NOT NULL OR {right}.{self._r.choice(pairs)} IS NULL"
                if "FULL" not in side
                else "TRUE"
            )
            return f"{text} {side} {other} AS {right} ON {on}", [(f"{left}.{n}", k) for n, k in named] + [
                (f"{right}.{n}", k) for n, k in more
            ]
        if chance < 0.35:
            element = self._r.choice(("x", "v"))
            return f"{text} CROSS JOIN UNNEST([1, 2, NULL]) AS {element}", [
                (f"{left}.{n}", k) for n, k in named
            ] + [(element, "INT64")]
        if chance < 0.43:
            array, fields = self._r.choice(RECORDS)
            join = self._r.choice((", UNNEST", " LEFT JOIN UNNEST", " CROSS JOIN UNNEST"))
            record, counted = self._r.choice(("p", "r")), self._r.random() < 0.3
            text += f"{join}({array}) AS {record}" + (" WITH OFFSET AS o" if counted else "")
            text += " ON TRUE" if "LEFT" in join else ""
            return text, [(f"{left}.{n}", k) for n, k in named] + [
                (f"{record}.{n}" if n in dict(named) else self._r.choice((n, f"{record}.{n}")), k)
                for n, k in fields
            ] + ([("o", "INT64")] if counted and "o" not in dict(named) else [])
        return text, [(self._r.choice((n, n, f"{left}.{n}")), k) for n, k in named]

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _expression(
        self, kind: str, columns: list[tuple[str, str]], depth: int, *, null: bool = False
    ) -> str:
        fitting = [name for name, own in columns if own == kind]
        if depth <= 0 or self._r.random() < 0.35:
            if self._r.random() < 0.03 and columns:
                return self._r.choice(columns)[0]  # Any type: mostly an error.
            return (
                self._r.choice(fitting)
                if fitting and self._r.random() < 0.85
                else self._value(kind, null=null)
            )
        if self._r.random() < 0.06:
            inner = [form for form in CORRELATED if form[1] == kind]
            if inner:
                self.layered = True
                part, _, text = self._r.choice(inner)
                variable = self._r.choice(KINDS) if part in "TC" else part
                value = self._expression(variable, columns, 0 if part == "C" else depth - 1, null=part == "T")
                return f"({text.format(value)})"
        forms = [
            form
            for form in FORMS
            if form[1] == kind or (form[1] in "TO" and not (form[1] == "O" and kind == "BYTES"))
        ]
        parts, result, text = self._r.choice(forms)
        variable = kind if result in "TO" else self._r.choice(KINDS)
        # A C is a column or a literal: beside a NULL, DuckDB does not look at the other side of a comparison.
        values = [
            self._expression(
                variable if p in "TOC" else p, columns, 0 if p == "C" else depth - 1, null=p == "T"
            )
            for p in parts
        ]
        return "(" + text.format(*values) + ")"

    def _aggregate(self, columns: list[tuple[str, str]]) -> tuple[str, str]:
        argument, result, text = self._r.choice(AGGREGATES)
        variable = self._r.choice(KINDS)
        kind = variable if argument in "TO" else argument
        return text.format(self._expression(kind, columns, 1)), variable if result in "TO" else result

    def _over(self, columns: list[tuple[str, str]]) -> tuple[str, str]:
        """A function over a window whose order leaves no doubt: rows that are equal in it are equal in all."""
        argument, result, text, framed = self._r.choice(NUMBERING)
        column, kind = self._r.choice(columns)
        variable = self._r.choice(KINDS) if argument in "TO" else kind if argument == "C" else argument
        # A C is a column: of a NULL that is known beforehand, the evaluator has no first value.
        # What is in no frame need not be computed: an argument in a frame is none that can fail.
        value = column if argument == "C" else self._expression(variable, columns, 0 if framed else 1)
        names = [n for n, _ in columns]
        self._r.shuffle(names)
        order = ", ".join(
            n + self._r.choice(("", "", " DESC", " ASC NULLS LAST", " DESC NULLS FIRST")) for n in names
        )
        exact = [n for n, kind in columns if kind != "FLOAT64"]
        parts = f"PARTITION BY {self._r.choice(exact)} " if exact and self._r.random() < 0.6 else ""
        frame = self._r.choice(FRAMES) if framed else ""
        window = f"{parts}ORDER BY {order} {frame}".strip()
        return f"{text.format(value)} OVER ({window})", variable if result in "TOC" else result

    def _select(self, depth: int, kinds: list[str] | None = None) -> tuple[str, list[tuple[str, str]]]:
        source, columns = self._source(depth)
        grouped = kinds is None and self._r.random() < 0.4
        wanted = kinds or [
            self._r.choice(columns or [("", "INT64")])[1] for _ in range(self._r.randint(1, 3))
        ]
        names = self._r.sample([*NAMES, "n", "s"], len(wanted))
        items = [
            (self._expression(kind, columns, 2), name, kind) for kind, name in zip(wanted, names, strict=True)
        ]
        where = f" WHERE {self._expression('BOOL', columns, 1)}" if self._r.random() < 0.3 else ""
        result = [(name, kind) for _, name, kind in items]
        tail = ""
        if grouped:
            aggregate, kind = self._aggregate(columns)
            keys = [
                self._r.choice((name, str(number), text if "." in text else name))
                for number, (text, name, _) in enumerate(items, 1)
            ]
            items.append((aggregate, "m", kind))
            result.append(("m", kind))
            tail = " GROUP BY " + ", ".join(keys)
            if self._r.random() < 0.4:
                self.layered = True
                tail += f" HAVING {self._expression('BOOL', result[:-1], 1)}"
        elif kinds is None and columns and self._r.random() < 0.2:
            self.layered = True
            function, kind = self._over(columns)
            items.append((function, "m", kind))
            result.append(("m", kind))
        elif kinds is None and self._r.random() < 0.2:
            name, _ = self._r.choice(result)
            tail = f" QUALIFY ROW_NUMBER() OVER (PARTITION BY {name} ORDER BY {', '.join(n for n, _ in result)}) = 1"
            where = where or " WHERE TRUE"
        if kinds is None and self._r.random() < 0.3:
            tail += f" ORDER BY {self._expression(self._r.choice(result)[1], result, 1)}, " + ", ".join(
                n for n, _ in result
            )
        distinct = "DISTINCT " if not grouped and not tail and self._r.random() < 0.15 else ""
        if (
            kinds is None
            and not grouped
            and self._r.random() < 0.12
            and "QUALIFY" not in tail
            and "ORDER" not in tail
        ):
            return f"SELECT {distinct}* FROM {source}{where}", columns if all(
                "." not in n for n, _ in columns
            ) else []
        chosen = ", ".join(f"{text} AS {name}" for text, name, _ in items)
        return f"SELECT {distinct}{chosen} FROM {source}{where}{tail}", result
