"""Where a published number stands, and the strict base of everything that `papers/*.yaml` holds."""

import pydantic
from pydantic import Field


class Strict(pydantic.BaseModel):
    """A mapping with declared keys and types only; NaN and infinity are no numbers."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Source(Strict):
    """A place that published numbers; without an address, `note` says how they are known."""

    title: str
    url: str | None = None
    note: str | None = None


class Citation(Strict):
    """Where a number stands: a key of `sources`, and the table, section or file there."""

    ref: str
    where: str = Field(min_length=1)
