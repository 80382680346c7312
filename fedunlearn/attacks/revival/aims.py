"""Which class a revival aims at: told, or found by an attack on the forgotten class."""

from __future__ import annotations

import numpy as np
from pydantic import Field, field_validator

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.findings import ForgottenClasses
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View
from fedunlearn.registry import nearest
from fedunlearn.settings import Settings


class AimSettings(Settings):
    """Settings of the attacks that aim at a class."""

    finder: str = Field(
        default="null-class-query",
        description="The attack that finds the class where the flag request-target does not tell it; its own flags and "
        "access are needed then.",
    )

    @field_validator("finder")
    @classmethod
    def _finds_classes(cls, name: str) -> str:
        known = [attack for attack in ATTACKS if ATTACKS[attack].finds == "forgotten-classes"]
        if name not in known:
            raise ValueError(f'"{name}" is no attack on the forgotten class{nearest(name, known)}')
        return name


def aim(view: View, knowledge: Knowledge, settings: AimSettings, rng: np.random.Generator) -> tuple[int, str]:
    """Return the class to revive, the first of several, and how it is known.

    Raises:
        AccessRefused: as the finder.
    """
    if "request-target" in view.flags and view.scope == "class":
        return view.target[0], "told"
    attack = ATTACKS[settings.finder]
    found = attack(attack.Settings())(view, knowledge, rng)
    if not isinstance(found, ForgottenClasses) or np.isnan(found.scores).any():
        raise AccessRefused(f"{settings.finder} found no class to aim at")
    return int(found.scores.argmax()), settings.finder
