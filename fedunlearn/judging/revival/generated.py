"""A generating model's images of each class, as the judge's own classifier sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fedunlearn.errors import DataError
from fedunlearn.federation import Weights
from fedunlearn.judging.case import Case
from fedunlearn.judging.revival.portraits import Portraits


class Generated:
    """What models of one branch generate; each is asked for the same classes with the same noise.

    Args:
        case: the branch.
        portraits: returns what a model generates.
        first: what one of the models generates.

    Attributes:
        labels: int64 (n,), the classes that every model is asked for.

    Raises:
        DataError: when the judge has no classifier of its own.
    """

    def __init__(self, case: Case, portraits: Callable[[Weights], Portraits | None], first: Portraits) -> None:
        if case.evaluator is None or case.unseen is None or case.labels is None:
            raise DataError("generated images are judged by a classifier of the judge's own; this case has none")
        self._case, self._make, self._first, self.labels = case, portraits, first, first.labels
        self._evaluator, self._tested = case.evaluator(), case.unseen()
        self._truth = case.labels(self._tested)

    def _portraits(self, weights: Weights) -> Portraits:
        found = self._make(weights)
        if found is None:
            raise DataError("this model generates nothing")
        return found

    def logits(self, weights: Weights) -> np.ndarray:
        """Return the judge's logits (n, num_classes) of what a model generates."""
        return self._evaluator.logits(self._portraits(weights).images)

    def describe(self) -> dict[str, Any]:
        """Return for the details how images were made, and how good the judge's classifier is on true ones."""
        logits = self._evaluator.logits(self._case.images(self._tested))
        evaluator = {
            "trained-on": len(self._evaluator.sample_ids),
            "tested-on": len(self._tested),
            "accuracy": float((logits.argmax(axis=1) == self._truth).mean()),
        }
        return {"evaluator": evaluator, "generated": self._first.describe()}

    def grids(self, models: Mapping[str, Weights | None]) -> dict[str, np.ndarray]:
        """Return `portraits-<name>` (classes, columns, C, H, W) of those models that there are."""
        return {
            f"portraits-{name}": self._portraits(weights).grid()
            for name, weights in models.items()
            if weights is not None
        }


def generated_by(case: Case, weights: Weights | None) -> Generated | None:
    """Return what models of a branch generate; None where they only classify.

    Args:
        case: the branch.
        weights: of one of them.
    """
    if case.portraits is None or weights is None:
        return None
    first = case.portraits(weights)
    return None if first is None else Generated(case, case.portraits, first)


def shown_models(
    before: Weights | None, attacked: Weights, revived: Weights, pruned: Weights
) -> dict[str, Weights | None]:
    """Return the models to show beside each other: before, pruned, defended where a defence changed that, revived.

    Args:
        before: the model before the request; None where there is none.
        attacked: the model that was released in the end.
        revived: what an attack made of it.
        pruned: by tensor, bool, what was pruned.
    """
    cut = attacked | {name: np.where(mask, 0, attacked[name]).astype("f4") for name, mask in pruned.items()}
    defended = any(not np.array_equal(cut[name], attacked[name]) for name in pruned)
    return {"before": before, "pruned": cut, "defended": attacked if defended else None, "revived": revived}
