"""Heads, occasions and a guarded branch of a small federation."""

import numpy as np

from fedunlearn.defences import DEFENCES, Guard
from fedunlearn.defences.base import Occasion
from fedunlearn.guarding import head_inputs
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.branches import Control
from fedunlearn.unlearning.small_federation import CLASSES

OFF = {
    "head-noise": {"scale": 0.0},
    "row-norm-match": {"strength": 0.0},
    "twin-row": {"share": 0.0},
    "teleport-rows": {"strength": 0.0},
    "decoy-class": {"decoys": 0},
    "answer-top1": {"top": 10},
    "rounded-probabilities": {"decimals": 8},
    "gaussian-obfuscation": {"scale": 0.0},
    "random-reinit": {"scale": 0.0},
    "zero-outgoing": {"share": 0.0},
    "decoy-zeros": {"share": 0.0},
}


def make(name, **settings):
    """Return a defence."""
    return DEFENCES[name](DEFENCES[name].Settings(**settings))


def head(classes=10, width=30, seed=0):
    """Return the weights of a model's head, float32."""
    draws = np.random.default_rng(seed)
    rows, bias = draws.normal(size=(classes, width)), draws.normal(size=classes)
    return {"body": draws.normal(size=3), "head.weight": rows.astype("f4"), "head.bias": bias.astype("f4")}


def pruned_head(classes=10, width=30, inputs=20, units=3, seed=0):
    """Return (weights, masks): a head behind a hidden layer whose first `units` units are pruned."""
    draws, mask = np.random.default_rng(seed), np.arange(width) < units
    rows, bias = draws.normal(size=(width, inputs)), draws.normal(size=width)
    rows[mask], bias[mask] = 0, 0
    hidden = {"hidden.weight": rows.astype("f4"), "hidden.bias": bias.astype("f4")}
    masks = {"hidden.weight": np.repeat(mask[:, None], inputs, 1), "hidden.bias": mask}
    return hidden | head(classes, width, seed), masks


def occasion(features=None, classes=(3,), requested=True, seed=0, pruned=None):
    """Return an occasion; `features` (n, d) are what the server's images and noise give."""
    given = np.empty((0, 30)) if features is None else features
    return Occasion(
        classes,
        requested,
        lambda: np.random.default_rng(seed + 100),
        np.random.default_rng(seed),
        lambda weights, kind: given,
        pruned or {},
    )


def logits(weights, features):
    """Return the outputs of a head."""
    return features @ weights["head.weight"].T.astype("f8") + weights["head.bias"]


def guard(small, *defences, seed=0):
    """Return a guard for branches of a `SmallFederation`."""
    _, history = small.trained

    def samples_of(classes):
        labels = small.samples.labels
        return {client: ids[np.isin(labels(ids), classes)] for client, ids in enumerate(small.held)}

    return Guard(defences, seed, CLASSES, samples_of, head_inputs(history))


def branch(small, name, *defences, apart=False, journal=None, rounds=2):
    """Serve the request for class 1 on a guarded branch; return (model, federation, the models that were published)."""
    weights, history = small.trained
    federation = small.federation(apart=apart, journal=journal).fork(name)
    federation.calls = small.rounds
    published = []
    federation.model_listeners.append(lambda branch, call, model: published.append(model))
    request, method = small.request("class"), UNLEARNERS[name]
    unlearner = method(method.Settings(), rounds)
    if unlearner.own_trunk:
        federation.restart()
        weights, history = unlearner.prepare(request, federation, history)
    idle = isinstance(unlearner, Control)
    federation.open_request({} if idle else request.samples)
    guard(small, *defences).request(federation, () if idle else request.whole_classes)
    weights = unlearner(weights, request, federation, history)
    federation.close_request()
    return weights, federation, published
