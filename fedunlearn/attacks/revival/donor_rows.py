"""Units that were pruned whole, given rows again by what still reads them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from fedunlearn.attacks.base import ATTACKS, Attack, Finds
from fedunlearn.attacks.revival.aims import AimSettings, aim
from fedunlearn.attacks.revival.completion import means
from fedunlearn.attacks.revival.mask_settings import MaskSettings, find_mask
from fedunlearn.attacks.revival.units import Units, units_of
from fedunlearn.federation import Weights
from fedunlearn.observer.access import Access, AccessRefused
from fedunlearn.observer.findings import RevivedModel
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View

Fill = Literal["donor", "regression", "random", "column-mean"]
Outgoing = Literal["keep", "random", "wired"]
RIDGE = 0.1  # of the mean squared outgoing weight, per live unit


class DonorRowsSettings(MaskSettings, AimSettings):
    """Settings of `donor-rows`."""

    fill: Fill = Field(
        default="donor",
        description="A pruned unit's row: donor, that of the live unit whose outgoing weights are most similar; "
        "regression, what the live rows are as a linear function of their outgoing weights; random signs, or those of "
        "the column means, at the median of the live rows' largest |w|.",
    )
    outgoing: Outgoing = Field(
        default="keep",
        description="What reads a pruned unit: keep; random signs at the largest |w| of what reads live ones; wired: "
        "that for the class to revive, and minus it for the others (units that the head reads).",
    )


@ATTACKS.register("donor-rows")
class DonorRows(Attack):
    """Units that were pruned whole get rows from live units with similar outgoing weights.

    Knowledge: the final weights; for `outgoing = "wired"` the forgotten class too. Formula: of a matrix the rows that
    are missing whole get the row, bias and gain of the live unit with the largest cosine of outgoing weights; other
    fills are settings. `regression`: rows = B outgoing, B fitted to the live units by ridge regression, each row scaled
    to the median norm of live ones. Decision: none; the model is the finding. Pruning a unit leaves what reads it: that
    still points to the class.

    Source: controls for Roots Beneath the Cut (arXiv 2603.06640), whose completion cannot identify whole rows; ours.
    Deviations: none. What a fill other than `donor` does not give, biases and gains, are the live units' medians.
    """

    Settings: ClassVar[type[DonorRowsSettings]] = DonorRowsSettings
    needs: ClassVar[Access] = "final-weights"
    finds: ClassVar[Finds] = "revival"

    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> RevivedModel:
        """Find the units that are gone, and fill them matrix by matrix, the last first."""
        settings: DonorRowsSettings = self.settings
        weights = view.final()
        gone = {name: np.asarray(mask.all(axis=1)) for name, mask in find_mask(view, weights, settings).items()}
        gone = {name: rows for name, rows in gone.items() if rows.any() and not rows.all()}
        if not gone:
            raise AccessRefused("of no unit the whole row is missing, or nothing but such rows: there is no donor")
        notes: dict[str, Any] = {"fill": settings.fill, "outgoing": settings.outgoing, "units": {}}
        chosen = None
        if settings.outgoing == "wired":
            chosen, notes["class-from"] = aim(view, knowledge, settings, rng)
        filled, signs = {}, {}
        for name, rows in reversed(gone.items()):
            weights = self._fill(weights, units_of(weights, name), rows, chosen, rng)
            filled[name] = np.broadcast_to(rows.reshape(-1, *[1] * (weights[name].ndim - 1)), weights[name].shape)
            signs[name] = np.where(filled[name], np.sign(weights[name]), 0).astype(np.int8)
            notes["units"][name] = np.flatnonzero(rows).tolist()
        return RevivedModel(weights, filled, chosen, notes, signs)

    def _fill(
        self, weights: Weights, units: Units, gone: np.ndarray, chosen: int | None, rng: np.random.Generator
    ) -> Weights:
        outgoing = units.outgoing.copy()
        if self.settings.outgoing == "random":
            largest = np.abs(outgoing[~gone]).max(axis=0)
            outgoing[gone] = largest * rng.choice([-1.0, 1.0], outgoing[gone].shape)
        elif chosen is not None:
            outgoing[gone] = wired(units, gone, chosen)
        live = np.flatnonzero(~gone)
        rows, vectors = units.rows.copy(), {name: array.copy() for name, array in units.vectors.items()}
        if self.settings.fill == "donor":
            donors = live[most_similar(outgoing[gone], outgoing[live])]
            rows[gone] = rows[donors]
            for array in vectors.values():
                array[gone] = array[donors]
        else:
            rows[gone] = self._rows(units.rows, outgoing, gone, rng)
            for array in vectors.values():
                array[gone] = np.median(array[live])
        return units.placed(weights, rows, vectors, outgoing)

    def _rows(self, rows: np.ndarray, outgoing: np.ndarray, gone: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        live = rows[~gone]
        if self.settings.fill == "regression":
            return predicted_rows(outgoing[gone], outgoing[~gone], live)
        size = np.median(np.abs(live).max(axis=1))
        if self.settings.fill == "random":
            return np.asarray(size * rng.choice([-1.0, 1.0], rows[gone].shape))
        column = np.sign(means(live, np.zeros(live.shape, bool), axis=0))
        return np.asarray(np.broadcast_to(size * column, rows[gone].shape))


def most_similar(outgoing: np.ndarray, live: np.ndarray) -> np.ndarray:
    """Return for each unit the index of the live one whose outgoing weights have the largest cosine with its own."""

    def normed(vectors: np.ndarray) -> np.ndarray:
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(float).tiny)

    return np.asarray((normed(outgoing) @ normed(live).T).argmax(axis=1))


def predicted_rows(outgoing: np.ndarray, live_outgoing: np.ndarray, live_rows: np.ndarray) -> np.ndarray:
    """Return rows as the linear function of outgoing weights that fits the live units, at their median norm.

    Of a hidden unit the gradient of its row is a sum over what reads it: rows lean where outgoing weights point.
    """
    gram = live_outgoing.T @ live_outgoing
    penalty = RIDGE * len(live_rows) * max(float(np.mean(live_outgoing**2)), np.finfo(float).tiny)
    map_ = np.linalg.solve(gram + penalty * np.eye(len(gram)), live_outgoing.T @ live_rows)
    rows = outgoing @ map_
    norms = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(float).tiny)
    return np.asarray(rows / norms * np.median(np.linalg.norm(live_rows, axis=1)))


def wired(units: Units, gone: np.ndarray, chosen: int) -> np.ndarray:
    """Return outgoing weights (gone units, classes) that point to a class and away from all others.

    Raises:
        AccessRefused: for units that the head does not read.
    """
    if units.reader != "head.weight" or units.outgoing.shape[1] <= chosen:
        raise AccessRefused(f"units of {units.name} are read by {units.reader}: they cannot be wired to a class")
    size = np.abs(units.outgoing[~gone]).max()
    signs = np.where(np.arange(units.outgoing.shape[1]) == chosen, 1.0, -1.0)
    return np.asarray(np.broadcast_to(size * signs, units.outgoing[gone].shape))
