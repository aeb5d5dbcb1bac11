"""Every reason why one line is no row of a relation, found with the standard `json` module: slow, and sure.

Lines that a decoder refuses, or that it is not certain of, come here. Which values a field takes is said in `scalars`; both decoders take
the same ones. No message ever quotes a value, nor a key that is not declared. What is fine in a bad line is written once more, as its
remainder, for the rules to judge; what the rules say of it is not this module's business.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from gaelp_assets.catalog.model import Field, Relation, walk_fields
from gaelp_assets.ingest.decode.duplicate_keys import MAX_DEPTH, too_deep
from gaelp_assets.ingest.decode.scalars import (
    SCALARS,
    Constant,
    Pairs,
    is_text,
    kind_of,
    parse_json,
    to_json,
)
from gaelp_assets.ingest.read.lines import MAX_LINE_BYTES, SPACE

# A key that is longer is nobody's slip of the pen, and comparing it would take long.
_LONGEST_TYPO: Final = 64
_SHOWN_OF_KEY: Final = 2
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Reason(NamedTuple):
    """Why a line is rejected: the field's dotted path (empty: the line as a whole), the rule, and what was expected."""

    field: str
    rule: str
    message: str


class Explanation(NamedTuple):
    """All reasons why a line as such is no row; none if it is one."""

    reasons: list[Reason]
    remainder: bytes | None = None
    """A JSON object of those fields that are fine, of the ones that rules look at; None if the line is no object."""
    unreported: frozenset[str] = frozenset()
    """The paths of arrays that are not fine: in the remainder, they look as if they were empty."""


@lru_cache(maxsize=10_000)
def _is_date(value: str) -> bool:
    return SCALARS["DATE"](value) is None


# Whether a value is plainly fine: most values of a bad line are. What these do not take is looked at closely.
_PLAIN: Final[Mapping[str, Callable[[object], bool]]] = {
    "STRING": lambda value: type(value) is str and value.isascii(),
    "INTEGER": lambda value: type(value) is bytes and len(value) < 19 and value.isdigit(),
    "FLOAT": lambda value: (
        type(value) is bytes and len(value) < 16 and b"e" not in value and b"E" not in value
    ),
    "BOOLEAN": lambda value: type(value) is bool,
    "DATE": lambda value: type(value) is str and _is_date(value),
    "JSON": lambda value: value == (),
}
_Reasons = dict[Reason, None]  # one of a kind is enough: an array may have millions of elements


class _Part(NamedTuple):
    """A declared field of an object, and what is worked out once about it."""

    name: str
    path: str
    required: bool
    plain: Callable[[object], bool]
    field: Field
    inner: _Shape | None
    head: str


class _Shape:
    """The declared fields of an object."""

    def __init__(self, fields: Iterable[Field], prefix: str) -> None:
        self.prefix = prefix
        self.parts = [self._part(field) for field in fields]
        self.paths = {part.name: part.path for part in self.parts}
        self._expected = f"expected only the fields {', '.join(self.paths)}"
        self._nearest = lru_cache(maxsize=1000)(self._nearest_of)
        self.looks = [(part.name, part.plain, part) for part in self.parts]

    def expected_for(self, name: str) -> str:
        """What is expected instead of an unknown key: the declared fields, and the one that the key is close to."""
        close = self._nearest(name[:_LONGEST_TYPO])
        return f"{self._expected}; did you mean {close}?" if close else self._expected

    def _nearest_of(self, name: str) -> str | None:
        return next(iter(difflib.get_close_matches(name, self.paths, n=1)), None)

    def _part(self, field: Field) -> _Part:
        path = f"{self.prefix}{field.name}"
        one = _PLAIN.get(field.type, lambda _: False)
        plain = (lambda value: type(value) is list and all(map(one, value))) if field.repeated else one
        inner = _Shape(field.fields, f"{path}.") if field.fields else None
        return _Part(field.name, path, field.required, plain, field, inner, f'"{field.name}":')


