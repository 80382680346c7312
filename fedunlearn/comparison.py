"""Looks at every branch's final model on the same samples, for the judge to compare with the retrained ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from fedunlearn.federation import Weights
from fedunlearn.judging.forgetting.compare import FinalModel, Metrics, compare, retained_test_accuracy
from fedunlearn.judging.forgetting.confidence import confidences, margins
from fedunlearn.judging.forgetting.margin_store import Margins, write_margins
from fedunlearn.judging.forgetting.membership_auc import mia_auc
from fedunlearn.judging.forgetting.membership_efficacy import mia_efficacy
from fedunlearn.judging.forgetting.relearning import relearn_steps
from fedunlearn.judging.metric import number
from fedunlearn.learning import Evaluation
from fedunlearn.models import load_weights
from fedunlearn.names import RETRAINED
from fedunlearn.randomness import rng
from fedunlearn.stage import Stage
from fedunlearn.storage import read_arrays

Evaluate = Callable[[Weights, np.ndarray], Evaluation]
MOST = 4000  # samples of each kind that models are compared on
KEPT = {"retain": 500, "test": 500}  # of them, whose margins are kept; of forgotten samples all
RELEARNED = 500  # forgotten samples, at most, that are learned again
BLIND, MIA, RELEARN, UNSEEN = 3, 4, 5, 6  # what the stream "forgetting" is for, after the three kinds of samples


def choose_samples(stage: Stage, forgotten: np.ndarray, classes: Sequence[int]) -> dict[str, np.ndarray]:
    """Return the ids that models are compared on, by kind, each in random order: forget, retain, test.

    Test samples of whole classes that were forgotten are left out: no model is meant to know them.

    Args:
        stage: the run's data.
        forgotten: ids of all forgotten samples.
        classes: the whole classes among them.
    """
    test = stage.unseen
    kinds = {
        "forget": forgotten,
        "retain": np.setdiff1d(np.concatenate(stage.held), forgotten),
        "test": test[~np.isin(stage.dataset.labels(test), classes)],
    }
    most = min(MOST, stage.scenario.judge.trained_on or MOST)
    return {
        kind: rng(stage.seed, "forgetting", place).permutation(ids)[:most]
        for place, (kind, ids) in enumerate(kinds.items())
    }


class Comparison:
    """The final models of one cell, looked at one after the other.

    Args:
        stage: the run's data and model.
        evaluate: evaluates weights on sample ids.
        samples: from `choose_samples`.
        original: the model before anything was forgotten.
    """

    def __init__(self, stage: Stage, evaluate: Evaluate, samples: Mapping[str, np.ndarray], original: Weights) -> None:
        self._stage, self._evaluate, self._samples = stage, evaluate, samples
        self._labels = {kind: stage.dataset.labels(ids) for kind, ids in samples.items()}
        self._unseen = _like(stage, self._labels["forget"])
        self._known = evaluate(original, samples["forget"][:RELEARNED]).accuracy

    def logits(self, weights: Weights) -> dict[str, np.ndarray]:
        """Return a model's logits (n, num_classes) on each kind of samples."""
        return {kind: self._evaluate(weights, ids).logits for kind, ids in self._samples.items()}

    def margins(self, logits: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the margins that are kept of a model."""
        return {kind: margins(logits[kind], labels)[: KEPT.get(kind)] for kind, labels in self._labels.items()}

    def final(self, weights: Weights, logits: Mapping[str, np.ndarray], metrics: Mapping[str, Any]) -> FinalModel:
        """Return what is compared of a model; `metrics` are its branch's, with the accuracies on all samples."""
        answers = {kind: _probabilities(values) for kind, values in logits.items()}
        sure = {kind: confidences(answers[kind], labels) for kind, labels in self._labels.items()}
        return FinalModel(
            forgotten=answers["forget"],
            accuracies=(
                number(metrics["forget_accuracy"]),
                number(metrics["retain_accuracy"]),
                retained_test_accuracy(metrics),
            ),
            mia_efficacy=mia_efficacy(
                sure["retain"], sure["test"], sure["forget"], rng(self._stage.seed, "forgetting", MIA)
            ),
            relearn_steps=self._relearn(weights) if self._stage.scenario.judge.relearn else None,
            mia_auc=self._mia_auc(weights, answers["forget"]),
        )

    def blind(self) -> np.ndarray:
        """Return the probabilities of a model that has seen nothing on the forgotten samples."""
        weights = self._stage.untrained(rng(self._stage.seed, "forgetting", BLIND))
        return _probabilities(self._evaluate(weights, self._samples["forget"]).logits)

    def _mia_auc(self, weights: Weights, forgotten: np.ndarray) -> float:
        unseen = _probabilities(self._evaluate(weights, self._unseen).logits)
        return mia_auc(forgotten, self._labels["forget"], unseen, self._stage.dataset.labels(self._unseen))

    def _relearn(self, weights: Weights) -> float:
        model = self._stage.model().to(self._stage.site.device)
        load_weights(model, weights)
        ids = self._samples["forget"][:RELEARNED]
        images, labels = self._stage.dataset.images(ids), self._stage.dataset.labels(ids)
        return relearn_steps(model, images, labels, self._known, rng(self._stage.seed, "forgetting", RELEARN))


def _like(stage: Stage, labels: np.ndarray) -> np.ndarray:
    """Return ids of unseen samples of the classes in `labels`, those that were forgotten as a whole included."""
    ids = stage.unseen[np.isin(stage.dataset.labels(stage.unseen), labels)]
    most = min(MOST, stage.scenario.judge.trained_on or MOST)
    return rng(stage.seed, "forgetting", UNSEEN).permutation(ids)[:most]


def compare_branches(
    stage: Stage,
    evaluate: Evaluate,
    folder: Path,
    branches: Sequence[Mapping[str, Any]],
    samples: Mapping[str, np.ndarray],
) -> dict[str, Metrics]:
    """Return the metrics of forgetting of every branch by its id; keep their margins if the scenario asks for it.

    Args:
        stage: the run's data and model.
        evaluate: evaluates weights on sample ids.
        folder: the run folder, with the final models as `checkpoints/<branch>.safetensors`.
        branches: as in results.json, the trunk first.
        samples: from `choose_samples`.
    """
    read = lambda branch: read_arrays(folder / "checkpoints" / f"{branch['id']}.safetensors")[0]  # noqa: E731
    comparison = Comparison(stage, evaluate, samples, read(branches[0]))
    models, kept = {}, {}
    for branch in branches:
        weights = read(branch)
        logits = comparison.logits(weights)
        models[branch["id"]] = comparison.final(weights, logits, branch["metrics"])
        kept[branch["id"]] = comparison.margins(logits)
    if stage.scenario.judge.margins:
        write_margins(folder, Margins({kind: ids[: KEPT.get(kind)] for kind, ids in samples.items()}, kept))
    retrained = [branch["id"] for branch in branches if branch["name"] in RETRAINED]
    return compare(models, retrained, comparison.blind())


def _probabilities(logits: np.ndarray) -> np.ndarray:
    return np.asarray(softmax(logits.astype(np.float64), axis=1))
