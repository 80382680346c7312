"""NoT: one tensor turns its sign, twice is nothing, and the model knows nothing until it has recovered."""

import numpy as np
import pytest

from fedunlearn.models import parameter_names, to_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.small_federation import CLASSES, SmallFederation
from fedunlearn.unlearning.weight_negation import negate_first_layer
from tests.learning.workshop import assert_same
from tests.unlearning.workbench import branch, net_of

MODELS = [
    ({"name": "logistic"}, "head.weight"),
    ({"name": "mlp"}, "body.fc1.weight"),
    ({"name": "lenet"}, "body.conv1.weight"),
    ({"name": "convnet"}, "body.conv1.weight"),
    ({"name": "resnet18", "width": 4}, "body.conv1.weight"),
    ({"name": "resnet18", "width": 4, "norm": "batch"}, "body.conv1.weight"),
]


@pytest.mark.parametrize(("model", "first"), MODELS)
def test_the_first_layers_weights_turn_their_sign_and_nothing_else_changes(model, first):
    net = net_of(**model)
    before, parameters = to_weights(net), parameter_names(net)
    once = negate_first_layer(before, parameters)
    assert [name for name in before if not np.array_equal(before[name], once[name])] == [first]
    np.testing.assert_array_equal(once[first], -before[first])
    assert_same(negate_first_layer(once, parameters), before)


def test_gains_biases_and_buffers_before_the_first_layer_keep_their_sign():
    before = {name: np.ones(shape) for name, shape in (("a", (2, 2)), ("gain", (2,)), ("w", (2, 3)), ("v", (3, 2)))}
    after = negate_first_layer(before, frozenset({"gain", "w", "v"}))
    assert {name for name, array in after.items() if (array < 0).any()} == {"w"}


def test_the_model_falls_to_about_chance_and_recovers_in_ordinary_rounds(tmp_path):
    small = SmallFederation(tmp_path)
    weights, history = small.trained
    request, everything = small.request("client"), np.concatenate(small.held)
    published = []
    federation = branch(small, request)
    federation.model_listeners.append(lambda _branch, _call, model: published.append(model))
    method = UNLEARNERS["not"]
    after = method(method.Settings(), 3)(weights, request, federation, history)
    assert small.accuracy(weights, everything) > 0.9
    assert small.accuracy(published[0], everything) < 1.5 / CLASSES
    assert small.accuracy(after, everything) > small.accuracy(published[0], everything)
    assert_same(after, history.training.run(branch(small, request), published[0], 3))
