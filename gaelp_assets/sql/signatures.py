"""GoogleSQL's signatures: which types a function takes, and the type that it gives.

A signature is written `STRING INT64 INT64? -> STRING`; several are separated by `;`. `?` marks what may be left out, `...` what may be
repeated, `[T]` an array. A capital letter is a type variable: the common type of all the arguments that bear it. `!` as a result means
that GoogleSQL has the signature and that the translation refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from gaelp_assets.sql.types import (
    ANY,
    INT64,
    NULL,
    NUMBERS,
    NUMERIC,
    TEMPORAL,
    Type,
    array_of,
    common_type,
    cost,
)

_COMPOSED: Final = frozenset({"ARRAY", "STRUCT", "JSON", "INTERVAL"})
_CLASSES: Final[Mapping[str, Callable[[Type], bool]]] = {
    "N": lambda t: t.name in NUMBERS,
    "B": lambda t: t.name in {"STRING", "BYTES"},
    "O": lambda t: t.name not in _COMPOSED,
    "E": lambda t: not t.holds(frozenset({"JSON"})) and t.name != "ARRAY",
    "T": lambda _: True,
    "D": lambda t: t.name in TEMPORAL,
    "A": lambda t: t.name != "ARRAY",
}
"""N a number, B text or bytes, O what has an order, E what can be equal, D a date or time, A what an array can hold, T anything."""
_OF_NULL: Final = {"B": Type("STRING"), "D": Type("TIMESTAMP")}


class Argument(NamedTuple):
    """What is known of an argument: its type, and whether it is written out (a constant follows the other arguments' type)."""

    type: Type
    literal: bool


class Match(NamedTuple):
    """The result's type, and what each argument is coerced to."""

    result: Type
    arguments: tuple[Type, ...]
    supported: bool = True


class _Parameter(NamedTuple):
    word: str
    array: bool
    optional: bool
    repeated: bool


class _Signature(NamedTuple):
    parameters: tuple[_Parameter, ...]
    result: str


@lru_cache(maxsize=512)
def _parsed(text: str) -> tuple[_Signature, ...]:
    found = []
    for one in text.split(";"):
        left, result = one.split("->")
        parameters = []
        for original in left.split():
            word = original
            repeated, optional = word.endswith("..."), word.endswith("?")
            word = word.rstrip(".?")
            array = word.startswith("[")
            parameters.append(_Parameter(word.strip("[]"), array, optional, repeated))
        found.append(_Signature(tuple(parameters), result.strip()))
    return tuple(found)


def match(text: str, arguments: Sequence[Argument]) -> Match | None:
    """The signature that fits best; None if none does.

    Where an argument's type is not known and several signatures fit, nothing is coerced and the result is not known.
    """
    fits: list[tuple[int, Match]] = []
    for signature in _parsed(text):
        found = _fit(signature, arguments)
        if found is not None:
            fits.append(found)
    if not fits:
        return None
    if any(not a.type.known for a in arguments) and len({m.result for _, m in fits}) > 1:
        return Match(ANY, tuple(a.type for a in arguments))
    # A literal with a fraction beside a NUMERIC becomes one.
    return min(fits, key=lambda fit: (fit[0], NUMERIC not in fit[1].arguments))[1]


def _fit(signature: _Signature, arguments: Sequence[Argument]) -> tuple[int, Match] | None:
    spread = _spread(signature.parameters, len(arguments))
    if spread is None:
        return None
    variables: dict[str, Type] = {}
    for word in {p.word for p in spread if p.word[0] in _CLASSES and p.word not in _NAMES}:
        members = [
            (_element(a.type) if p.array else a.type, a.literal)
            for p, a in zip(spread, arguments, strict=True)
            if p.word == word
        ]
        if any(type_ is None for type_, _ in members):
            return None
        bound = common_type([(type_, literal) for type_, literal in members if type_ is not None])
        if bound is None:
            return None
        if bound.name == "NULL":
            bound = _OF_NULL.get(word[0], INT64)
        if bound.name not in {"ANY", "EMPTY"} and not _CLASSES[word[0]](bound):
            return None
        variables[word] = bound
    total, targets = 0, []
    for parameter, argument in zip(spread, arguments, strict=True):
        target = variables.get(parameter.word) or Type(parameter.word)
        if parameter.array:
            target = array_of(target)
        distance = cost(argument.type, target, literal=argument.literal)
        if distance is None:
            return None
        total += distance
        targets.append(target)
    if signature.result == "!":
        return total, Match(ANY, tuple(targets), supported=False)
    return total, Match(_result(signature.result, variables), tuple(targets))


def _result(word: str, variables: dict[str, Type]) -> Type:
    array = word.startswith("[")
    word = word.strip("[]")
    type_ = variables.get(word) or Type(word)
    return array_of(type_) if array else type_


def _element(type_: Type) -> Type | None:
    if type_.name == "ARRAY":
        return type_.element
    return {"ANY": ANY, "NULL": NULL, "EMPTY": NULL}.get(type_.name)


def _spread(parameters: Sequence[_Parameter], count: int) -> list[_Parameter] | None:
    """One parameter for each argument."""
    least = sum(not (p.optional or p.repeated) for p in parameters)
    if count < least:
        return None
    spread = list(parameters[:count])
    if count > len(parameters):
        if not parameters or not parameters[-1].repeated:
            return None
        spread += [parameters[-1]] * (count - len(parameters))
    return spread


_NAMES: Final = frozenset(
    {"BOOL", "INT64", "NUMERIC", "FLOAT64", "STRING", "BYTES", "DATE", "DATETIME", "TIME", "TIMESTAMP", "JSON", "INTERVAL", "ANY"}
)  # fmt: skip
