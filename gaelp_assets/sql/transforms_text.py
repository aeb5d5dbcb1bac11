"""What sqlglot would get silently wrong about text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sqlglot import exp

from gaelp_assets.errors import GaelpError
from gaelp_assets.sql.functions import refused
from gaelp_assets.sql.template import REFUSED, Transform, fill, integer
from gaelp_assets.sql.trees import copied
from gaelp_assets.sql.types import BYTES, type_of

# One character becomes several, or depends on its neighbours: DuckDB maps character by character. The last two got their
# capitals in a later Unicode than DuckDB's and the analyzer's agree on.
UPPER_SPECIAL: Final = (
    "".join(chr(c) for c in range(0x80, 0x2FA20) if len(chr(c).upper()) > 1) + "\u019b\u0264"
)
LOWER_SPECIAL: Final = "Σİ"
_SPECIAL: Final = REFUSED + "{} of a letter whose case mapping is not one to one"
# Unicode's White_Space property, which is what GoogleSQL trims; DuckDB trims spaces only.
_LONGEST: Final = 2_147_483_647
WHITE_SPACE: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


# The letters among them that people write; their capitals are put in before.
_SPELT: Final = {
    "ß": "SS",
    "ŉ": "ʼN",
    "ǰ": "J̌",
    "ﬀ": "FF",
    "ﬁ": "FI",
    "ﬂ": "FL",
    "ﬃ": "FFI",
    "ﬄ": "FFL",
    "ﬅ": "ST",
    "ﬆ": "ST",
}


def upper(node: exp.Expr) -> exp.Expr:
    """Capitals, of which one letter may have two; a text with rarer letters of that kind is refused when it comes."""
    spelt = node.this
    for letter, capitals in _SPELT.items():
        spelt = fill(
            "REPLACE(_x, _a, _b)", x=spelt, a=exp.Literal.string(letter), b=exp.Literal.string(capitals)
        )
    few, many = "".join(_SPELT), "".join(c for c in UPPER_SPECIAL if c not in _SPELT)
    text = (
        f"CASE WHEN REGEXP_MATCHES(_x, _many) THEN ERROR('{_SPECIAL.format('UPPER')}')"
        " WHEN REGEXP_MATCHES(_x, _few) THEN UPPER(_spelt) ELSE UPPER(_x) END"
    )
    return fill(
        text,
        x=node.this,
        spelt=spelt,
        few=exp.Literal.string(f"[{few}]"),
        many=exp.Literal.string(f"[{many}]"),
    )


def lower(node: exp.Expr) -> exp.Expr:
    """Small letters; one that depends on its neighbours is refused when it comes."""
    text = (
        f"CASE WHEN REGEXP_MATCHES(_x, _special) THEN ERROR('{_SPECIAL.format('LOWER')}') ELSE LOWER(_x) END"
    )
    return fill(text, x=node.this, special=exp.Literal.string(f"[{LOWER_SPECIAL}]"))


def substring(node: exp.Expr) -> exp.Expr:
    """Position 0, and one before the start, mean the start; a negative length is an error; any INT64 may come."""
    start, length = node.args["start"], node.args.get("length")
    at = integer(start)
    position = start
    if at is None or at <= 0:
        text = "CASE WHEN _p = 0 OR _p < -LENGTH(_x) THEN 1 WHEN _p > 2147483647 THEN 2147483647 ELSE _p END"
        position = exp.Literal.number(1) if at == 0 else fill(text, p=start, x=node.this)
    elif at > _LONGEST:
        position = exp.Literal.number(_LONGEST)
    if length is None:
        return fill("SUBSTRING(_x, _p)", x=node.this, p=position)
    count = integer(length)
    if count is None or count < 0:
        length = fill(
            "CASE WHEN _n < 0 AND NOT _x IS NULL THEN ERROR('negative length in SUBSTR') WHEN _n > 2147483647 THEN 2147483647 ELSE _n END",
            n=length,
            x=node.this,
        )
    elif count > _LONGEST:
        length = exp.Literal.number(_LONGEST)
    return fill("SUBSTRING(_x, _p, _n)", x=node.this, p=position, n=length)


def side(node: exp.Expr) -> exp.Expr:
    """LEFT and RIGHT; a negative number of characters is an error."""
    name = "LEFT" if isinstance(node, exp.Left) else "RIGHT"
    return fill(f"{name}(_x, _n)", x=node.this, n=_count(node.expression, node.this, name))


def _count(number: exp.Expr, text: exp.Expr, name: str) -> exp.Expr:
    """A number of characters that is not negative."""
    written = integer(number)
    if written is not None and 0 <= written <= _LONGEST:
        return number
    guard = f"CASE WHEN _n < 0 AND NOT _x IS NULL THEN ERROR('negative length in {name}') WHEN _n > 2147483647 THEN 2147483647 ELSE _n END"
    return fill(guard, n=number, x=text)


def repeat(node: exp.Expr) -> exp.Expr:
    """A negative number of times is an error."""
    return fill("REPEAT(_x, _n)", x=node.this, n=_count(node.args["times"], node.this, "REPEAT"))


def length(node: exp.Expr) -> exp.Expr:
    """The characters of a text, the bytes of BYTES."""
    return fill("OCTET_LENGTH(_x)" if type_of(node.this) == BYTES else "LENGTH(_x)", x=node.this)


def trim(node: exp.Expr) -> exp.Expr:
    """Without a second argument, all of Unicode's white space goes."""
    name = {"LEADING": "LTRIM", "TRAILING": "RTRIM"}.get(str(node.args.get("position") or ""), "TRIM")
    characters = node.args.get("expression") or exp.Literal.string(WHITE_SPACE)
    return exp.Anonymous(this=name, expressions=[copied(node.this), copied(characters)])


