"""Defences of pruned weights: sizes of fills, what is left alone, and outputs that stay."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.optimize import brentq

from fedunlearn.defences.discernibility import empirical_precision, gaussian_precision
from fedunlearn.defences.zero_outgoing import without_inputs
from fedunlearn.errors import ScenarioError
from fedunlearn.models import load_weights, to_weights
from fedunlearn.unlearning.fucdp import channel_masks, prunable
from fedunlearn.unlearning.masks import zeroed
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.defences.workshop import guard, make, occasion, pruned_head
from tests.unlearning.workbench import local_client, net_of

FILLS = ("gaussian-obfuscation", "random-reinit")
MODIFIED = 0.077


def pruned_layer(out=200, inputs=400, share=0.2, seed=0):
    """Return (weights, masks) of one Laplace layer with a share of its weights pruned."""
    draws = np.random.default_rng(seed)
    kernel, mask = draws.laplace(0.02, 0.1, (out, inputs)), draws.random((out, inputs)) < share
    return {"fc.weight": np.where(mask, 0, kernel).astype("f4")}, {"fc.weight": mask}


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_a_fill_has_the_size_that_was_asked_for_and_touches_nothing_else(name, scale):
    weights, masks = pruned_layer()
    mask, filled = masks["fc.weight"], make(name, scale=scale).release(weights, occasion(pruned=masks))["fc.weight"]
    values = filled[mask]
    if name == "gaussian-obfuscation":
        reference = stats.norm(0, scale * weights["fc.weight"][~mask].std())
    else:
        reference = stats.uniform(-scale / np.sqrt(400), 2 * scale / np.sqrt(400))
    assert values.std() == pytest.approx(reference.std(), rel=0.02)
    assert stats.kstest(values, reference.cdf).pvalue > 0.01
    assert (filled != 0).all()
    assert np.array_equal(filled[~mask], weights["fc.weight"][~mask])


@pytest.mark.parametrize("name", FILLS)
def test_a_fill_is_put_in_once_and_then_left_to_training(name):
    weights, masks = pruned_layer()
    first = make(name).release(weights, occasion(pruned=masks, seed=1))
    trained = {"fc.weight": first["fc.weight"] * np.float32(1.01)}
    assert make(name).release(trained, occasion(pruned=masks, seed=1)) is trained
    later = occasion(pruned=masks, seed=1)
    later.rng.random(5)
    np.testing.assert_array_equal(make(name).release(weights, later)["fc.weight"], first["fc.weight"])


@pytest.mark.parametrize("name", [*FILLS, "zero-outgoing"])
def test_where_nothing_was_pruned_there_is_nothing_to_hide(name):
    weights, _ = pruned_head()
    assert make(name).release(weights, occasion(np.ones((5, 30)))) is weights


def test_a_tensor_of_which_nothing_was_kept_has_no_size_to_go_by():
    weights, masks = {"fc.weight": np.zeros((3, 4), "f4")}, {"fc.weight": np.ones((3, 4), bool)}
    released = make("gaussian-obfuscation").release(weights, occasion(pruned=masks))
    np.testing.assert_array_equal(released["fc.weight"], 0)


def test_a_pruned_unit_gets_weights_and_a_bias_as_when_it_was_new():
    weights, masks = pruned_head(inputs=25, units=20)
    released = make("random-reinit").release(weights, occasion(pruned=masks))
    for name in masks:
        assert 0.15 < np.abs(released[name][masks[name]]).max() < 0.2
        assert (released[name] != 0).all()


def test_a_pruned_normalisation_stays_as_it_is():
    weights = {"norm.weight": np.array([0, 1, 2], "f4"), "norm.bias": np.array([0, 1, 2], "f4")}
    masks = dict.fromkeys(weights, np.array([True, False, False]))
    released = make("random-reinit").release(weights, occasion(pruned=masks))
    np.testing.assert_equal(released, weights)


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_decoys_are_as_many_as_asked_among_the_kept_and_blunt_the_zeros(share):
    weights, masks = pruned_layer(share=0.1)
    mask, zero = masks["fc.weight"], make("decoy-zeros", share=share).release(weights, occasion(pruned=masks))
    zero = zero["fc.weight"] == 0
    decoys = zero & ~mask
    assert decoys.sum() == pytest.approx(share * (~mask).sum(), rel=0.05)
    assert zero[mask].all()
    assert mask[zero].mean() == pytest.approx(0.1 / (0.1 + share * 0.9), abs=0.01)


def test_decoys_stay_where_they_are_and_are_there_without_a_mask():
    weights, masks = pruned_head()
    decoys = make("decoy-zeros", share=0.2)
    first, later = (decoys.release(weights, occasion(pruned=masks, seed=3)) for _ in range(2))
    np.testing.assert_equal(first, later)
    control = decoys.release(weights, occasion(seed=3))
    assert np.array_equal(control["head.weight"], first["head.weight"])
    assert (control["hidden.weight"][3:] == 0).sum() == (first["hidden.weight"][3:] == 0).sum() > 0
    assert (control["hidden.bias"] == weights["hidden.bias"]).all()


def of_units(model, count, layer=-1, **settings):
    """Return (net, weights, masks) of a model with the first `count` channels of one layer pruned."""
    net = net_of(name=model, **settings)
    layers, weights = prunable(net), to_weights(net)
    place = list(layers)[layer]
    channels = {name: np.arange(len(weights[f"{name}.weight"])) < count * (name == place) for name in layers}
    masks = channel_masks(weights, layers, channels)
    return net, zeroed(weights, masks), masks


def watched(net, images):
    """Return what a defence may ask: the head's inputs of a model for pictures."""

    def features(weights, kind):
        load_weights(net, weights)
        with torch.no_grad():
            return net.eval().features(images).numpy().astype("f8")

    return features


