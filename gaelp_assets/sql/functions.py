"""What a query may be made of: every function and every expression whose results were compared between GoogleSQL and DuckDB.

A name that is not here is refused, and so is an argument that is not here (a rounding mode, a time zone). Adding a line takes an
example in `gaelp_assets_tests/unit/sql_examples`, and a transform in `transforms` where sqlglot's translation is not equal.

The keys are the classes of sqlglot's tree; a few GoogleSQL functions share one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from gaelp_assets.errors import Problem

if TYPE_CHECKING:
    from sqlglot import exp


class Allowed(NamedTuple):
    """A function or expression as people write it, and the arguments (sqlglot's names) that were compared."""

    names: tuple[str, ...]
    arguments: frozenset[str]


def _table(text: str) -> Mapping[str, Allowed]:
    rows = (line.split("|") for line in text.strip().splitlines())
    return {
        key.strip(): Allowed(tuple(n.strip() for n in names.split("/")), frozenset(arguments.split()))
        for key, names, arguments in rows
    }


FUNCTIONS: Final = _table("""
Abs | ABS | this
AnyValue | ANY_VALUE | this
ArgMax | MAX_BY | this expression
ArgMin | MIN_BY | this expression
ArrayAgg | ARRAY_AGG | this
ArraySize | ARRAY_LENGTH | this
ArrayToString | ARRAY_TO_STRING | this expression
Avg | AVG | this
Ceil | CEIL / CEILING | this
Coalesce | COALESCE / IFNULL | this expressions
Concat | CONCAT | expressions safe
Count | COUNT | this big_int
CountIf | COUNTIF | this
CovarPop | COVAR_POP | this expression
CovarSamp | COVAR_SAMP | this expression
CumeDist | CUME_DIST |
CurrentDate | CURRENT_DATE |
CurrentTimestamp | CURRENT_TIMESTAMP |
Date | DATE | this
DateAdd | DATE_ADD | this expression unit
DateDiff | DATE_DIFF | this expression unit date_part_boundary
DateFromParts | DATE | year month day
DateSub | DATE_SUB | this expression unit
DateTrunc | DATE_TRUNC | this unit
DenseRank | DENSE_RANK |
EndsWith | ENDS_WITH | this expression
Exp | EXP | this
Extract | EXTRACT | this expression
FirstValue | FIRST_VALUE | this
Floor | FLOOR | this
GenerateDateArray | GENERATE_DATE_ARRAY | start end step
GenerateSeries | GENERATE_ARRAY | start end step
Greatest | GREATEST | this expressions ignore_nulls
GroupConcat | STRING_AGG | this separator
If | IF | this true false
IntDiv | DIV | this expression
IsInf | IS_INF | this
IsNan | IS_NAN | this
JSONExtractScalar | JSON_VALUE | this expression scalar_only
Lag | LAG | this offset default
LastValue | LAST_VALUE | this
Lead | LEAD | this offset default
Least | LEAST | this expressions ignore_nulls
Length | LENGTH / CHAR_LENGTH | this binary
Ln | LN | this
Log | LOG / LOG10 | this expression
LogicalAnd | LOGICAL_AND | this
LogicalOr | LOGICAL_OR | this
Lower | LOWER | this
Max | MAX | this
Min | MIN | this
Mod | MOD | this expression
NthValue | NTH_VALUE | this offset
Ntile | NTILE | this
Nullif | NULLIF | this expression
Pad | LPAD / RPAD | this expression fill_pattern is_left
PercentRank | PERCENT_RANK |
PercentileCont | PERCENTILE_CONT | this expression
Pow | POW / POWER | this expression
Rank | RANK |
RegexpExtract | REGEXP_EXTRACT | this expression group null_if_no_match null_if_pos_overflow
RegexpLike | REGEXP_CONTAINS | this expression
RegexpReplace | REGEXP_REPLACE | this expression replacement
Repeat | REPEAT | this times
Replace | REPLACE | this expression replacement
Round | ROUND | this decimals
RowNumber | ROW_NUMBER |
SafeAdd | SAFE_ADD | this expression
SafeDivide | SAFE_DIVIDE | this expression
SafeMultiply | SAFE_MULTIPLY | this expression
SafeSubtract | SAFE_SUBTRACT | this expression
Sign | SIGN | this
Split | SPLIT | this expression
Sqrt | SQRT | this
StartsWith | STARTS_WITH | this expression
Stddev | STDDEV | this
StddevPop | STDDEV_POP | this
StddevSamp | STDDEV_SAMP | this
StrPosition | STRPOS / INSTR | this substr
Substring | SUBSTR / SUBSTRING | this start length
Sum | SUM | this
TimeToStr | FORMAT_DATE / FORMAT_TIMESTAMP | this format
Timestamp | TIMESTAMP | this with_tz
TimestampAdd | TIMESTAMP_ADD | this expression unit
TimestampDiff | TIMESTAMP_DIFF | this expression unit
TimestampSub | TIMESTAMP_SUB | this expression unit
TimestampTrunc | TIMESTAMP_TRUNC | this unit
Trim | TRIM / LTRIM / RTRIM | this expression position
Trunc | TRUNC | this
UnixMicros | UNIX_MICROS | this
UnixMillis | UNIX_MILLIS | this
UnixSeconds | UNIX_SECONDS | this
UnixToTime | TIMESTAMP_SECONDS / TIMESTAMP_MILLIS / TIMESTAMP_MICROS | this scale
Upper | UPPER | this
Variance | VAR_SAMP / VARIANCE | this
VariancePop | VAR_POP | this
""")

EXPRESSIONS: Final = _table("""
Add | + | this expression
Alias | AS | this alias
And | AND | this expression
Array | array literal, ARRAY(SELECT ...) | expressions struct_name_inheritance
Between | BETWEEN | this low high
Boolean | TRUE, FALSE | this
Bracket | array[OFFSET(i)], [ORDINAL(i)], [SAFE_OFFSET(i)] | this expressions offset safe
Case | CASE | this ifs default
Cast | CAST | this to
Column | column | this table db catalog
CTE | WITH ... AS | this alias
DPipe | string concatenation | this expression safe
DataType | type | this expressions nested kind
DataTypeParam | type parameter | this
Distinct | DISTINCT | expressions
Div | division | this expression
Dot | struct field | this expression
EQ | = | this expression
Except | EXCEPT DISTINCT | this expression distinct with_ order limit offset
Exists | EXISTS | this
From | FROM | this
GT | > | this expression
GTE | >= | this expression
Group | GROUP BY | expressions all
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
LT | < | this expression
LTE | <= | this expression
Like | LIKE | this expression negate
Limit | LIMIT | this expression
Literal | literal | this is_string
Mul | * | this expression
NEQ | <> | this expression
Neg | unary minus | this
Not | NOT | this
Null | NULL |
NullSafeEQ | IS NOT DISTINCT FROM | this expression
NullSafeNEQ | IS DISTINCT FROM | this expression
Offset | OFFSET | this expression
Or | OR | this expression
Order | ORDER BY | this expressions
Ordered | ORDER BY item | this desc nulls_first
Parameter | @parameter | this
Paren | ( ) | this
PropertyEQ | STRUCT field | this expression
Qualify | QUALIFY | this
RawString | raw string | this
RespectNulls | RESPECT NULLS | this
SafeFunc | SAFE. prefix | this
Select | SELECT | expressions from_ joins where group having qualify windows order limit offset distinct with_
Star | * | except_ replace
Struct | STRUCT | expressions
Sub | - | this expression
Subquery | subquery | this alias with_
Table | table | this db catalog alias
TableAlias | alias | this columns
TryCast | SAFE_CAST | this to safe
TsOrDsToDate | date | this
TsOrDsToTimestamp | timestamp | this
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

ALLOWED: Final = {**EXPRESSIONS, **FUNCTIONS}
FUNCTION_NAMES: Final = tuple(sorted({name for allowed in FUNCTIONS.values() for name in allowed.names}))


def problems_of(tree: exp.Expr) -> list[Problem]:
    """What of a parsed GoogleSQL query is not on the list, each once, in the order of the text."""
    found: dict[str, Problem] = {}
    for node in tree.walk(bfs=False):
        allowed = ALLOWED.get(type(node).__name__)
        if allowed is None:
            name = _name(node)
            found.setdefault(name, refused(name))
            continue
        for argument, value in node.args.items():
            if argument not in allowed.arguments and _is_given(value):
                name = f"{allowed.names[0]} with {argument.rstrip('_').replace('_', ' ')}"
                found.setdefault(name, refused(name))
    return list(found.values())


def refused(name: str, expected: str = "", remedy: str = "") -> Problem:
    """The problem of something whose results differ, or were never compared."""
    if not expected:
        word = name.split(" ")[0].upper()
        near = difflib.get_close_matches(word, FUNCTION_NAMES, n=5, cutoff=0.5)
        rest = [other for other in FUNCTION_NAMES if other not in near]
        expected = "one of " + ", ".join([*near, *rest])
    return Problem(
        f"{name} is not used here: its results were not found equal on both engines", "SQL", expected, remedy
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
