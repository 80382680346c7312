"""Pruned weights brought back from those that were kept, without data and without training."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.revival.completion import complete
from fedunlearn.attacks.revival.filling import FillingSettings, fill
from fedunlearn.attacks.revival.mask_settings import find_mask
from fedunlearn.attacks.revival.signs import Signs, mean_signs, random_signs
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.findings import RevivedModel
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View


class RevivalSettings(FillingSettings):
    """Settings of `revival`."""

    signs: Signs = Field(
        default="soft-impute",
        description="Where signs come from: soft-impute; column-mean, row-mean of what is kept; random; oracle: the "
        "true ones, granted.",
    )


@ATTACKS.register("revival")
class Revival(Attack):
    """Pruned weights put back with signs from a matrix completion and the largest magnitude of their neuron.

    Knowledge: the final weights; the settings say what else. Formula: (1) the mask, by default the exact zeros; (2) of
    every matrix a completion of low rank (SoftImpute), whose signs are claimed; (3) Top-K sign retention: of a matrix's
    missing weights the `top-ratio` with the largest recovered values go on, the others stay as they are: 0 where the
    mask is that of zeros, as published; (4) Neuron-Max Scaling: w = sign * max(|N(mu_r, sigma_r^2)|, max_j |W_rj| (1 +
    1e-6)), mu_r and sigma_r of the kept weights of row r. Decision: none; the model is the finding. Whole missing rows
    and columns are counted in the notes and left as they are: no completion identifies them.

    Source: Roots Beneath the Cut (arXiv 2603.06640, CVPR 2026), whose baselines are settings too: random, mean and true
    signs; sampled, averaged, recovered and quantised magnitudes. Deviations: the published threshold tau is the
    smallest singular value (`smin`), which is next to nothing where units are dead; the default is a third of the
    largest one of the column-mean-filled matrix, fixed without looking at any answer. Iterations are compared with the
    one before, not with the one before that. What Top-K leaves out is not set to 0, which differs only where another
    mask marks weights that are not: what a defence put there, or what was never pruned, is kept.
    """

    Settings: ClassVar[type[RevivalSettings]] = RevivalSettings
    needs: ClassVar[Access] = "final-weights"
    finds: ClassVar[Finds] = "revival"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> RevivedModel:
        """Find the mask, recover signs, and put the surest in place."""
        settings: RevivalSettings = self.settings
        weights = view.final()
        missing = find_mask(view, weights, settings)
        told: dict[str, Any] = {"mask": settings.mask, "signs": settings.signs, "magnitude": settings.magnitude}
        notes = told | {"top-ratio": settings.top_ratio, "completion": {}}

        def recover(name: str, matrix: np.ndarray, mask: np.ndarray) -> np.ndarray:
            if settings.signs == "random":
                return random_signs(mask, rng)
            if settings.signs == "oracle":
                return knowledge.true_model("before")[name].reshape(mask.shape).astype(np.float64)
            if settings.signs != "soft-impute":
                return mean_signs(matrix, mask, axis=0 if settings.signs == "column-mean" else 1)
            try:
                found = complete(matrix, mask, settings.tau, rng)
            except ValueError as error:
                raise AccessRefused(f"{name} cannot be completed: {error}") from error
            told = {"rule": settings.tau, "tau": found.tau, "iterations": found.iterations, "rank": found.rank}
            notes["completion"][name] = told
            return found.matrix

        return fill(weights, missing, recover, settings, knowledge, rng, notes)
