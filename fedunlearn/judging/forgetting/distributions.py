"""Many unlearned against many retrained models: cells that differ in their training seed alone.

They share data, partition and request, so that each is another draw of (trained, unlearned, retrained) model. A
method's models are compared with those that were retrained from the same initialisation in the same order; retraining
from another initialisation is compared like a method, and shows what a perfect one would score with as few models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedunlearn.errors import DataError
from fedunlearn.judging.forgetting.compare import retained_test_accuracy
from fedunlearn.judging.forgetting.epsilon import competition_score, forgetting_quality
from fedunlearn.judging.forgetting.klom import klom
from fedunlearn.judging.forgetting.likelihood import u_lira
from fedunlearn.judging.forgetting.margin_store import Margins
from fedunlearn.judging.groups import Results, group_cells
from fedunlearn.judging.metric import NAN, finite_or_none, mean_or_nan, number
from fedunlearn.names import RETRAINED

ORACLE = RETRAINED[0]
FEWEST = 3  # models of either kind
ENOUGH = 64  # shadow models from which a sample's own variance is better than a pooled one
Row = dict[str, Any]


@dataclass(frozen=True)
class Draw:
    """One cell: its results, and the margins of its final models."""

    results: Results
    margins: Margins

    def metrics(self, branch: str) -> Row:
        """Return the metrics of a branch."""
        return next(dict(entry["metrics"]) for entry in self.results["branches"] if entry["id"] == branch)


def distribution_rows(cells: Sequence[Results], margins: Sequence[Margins | None]) -> Iterator[Row]:
    """Yield one row for each group of cells, seed and branch, as JSON values; none where too few cells kept margins.

    Args:
        cells: the results of all cells.
        margins: what each of them kept.

    Raises:
        DataError: when cells that should have the same samples do not.
    """
    kept = {id(results): found for results, found in zip(cells, margins, strict=True) if found}
    for group in group_cells(cells):
        draws = [Draw(results, kept[id(results)]) for results in group.cells if id(results) in kept]
        for seed in dict.fromkeys(draw.results["seed"] for draw in draws):
            same = [draw for draw in draws if draw.results["seed"] == seed and ORACLE in draw.margins.by_branch]
            for branch in dict.fromkeys(name for draw in same for name in draw.margins.by_branch if name != ORACLE):
                paired = [draw for draw in same if branch in draw.margins.by_branch]
                if len(paired) >= FEWEST:
                    yield {"group": group.label, "seed": seed} | _row(branch, paired)


def _row(branch: str, draws: Sequence[Draw]) -> Row:
    pooled = len(draws) - 1 < ENOUGH
    row: Row = {}
    for kind in draws[0].margins.ids:
        unlearned, retrained = _stacked(branch, kind, draws), _stacked(ORACLE, kind, draws)
        divergences = klom(unlearned, retrained)
        row[f"klom_{kind}"] = mean_or_nan(divergences)
        row[f"klom_{kind}_p95"] = float(np.quantile(divergences, 0.95)) if len(divergences) else NAN
        if kind != "retain":  # known to either model, so that nobody asks whether it was forgotten
            row[f"u_lira_auc_{kind}"], row[f"u_lira_tpr_at_1_fpr_{kind}"] = u_lira(unlearned, retrained, pooled=pooled)
        if kind == "forget":
            row["forgetting_quality"] = forgetting_quality(unlearned, retrained)
    retained = _accuracies(lambda metrics: number(metrics["retain_accuracy"]), branch, draws)
    test = _accuracies(retained_test_accuracy, branch, draws)
    row["retain_ratio"], row["test_ratio"] = _ratio(*retained), _ratio(*test)
    row["competition_score"] = competition_score(row["forgetting_quality"], retained, test)
    known = {name: finite_or_none(value) for name, value in row.items()}
    return {"branch": branch, "models": len(draws), "pooled_variance": pooled} | known


def _stacked(branch: str, kind: str, draws: Sequence[Draw]) -> np.ndarray:
    """Return the margins of a branch's models (models, samples)."""
    ids = draws[0].margins.ids[kind]
    for draw in draws:
        if not np.array_equal(draw.margins.ids[kind], ids):
            raise DataError(f"cells of seed {draw.results['seed']} kept margins of different {kind} samples")
    return np.stack([draw.margins.by_branch[branch][kind] for draw in draws])


def _accuracies(read: Callable[[Row], float], branch: str, draws: Sequence[Draw]) -> tuple[float, float]:
    """Return the mean accuracies of the (unlearned, retrained) models."""
    means = [mean_or_nan([read(draw.metrics(which)) for draw in draws]) for which in (branch, ORACLE)]
    return means[0], means[1]


def _ratio(own: float, other: float) -> float:
    return own / other if other else NAN
