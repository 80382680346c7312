"""Pictures of what a request made the federation forget, from the rounds before and after it."""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.request_change import change_of
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.derived import SingleUpdateView
from fedunlearn.observer.findings import ForgottenImages, Reconstructions
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View
from fedunlearn.settings import Settings


class UnlearningInversionSettings(Settings):
    """Settings of `unlearning-inversion`."""

    by: str = Field(
        default="whitened-matching", description="The attack that rebuilds images from the difference as a gradient."
    )
    settings: dict[str, Any] = Field(default={}, description="That attack's own settings.")
    most: int = Field(default=16, ge=1, description="Where more samples were forgotten, nothing is tried.")

    @model_validator(mode="after")
    def _check_inner(self) -> "UnlearningInversionSettings":
        images = [name for name in ATTACKS if ATTACKS[name].finds == "images"]
        if self.by not in images:
            raise ValueError(f"by must rebuild images from an update: one of {', '.join(sorted(images))}")
        inner = ATTACKS[self.by].Settings.model_validate(self.settings, by_alias=True, by_name=False)
        if getattr(inner, "labels", None) == "known":
            raise ValueError('labels = "known" cannot be granted: nobody sent the difference of two rounds')
        return self


@ATTACKS.register("unlearning-inversion")
class UnlearningInversion(Attack):
    """Rebuild forgotten images from the difference that their removal makes to a round.

    The difference of the rounds before and after the request is the forgotten samples' gradient (`request_change`
    tells when exactly); any attack on a gradient rebuilds images from it. Needs no more than sums of updates, so secure
    aggregation does not stop it. Source: Hu et al., IEEE S&P 2024 (arXiv 2404.03233). Deviations: two rounds of a
    federation in place of two models of one owner; the inner attack and its labels are chosen by `by` and `settings`
    in place of cosine matching with true labels.
    """

    Settings: ClassVar[type[UnlearningInversionSettings]] = UnlearningInversionSettings
    needs: ClassVar[Access] = "aggregate-only"
    needs_flags: ClassVar[frozenset[str]] = frozenset({"request-round"})
    finds: ClassVar[Finds] = "forgotten-images"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> ForgottenImages:
        """Return one image for each sample that is missing after the request."""
        change = change_of(view, knowledge.learning)
        if change.update.num_examples > self.settings.most:
            raise AccessRefused(
                f"{change.update.num_examples} samples are missing, more than most = {self.settings.most}"
            )
        inner = ATTACKS[self.settings.by]
        settings = inner.Settings.model_validate(self.settings.settings, by_alias=True, by_name=False)
        found = inner(settings)(SingleUpdateView(view, change.broadcast, change.update), knowledge, rng)
        assert isinstance(found, Reconstructions)
        notes = found.notes | {
            "rounds-compared": list(change.rounds),
            "same-model": change.same_model,
            "samples-missing": change.missing,
            "by": self.settings.by,
        }
        return ForgottenImages("request-1", found.images[0], found.labels[0], found.label_source, notes)
