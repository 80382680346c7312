"""What the server optimiser remembers of the past outlives ordinary training, and nothing else that moves the model."""

import pytest

from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.unlearning.workbench import branch

GO_ON = {"finetune", "l1-sparse", "control", "placebo", "absent"}
MEMORY = "momentum of forgotten data"
FEWER = {"mode": {"rounds": 1, "recovery_rounds": 1}, "fedosd": {"rounds": 1}}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    small = SmallFederation(tmp_path_factory.mktemp("small"), rounds=2)
    assert small.trained
    return small


class Remembering:
    """An engine that notes the memory which aggregation is given."""

    def __init__(self, engine):
        self._engine, self.given = engine, []

    def deliver(self, order):
        return self._engine.deliver(order)

    def aggregate(self, weights, updates, state):
        self.given.append(state)
        return self._engine.aggregate(weights, updates, state)


METHODS = [(name, {}) for name in sorted(UNLEARNERS)] + [("amnesiac", {"mode": "relabel"})]
CASES = [(*method, scope) for method in METHODS for scope in sorted(UNLEARNERS[method[0]].scopes - {"sample"})]


@pytest.mark.parametrize(("name", "options", "scope"), CASES)
def test_only_ordinary_training_goes_on_with_the_memory(small, name, options, scope, tmp_path):
    method, (weights, history) = UNLEARNERS[name], small.trained
    request = small.request(scope)
    federation = branch(small, request)
    unlearner = method(method.Settings(**FEWER.get(name, {}), **options), 2)
    if method.own_trunk:
        federation.open_request({})
        federation.restart()
        weights, history = unlearner.prepare(request, federation, history)
        federation.open_request(request.samples)
    federation._engine, federation.state = Remembering(federation._engine), MEMORY
    unlearner(weights, request, federation, history)
    expected = MEMORY if name in GO_ON else None
    assert federation.state == expected
    assert set(federation._engine.given) <= {expected}