class ReasonFinder:
    """Finds all reasons why lines are no rows of a relation. May be used by several threads at once.

    Args:
        relation: what the lines ought to be rows of.
        checked_fields: names of the fields that rules look at; a remainder has no others.
    """

    def __init__(self, relation: Relation, checked_fields: Collection[str] = ()) -> None:
        self._shape = _Shape(relation.fields, "")
        self._checked = [part for part in self._shape.parts if part.name in checked_fields]
        fields = walk_fields([part.field for part in self._checked])
        self._arrays = frozenset(path for path, field in fields if field.repeated)

    def explain(self, line: bytes, *, unterminated: bool = False) -> Explanation:
        """Why the line is no row: an explanation without reasons if it is one.

        Args:
            line: the bytes of the line; a line end may follow.
            unterminated: whether the file ends without a line end after it, so that it may have been cut off.
        """
        if len(line) > MAX_LINE_BYTES:
            limit = f"expected a line of at most {MAX_LINE_BYTES >> 20} MiB"
            return _whole("too_long", f"{limit}; of a longer one, only the start may be kept here")
        try:
            text = line.strip(SPACE).decode("utf-8")
        except UnicodeDecodeError as error:
            at = f"position {error.start} of the line"
            return _whole("invalid_utf8", f"expected UTF-8, found another byte at {at}")
        if too_deep(line):
            return _whole("too_deep", f"expected at most {MAX_DEPTH} levels of nesting")
        try:
            value = parse_json(text)
        except json.JSONDecodeError as error:
            if unterminated:
                cut = "expected a complete JSON object, found its end: the last line is cut off"
                return _whole("truncated_line", cut)
            mistake = f"expected one JSON object, found a mistake at character {error.pos + 1}"
            return _whole("malformed_json", mistake)
        if type(value) is not tuple:
            return _whole("not_an_object", f"expected a JSON object, found {kind_of(value)}")
        invalid_paths: set[str] = set()
        found = dict(value)
        reasons: _Reasons = {}
        _object(value, found, self._shape, reasons, invalid_paths)
        if not reasons or not self._checked:
            return Explanation([*reasons])
        remainder = _remainder(found, self._checked, invalid_paths).encode()
        return Explanation([*reasons], remainder, self._arrays & invalid_paths)

    def of_fault(self, field: int, what: str, text: bytes) -> tuple[Reason, ...]:
        """The reasons for which a line is no row that a fault in it stands for; none if it is no fault.

        Args:
            field: the place of the field among the relation's; -1 for an unknown key.
            what: the name of one of `faults.What`.
            text: the value, or the unknown key, as written.
        """
        if what == "UNKNOWN":
            return (_unknown_key(self._shape, text.decode()),)
        part = self._shape.parts[field]
        if what == "TWICE":
            return (_key_twice(part.path),)
        if what in {"NULL", "ABSENT"}:
            return (_missing(part.path, null=what == "NULL"),)
        reasons: _Reasons = {}
        _field(parse_json(text.decode()), part, reasons, set())
        return tuple(reasons)

    def arrays_among(self, fields: Iterable[int]) -> frozenset[str]:
        """The paths of those fields, by their places, that are arrays and that rules look at."""
        return self._arrays.intersection(self._shape.parts[place].path for place in fields if place >= 0)


def _whole(rule: str, message: str) -> Explanation:
    return Explanation([Reason("", rule, message)])


def _remainder(found: Mapping[str, object], parts: Iterable[_Part], invalid_paths: Collection[str]) -> str:
    """An object with those of its values that are there and valid."""
    texts = []
    for name, path, _, _, _, inner, head in parts:
        value = found.get(name)
        if value is None or path in invalid_paths:
            continue
        if inner is not None and type(value) is list:
            text = "[" + ",".join([_remainder(dict(v), inner.parts, invalid_paths) for v in value]) + "]"
        elif inner is not None and type(value) is tuple:
            text = _remainder(dict(value), inner.parts, invalid_paths)
        else:
            text = to_json(value)
        texts.append(head + text)
    return "{" + ",".join(texts) + "}"


