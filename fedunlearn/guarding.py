"""What a scenario's defences need of a run: its data, its model, the server's own images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fedunlearn.defences import Guard, make_defences
from fedunlearn.defences.base import Features, Kind
from fedunlearn.federation import Weights
from fedunlearn.models import load_weights
from fedunlearn.randomness import rng
from fedunlearn.stage import Stage
from fedunlearn.unlearning import History

NOISE = 1000  # pictures of noise that a defence looks at


def make_guard(stage: Stage, history: History) -> Guard:
    """Return the scenario's defences, ready for one branch."""

    def samples_of(classes: Sequence[int]) -> dict[int, np.ndarray]:
        chosen = [ids[np.isin(stage.dataset.labels(ids), classes)] for ids in stage.held]
        return {client: ids for client, ids in enumerate(chosen) if len(ids)}

    defences = make_defences(stage.scenario.defences)
    return Guard(defences, stage.seed, stage.dataset.num_classes, samples_of, head_inputs(history))


def head_inputs(history: History) -> Features:
    """Return what computes the head's inputs of a model for the server's own images, or for noise."""

    @torch.no_grad()
    def features(weights: Weights, kind: Kind) -> np.ndarray:
        model = history.model().to(history.device)
        load_weights(model, weights)
        pictures = history.proxy()
        if kind != "own":
            pictures = noise(kind, pictures.shape[1:], rng(history.seed, "noise", 1))
        inputs = torch.from_numpy(pictures).to(history.device)
        return np.asarray(model.eval().features(inputs).numpy(force=True), np.float64)

    return features


def noise(kind: Kind, shape: Sequence[int], draws: np.random.Generator) -> np.ndarray:
    """Return grey values of noise, float32 (n, C, H, W) in [0, 1]; "sparse": on a share that varies by picture."""
    values = draws.random((NOISE, *shape), dtype=np.float32)
    if kind == "sparse":
        values *= draws.random(values.shape, dtype=np.float32) < draws.random((NOISE, 1, 1, 1), dtype=np.float32)
    return values
