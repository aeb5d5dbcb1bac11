"""What sqlglot would get silently wrong about text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.functions import refused
from gaelp_assets.sql.template import REFUSED, fill, integer
from gaelp_assets.sql.transforms import Transform

# One character becomes several, or depends on its neighbours: DuckDB maps character by character. The last two got their
# capitals in a later Unicode than DuckDB's and the analyzer's agree on.
UPPER_SPECIAL: Final = (
    "".join(chr(c) for c in range(0x80, 0x2FA20) if len(chr(c).upper()) > 1) + "\u019b\u0264"
)
LOWER_SPECIAL: Final = "Σİ"
# Unicode's White_Space property, which is what GoogleSQL trims; DuckDB trims spaces only.
WHITE_SPACE: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def _unless_special(call: str, characters: str) -> Transform:
    message = f"{REFUSED}{call} of a letter whose case mapping is not one to one"

    def transform(node: exp.Expr) -> exp.Expr:
        special = exp.Literal.string(f"[{characters}]")
        text = f"CASE WHEN REGEXP_MATCHES(_x, _special) THEN ERROR('{message}') ELSE {call}(_x) END"
        return fill(text, x=node.this, special=special)

    return transform


def substring(node: exp.Expr) -> exp.Expr:
    """Position 0, and one before the start, mean the start; a negative length is an error."""
    start, length = node.args["start"], node.args.get("length")
    at = integer(start)
    position = start
    if at is None or at <= 0:
        text = "CASE WHEN _p = 0 OR _p < -LENGTH(_x) THEN 1 ELSE _p END"
        position = exp.Literal.number(1) if at == 0 else fill(text, p=start, x=node.this)
    if length is None:
        return fill("SUBSTRING(_x, _p)", x=node.this, p=position)
    count = integer(length)
    if count is None or count < 0:
        length = fill(
            "CASE WHEN _n < 0 AND NOT _x IS NULL THEN ERROR('negative length in SUBSTR') ELSE _n END",
            n=length,
            x=node.this,
        )
    return fill("SUBSTRING(_x, _p, _n)", x=node.this, p=position, n=length)


def trim(node: exp.Expr) -> exp.Expr:
    """Without a second argument, all of Unicode's white space goes."""
    name = {"LEADING": "LTRIM", "TRAILING": "RTRIM"}.get(str(node.args.get("position") or ""), "TRIM")
    characters = node.args.get("expression") or exp.Literal.string(WHITE_SPACE)
    return exp.Anonymous(this=name, expressions=[node.this.copy(), characters.copy()])


def pad(node: exp.Expr) -> exp.Expr:
    """The width is an INT32 in DuckDB."""
    name = "LPAD" if node.args.get("is_left") else "RPAD"
    fill_with = node.args.get("fill_pattern") or exp.Literal.string(" ")
    return fill(f"{name}(_x, CAST(_n AS INTEGER), _f)", x=node.this, n=node.expression, f=fill_with)


def like(node: exp.Expr) -> exp.Expr:
    """A backslash escapes in GoogleSQL always, in DuckDB only when told."""
    if isinstance(node.parent, exp.Escape):
        return node
    return exp.Escape(this=node.copy(), expression=exp.Literal.string("\\"))


def regexp_extract(node: exp.Expr) -> exp.Expr:
    """The one group or the whole match, NULL without a match. A group that may take no part is NULL there, empty here."""
    pattern = node.expression
    if not isinstance(pattern, exp.Literal | exp.RawString):
        raise GaelpError(
            refused("REGEXP_EXTRACT with a computed pattern", "a pattern written out as a string")
        )
    try:
        groups = re.compile(str(pattern.this)).groups
    except re.error:
        groups = 2
    if groups > 1 or (groups and re.search(r"\)[?*{]|\|", str(pattern.this))):
        raise GaelpError(
            refused("this REGEXP_EXTRACT pattern", "at most one group, which takes part in every match")
        )
    return fill(
        f"REGEXP_EXTRACT_ALL(_x, _p, {groups})[1]", x=node.this, p=exp.Literal.string(str(pattern.this))
    )


TRANSFORMS: Final[Mapping[type[exp.Expr], Transform]] = {
    exp.Like: like,
    exp.Lower: _unless_special("LOWER", LOWER_SPECIAL),
    exp.Pad: pad,
    exp.RegexpExtract: regexp_extract,
    exp.Substring: substring,
    exp.Trim: trim,
    exp.Upper: _unless_special("UPPER", UPPER_SPECIAL),
}