def asked(net, masks):
    """Return an occasion for a model with pruned units."""
    now = occasion(pruned=masks)
    object.__setattr__(now, "features", watched(net, local_client(net).images))
    return now


@pytest.mark.parametrize(
    ("model", "layer", "follower"),
    [("deep-mlp", 0, "body.fc2"), ("deep-mlp", 1, "head"), ("lenet", 0, "body.conv2"), ("lenet", 1, "body.fc1")],
)
def test_zeroed_outgoing_weights_change_no_output(model, layer, follower):
    net, weights, masks = of_units(model, 3, layer)
    images = local_client(net).images
    released = make("zero-outgoing").release(weights, asked(net, masks))
    outputs = []
    for model_weights in (weights, released):
        load_weights(net, model_weights)
        with torch.no_grad():
            outputs.append(net.eval()(images).numpy())
    np.testing.assert_allclose(*outputs, atol=1e-6)
    changed = [name for name in weights if not np.array_equal(weights[name], released[name])]
    assert changed == [f"{follower}.weight"]
    units = len(weights[next(name for name in masks if masks[name].any())])
    columns = released[f"{follower}.weight"].reshape(-1, units, weights[f"{follower}.weight"][0].size // units)
    assert not columns[:, :3].any()
    assert (columns[:, 3:] != 0).all()
    assert make("zero-outgoing").release(released, asked(net, masks)) is released


def test_single_pruned_weights_leave_outgoing_ones_alone():
    weights, masks = pruned_layer()
    weights["head.weight"], weights["head.bias"] = np.ones((5, 200), "f4"), np.ones(5, "f4")
    assert make("zero-outgoing").release(weights, occasion(np.ones((4, 200)), pruned=masks)) is weights


def test_units_that_are_not_silent_are_no_units_to_cut_off():
    net, weights, masks = of_units("deep-mlp", 3, activation="sigmoid")
    with pytest.raises(ScenarioError, match="zero-outgoing"):
        make("zero-outgoing").release(weights, asked(net, masks))
    weights["body.fc2.bias"] = weights["body.fc2.bias"] + np.float32(0.1)
    assert make("zero-outgoing").release(weights, asked(net, masks)) is weights


def test_layers_that_are_not_in_a_row_are_refused():
    net, weights, masks = of_units("resnet18", 1, layer=2, width=4)
    with pytest.raises(ScenarioError, match="layers in a row"):
        make("zero-outgoing").release(weights, asked(net, masks))
    with pytest.raises(ScenarioError, match="layers in a row"):
        without_inputs(np.ones((3, 7)), np.ones(4, bool))


def measured(kept, filled):
    """Return (t, share that was filled) among the smallest weights, as many as were filled."""
    sizes = np.abs(np.concatenate([kept, filled]))
    smallest = np.argsort(sizes)[: len(filled)]
    return sizes[smallest[-1]], (smallest >= len(kept)).mean()


@pytest.mark.parametrize(("scale", "expected"), [(0.1, 0.453), (0.5, 0.143), (1.0, 0.077)])
def test_the_curve_among_gaussian_weights(scale, expected):
    draws = np.random.default_rng(0)
    kept, filled = draws.normal(size=92_300), scale * draws.normal(size=7_700)
    t, share = measured(kept, filled)
    assert gaussian_precision(t, MODIFIED, scale, 1.0) == pytest.approx(expected, abs=0.02)
    assert gaussian_precision(t, MODIFIED, scale, 1.0) == pytest.approx(share, abs=0.02)
    assert empirical_precision(t, MODIFIED, scale, kept) == pytest.approx(share, abs=0.02)
    total = brentq(
        lambda x: MODIFIED * stats.chi(1).cdf(x / scale) + (1 - MODIFIED) * stats.chi(1).cdf(x) - 0.077, 1e-6, 9
    )
    assert t == pytest.approx(total, rel=0.05)


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    """The weights of a trained layer."""
    small = SmallFederation(tmp_path_factory.mktemp("small"))
    return small.trained[0]["body.fc1.weight"].astype("f8").ravel()


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0])
def test_among_trained_weights_the_empirical_curve_is_what_is_measured(layer, scale):
    draws = np.random.default_rng(1)
    mask = draws.random(layer.size) < MODIFIED
    shares = []
    for _ in range(20):
        filled = scale * layer[~mask].std() * draws.standard_normal(mask.sum())
        t, share = measured(layer[~mask], filled)
        shares.append((share, empirical_precision(t, mask.mean(), scale * layer[~mask].std(), layer[~mask])))
    found, told = np.mean(shares, axis=0)
    assert told == pytest.approx(found, abs=0.02)


def test_the_curve_ends_at_the_share_that_was_filled():
    kept = np.random.default_rng(0).laplace(size=1000)
    large = np.abs(kept).max() + 10
    assert empirical_precision(np.array([large]), 0.2, 1.0, kept) == pytest.approx(0.2)
    assert gaussian_precision(np.array([large]), 0.2, 0.3, 1.0) == pytest.approx(0.2)
    assert gaussian_precision(np.array([0.01]), 0.2, 1.0, 1.0) == pytest.approx(0.2)
    assert np.isnan(empirical_precision(np.array([0.0]), 0.2, 1.0, np.ones(3)))


def test_a_model_with_filled_holes_is_what_leaves_the_server_from_the_pruning_on(tmp_path):
    small = SmallFederation(tmp_path)
    weights = small.trained[0]
    federation = small.federation()
    guard(small, make("gaussian-obfuscation")).request(federation, (1,))
    assert federation.publish(weights) is weights
    federation.pruned = {"body.fc2.weight": np.random.default_rng(0).random(weights["body.fc2.weight"].shape) < 0.1}
    released = federation.publish(zeroed(weights, federation.pruned))
    assert (released["body.fc2.weight"] != 0).all()