def _object(
    pairs: Pairs, found: Mapping[str, object], shape: _Shape, reasons: _Reasons, invalid_paths: set[str]
) -> None:
    """Finds what is wrong with an object. The paths of declared fields that are to blame go into `invalid_paths`."""
    if len(found) < len(pairs) or not found.keys() <= shape.paths.keys():
        _keys(pairs, shape, reasons, invalid_paths)
    for name, plain, part in shape.looks:
        value = found.get(name)
        if value is not None:
            if not plain(value):
                _field(value, part, reasons, invalid_paths)
        elif part.required:
            invalid_paths.add(part.path)
            reasons[_missing(part.path, null=name in found)] = None


def _keys(pairs: Pairs, shape: _Shape, reasons: _Reasons, invalid_paths: set[str]) -> None:
    """Finds what is wrong with the keys of an object, and inside the values of unknown ones."""
    seen = set()
    for name, value in pairs:
        path = shape.paths.get(name)
        if name in seen:
            if path is not None:
                invalid_paths.add(path)
            shown = shape.prefix.rstrip(".") if path is None else path
            reasons[_key_twice(shown)] = None
        elif path is None:
            unknown = _unknown_key(shape, name)
            reasons[unknown] = None
            reasons.update(dict.fromkeys(_free(value, unknown.field)))
        seen.add(name)


def _unknown_key(shape: _Shape, name: str) -> Reason:
    return Reason(f"{shape.prefix}{_masked(name)}", "unknown_field", shape.expected_for(name))


def _key_twice(path: str) -> Reason:
    return Reason(path, "duplicate_key", "expected each key once in an object")


def _missing(path: str, *, null: bool) -> Reason:
    state = "found null" if null else "found no such key"
    return Reason(path, "missing_field", f"expected a value, {state}")


def _field(value: object, part: _Part, reasons: _Reasons, invalid_paths: set[str]) -> None:
    if not part.field.repeated:
        _one(value, part, reasons, invalid_paths)
    elif type(value) is not list:
        invalid_paths.add(part.path)
        reasons[Reason(part.path, "wrong_type", f"expected an array, found {kind_of(value)}")] = None
    else:
        for element in value:
            _one(element, part, reasons, invalid_paths, element=True)


def _one(
    value: object, part: _Part, reasons: _Reasons, invalid_paths: set[str], *, element: bool = False
) -> None:
    if part.inner is not None and type(value) is tuple:
        _object(value, dict(value), part.inner, reasons, invalid_paths)
    elif found := _value(value, part.field, part.path, element=element):
        invalid_paths.add(part.path)
        reasons.update(found)


def _value(value: object, field: Field, path: str, *, element: bool) -> _Reasons:
    if element and value is None and field.type != "JSON":
        return {Reason(path, "wrong_type", "expected no null in an array"): None}
    if type(value) is Constant:
        return {Reason(path, "not_finite", "expected a finite number; NaN and Infinity are no JSON"): None}
    if field.type == "RECORD":
        return {Reason(path, "wrong_type", f"expected an object, found {kind_of(value)}"): None}
    if field.type == "JSON":
        return dict.fromkeys(_free(value, path))
    if found := SCALARS[field.type](value):
        return {Reason(path, *found): None}
    if is_text(value) and _SURROGATE.search(value):
        return {
            Reason(path, "lone_surrogate", "expected whole characters, found half of a surrogate pair"): None
        }
    return {}


def _free(value: object, path: str) -> Iterator[Reason]:
    """What is wrong inside a value that has no declared form."""
    if type(value) is tuple:
        if len({name for name, _ in value}) < len(value):
            yield _key_twice(path)
        for name, inner in value:
            yield from _free(name, path)
            yield from _free(inner, path)
    elif type(value) is list:
        for inner in value:
            yield from _free(inner, path)
    elif isinstance(value, Constant):
        yield Reason(path, "not_finite", "expected a finite number; NaN and Infinity are no JSON")
    elif is_text(value) and _SURROGATE.search(value):
        yield Reason(path, "lone_surrogate", "expected whole characters, found half of a surrogate pair")


def _masked(name: str) -> str:
    """An unknown key as it may be shown anywhere: a key can be as personal as a value. Its start, and how long it is."""
    shown = "".join(c if c.isprintable() else "?" for c in name[:_SHOWN_OF_KEY])
    return shown if len(name) <= _SHOWN_OF_KEY else f"{shown}... ({len(name)} characters)"
