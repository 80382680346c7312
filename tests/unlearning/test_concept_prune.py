"""ConceptPrune: masks against a slow loop, the right end of the ranking, and weights that stay gone."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.errors import ScenarioError
from fedunlearn.learning import LocalClient
from fedunlearn.models import load_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.class_statistics import pooled
from fedunlearn.unlearning.concept_prune import (
    ConceptPruneSettings,
    concept_mask,
    input_shares,
    root_mean,
    scored_layers,
    wanda,
)
from fedunlearn.unlearning.masks import united, zeroed
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.defences.workshop import guard, make
from tests.unlearning.workbench import branch, carried, ids_of, local_client, net_of

DEEP = {"name": "deep-mlp", "width": 6}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFederation(tmp_path_factory.mktemp("concept"))


def forget_class(small, *defences, rounds=0, **options):
    """Return (the federation, every published model)."""
    weights, history = small.trained
    request = small.request("class")
    federation, models = branch(small, request), []
    if defences:
        guard(small, *defences).request(federation, request.whole_classes)
    federation.model_listeners.append(lambda _branch, _call, model: models.append(model))
    method = UNLEARNERS["concept-prune"]
    final = method(method.Settings(recovery_rounds=rounds, **options), 3)(weights, request, federation, history)
    assert final is models[-1]
    return federation, models


def test_a_mask_by_hand():
    weight = np.array([[1.0, -2, 3, 0], [5, 1, -1, 1]])
    # target scores: 1 2 1.5 0 / 5 1 0.5 2; the others': 0 3 1 0 / 0 1.5 0.3 1
    mask = concept_mask(weight, np.array([1.0, 1, 0.5, 2]), np.array([0, 1.5, 1 / 3, 1]), 0.5)
    np.testing.assert_array_equal(mask, [[False, False, True, False], [True, False, False, True]])


@given(seed=st.integers(0, 10_000), ratio=st.floats(0.21, 0.99), positions=st.sampled_from([(), (2, 2)]))
def test_a_mask_is_that_of_a_slow_loop(seed, ratio, positions):
    draws = np.random.default_rng(seed)
    weight, target, base = draws.normal(size=(4, 5, *positions)), draws.random(5), draws.random(5)
    mask = concept_mask(weight, target, base, ratio)
    for row, chosen in zip(weight, mask, strict=True):
        scores = np.array([abs(row[place]) * target[place[0]] for place in np.ndindex(row.shape)])
        others = np.array([abs(row[place]) * base[place[0]] for place in np.ndindex(row.shape)])
        best = np.sort(scores)[::-1][: int(ratio * scores.size)]
        expected = [score in best and score > other for score, other in zip(scores, others, strict=True)]
        np.testing.assert_array_equal(chosen.ravel(), expected)


def test_how_many_images_the_others_are_does_not_matter():
    draws = np.random.default_rng(0)
    weight, means = draws.normal(size=(6, 10)), draws.random((10, 3))

    def mask(*counts):
        activations = root_mean(means, np.array([7, 0, 0])), root_mean(means, np.array([0, *counts]))
        return concept_mask(weight, *activations, 0.3)

    np.testing.assert_array_equal(mask(5, 3), mask(500, 300))
    assert mask(5, 3).any()
    np.testing.assert_allclose(root_mean(means, np.array([0, 1, 3])) ** 2, means[:, 1:] @ (0.25, 0.75))


def test_clients_statistics_pooled_are_those_of_all_their_pictures():
    settings = carried(ConceptPruneSettings, batch_size=4)
    found = pooled([input_shares(local_client(net_of(**DEEP), 15, client=c, total=30), settings) for c in range(2)])
    together = local_client(net_of(**DEEP), samples=30)
    inputs = together.model.body[:3]((together.images - together.model.mean) / together.model.std).detach().numpy()
    labels, normalised = together.labels.numpy(), inputs / np.linalg.norm(inputs, axis=1, keepdims=True)
    assert found.keys() == {"body.fc2", "counts"}
    for label in range(5):
        expected = np.square(normalised[labels == label]).mean(0)
        np.testing.assert_allclose(found["body.fc2"][:, label], expected, rtol=1e-4, atol=1e-9)


def test_an_image_without_any_input_counts_as_zeros():
    client = local_client(net_of(**DEEP))
    load_weights(client.model, {name: np.zeros_like(array) for name, array in client.weights.items()})
    assert not input_shares(client, carried(ConceptPruneSettings)).payload["body.fc2"].any()


def test_the_layers_are_the_linear_ones_between_hidden_units():
    lenet = net_of(name="lenet")
    assert list(scored_layers(net_of(**DEEP))) == ["body.fc2"]
    assert list(scored_layers(lenet)) == ["body.fc1", "body.fc2"]
    assert list(scored_layers(lenet, ("body.fc2", "body.conv2"))) == ["body.conv2", "body.fc2"]
    with pytest.raises(ScenarioError, match=r'"body\.fc3" is no layer that can be pruned; did you mean "body\.fc'):
        scored_layers(lenet, ("body.fc3",))
    for name in ("mlp", "logistic", "lenet-zhu"):
        with pytest.raises(ScenarioError, match=r"this model has none; name others in unlearning\.options"):
            scored_layers(net_of(name=name))


def test_a_ratio_of_less_than_one_weight_is_refused():
    with pytest.raises(ScenarioError, match=re.escape("ratio = 0.02: of rows of 32 weights that is none; take at")):
        concept_mask(np.ones((4, 32)), np.ones(32), np.ones(32), 0.02)


@pytest.mark.parametrize("seed", [0, 1])
def test_accuracy_on_the_class_falls_right_after_pruning_the_highest_and_not_the_lowest(tmp_path, seed):
    small = SmallFederation(tmp_path, seed)
    weights, _ = small.trained
    federation, [pruned] = forget_class(small, ratio=0.2, layers=("body.fc2",))
    forgotten, retained = ids_of(small, small.request("class"))
    everything = LocalClient(0, 1, 0, small._build(None), weights, np.sort(np.concatenate(small.held)), small.samples)
    load_weights(everything.model, weights)
    found = pooled([input_shares(everything, carried(ConceptPruneSettings))])
    kernel, ours = weights["body.fc2.weight"], np.eye(4)[1]
    target, base = (root_mean(found["body.fc2"], found["counts"] * of) for of in (ours, 1 - ours))
    np.testing.assert_array_equal(federation.pruned["body.fc2.weight"], concept_mask(kernel, target, base, 0.2))
    scores = wanda(kernel, target)
    lowest = {"body.fc2.weight": scores <= np.quantile(scores, 0.2, axis=1, keepdims=True)}
    assert small.accuracy(pruned, forgotten) < small.accuracy(weights, forgotten) - 0.4
    assert small.accuracy(pruned, retained) > small.accuracy(weights, retained) - 0.3
    assert small.accuracy(zeroed(weights, lowest), forgotten) > small.accuracy(weights, forgotten) - 0.1


@pytest.mark.parametrize("reapply", [True, False])
def test_pruned_weights_stay_gone_through_the_recovery_unless_it_may_bring_them_back(tmp_path, reapply):
    small = SmallFederation(tmp_path, activation="tanh")
    federation, models = forget_class(small, rounds=2, reapply=reapply)
    for name, mask in federation.pruned.items():
        assert not models[0][name][mask].any()
        assert all(model[name][mask].any() != reapply for model in models[1:])
        assert not np.array_equal(models[-1][name][~mask], small.trained[0][name][~mask])
    assert len(models) == 3  # what clients made of the holes never leaves the server


def test_a_recovery_keeps_what_a_defence_put_into_the_holes(small):
    federation, models = forget_class(small, make("gaussian-obfuscation"), rounds=2)
    for name, mask in federation.pruned.items():
        assert (models[0][name][mask] != 0).all()
        np.testing.assert_array_equal(models[-1][name][mask], models[0][name][mask])
    _, models = forget_class(small, make("gaussian-obfuscation"), rounds=2, reapply=False)
    moved = [
        not np.array_equal(models[-1][name][mask], models[0][name][mask]) for name, mask in federation.pruned.items()
    ]
    assert all(moved)


def test_a_convolution_is_pruned_where_it_is_named(small):
    federation, [pruned] = forget_class(small, layers=("body.conv2",), ratio=0.1)
    [(name, mask)] = federation.pruned.items()
    assert (name, mask.shape) == ("body.conv2.weight", pruned["body.conv2.weight"].shape)
    assert 0 < mask.sum(axis=(1, 2, 3)).max() <= int(0.1 * mask[0].size)


def test_later_requests_add_to_what_was_pruned_and_a_restart_has_pruned_nothing(small):
    one, other = np.array([True, False, False]), np.array([False, False, True])
    both = united({"a": one, "b": one}, {"b": other, "c": other})
    assert {name: mask.tolist() for name, mask in both.items()} == {
        "a": [True, False, False],
        "b": [True, False, True],
        "c": [False, False, True],
    }
    federation, _ = forget_class(small)
    first = dict(federation.pruned)
    fork = federation.fork("other")
    fork.pruned = united(fork.pruned, {"c": other})
    assert federation.pruned == first
    federation.restart()
    assert not federation.pruned


def test_executed_again_a_branch_remembers_the_same_mask(small):
    weights, history = small.trained
    request, unlearner = small.request("class"), UNLEARNERS["concept-prune"](ConceptPruneSettings(), 3)
    runs = [branch(small, request) for _ in range(2)]
    for federation in runs:
        unlearner(weights, request, federation, history)
    assert runs[1].spent.executed_client_seconds == 0  # read from the journal
    assert runs[0].pruned
    np.testing.assert_equal(runs[1].pruned, runs[0].pruned)


def test_a_model_without_such_a_layer_is_refused_before_anybody_is_asked(small):
    weights, history = small.trained
    request = small.request("class")
    federation, method = branch(small, request), UNLEARNERS["concept-prune"]
    with pytest.raises(ScenarioError, match="concept-prune"):
        method(method.Settings(), 3)(weights, request, federation, replace(history, model=lambda: net_of(name="mlp")))
    assert not federation.spent.rounds
