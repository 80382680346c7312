"""Retained classes are left out for some rounds, so that the forgotten one is not the only one that is missing."""

from __future__ import annotations

from pydantic import Field

from fedunlearn.defences.base import DEFENCES, Occasion, TrainingDefence
from fedunlearn.settings import Settings


class DecoyClassSettings(Settings):
    """Settings of `decoy-class`."""

    decoys: int = Field(default=3, ge=0, description="How many retained classes are left out; 0: off.")
    rounds: int = Field(default=5, ge=0, description="Rounds after the first request in which they are; 0: off.")


@DEFENCES.register("decoy-class")
class DecoyClass(TrainingDefence):
    """In the first rounds after the request all clients leave out a few retained classes as well, drawn at random.

    Those who watch updates or global models see several classes vanish. Where no class was asked for, one class more
    is left out, so that as many vanish as with a request for one. Of the defences here it is the only one that
    reaches what clients send, and the only one that the server cannot do alone: clients are told what to leave out.

    The decoys come back, the forgotten class does not. Adaptive: `bias-drop` with a window beyond the decoys'
    return, and `null-class-query`, which asks the final model.
    """

    Settings = DecoyClassSettings
    adaptive = ("bias-drop", "null-class-query")
    costs = "rounds in which retained classes are forgotten, and those in which they are learnt again"

    @property
    def rounds(self) -> int:
        """How many published models later the decoys come back."""
        return int(self.settings.rounds) if self.settings.decoys else 0

    def withheld(self, occasion: Occasion, num_classes: int) -> tuple[int, ...]:
        """Return the decoys."""
        kept = [c for c in range(num_classes) if not (occasion.requested and c in occasion.classes)]
        count = self.settings.decoys + (not occasion.requested)
        return tuple(occasion.rng.permutation(kept)[:count].tolist())
