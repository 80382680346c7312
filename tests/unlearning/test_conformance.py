"""Every registered unlearner keeps the rules, and the check finds those that do not."""

import numpy as np
import pytest

from fedunlearn.errors import ScenarioError
from fedunlearn.unlearning import UNLEARNERS, Nonconforming, Unlearner, check_unlearner

REFERENCES = {"control", "placebo", "absent"}


@pytest.mark.parametrize("name", sorted(set(UNLEARNERS) - REFERENCES))
def test_every_unlearner_keeps_the_rules(name):
    check_unlearner(name)


class InPlace(Unlearner):
    def forget(self, weights, request, federation, history):
        weights["head.bias"] += 1
        return history.training.run(federation, weights, self.rounds)


class Narrow(Unlearner):
    def forget(self, weights, request, federation, history):
        return weights | {"head.bias": weights["head.bias"][:-1]}


class ByGroup(Unlearner):
    def forget(self, weights, request, federation, history):
        weights = history.training.run(federation, weights, self.rounds)
        return weights | {"head.bias": weights["head.bias"] + np.float32(federation._engine._apart)}


class Infinite(Unlearner):
    def forget(self, weights, request, federation, history):
        return weights | {"head.bias": weights["head.bias"] + np.float32(np.inf)}


class Forgetful(Unlearner):
    """Remembers outside of the federation's rounds."""

    calls = 0

    def forget(self, weights, request, federation, history):
        type(self).calls += 1
        weights = history.training.run(federation, weights, self.rounds)
        return weights | {"head.bias": weights["head.bias"] + np.float32(self.calls // 3)}


class Ruins(Unlearner):
    def forget(self, weights, request, federation, history):
        return {name: np.zeros_like(array) for name, array in weights.items()}


class Silent(Unlearner):
    scopes = frozenset({"class"})

    def forget(self, weights, request, federation, history):
        return history.training.run(federation, weights, self.rounds)


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        (InPlace, "modified"),
        (Narrow, "head.bias should be"),
        (ByGroup, "a message of its own"),
        (Infinite, "NaN or infinite"),
        (Forgetful, "killed"),
        (Ruins, "accuracy on retained data fell"),
        (Silent, "`limits` does not say why"),
    ],
)
def test_a_broken_rule_is_named(method, rule, monkeypatch):
    monkeypatch.setitem(UNLEARNERS._entries, "broken", method)
    with pytest.raises(Nonconforming, match=rule):
        check_unlearner("broken")


def test_an_unknown_name_is_corrected():
    with pytest.raises(ScenarioError, match='did you mean "retrain"'):
        check_unlearner("retain")
