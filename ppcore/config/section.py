"""What a section of a configuration is, and what its keys hold: a value, a section, or components of a role."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo

from ppcore.config.read_only import read_only
from ppcore.config.roles import Role

Component = dict[str, Any]


class Section(BaseModel):
    """A mapping with declared keys only; immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="after")
    def _read_only(self) -> "Section":
        # `frozen` stops assignment; the dicts and lists inside must not change either.
        for values in (self.__dict__, self.model_extra or {}):
            values.update({key: read_only(value) for key, value in values.items()})
        return self


def role_of(field: FieldInfo) -> Role | None:
    """The role of the component, or of each of a list or of named steps, that a key holds; None for a key that holds none."""
    return next((item for item in field.metadata if isinstance(item, Role)), None)


def holds_steps(field: FieldInfo) -> bool:
    """Whether a key holds a mapping of named steps, each a component."""
    return get_args(field.annotation)[1:] == (Component,)


def section_of(annotation: Any) -> type[Section] | None:
    """The section a key holds, alone or several by name, if it holds one."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for part in get_args(annotation) if (found := section_of(part))), None)