def pad(node: exp.Expr) -> exp.Expr:
    """The width is an INT32 in DuckDB."""
    name = "LPAD" if node.args.get("is_left") else "RPAD"
    fill_with = node.args.get("fill_pattern") or exp.Literal.string(" ")
    width = _count(node.expression, node.this, name)
    return fill(f"{name}(_x, CAST(_n AS INTEGER), _f)", x=node.this, n=width, f=fill_with)


def like(node: exp.Expr) -> exp.Expr:
    """A backslash escapes in GoogleSQL always, in DuckDB only when told."""
    if isinstance(node.parent, exp.Escape):
        return node
    return exp.Escape(this=copied(node), expression=exp.Literal.string("\\"))


def regexp_extract(node: exp.Expr) -> exp.Expr:
    """The one group or the whole match, NULL without a match. A group that may take no part is NULL there, empty here."""
    pattern = node.expression
    name = "REGEXP_EXTRACT_ALL" if isinstance(node, exp.RegexpExtractAll) else "REGEXP_EXTRACT"
    if not isinstance(pattern, exp.Literal | exp.RawString):
        raise GaelpError(refused(f"{name} with a computed pattern", "a pattern written out as a string"))
    groups = sure_groups(str(pattern.this))
    if groups is None:
        raise GaelpError(
            refused(f"this {name} pattern", "at most one group, which takes part in every match")
        )
    index = "" if name == "REGEXP_EXTRACT_ALL" else "[1]"
    return fill(
        f"REGEXP_EXTRACT_ALL(_x, _p, {groups}){index}", x=node.this, p=exp.Literal.string(str(pattern.this))
    )


