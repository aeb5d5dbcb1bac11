"""What a query's `@parameters` can be, in every warehouse."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal

ParameterScalar = str | int | float | bool | bytes | Decimal | dt.date | dt.datetime | dt.time | None
ParameterValue = ParameterScalar | Sequence[ParameterScalar]
"""One value; a sequence is an array."""
Parameters = Mapping[str, ParameterValue]
"""The values of a query's `@names`."""
