"""Where a page of rows begins, as a token that an answer names and the next request gives back. Pure.

Rows are in the order of the relation's key, and a page begins after the last key of the one before: rows that are loaded between move
none of the others. Where the key is not to be seen, or there is none, rows are in the order of all columns that can be compared, and a page
begins after so many rows, which holds for one version of the warehouse.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gaelp_assets.errors import GaelpError, Problem
from gaelp_assets.operations.json_values import json_value

_NOT_A_TOKEN: Final = Problem(
    "is not a page of these rows",
    "page",
    "what the answer before named as `next`, with the same relation, days and filters",
    "Leave it out to begin with the first page.",
)


@dataclass(frozen=True)
class Page:
    """Where a page begins: after that key, or after so many rows."""

    after: tuple[object, ...] | None = None
    """The key's values, in JSON's terms."""
    skip: int = 0


def token(shape: str, version: str | None, page: Page) -> str:
    """The text of a page of such rows.

    >>> read_token(token("rows", None, Page(skip=2)), "rows", "any version")
    Page(after=None, skip=2)
    """
    told: dict[str, Any] = {"of": shape}
    if page.after is not None:
        told["after"] = json_value(page.after)
    else:
        told |= {"skip": page.skip, "version": version}
    text = json.dumps(told, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(text: str, shape: str, version: str | None) -> Page:
    """The page that a text means.

    Raises:
        GaelpError: it is none, is one of other rows, or of an earlier version of them.
    """
    try:
        told = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise GaelpError(_NOT_A_TOKEN) from None
    if not isinstance(told, dict) or told.get("of") != shape:
        raise GaelpError(_NOT_A_TOKEN)
    after, skip = told.get("after"), told.get("skip")
    if isinstance(after, list):
        return Page(after=tuple(after))
    if type(skip) is not int or not 0 <= skip < 2**62:
        raise GaelpError(_NOT_A_TOKEN)
    if told.get("version") not in {None, version}:
        raise GaelpError(
            Problem(
                "the rows have changed since the page before, and their order with them",
                "page",
                remedy="Begin with the first page again.",
            )
        )
    return Page(skip=skip)


def next_page(
    page: Page, key: Sequence[str] | None, rows: int, last: Mapping[str, object], *, more: bool
) -> Page | None:
    """The page after one of so many rows, of which `last` is the last; None if there are no others."""
    if not more:
        return None
    if key is None:
        return Page(skip=page.skip + rows)
    return Page(after=tuple(last[name] for name in key))
