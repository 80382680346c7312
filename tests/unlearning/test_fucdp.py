"""FUCDP: scores worked out by hand, the right end of the ranking, and channels that stay gone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedunlearn.errors import ScenarioError
from fedunlearn.learning import LocalClient
from fedunlearn.models import load_weights, to_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.class_statistics import pooled
from fedunlearn.unlearning.fucdp import FucdpSettings, activations, channel_masks, highest, prunable, tf_idf
from fedunlearn.unlearning.masks import zeroed
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.unlearning.workbench import branch, carried, ids_of, local_client, net_of

RESNET = {"name": "resnet18", "width": 2}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFederation(tmp_path_factory.mktemp("fucdp"))


def test_scores_by_hand():
    activation = np.array([[1.0, 0, 0], [1, 1, 1], [0, 2, 0]])
    scores = tf_idf(activation, 0)
    np.testing.assert_allclose(scores, (0.4255, -0.3019, 0), atol=5e-5)
    np.testing.assert_array_equal(highest({"conv": scores}, 1 / 3)["conv"], [True, False, False])


def test_a_layer_that_is_silent_for_the_class_has_no_scores():
    np.testing.assert_array_equal(tf_idf(np.array([[0.0, 1], [0, 2]]), 0), 0)


def test_the_highest_are_taken_over_all_layers_but_every_layer_keeps_one():
    scores = {"a": np.array([9.0, 8, 7]), "b": np.array([1.0, 2])}
    chosen = {name: mask.tolist() for name, mask in highest(scores, 0.6).items()}
    assert chosen == {"a": [True, True, False], "b": [False, True]}
    assert sum(mask.sum() for mask in highest(scores, 0.01).values()) == 1


def test_clients_activations_pooled_are_those_of_all_their_pictures():
    clients = [local_client(net_of(name="lenet"), samples=15, client=c, total=30) for c in range(2)]
    found = pooled([activations(client, carried(FucdpSettings, batch_size=4)) for client in clients])
    together = local_client(net_of(name="lenet"), samples=30)
    labels = together.labels.numpy()
    with torch.no_grad():
        images = (together.images - together.model.mean) / together.model.std
        first = together.model.body.conv1(images).relu().mean((2, 3)).numpy()
    np.testing.assert_array_equal(found["counts"], np.bincount(labels, minlength=5))
    expected = np.stack([first[labels == j].mean(0) for j in range(5)], axis=1)
    np.testing.assert_allclose(found["body.conv1"], expected, rtol=1e-4)


def test_nothing_of_the_measuring_stays_in_the_model():
    client = local_client(net_of(name="lenet"))
    activations(client, carried(FucdpSettings))
    assert not any(module._forward_hooks for module in client.model.modules())


def test_a_normalisation_layer_behind_a_convolution_belongs_to_its_channels():
    plain, normalised = (prunable(net_of(**model)) for model in ({"name": "lenet"}, RESNET))
    assert plain["body.conv1"].tensors == ("body.conv1.weight", "body.conv1.bias")
    assert normalised["body.conv1"].tensors == ("body.conv1.weight", "body.norm1.weight", "body.norm1.bias")
    assert normalised["body.stage2.0.shortcut.conv"].tensors[1:] == (
        "body.stage2.0.shortcut.norm.weight",
        "body.stage2.0.shortcut.norm.bias",
    )
    assert isinstance(normalised["body.conv1"].output, torch.nn.GroupNorm)


@pytest.mark.parametrize(
    "model", [{"name": "lenet"}, {"name": "convnet", "width": 4}, RESNET, RESNET | {"norm": "batch"}]
)
def test_a_pruned_channel_puts_nothing_out(model):
    net = net_of(**model).eval()
    layers, draws = prunable(net), np.random.default_rng(4)
    weights = {  # gains and biases that are not what they start as
        name: array + draws.random(array.shape).astype(array.dtype) if array.dtype.kind == "f" else array
        for name, array in to_weights(net).items()
    }
    rows = {name: len(weights[f"{name}.weight"]) for name in layers}
    chosen = {name: np.arange(count) < count // 2 for name, count in rows.items()}
    pruned = zeroed(weights, channel_masks(weights, layers, chosen))
    load_weights(net, pruned)
    outputs = {}
    for name, layer in layers.items():
        layer.output.register_forward_hook(lambda _module, _inputs, out, name=name: outputs.update({name: out}))
    net(local_client().images)
    for name, mask in chosen.items():
        assert not outputs[name][:, mask].any()
        assert outputs[name][:, ~mask].any()
    assert {name: array.shape for name, array in pruned.items()} == {name: a.shape for name, a in weights.items()}


def forget_class(small, **options):
    """Return (the request, every published model, the final one)."""
    weights, history = small.trained
    request = small.request("class")
    federation, models = branch(small, request), []
    federation.model_listeners.append(lambda _branch, _call, model: models.append(model))
    method = UNLEARNERS["fucdp"]
    final = method(method.Settings(**options), 3)(weights, request, federation, history)
    return request, models, final


@pytest.mark.parametrize("seed", [0, 1])
def test_accuracy_on_the_class_falls_right_after_pruning_the_highest_and_not_the_lowest(tmp_path, seed):
    small = SmallFederation(tmp_path, seed)
    weights, history = small.trained
    request, (pruned,), _ = forget_class(small, recovery_rounds=0)
    forgotten, _ = ids_of(small, request)
    layers = prunable(history.model())
    count = sum(int((~pruned[f"{name}.weight"].any((1, 2, 3))).sum()) for name in layers)
    assert count == round(FucdpSettings().sparsity * (6 + 16))

    everything = LocalClient(0, 1, 0, small._build(None), weights, np.sort(np.concatenate(small.held)), small.samples)
    load_weights(everything.model, weights)
    found = pooled([activations(everything, carried(FucdpSettings))])
    scores = {name: -tf_idf(found[name], 1) for name in layers}
    lowest = highest(scores, FucdpSettings().sparsity)
    other_end = zeroed(weights, channel_masks(weights, layers, lowest))
    assert small.accuracy(pruned, forgotten) < small.accuracy(weights, forgotten) - 0.5
    assert small.accuracy(other_end, forgotten) > small.accuracy(weights, forgotten) - 0.1


def test_pruned_channels_stay_zero_through_the_recovery(tmp_path):
    small = SmallFederation(tmp_path, activation="tanh")  # its slope at 0 lets training bring a pruned channel back
    weights, history = small.trained
    _, models, final = forget_class(small)
    for name, layer in prunable(history.model()).items():
        gone = ~models[0][f"{name}.weight"].any((1, 2, 3))
        assert all(not final[tensor][gone].any() for tensor in layer.tensors)
    assert not np.array_equal(final["head.weight"], weights["head.weight"])


def test_units_of_hidden_linear_layers_are_channels_where_nothing_else_is_or_where_they_are_named():
    deep, lenet = net_of(name="deep-mlp", width=6), net_of(name="lenet")
    assert {name: layer.tensors for name, layer in prunable(deep).items()} == {
        "body.fc1": ("body.fc1.weight", "body.fc1.bias"),
        "body.fc2": ("body.fc2.weight", "body.fc2.bias"),
    }
    assert list(prunable(lenet)) == ["body.conv1", "body.conv2"]
    assert list(prunable(lenet, ("body.fc1", "body.conv2"))) == ["body.conv2", "body.fc1"]
    with pytest.raises(ScenarioError, match=r'options\.fucdp\.layers: "head" is no layer that can be pruned'):
        prunable(lenet, ("head",))


def test_a_units_activation_is_what_it_puts_out_above_zero():
    client = local_client(net_of(name="deep-mlp", width=6), samples=15)
    sent = activations(client, carried(FucdpSettings, layers=("body.fc2",))).payload
    with torch.no_grad():
        outputs = client.model.features(client.images).numpy()
    labels = client.labels.numpy()
    assert sent.keys() == {"body.fc2", "counts"}
    for label in np.unique(labels):
        np.testing.assert_allclose(sent["body.fc2"][:, label], outputs[labels == label].mean(0), rtol=1e-5)


@pytest.mark.parametrize("model", ["mlp", "deep-mlp"])
def test_a_pruned_unit_is_silent(model):
    net = net_of(name=model, width=8)
    layers = prunable(net)
    last = list(layers)[-1]
    channels = {name: np.arange(len(to_weights(net)[f"{name}.weight"])) < 3 * (name == last) for name in layers}
    load_weights(net, zeroed(to_weights(net), channel_masks(to_weights(net), layers, channels)))
    with torch.no_grad():
        features = net.features(local_client().images)
    assert not features[:, :3].any()
    assert features[:, 3:].any()


def test_what_was_pruned_is_remembered(small):
    weights, history = small.trained
    request = small.request("class")
    federation, method = branch(small, request), UNLEARNERS["fucdp"]
    final = method(method.Settings(recovery_rounds=0), 3)(weights, request, federation, history)
    assert set(federation.pruned) == {f"body.conv{n}.{part}" for n in (1, 2) for part in ("weight", "bias")}
    for name, mask in federation.pruned.items():
        assert mask.shape == weights[name].shape
        assert not final[name][mask].any()
        assert np.array_equal(final[name][~mask], weights[name][~mask])


def test_a_model_without_channels_or_units_is_refused(small):
    weights, history = small.trained
    request = small.request("class")
    method = UNLEARNERS["fucdp"]
    linear = replace(history, model=lambda: net_of(name="logistic"))
    with pytest.raises(ScenarioError, match="this model has none"):
        method(method.Settings(), 3)(weights, request, branch(small, request), linear)
