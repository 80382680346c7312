"""Pruned weights brought back with the signs in which training makes them grow again."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.revival.filling import FillingSettings, fill
from fedunlearn.attacks.revival.fusion import completion_odds, noisy_slope
from fedunlearn.attacks.revival.mask_settings import find_mask
from fedunlearn.attacks.revival.regrowth_rounds import Regrowth, evidence, first_round, form_of, regrowth
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.findings import RevivedModel
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


class RegrowthSettings(FillingSettings):
    """Settings of `regrowth-revival`."""

    rounds: int | None = Field(
        default=None, ge=1, description="Rounds after the request that are looked at; absent: all that were watched."
    )
    form: Literal["auto", "updates", "sums", "models"] = Field(
        default="auto",
        description="What is looked at: every client's update, their mean, or the models before and after a round; "
        '"auto": what the view shows most of.',
    )
    fused: bool = Field(default=True, description="Whether the signs of the matrix completion are fused in.")


@ATTACKS.register("regrowth-revival")
class RegrowthRevival(Attack):
    """Pruned weights put back with the signs in which clients' later updates make them grow, and the completion's.

    Knowledge: the rounds after the request, recorded whole, as clients' updates, as sums or as the models alone.
    Formula: at masked positions e = mean change over rounds and clients, over its spread where several updates are
    seen: an honest update moves a missing weight along -dL/dw, mostly to where it was. Fused by log-odds: l = l_c +
    b * e, l_c of the completion, its slope fitted to large observed weights that are hidden on purpose. Then Top-K
    sign retention by |l| and Neuron-Max Scaling as of `revival`. Decision: none; the model is the finding. Recovery
    that trains on retained data alone moves them too, as pruned weights serve the retained classes as well.

    Source: ours; the completion is that of Roots Beneath the Cut (arXiv 2603.06640). Deviations: b cannot be fitted to
    observed weights, which no update moves towards their own sign. It is fitted to how often e agrees with the
    completion, given how often that errs, and bounded by the completion's own strength.
    """

    Settings: ClassVar[type[RegrowthSettings]] = RegrowthSettings
    needs: ClassVar[Access] = "broadcasts"
    finds: ClassVar[Finds] = "revival"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> RevivedModel:
        """Sum up what grows under the mask, fuse it with the completion, and put the surest in place."""
        settings: RegrowthSettings = self.settings
        form = form_of(view) if settings.form == "auto" else settings.form
        seen = regrowth(view, settings, settings.rounds, form)
        missing = find_mask(view, view.broadcast(first_round(view, settings)), settings)
        told: dict[str, Any] = {"form": form, "rounds": [one.round for one in seen], "fused": settings.fused}
        notes = told | {"mask": settings.mask, "top-ratio": settings.top_ratio, "slopes": {}, "agreement": {}}

        def recover(name: str, matrix: np.ndarray, mask: np.ndarray) -> np.ndarray:
            grown = evidence(seen, name, mask)
            notes["agreement"][name] = agreement_by_round(seen, name, mask)
            if not settings.fused:
                return grown
            try:
                odds = completion_odds(np.where(mask, 0.0, matrix), mask, settings.tau, rng)
            except ValueError as error:
                raise AccessRefused(f"{name} cannot be completed: {error}") from error
            notes["slopes"][name] = noisy_slope(grown[mask], odds[mask])
            return odds + notes["slopes"][name] * grown

        return fill(view.final(), missing, recover, settings, knowledge, rng, notes)


def agreement_by_round(seen: list[Regrowth], name: str, mask: np.ndarray) -> list[float]:
    """Return after each round what share of the signs is that after all rounds: how fast they settle."""
    signs = [np.sign(evidence(seen[:last], name, mask)[mask]) for last in range(1, len(seen) + 1)]
    return [float(np.mean(each == signs[-1])) for each in signs]
