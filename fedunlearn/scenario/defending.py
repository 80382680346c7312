"""The tables of a scenario file about those who defend."""

from typing import Any

from pydantic import Field

from fedunlearn.settings import Settings


class DefenceSettings(Settings):
    """A defence; those that act at one place act in the order of their tables."""

    name: str = Field(description="A defence; `run_sim.py list defences` shows them.")
    settings: dict[str, Any] = Field(default={}, description="The defence's own settings.")
