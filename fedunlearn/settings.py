"""The base of everything a user can write in a scenario file, plug-ins' own settings included."""

from pydantic import BaseModel, ConfigDict


def kebab(name: str) -> str:
    """Return the spelling of a field in a scenario: `local_epochs` is written `local-epochs`."""
    return name.replace("_", "-")


class Settings(BaseModel):
    """Frozen, strict, kebab-case; unknown keys, NaN and infinity are errors. Every field has a description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, alias_generator=kebab, populate_by_name=True
    )
