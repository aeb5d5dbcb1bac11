"""What a query may be made of: every function and every expression whose results were compared between GoogleSQL and DuckDB.

A name that is not here is refused, and so is an argument that is not here (a rounding mode). Adding a line takes an example in
`gaelp_assets_tests/sql/examples`, and a transform in `transforms` where sqlglot's translation is not equal.

The keys are the classes of sqlglot's tree; a few GoogleSQL functions share one. Then come the names that people write, the arguments
(after `+` those that are no expressions), and the signatures (see `signatures`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from gaelp_assets.errors import Problem

if TYPE_CHECKING:
    from sqlglot import exp


class Allowed(NamedTuple):
    """A function or expression as people write it, the arguments (sqlglot's names) that were compared, and its signatures."""

    names: tuple[str, ...]
    arguments: tuple[str, ...]
    flags: tuple[str, ...] = ()
    signatures: str = ""


def _table(text: str) -> Mapping[str, Allowed]:
    table = {}
    for line in text.strip().replace("\n;", " ;").splitlines():
        key, names, arguments, signatures = (part.strip() for part in (*line.split("|"), "")[:4])
        values, _, flags = arguments.partition("+")
        named = tuple(n.strip() for n in names.split(" / "))
        table[key] = Allowed(named, tuple(values.split()), tuple(flags.split()), signatures)
    return table


FUNCTIONS: Final = _table("""
Abs | ABS | this | N -> N
AnyValue | ANY_VALUE | this | T -> T
ApproxDistinct | APPROX_COUNT_DISTINCT | this | O -> INT64
ApproxQuantiles | APPROX_QUANTILES | this expression | O INT64 -> [O]
ArgMax | MAX_BY | this expression | T O -> T
ArgMin | MIN_BY | this expression | T O -> T
ArrayAgg | ARRAY_AGG | this | A -> [A]
ArrayConcat | ARRAY_CONCAT | this expressions + null_propagation | [T] [T]... -> [T]
ArrayConcatAgg | ARRAY_CONCAT_AGG | this | [T] -> [T]
ArrayReverse | ARRAY_REVERSE | this | [T] -> [T]
ArraySize | ARRAY_LENGTH | this | [T] -> INT64
ArrayToString | ARRAY_TO_STRING | this expression | [STRING] STRING -> STRING
Avg | AVG | this | INT64 -> FLOAT64 ; NUMERIC -> NUMERIC ; FLOAT64 -> FLOAT64
BitwiseAndAgg | BIT_AND | this | INT64 -> INT64
BitwiseCount | BIT_COUNT | this | INT64 -> INT64 ; BYTES -> !
BitwiseOrAgg | BIT_OR | this | INT64 -> INT64
BitwiseXorAgg | BIT_XOR | this | INT64 -> INT64
ByteLength | BYTE_LENGTH / OCTET_LENGTH | this | B -> INT64
Ceil | CEIL / CEILING | this | INT64 -> FLOAT64 ; NUMERIC -> NUMERIC ; FLOAT64 -> FLOAT64
Coalesce | COALESCE / IFNULL | this expressions | T T... -> T
Concat | CONCAT | expressions + safe coalesce | STRING STRING... -> STRING ; BYTES BYTES... -> BYTES
Corr | CORR | this expression | FLOAT64 FLOAT64 -> FLOAT64 ; NUMERIC NUMERIC -> !
Count | COUNT | this + big_int | T -> INT64
CountIf | COUNTIF | this | BOOL -> INT64
CovarPop | COVAR_POP | this expression | FLOAT64 FLOAT64 -> FLOAT64 ; NUMERIC NUMERIC -> !
CovarSamp | COVAR_SAMP | this expression | FLOAT64 FLOAT64 -> FLOAT64 ; NUMERIC NUMERIC -> !
CumeDist | CUME_DIST | | -> FLOAT64
CurrentDate | CURRENT_DATE | this | STRING? -> DATE
CurrentDatetime | CURRENT_DATETIME | this | STRING? -> DATETIME
CurrentTimestamp | CURRENT_TIMESTAMP | | -> TIMESTAMP
Date | DATE | this zone | DATE -> DATE ; DATETIME -> DATE ; TIMESTAMP STRING? -> DATE ; STRING -> DATE
DateAdd | DATE_ADD | this expression + unit | DATE INT64 -> DATE ; DATETIME INT64 -> DATETIME ; TIMESTAMP INT64 -> TIMESTAMP
DateDiff | DATE_DIFF | this expression + unit date_part_boundary | DATE DATE -> INT64 ; DATETIME DATETIME -> INT64
; TIMESTAMP TIMESTAMP -> INT64
DateFromParts | DATE | year month day | INT64 INT64 INT64 -> DATE
DateFromUnixDate | DATE_FROM_UNIX_DATE | this | INT64 -> DATE
DateSub | DATE_SUB | this expression + unit | DATE INT64 -> DATE ; DATETIME INT64 -> DATETIME ; TIMESTAMP INT64 -> TIMESTAMP
DateTrunc | DATE_TRUNC | this + unit | DATE -> DATE ; DATETIME -> DATETIME ; TIMESTAMP -> TIMESTAMP
Datetime | DATETIME | this expression | DATE TIME? -> DATETIME ; DATETIME -> DATETIME ; TIMESTAMP STRING? -> DATETIME ; STRING -> DATETIME
DatetimeAdd | DATETIME_ADD | this expression + unit | DATETIME INT64 -> DATETIME
DatetimeDiff | DATETIME_DIFF | this expression + unit date_part_boundary | DATETIME DATETIME -> INT64
DatetimeSub | DATETIME_SUB | this expression + unit | DATETIME INT64 -> DATETIME
DatetimeTrunc | DATETIME_TRUNC | this + unit | DATETIME -> DATETIME ; DATE -> !
DenseRank | DENSE_RANK | | -> INT64
EndsWith | ENDS_WITH | this expression | STRING STRING -> BOOL ; BYTES BYTES -> !
ERROR | ERROR | expressions + this | STRING -> NULL
Exp | EXP | this | FLOAT64 -> FLOAT64 ; NUMERIC -> !
Extract | EXTRACT | expression + this | D -> INT64
FirstValue | FIRST_VALUE | this | T -> T
FromBase64 | FROM_BASE64 | this | STRING -> BYTES
Floor | FLOOR | this | INT64 -> FLOAT64 ; NUMERIC -> NUMERIC ; FLOAT64 -> FLOAT64
Format | FORMAT | this expressions | STRING T... -> STRING
GenerateDateArray | GENERATE_DATE_ARRAY | start end + step | DATE DATE -> [DATE]
GenerateSeries | GENERATE_ARRAY | start end step | INT64 INT64 INT64? -> [INT64] ; FLOAT64 FLOAT64 FLOAT64? -> !
; NUMERIC NUMERIC NUMERIC? -> !
Greatest | GREATEST | this expressions + ignore_nulls | O O... -> O
GroupConcat | STRING_AGG | this separator | STRING STRING? -> STRING ; BYTES BYTES? -> !
If | IF | this true false | BOOL T T -> T
IntDiv | DIV | this expression | INT64 INT64 -> INT64 ; NUMERIC NUMERIC -> NUMERIC
IsInf | IS_INF | this | FLOAT64 -> BOOL
IsNan | IS_NAN | this | FLOAT64 -> BOOL
JSONExtract | JSON_QUERY / JSON_EXTRACT | this + expression | STRING -> STRING ; JSON -> JSON
JSONExtractArray | JSON_QUERY_ARRAY / JSON_EXTRACT_ARRAY | this + expression | STRING -> [STRING] ; JSON -> !
JSONExtractScalar | JSON_VALUE / JSON_EXTRACT_SCALAR | this + expression scalar_only | STRING -> STRING ; JSON -> STRING
JSONFormat | TO_JSON_STRING | this | T -> STRING
JSONValueArray | JSON_VALUE_ARRAY / JSON_EXTRACT_STRING_ARRAY | this + expression | STRING -> [STRING] ; JSON -> !
Lag | LAG | this offset default | T INT64? T? -> T
LastDay | LAST_DAY | this + unit | DATE -> DATE ; DATETIME -> DATE
LastValue | LAST_VALUE | this | T -> T
Lead | LEAD | this offset default | T INT64? T? -> T
Least | LEAST | this expressions + ignore_nulls | O O... -> O
Left | LEFT | this expression | STRING INT64 -> STRING ; BYTES INT64 -> !
Length | LENGTH / CHAR_LENGTH | this + binary | B -> INT64
Ln | LN | this | FLOAT64 -> FLOAT64 ; NUMERIC -> !
Log | LOG / LOG10 | this expression | FLOAT64 FLOAT64? -> FLOAT64 ; NUMERIC NUMERIC? -> !
LogicalAnd | LOGICAL_AND | this | BOOL -> BOOL
LogicalOr | LOGICAL_OR | this | BOOL -> BOOL
Lower | LOWER | this | STRING -> STRING ; BYTES -> !
LowerHex | TO_HEX | this | BYTES -> STRING
MD5 | TO_HEX(MD5(...)) | this | B -> STRING
MD5Digest | MD5 | this | B -> BYTES
Max | MAX | this | O -> O
Min | MIN | this | O -> O
Mod | MOD | this expression | INT64 INT64 -> INT64 ; NUMERIC NUMERIC -> NUMERIC
NthValue | NTH_VALUE | this offset | T INT64 -> T
Ntile | NTILE | this | INT64 -> INT64
Nullif | NULLIF | this expression | E E -> E
Pad | LPAD / RPAD | this expression fill_pattern + is_left | STRING INT64 STRING? -> STRING ; BYTES INT64 BYTES? -> !
PercentRank | PERCENT_RANK | | -> FLOAT64
PercentileCont | PERCENTILE_CONT | this expression | FLOAT64 FLOAT64 -> FLOAT64 ; NUMERIC NUMERIC -> !
PercentileDisc | PERCENTILE_DISC | this expression | O FLOAT64 -> O
Pow | POW / POWER | this expression | FLOAT64 FLOAT64 -> FLOAT64 ; NUMERIC NUMERIC -> !
Rank | RANK | | -> INT64
RegexpExtract | REGEXP_EXTRACT | this expression + group null_if_no_match null_if_pos_overflow | STRING STRING -> STRING ; BYTES BYTES -> !
RegexpExtractAll | REGEXP_EXTRACT_ALL | this expression + group | STRING STRING -> [STRING] ; BYTES BYTES -> !
RegexpLike | REGEXP_CONTAINS | this expression | STRING STRING -> BOOL ; BYTES BYTES -> !
RegexpReplace | REGEXP_REPLACE | this expression replacement | STRING STRING STRING -> STRING ; BYTES BYTES BYTES -> !
Repeat | REPEAT | this times | STRING INT64 -> STRING ; BYTES INT64 -> !
Replace | REPLACE | this expression replacement | STRING STRING STRING -> STRING ; BYTES BYTES BYTES -> !
Right | RIGHT | this expression | STRING INT64 -> STRING ; BYTES INT64 -> !
Round | ROUND | this decimals | INT64 INT64? -> FLOAT64 ; NUMERIC INT64? -> NUMERIC ; FLOAT64 INT64? -> FLOAT64
RowNumber | ROW_NUMBER | | -> INT64
SHA1Digest | SHA1 | this | B -> BYTES
SHA2Digest | SHA256 | this + length | B -> BYTES
SafeAdd | SAFE_ADD | this expression | N N -> N
SafeDivide | SAFE_DIVIDE | this expression | FLOAT64 FLOAT64 -> FLOAT64 ; NUMERIC NUMERIC -> NUMERIC
SafeMultiply | SAFE_MULTIPLY | this expression | N N -> N
SafeSubtract | SAFE_SUBTRACT | this expression | N N -> N
Sign | SIGN | this | N -> N
Split | SPLIT | this expression | STRING STRING -> [STRING] ; BYTES BYTES -> !
Sqrt | SQRT | this | FLOAT64 -> FLOAT64 ; NUMERIC -> !
StartsWith | STARTS_WITH | this expression | STRING STRING -> BOOL ; BYTES BYTES -> !
Stddev | STDDEV | this | FLOAT64 -> FLOAT64 ; NUMERIC -> !
StddevPop | STDDEV_POP | this | FLOAT64 -> FLOAT64 ; NUMERIC -> !
StddevSamp | STDDEV_SAMP | this | FLOAT64 -> FLOAT64 ; NUMERIC -> !
StrPosition | STRPOS / INSTR | this substr | STRING STRING -> INT64 ; BYTES BYTES -> !
StrToDate | PARSE_DATE | this format + default_year | STRING STRING -> DATE
StrToTime | PARSE_TIMESTAMP | this format zone + default_year | STRING STRING STRING? -> TIMESTAMP
String | STRING | this zone | TIMESTAMP STRING? -> STRING ; DATETIME -> STRING ; DATE -> STRING ; TIME -> STRING ; JSON -> !
ParseDatetime | PARSE_DATETIME | this format + default_year | STRING STRING -> DATETIME
Substring | SUBSTR / SUBSTRING | this start length | STRING INT64 INT64? -> STRING ; BYTES INT64 INT64? -> !
Sum | SUM | this | N -> N
Time | TIME | this zone | TIMESTAMP STRING? -> TIME ; DATETIME -> TIME
TimeFromParts | TIME | hour min sec | INT64 INT64 INT64 -> TIME
TimeToStr | FORMAT_DATE / FORMAT_TIMESTAMP / FORMAT_DATETIME | this format zone | DATE STRING -> STRING
; DATETIME STRING -> STRING ; TIMESTAMP STRING STRING? -> STRING ; TIME STRING -> !
Timestamp | TIMESTAMP | this zone + with_tz | DATE STRING? -> TIMESTAMP ; DATETIME STRING? -> TIMESTAMP
; TIMESTAMP -> TIMESTAMP ; STRING -> TIMESTAMP ; STRING STRING -> !
TimestampAdd | TIMESTAMP_ADD | this expression + unit | TIMESTAMP INT64 -> TIMESTAMP
TimestampDiff | TIMESTAMP_DIFF | this expression + unit | TIMESTAMP TIMESTAMP -> INT64
TimestampSub | TIMESTAMP_SUB | this expression + unit | TIMESTAMP INT64 -> TIMESTAMP
TimestampTrunc | TIMESTAMP_TRUNC | this zone + unit | TIMESTAMP STRING? -> TIMESTAMP ; DATETIME -> DATETIME
ToBase64 | TO_BASE64 | this | BYTES -> STRING
Trim | TRIM / LTRIM / RTRIM | this expression + position | STRING STRING? -> STRING ; BYTES BYTES -> !
Trunc | TRUNC | this | INT64 -> FLOAT64 ; NUMERIC -> NUMERIC ; FLOAT64 -> FLOAT64
TsOrDsToDate | FORMAT_DATE | this | DATE -> DATE
TsOrDsToDatetime | DATETIME | this | DATE -> DATETIME ; DATETIME -> DATETIME ; TIMESTAMP -> DATETIME ; STRING -> DATETIME
TsOrDsToTime | TIME | this | TIMESTAMP -> TIME ; DATETIME -> TIME ; TIME -> TIME
TsOrDsToTimestamp | FORMAT_TIMESTAMP | this | TIMESTAMP -> TIMESTAMP
UnixDate | UNIX_DATE | this | DATE -> INT64
UnixMicros | UNIX_MICROS | this | TIMESTAMP -> INT64
UnixMillis | UNIX_MILLIS | this | TIMESTAMP -> INT64
UnixSeconds | UNIX_SECONDS | this | TIMESTAMP -> INT64
UnixToTime | TIMESTAMP_SECONDS / TIMESTAMP_MILLIS / TIMESTAMP_MICROS | this + scale | INT64 -> TIMESTAMP
Unhex | FROM_HEX | this | STRING -> BYTES
Upper | UPPER | this | STRING -> STRING ; BYTES -> !
Variance | VAR_SAMP / VARIANCE | this | FLOAT64 -> FLOAT64 ; NUMERIC -> !
VariancePop | VAR_POP | this | FLOAT64 -> FLOAT64 ; NUMERIC -> !
""")

OPERATORS: Final = _table("""
Add | + | this expression | N N -> N ; DATE INT64 -> DATE ; INT64 DATE -> DATE ; DATE INTERVAL -> DATETIME
; DATETIME INTERVAL -> DATETIME ; TIMESTAMP INTERVAL -> TIMESTAMP
And | AND | this expression | BOOL BOOL -> BOOL
Between | BETWEEN | this low high | O O O -> BOOL
BitwiseAnd | & | this expression | INT64 INT64 -> INT64 ; BYTES BYTES -> !
BitwiseLeftShift | << | this expression | INT64 INT64 -> INT64 ; BYTES INT64 -> !
BitwiseNot | ~ | this | INT64 -> INT64 ; BYTES -> !
BitwiseOr | bitwise or | this expression | INT64 INT64 -> INT64 ; BYTES BYTES -> !
BitwiseRightShift | >> | this expression | INT64 INT64 -> INT64 ; BYTES INT64 -> !
BitwiseXor | ^ | this expression | INT64 INT64 -> INT64 ; BYTES BYTES -> !
Div | division | this expression | INT64 INT64 -> FLOAT64 ; NUMERIC NUMERIC -> NUMERIC ; FLOAT64 FLOAT64 -> FLOAT64
EQ | = | this expression | E E -> BOOL
GT | > | this expression | O O -> BOOL
GTE | >= | this expression | O O -> BOOL
LT | < | this expression | O O -> BOOL
LTE | <= | this expression | O O -> BOOL
Like | LIKE | this expression + negate | STRING STRING -> BOOL ; BYTES BYTES -> !
Mul | * | this expression | N N -> N
NEQ | <> | this expression | E E -> BOOL
Neg | unary minus | this | N -> N
Not | NOT | this | BOOL -> BOOL
NullSafeEQ | IS NOT DISTINCT FROM | this expression | E E -> BOOL
NullSafeNEQ | IS DISTINCT FROM | this expression | E E -> BOOL
Or | OR | this expression | BOOL BOOL -> BOOL
Sub | - | this expression | N N -> N ; DATE INT64 -> DATE ; DATE INTERVAL -> DATETIME ; DATETIME INTERVAL -> DATETIME
; TIMESTAMP INTERVAL -> TIMESTAMP ; DATE DATE -> ! ; TIMESTAMP TIMESTAMP -> ! ; DATETIME DATETIME -> !
""")

SYNTAX: Final = _table("""
Alias | AS | this alias
Array | array literal, ARRAY(SELECT ...) | expressions + struct_name_inheritance value_constructor
AtTimeZone | AT TIME ZONE | this zone
Boolean | TRUE, FALSE | this
Bracket | array[OFFSET(i)], [ORDINAL(i)], [SAFE_OFFSET(i)] | this expressions + offset safe
ByteString | bytes literal | this + is_bytes
Case | CASE | this ifs default
Cast | CAST | this to
Column | column | this table db catalog
ColumnDef | type of a field | this kind
CTE | WITH ... AS | this alias
Cube | CUBE | expressions
DPipe | string concatenation | this expression + safe
DataType | type | this expressions nested kind
DataTypeParam | type parameter | this
Distinct | DISTINCT | expressions
Dot | struct field | this expression
Except | EXCEPT DISTINCT | this expression distinct with_ order limit offset
Exists | EXISTS | this
From | FROM | this
Group | GROUP BY | expressions all
GroupingSets | GROUPING SETS | expressions
HavingMax | HAVING MAX / HAVING MIN | this expression max
Having | HAVING | this
Identifier | name | this quoted
IgnoreNulls | IGNORE NULLS | this
In | IN | this expressions query unnest
Intersect | INTERSECT DISTINCT | this expression distinct with_ order limit offset
Interval | INTERVAL | this unit
Is | IS | this expression
JSONPath | JSON path | expressions
JSONPathKey | JSON path key | this
JSONPathRoot | JSON path root |
JSONPathSubscript | JSON path subscript | this
Join | JOIN | this kind side on using method
Limit | LIMIT | this expression
Literal | literal | this is_string
Null | NULL |
Offset | OFFSET | this expression
Order | ORDER BY | this expressions
Ordered | ORDER BY item | this desc nulls_first
Parameter | @parameter | this
Paren | ( ) | this
Pivot | PIVOT, UNPIVOT | expressions fields alias unpivot include_nulls + columns prefixed_pivot_columns pivot_column_naming
PivotAlias | AS in PIVOT | this alias
PropertyEQ | STRUCT field | this expression
Qualify | QUALIFY | this
RawString | raw string | this
RespectNulls | RESPECT NULLS | this
Rollup | ROLLUP | expressions
SafeFunc | SAFE. prefix | this
Select | SELECT | expressions from_ joins where group having qualify windows order limit offset distinct with_ kind
Star | * | except_ replace
Struct | STRUCT | expressions
Subquery | subquery | this alias with_ order limit offset pivots joins
Table | table | this db catalog alias pivots joins
TableAlias | alias | this columns
TryCast | SAFE_CAST | this to safe
Tuple | tuple | expressions
Union | UNION | this expression distinct with_ order limit offset
Unnest | UNNEST | expressions alias offset explode_array
Var | name | this
WeekStart | WEEK(day) | this
Where | WHERE | this
Window | OVER | this partition_by order spec over alias
WindowSpec | window frame | kind start start_side end end_side
With | WITH | expressions recursive
""")

ALLOWED: Final = {**SYNTAX, **OPERATORS, **FUNCTIONS}
FUNCTION_NAMES: Final = tuple(sorted({name for allowed in FUNCTIONS.values() for name in allowed.names}))


_OF_JSON: Final = "CAST(JSON_VALUE(x, '$') AS ...)"
_CASES: Final = "CASE WHEN ... THEN ... END"
_INSTEAD: Final = {
    "ANY": "a list of conditions with OR",
    "APPROX_TOP_COUNT": "GROUP BY with ORDER BY COUNT(*) DESC LIMIT n",
    "APPROX_TOP_SUM": "GROUP BY with ORDER BY SUM(x) DESC LIMIT n",
    "BOOL": _OF_JSON,
    "COLLATE": "LOWER",
    "CONTAINS_SUBSTR": "STRPOS(LOWER(x), LOWER(y)) > 0",
    "EXTERNAL_QUERY": "a table that a collector loads",
    "FARM_FINGERPRINT": "TO_HEX(SHA256(x))",
    "FLOAT64": _OF_JSON,
    "GENERATE_TIMESTAMP_ARRAY": "TIMESTAMP_ADD(t, INTERVAL n HOUR) over UNNEST(GENERATE_ARRAY(0, 23)) AS n",
    "GENERATE_UUID": "a key of the rows",
    "HLL_COUNT.INIT": "APPROX_COUNT_DISTINCT",
    "HLL_COUNT.MERGE": "APPROX_COUNT_DISTINCT over the rows themselves",
    "IEEE_DIVIDE": "SAFE_DIVIDE",
    "INITCAP": "UPPER or LOWER",
    "INT64": _OF_JSON,
    "LAX_BOOL": _OF_JSON,
    "LAX_FLOAT64": _OF_JSON,
    "LAX_INT64": _OF_JSON,
    "LAX_STRING": "JSON_VALUE",
    "MERGE": "a relation of the catalogue, which a refresh replaces slice by slice",
    "NET.HOST": "REGEXP_EXTRACT(url, r'^https?://([^/:?#]+)')",
    "NET.PUBLIC_SUFFIX": "REGEXP_EXTRACT of the host",
    "NET.REG_DOMAIN": "REGEXP_EXTRACT of the host",
    "PARSE_JSON": "JSON_VALUE or JSON_QUERY of the text itself",
    "RAND": "TO_HEX(MD5(key)) for a stable order",
    "RANGE_BUCKET": _CASES,
    "SESSION_USER": "a column",
    "SHA512": "SHA256",
    "TABLE SAMPLE": "WHERE MOD(key, 10) = 0",
    "TABLE WITH VERSION": "a column with the time of each row",
    "TO_JSON": "TO_JSON_STRING",
    "TO_JSON_STRING WITH OPTIONS": "TO_JSON_STRING(x)",
    "TRANSLATE": "REPLACE for each letter",
    "VERSION": "a column with the time of each row",
}
"""What to use in place of what people ask for most."""


def key_of(node: exp.Expr) -> str:
    """What an expression is called in the tables: the class of sqlglot's tree, or a name in capitals of a function that has none."""
    from sqlglot import exp

    return node.name.upper() if isinstance(node, exp.Anonymous) else type(node).__name__


def problems_of(tree: exp.Expr) -> list[Problem]:
    """What of a parsed GoogleSQL query is not on the list, each once, in the order of the text."""
    from sqlglot import exp

    from gaelp_assets.sql.scope import place

    found: dict[str, Problem] = {}
    for node in tree.walk(bfs=False):
        allowed = ALLOWED.get(key_of(node))
        if allowed is None and isinstance(node.parent, exp.NetFunc):
            continue
        if allowed is None:
            name = _name(node)
            found.setdefault(name, refused(name, where=place(node)))
            continue
        for argument, value in node.args.items():
            if argument not in allowed.arguments and argument not in allowed.flags and _is_given(value):
                name = f"{allowed.names[0]} with {argument.rstrip('_').replace('_', ' ')}"
                found.setdefault(name, refused(name, where=place(node)))
    return list(found.values())


def refused(name: str, expected: str = "", remedy: str = "", where: str = "SQL") -> Problem:
    """The problem of something whose results differ, or were never compared."""
    word = name.split(" ")[0].upper()
    if not expected:
        near = difflib.get_close_matches(word, FUNCTION_NAMES, n=5, cutoff=0.6)
        expected = _INSTEAD.get(name.upper(), _INSTEAD.get(word, "")) or (
            "one of " + ", ".join(near) if near else ""
        )
    return Problem(
        f"{name} is not used here: its results were not found equal on both engines", where, expected, remedy
    )


def _is_given(value: object) -> bool:
    return not (value is None or value is False or value == [])


def _name(node: exp.Expr) -> str:
    from sqlglot import exp

    if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc):
        family = f"{node.parent.this.sql()}." if isinstance(node.parent, exp.Dot) else ""
        return f"{family}{node.name}".upper()
    if isinstance(node, exp.Func):
        return node.sql(dialect="bigquery").split("(")[0].strip().upper()
    words = "".join(
        f" {c}" if c.isupper() and not p.isupper() else c
        for p, c in zip(" " + type(node).__name__, type(node).__name__, strict=False)
    )
    return words.strip().upper()
