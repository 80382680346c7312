"""The types that a scenario's fields are made of, and the error of a check that looks at several of them."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Several = Annotated[int, Field(ge=2)]
Index = Annotated[int, Field(ge=0)]
# Strict mode takes no list for a tuple, and a TOML array is a list.
Indices = Annotated[tuple[Index, ...], Field(strict=False)]
Counts = Annotated[tuple[Count, ...], Field(strict=False)]
Everyone = Literal["all"]
Scalar = bool | int | float | str
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # also the name of a folder


def wrong(key: str, value: Any, why: str) -> PydanticCustomError:
    """Return the error of a value that is wrong beside the others.

    Args:
        key: the dotted path of the key, from the table whose validator raises this.
        value: what the scenario says, or None when it says nothing.
        why: what would be right, without key and value.
    """
    return PydanticCustomError("wrong", "{why}", {"key": key, "value": value, "why": why})