_PIECE: Final = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P?<[a-zA-Z]\w*>|\(\?[a-zA-Z-]*:?|\(|\)|\||[?*]|\{0?,|.", re.DOTALL
)


def sure_groups(pattern: str) -> int | None:
    """0 or 1, the number of capturing groups that take part in every match; None for more, or for one that may take none."""
    try:
        if re.compile(pattern).groups == 0:
            return 0
        if re.compile(pattern).groups > 1:
            return None
    except re.error:
        return None
    holds_it = [False]  # for each open parenthesis, and for the pattern itself, whether the group is within
    captures: list[bool] = []
    choices = [False]  # whether there is a choice beside the group
    closed_with_it = False
    for piece in _PIECE.findall(pattern):
        match piece[0]:
            case "(":
                captures.append(piece == "(" or piece.endswith(">"))
                holds_it.append(False)
                choices.append(False)
            case ")" if captures:
                capture, within, choice = captures.pop(), holds_it.pop(), choices.pop()
                if within and choice:
                    return None
                closed_with_it = capture or within
                holds_it[-1] = holds_it[-1] or closed_with_it
                continue
            case "|":
                choices[-1] = True
            case "?" | "*" | "{" if closed_with_it:
                return None
        closed_with_it = False
    return None if holds_it[0] and choices[0] else 1


def hashed(name: str, *, text: bool = False) -> Transform:
    """A hash as BYTES, or as hexadecimal text; DuckDB gives the text."""
    return lambda node: fill(f"{name}(_x)" if text else f"UNHEX({name}(_x))", x=node.this)


def sha2(node: exp.Expr) -> exp.Expr:
    """SHA256 only."""
    if integer(node.args["length"]) != 256:
        raise GaelpError(refused("SHA512", "SHA256"))
    return hashed("SHA256")(node)


def lower_hex(node: exp.Expr) -> exp.Expr:
    """DuckDB writes capital digits."""
    return fill("LOWER(HEX(_x))", x=node.this)


def byte_string(node: exp.Expr) -> exp.Expr:
    """A literal of BYTES."""
    text = str(node.this)
    # An escape is a character by now: \xff, one byte, cannot be told from ÿ, which is two.
    if "\\" in text or not text.isascii():
        raise GaelpError(refused("an escape in a literal of BYTES", "FROM_HEX of hexadecimal digits"))
    return fill("ENCODE(_x)", x=exp.Literal.string(text))


_FORMAT: Final = re.compile(r"%(?:%|(0?)(\d*)(?:\.(\d+))?([dsf]))|[^%]+|%")


def format_(node: exp.Expr) -> exp.Expr:
    """FORMAT with %d, %05d, %s, %.2f and %%; NULL if one of the values is."""
    given = node.this
    values = list(node.expressions)
    pieces: list[exp.Expr] = []
    for found in _FORMAT.finditer(str(given.this)) if isinstance(given, exp.Literal) else ():
        zero, width, digits, kind = found.groups()
        if kind is None and found[0] != "%":
            pieces.append(exp.Literal.string("%" if found[0] == "%%" else found[0]))
            continue
        wanted = {"d": "INT64", "s": "STRING", "f": "FLOAT64"}.get(kind or "", "")
        if (
            not values
            or not wanted
            or (kind == "s" and (width or digits or type_of(values[0]).name == "NULL"))
            or (kind == "d" and digits)
        ):
            pieces = []
            break
        value = values.pop(0)
        actual = type_of(value).name
        if actual not in {wanted, "NULL"} and not (wanted == "FLOAT64" and actual == "INT64"):
            raise GaelpError(refused(f"%{kind} in FORMAT of {type_of(value)}", f"a {wanted}"))
        as_text = (
            "_x" if kind == "s" else f"PRINTF('%{zero}{width}{'.' + digits if digits else ''}{kind}', _x)"
        )
        if kind == "f":
            as_text = as_text.replace("_x", "CAST(_x AS DOUBLE)")
        pieces.append(fill(as_text, x=value))
    if not pieces or values:
        raise GaelpError(
            refused("this FORMAT", "a string of %d, %05d, %s, %.2f and %%, written out, and its values")
        )
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = exp.DPipe(this=whole, expression=piece, safe=True)
    return exp.Paren(this=whole)


def bytes_of(function: str, form: str, otherwise: str) -> Transform:
    """FROM_HEX and FROM_BASE64, of a text that has the form."""
    text = f"CASE WHEN NOT REGEXP_FULL_MATCH(_x, '{form}') THEN ERROR('{otherwise}') ELSE {function}(_x) END"
    return lambda node: fill(text, x=node.this)


TRANSFORMS: Final[Mapping[type[exp.Expr], Transform]] = {
    exp.Like: like,
    exp.ByteString: byte_string,
    exp.ByteLength: lambda node: fill(
        "OCTET_LENGTH(_x)" if type_of(node.this) == BYTES else "OCTET_LENGTH(ENCODE(_x))", x=node.this
    ),
    exp.Format: format_,
    exp.FromBase64: bytes_of(
        "FROM_BASE64",
        "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?",
        f"{REFUSED}FROM_BASE64 of a text that is not filled up",
    ),
    exp.Left: side,
    exp.Length: length,
    exp.Lower: lower,
    exp.LowerHex: lower_hex,
    exp.MD5: hashed("MD5", text=True),
    exp.MD5Digest: hashed("MD5"),
    exp.RegexpExtractAll: regexp_extract,
    exp.Repeat: repeat,
    exp.Right: side,
    exp.SHA1Digest: hashed("SHA1"),
    exp.SHA2Digest: sha2,
    exp.Pad: pad,
    exp.RegexpExtract: regexp_extract,
    exp.Substring: substring,
    exp.Trim: trim,
    exp.ToBase64: lambda node: fill("TO_BASE64(_x)", x=node.this),
    exp.Unhex: bytes_of("UNHEX", "[0-9a-fA-F]*", "no hexadecimal digits"),
    exp.Upper: upper,
}
