"""Pruning a class out of a diffusion model: masks by the server alone, against slow loops."""

import numpy as np
import pytest
import torch

from fedunlearn.errors import ScenarioError
from fedunlearn.models import load_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.concept_prune import concept_mask
from fedunlearn.unlearning.denoising import root_mean_share, step_activations
from fedunlearn.unlearning.small_federation import SmallFederation
from fedunlearn.unlearning.token_masks import contrast_mask
from tests.unlearning.workbench import branch

pytest.importorskip("diffusers", reason="fedunlearn[diffusion] is not installed")

FEW = {"prompts": 6, "steps": 5, "first_steps": 2}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFederation(tmp_path_factory.mktemp("diffusion"), rounds=1, activation="silu", model="diffusion")


def pruned(small, **options):
    """Return (the federation, the weights before, those after, the rounds that clients were asked for)."""
    weights, history = small.trained
    request = small.request("class")
    federation, rounds = branch(small, request), []
    federation.round_listeners.append(lambda *seen: rounds.append(seen))
    method = UNLEARNERS["concept-prune"]
    final = method(method.Settings(**options), 3)(weights, request, federation, history)
    return federation, weights, final, rounds


@pytest.mark.parametrize("options", [FEW, {"score": "contrast", "ratio": 0.3}], ids=["wanda", "contrast"])
def test_the_server_prunes_alone_and_remembers_what(small, options):
    federation, before, after, rounds = pruned(small, **options)
    again = pruned(small, **options)[2]
    assert not rounds
    kind = "attn2.to_v.weight" if "score" in options else "ff.net.2.weight"
    assert set(federation.pruned) == {name for name in before if name.endswith(kind)}
    for name in before:
        mask = federation.pruned.get(name, np.zeros(before[name].shape, bool))
        np.testing.assert_array_equal(after[name], np.where(mask, 0, before[name]))
        np.testing.assert_array_equal(after[name], again[name])
    assert all(0 < mask.mean() < 0.6 for mask in federation.pruned.values())


def test_the_mask_is_the_union_over_steps_of_masks_of_layers_found_by_name(small):
    federation, weights, _, _ = pruned(small, ratio=0.2, **FEW)
    model = small.trained[1].model()
    load_weights(model, weights)
    noise = int(np.random.default_rng([small.seed, 12, small.rounds, 0]).integers(2**32))
    found = {}
    for kind, labels in (("target", [1] * 6), ("base", [0, 2, 3, 0, 2, 3])):
        labels = np.array(labels)
        found[kind] = step_activations(model.eval(), labels, np.random.default_rng(noise), 5, 2)
    for name in model.prunable():
        union = np.zeros(weights[f"{name}.weight"].shape, bool)
        for target, base in zip(found["target"][name], found["base"][name], strict=True):
            union |= concept_mask(weights[f"{name}.weight"], target, base, 0.2)
        np.testing.assert_array_equal(federation.pruned[f"{name}.weight"], union)


def test_activations_are_those_of_each_step_and_leave_no_hook(small):
    weights, history = small.trained
    model, labels = history.model().eval(), np.array([2, 2])
    load_weights(model, weights)
    name, layer = next(iter(model.prunable().items()))
    inputs = []
    handle = layer.register_forward_pre_hook(lambda _, seen: inputs.append(seen[0].double().numpy()))
    model.generate(torch.from_numpy(labels), np.random.default_rng(4), steps=3)
    handle.remove()
    found = step_activations(model, labels, np.random.default_rng(4), 3, 2)[name]
    assert found.shape == (2, layer.in_features)
    for step in range(2):
        rows = inputs[step].reshape(-1, layer.in_features)
        shares = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        np.testing.assert_allclose(found[step], np.sqrt((shares**2).mean(0)), rtol=1e-5)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_position_without_input_counts_as_zeros():
    np.testing.assert_allclose(root_mean_share(torch.tensor([[[3.0, 4.0], [0.0, 0.0]]])), np.sqrt([0.18, 0.32]))


def test_a_layer_that_is_none_is_named(small):
    with pytest.raises(ScenarioError, match="no layer that can be pruned"):
        pruned(small, layers=("body.conv_in",), **FEW)


def test_contrast_takes_the_class_and_leaves_the_others():
    draws = np.random.default_rng(0)
    weight, tokens = draws.uniform(-0.2, 0.2, (32, 32)), draws.standard_normal((10, 32))
    mask = contrast_mask(weight, tokens, [3], 0.5, 1.0)
    before, after = weight @ tokens.T, np.where(mask, 0, weight) @ tokens.T
    others = np.arange(10) != 3
    spread = before - before[:, others].mean(1, keepdims=True)
    left = after - before[:, others].mean(1, keepdims=True)
    assert (left[:, 3] ** 2).sum() < 0.25 * (spread[:, 3] ** 2).sum()
    assert ((after - before)[:, others] ** 2).sum() < 0.05 * (spread[:, others] ** 2).sum()
    assert 0.02 < mask.mean() < 0.3


def test_contrast_prunes_a_weight_that_is_the_class_and_nothing_else():
    weight, tokens = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0]]), np.eye(3)
    np.testing.assert_array_equal(
        contrast_mask(weight, tokens, [0], 1.0, 1.0), [[False, False, False], [False, False, False]]
    )  # in row 0 the others' mean is 1: the class is the mean already; in row 1 nothing of it can be taken away
    weight[0, 0] = 4.0
    np.testing.assert_array_equal(
        contrast_mask(weight, tokens, [0], 1.0, 1.0), [[True, False, False], [False, False, False]]
    )
    assert contrast_mask(weight, tokens, [0], 0.1, 1.0).sum() == 0  # of three weights a tenth is none
