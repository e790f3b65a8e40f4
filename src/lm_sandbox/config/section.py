"""The base of every part of the settings, and the types that their values share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]


PositiveSeconds = Annotated[float, Field(gt=0)]


Amount = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A frozen part of the tree that refuses unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")
