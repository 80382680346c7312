"""What clients' training does to weights that were pruned: changes at masked positions, round by round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedunlearn.attacks.revival.mask_settings import MaskSettings
from fedunlearn.attacks.revival.masks import matrices
from fedunlearn.federation import Update, Weights
from fedunlearn.observer.access import AccessRefused, allows
from fedunlearn.observer.view import EVERYBODY, View

Form = Literal["updates", "sums", "models"]


@dataclass(frozen=True)
class Regrowth:
    """The changes of one round.

    Attributes:
        round: its number.
        changes: one per update seen, by tensor (outputs, inputs), float64.
        sizes: how many samples each stands for.
    """

    round: int
    changes: tuple[Weights, ...]
    sizes: tuple[int, ...]


def form_of(view: View) -> Form:
    """Return what the observer sees most of: every client's update, their mean, or the models alone."""
    if allows(view.access, "updates"):
        return "updates"
    return "sums" if allows(view.access, "aggregate-only") else "models"


def regrowth(view: View, settings: MaskSettings, rounds: int | None, form: Form) -> list[Regrowth]:
    """Return the changes of the rounds after the request, in order; at most `rounds` of them.

    Raises:
        AccessRefused: where no round was watched after the request, or they were not recorded whole.
    """
    last = view.num_rounds
    numbers = range(first_round(view, settings), last + 1)[:rounds]
    found = []
    for number in numbers:
        start = matrices(view.broadcast(number), settings.layers)
        updates = updates_of(view, number, form)
        changes = tuple(_change(update, start, settings) for update in updates)
        found.append(Regrowth(number, changes, tuple(update.num_examples for update in updates)))
    return found


def updates_of(view: View, number: int, form: Form) -> list[Update]:
    """Return what was sent in a round, as far as the form shows it."""
    if form == "updates":
        return [view.update(number, client) for client in view.clients(number)]
    if form == "sums":
        return [view.total(number)]
    return [Update(EVERYBODY, "weights", view.result(number), 1)]


def first_round(view: View, settings: MaskSettings) -> int:
    """Return the first round after the request: told, or the first on record whose broadcast has exact zeros.

    Raises:
        AccessRefused: where there is none.
    """
    if "request-round" in view.flags:
        if view.request_round >= view.num_rounds:
            raise AccessRefused(f"{view.num_rounds} rounds were watched, none after the request")
        return view.request_round + 1
    for number in range(1, view.num_rounds + 1):
        try:
            start = view.broadcast(number)
        except AccessRefused:  # of this round only the last layer is on record
            continue
        if any((matrix == 0).any() for matrix in matrices(start, settings.layers).values()):
            return number
    raise AccessRefused("no broadcast has a weight that is exactly 0: nothing was pruned, or no round came after it")


def _change(update: Update, start: Weights, settings: MaskSettings) -> Weights:
    sent = matrices(update.payload, settings.layers)
    return {name: -sent[name] if update.kind == "gradient" else sent[name] - start[name] for name in start}


def evidence(rounds: list[Regrowth], name: str, mask: np.ndarray) -> np.ndarray:
    """Return a signed number per weight of a matrix, of unit root mean square over the mask; its sign is the claim.

    The changes' mean over their standard error, where several were seen: what grows in every update is surest.

    Raises:
        AccessRefused: when nothing changed under the mask: the server shows only what it has pruned again.
    """
    changes = np.stack([change[name] for one in rounds for change in one.changes])
    sizes = np.array([size for one in rounds for size in one.sizes], dtype=np.float64)
    mean = np.average(changes, axis=0, weights=sizes)
    if not mean[mask].any():
        raise AccessRefused(f"nothing grows in {name}: the server prunes again before it shows a model")
    found = np.where(mask, mean, 0.0)
    if len(changes) > 2:
        spread = np.sqrt(np.average((changes - mean) ** 2, axis=0, weights=sizes))
        found = found / (spread + np.median(spread[mask]) + np.finfo(float).tiny)
    return np.asarray(found / np.sqrt(np.mean(found[mask] ** 2)))
