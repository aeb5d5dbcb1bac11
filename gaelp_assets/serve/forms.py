"""The forms of an answer: JSON, a stream of Arrow, CSV. Pure."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import polars as pl

from gaelp_assets.errors import GaelpError, Problem, unknown
from gaelp_assets.operations.export import write_csv
from gaelp_assets.operations.json_values import json_value

Encode = Callable[[pl.DataFrame, Mapping[str, object]], bytes]


@dataclass(frozen=True)
class Form:
    """How rows are written.

    Args:
        name: in the parameter `format`.
        media: its media type.
        encode: the bytes of a frame; what else there is to tell, JSON tells in the same object.
    """

    name: str
    media: str
    encode: Encode


def _json(frame: pl.DataFrame, told: Mapping[str, object]) -> bytes:
    rows = frame.to_dicts()
    odd = [name for name, dtype in frame.schema.items() if _is_odd(frame[name], dtype)]
    for row in rows if odd else ():
        for name in odd:
            row[name] = json_value(row[name])
    return msgspec.json.encode({**told, "columns": frame.columns, "rows": rows})


def _is_odd(column: pl.Series, dtype: pl.DataType) -> bool:
    """Whether the fast encoder would write values of it otherwise than `json_value`."""
    if dtype.is_float():
        return not column.drop_nulls().is_finite().all()
    return not (dtype.is_integer() or dtype in (pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Time))


def _arrow(frame: pl.DataFrame, _: Mapping[str, object]) -> bytes:
    # Readers that are a few years old know no views of texts.
    written = io.BytesIO()
    frame.write_ipc_stream(written, compat_level=pl.CompatLevel.oldest())
    return written.getvalue()


def _csv(frame: pl.DataFrame, _: Mapping[str, object]) -> bytes:
    written = io.BytesIO()
    write_csv(frame, written)
    return written.getvalue()


FORMS: Final = {
    form.name: form
    for form in (
        Form("json", "application/json", _json),
        Form("arrow", "application/vnd.apache.arrow.stream", _arrow),
        Form("csv", "text/csv", _csv),
    )
}


def accepted(given: Sequence[str] | None, accept: str) -> Form:
    """The form that the parameter names, else the first that the header takes, else JSON.

    Raises:
        GaelpError: there is no such form, or the header takes none of them.

    >>> accepted(None, "text/html, text/csv;q=0.9, */*;q=0.1").name
    'csv'
    """
    if given:
        if given[0] not in FORMS:
            raise GaelpError(unknown("format", given[0], FORMS, where="format"))
        return FORMS[given[0]]
    wanted = sorted(filter(None, map(_range, accept.split(","))), key=lambda pair: -pair[1])
    for media, quality in wanted:
        for form in FORMS.values():
            kind = form.media.partition("/")[0]
            if quality > 0 and media in {form.media, f"{kind}/*", "*/*"}:
                return form
    if not wanted:
        return FORMS["json"]
    raise GaelpError(
        Problem(
            "takes none of the forms that there are", "Accept", ", ".join(f.media for f in FORMS.values())
        )
    )


def _range(text: str) -> tuple[str, float] | None:
    media, *options = (part.strip().lower() for part in text.split(";"))
    quality = 1.0
    for option in options:
        name, _, value = option.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = 0.0
    return (media, quality) if media else None


def as_json(value: Any) -> bytes:
    """A value that is not of rows."""
    return msgspec.json.encode(json_value(value))
