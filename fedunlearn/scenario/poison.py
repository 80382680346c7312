"""The table of a scenario file about a client that poisons its data."""

from typing import Literal

from pydantic import Field

from fedunlearn.settings import Settings


class PoisonSettings(Settings):
    """A backdoor that one client plants by poisoning its training samples."""

    client: int = Field(ge=0, description="Who poisons.")
    trigger: Literal["square"] = Field(
        default="square", description="What poisoned pictures carry: a white square of 3 x 3 pixels in a corner."
    )
    target: int = Field(default=0, ge=0, description="The class that pictures with the trigger get.")
    share: float = Field(default=0.8, gt=0, le=1, description="Share of the client's samples that is poisoned.")
