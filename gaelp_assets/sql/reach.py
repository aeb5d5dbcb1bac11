"""How many days before and after its own a slice of a result is made of, as far as the SQL says so in a way that can be told.

What cannot be told, such as a comparison of dates by less-than, is left to what the catalogue declares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from sqlglot import exp

from gaelp_assets.sql.carriers import unwrapped

Days = int | Literal["all"]
IsDate = Callable[[exp.Expr], bool]
"""Whether an expression is, unchanged and in every row, the date of the slice that the row is made of."""


class Reach(NamedTuple):
    """At least so many days before and after are read."""

    before: Days = 0
    after: Days = 0

    def fits(self, before: Days, after: Days) -> bool:
        """Whether that many declared days are enough."""
        pairs = ((self.before, before), (self.after, after))
        return all(
            declared == "all" or (needed != "all" and needed <= declared) for needed, declared in pairs
        )

    def swapped(self) -> Reach:
        """The same for the opposite order of days."""
        return Reach(self.after, self.before)

    def __str__(self) -> str:
        sides = {"before": self.before, "after": self.after}
        shown = (
            f'"{side}": "all"' if days == "all" else f'"{side}": {days}'
            for side, days in sides.items()
            if days
        )
        return "{" + ", ".join(shown) + "}"


EVERYTHING = Reach("all", "all")
_PAST = Reach("all", 0)
_BACKWARD = (exp.Lag, exp.RowNumber, exp.Rank, exp.DenseRank)
_WHOLE = (exp.Ntile, exp.PercentRank, exp.CumeDist)


def reach_of_window(window: exp.Window, is_date: IsDate) -> Reach:
    """What a window function reads whose windows hold rows of several days.

    Args:
        window: the call, with the clauses of the window that it names.
        is_date: see `IsDate`.
    """
    if any(_is_made_of(key, is_date) for key in window.args.get("partition_by") or []):
        return Reach()  # Months, weeks: how many days a window holds is not told here.
    order = window.args.get("order")
    if order is None:
        return EVERYTHING
    first = order.expressions[0]
    key = first.this.unnest()
    if isinstance(key, exp.UnixDate) and is_date(key.this):
        found = _of_frame(window, days=True)
    elif is_date(key):
        found = _of_frame(window, days=False)
    elif _is_made_of(key, is_date) and _is_range_of_numbers(window):
        return Reach()
    else:
        return EVERYTHING
    return found.swapped() if first.args.get("desc") else found


def reach_of_groups(keys: Sequence[exp.Expr], is_date: IsDate) -> Reach:
    """What a group is made of whose keys are no dates of slices: days that cannot be told, such as those of a month, or all."""
    return Reach() if any(_is_made_of(key, is_date) for key in keys) else EVERYTHING


def reach_of_shift(value: exp.Expr, is_date: IsDate) -> Reach | None:
    """What a slice is made of whose date is computed: by adding a number of days, or otherwise; None if it is not computed.

    >>> from sqlglot import parse_one
    >>> shifted = parse_one("DATE_ADD(day, INTERVAL 2 DAY)", dialect="bigquery")
    >>> reach_of_shift(shifted, lambda value: value.name == "day")
    Reach(before=2, after=0)
    """
    value = value.unnest()
    if isinstance(value, exp.Max | exp.Min | exp.AnyValue):
        return reach_of_shift(value.this, is_date)
    if isinstance(value, exp.DateAdd | exp.DateSub) and is_date(value.this):
        unit, amount = value.text("unit").upper(), value.expression
        if isinstance(amount, exp.Interval):
            unit, amount = amount.text("unit").upper(), amount.this
        number = _number(amount)
        if unit != "DAY" or number is None:
            return Reach()
        number = -number if isinstance(value, exp.DateSub) else number
        return Reach(max(number, 0), max(-number, 0))
    return Reach() if _is_made_of(value, is_date) else None


def compares_days(condition: exp.Expr, is_date: IsDate) -> bool:
    """Whether a condition compares dates in a way that leaves open how many days lie between them."""
    if isinstance(condition, exp.EQ):
        return any(_is_made_of(side, is_date) for side in (condition.this, condition.expression))
    if not isinstance(condition, exp.LT | exp.LTE | exp.GT | exp.GTE | exp.Between):
        return False
    sides = [condition.this, *(condition.args.get(key) for key in ("expression", "low", "high"))]
    return sum(_holds_date(side, is_date) for side in sides if isinstance(side, exp.Expr)) > 1


def _is_made_of(value: exp.Expr, is_date: IsDate) -> bool:
    """Whether a value is computed from the date of a slice: its month, the day before."""
    value = unwrapped(value)
    return (
        isinstance(value, exp.Func | exp.Binary)
        and not isinstance(value, exp.Coalesce | exp.AggFunc | exp.Connector | exp.Predicate)
        and any(_holds_date(part, is_date) for part in value.iter_expressions())
    )


def _holds_date(value: exp.Expr, is_date: IsDate) -> bool:
    value = unwrapped(value)
    return is_date(value) if isinstance(value, exp.Column) else _is_made_of(value, is_date)


def _of_frame(window: exp.Window, *, days: bool) -> Reach:
    """By its function and frame, for rows in the order of their dates."""
    function = window.this
    if isinstance(function, exp.IgnoreNulls | exp.RespectNulls):
        function = function.this
    if isinstance(function, exp.Lead):
        return _PAST.swapped()
    if isinstance(function, _BACKWARD):
        return _PAST
    if isinstance(function, _WHOLE):
        return EVERYTHING
    spec = window.args.get("spec")
    if not isinstance(spec, exp.WindowSpec):
        return _PAST
    counts_days = days and spec.args.get("kind") == "RANGE"
    return Reach(_side(spec, "start", "PRECEDING", counts_days), _side(spec, "end", "FOLLOWING", counts_days))


def _side(spec: exp.WindowSpec, key: str, outwards: str, counts_days: bool) -> Days:
    bound, side = spec.args.get(key), str(spec.args.get(f"{key}_side") or "")
    if bound is None or bound == "CURRENT ROW" or (bound != "UNBOUNDED" and side != outwards):
        return 0
    if bound == "UNBOUNDED":
        return "all" if side in {outwards, ""} else 0
    number = _number(bound) if isinstance(bound, exp.Expr) else None
    if counts_days:
        return number or 0
    return 0 if number == 0 else "all"


def _is_range_of_numbers(window: exp.Window) -> bool:
    spec = window.args.get("spec")
    if not isinstance(spec, exp.WindowSpec) or spec.args.get("kind") != "RANGE":
        return False
    return all(spec.args.get(key) != "UNBOUNDED" for key in ("start", "end"))


def _number(value: exp.Expr) -> int | None:
    negative = isinstance(value, exp.Neg)
    literal = value.this if negative else value
    if not isinstance(literal, exp.Literal) or not literal.name.isdigit():
        return None
    return -int(literal.name) if negative else int(literal.name)
