"""What all parts of a catalogue file's model have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,99}$")]
FieldName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,299}$")]


class CatalogModel(BaseModel):
    """Refuses unknown keys; never changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
