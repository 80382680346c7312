"""Class shares of training data from how rounds move the head: the equations, and what they say of a request."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls

from fedunlearn.attacks.forgotten_class.bias_system import BiasSystem
from fedunlearn.attacks.forgotten_class.class_mix import columns, mix_of_biases, mix_of_gradients, solve_shares
from fedunlearn.attacks.forgotten_class.decaf import lost
from fedunlearn.attacks.forgotten_class.last_layer_nnls import LastLayerNnls
from fedunlearn.attacks.forgotten_class.mixing import forgotten_shares
from fedunlearn.attacks.label_restoration.outputs import Outputs
from fedunlearn.observer.access import AccessRefused
from tests.attacks.relu_federation import RATE, recorded
from tests.observer.recorded import CLASSES, Watcher, blank, digits, knowledge, non_iid

FORGOTTEN = 6
TOLD = ("request-round", "public-labelled")
ATTACKS = (BiasSystem, LastLayerNnls)
LEARNING = {"algorithm": "fedsgd", "learning-rate": RATE}


@dataclass(frozen=True)
class Half(Watcher):
    """An observer that recorded only the rounds around the request whole."""

    rounds: tuple[str, ...] = ("around-request",)


def look(tape, attack, watcher=None, branch="forgotten", public=None, learning=None, **choices):
    watcher, (images, labels) = watcher or Watcher("broadcasts", TOLD), digits()
    facts = knowledge(
        tape,
        watcher,
        branch,
        public=public or (images[1000:1500], labels[1000:1500]),
        learning=learning,
        model=lambda: blank("relu"),
    )
    return attack(attack.Settings(per_class=15, **choices))(tape.view(watcher, branch), facts, np.random.default_rng(0))


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    """Return the recording of a federation that forgets class 6, whose clients send weights after several steps."""
    return recorded(tmp_path_factory.mktemp("tape"), "weights", non_iid(8, 1000, seed=3), 12, 5, FORGOTTEN)


def some_outputs(classes, features=12, per_class=20, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    means = rng.random((classes, features))
    inputs = np.maximum(means[labels] + 0.1 * rng.normal(size=(len(labels), features)), 0)
    logits = inputs @ rng.normal(size=(features, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Outputs(inputs, probabilities, labels)


# the equations


def test_without_the_sum_a_wrong_answer_fits_exactly():
    true, stationary = np.array([0.10, 0.30, 0.25, 0.20, 0.15]), np.array([0.2, 0.1, 0.4, 0.2, 0.1])
    matrix = 0.6 * np.eye(5) + 0.4 * np.tile(stationary[:, None], 5)  # column j: mean probabilities of class j
    change = true - matrix @ true
    shares, residual = solve_shares(matrix, change, firmness=10)
    np.testing.assert_allclose(shares, true, atol=1e-12)
    assert residual < 1e-12
    wrong = true - 0.5 * stationary  # the null vector of 1 - P^T, taken off until a share is zero
    np.testing.assert_allclose(wrong / wrong.sum(), [0, 0.5, 0.1, 0.2, 0.2], atol=1e-12)
    np.testing.assert_allclose((np.eye(5) - matrix) @ wrong, change, atol=1e-12)
    plain, left = nnls(np.eye(5) - matrix, change)
    assert left < 1e-12
    assert np.abs(plain / plain.sum() - true).max() > 0.05


@given(st.integers(3, 8), st.floats(0.01, 2), st.integers(0, 10**6))
def test_one_step_on_the_public_images_gives_their_mix_back(classes, scale, seed):
    outputs = some_outputs(classes, seed=seed)
    true = np.random.default_rng(seed).dirichlet(np.ones(classes))
    flat = -scale * columns(outputs, with_bias=True) @ true
    move = {"head.weight": flat[:-classes].reshape(classes, -1), "head.bias": flat[-classes:]}
    mix = mix_of_gradients(move, [outputs])
    np.testing.assert_allclose(mix.shares, true, atol=1e-8)
    np.testing.assert_allclose(mix.scale, scale, rtol=1e-8)
    without_bias = mix_of_gradients({"head.weight": move["head.weight"]}, [outputs])
    np.testing.assert_allclose(without_bias.shares, true, atol=1e-8)
    np.testing.assert_allclose(mix_of_biases(move, [outputs], scale, 10.0).shares, true, atol=1e-8)


def test_null_classes_are_held_at_zero():
    outputs = some_outputs(4)
    flat = -columns(outputs, with_bias=False) @ np.full(4, 0.25)
    null = np.array([False, True, False, False])
    assert mix_of_gradients({"head.weight": flat.reshape(4, -1)}, [outputs], null).amounts[1] == 0
    everything = mix_of_gradients({"head.weight": flat.reshape(4, -1)}, [outputs], np.ones(4, bool))
    np.testing.assert_array_equal(everything.shares, np.full(4, 0.25))


def test_a_round_that_moved_nothing_has_no_residual():
    outputs = some_outputs(3)
    mix = mix_of_gradients({"head.weight": np.zeros((3, 12))}, [outputs])
    assert (mix.residual, mix.scale) == (0.0, 0.0)


@given(st.integers(4, 12), st.floats(0.05, 1), st.integers(0, 10**6))
def test_what_left_one_class_is_told_from_the_shares(classes, fraction, seed):
    rng = np.random.default_rng(seed)
    before = rng.dirichlet(np.full(classes, 5.0)) + 0.02
    before /= before.sum()
    target = int(rng.integers(classes))
    after = before - fraction * before[target] * (np.arange(classes) == target)
    np.testing.assert_allclose(forgotten_shares(before, after / after.sum()), np.arange(classes) == target, atol=1e-6)


def test_shares_that_did_not_change_name_nobody():
    np.testing.assert_array_equal(forgotten_shares(np.full(4, 0.25), np.full(4, 0.25)), np.full(4, 0.25))


def test_clients_lose_what_their_amounts_fall_by():
    before = {0: (np.array([0.5, 0.5]), 10), 1: (np.array([1.0, 0.0]), 4), 2: (np.array([0.0, 1.0]), 5)}
    after = {0: (np.array([0.0, 1.0]), 5), 2: (np.array([0.0, 1.0]), 5), 3: (np.array([1.0, 0.0]), 9)}
    np.testing.assert_allclose(lost(before, after), [1, 0])  # half of client 0's, and client 1, which is gone
    np.testing.assert_allclose(lost({0: before[0]}, {0: before[0]}), [0.5, 0.5])


# on tapes


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_share_of_the_forgotten_class_falls_most(tape, attack):
    finding = look(tape, attack)
    assert finding.scores.argmax() == FORGOTTEN
    assert finding.distribution.argmax() == FORGOTTEN
    np.testing.assert_allclose(finding.distribution.sum(), 1)
    assert finding.notes["scale"] == "estimated"
    assert finding.notes["shares-after"][FORGOTTEN] < 0.02 < finding.notes["shares-before"][FORGOTTEN]
    assert look(tape, attack, branch="control").named == ()


@pytest.mark.parametrize("attack", ATTACKS)
def test_one_step_at_a_known_rate_needs_no_estimate(tmp_path, attack):
    tape = recorded(tmp_path, "gradient", non_iid(8, 1000, seed=3), 12, 5, FORGOTTEN)
    finding = look(tape, attack, Watcher("broadcasts", (*TOLD, "learning-known")), learning=LEARNING)
    assert finding.scores.argmax() == finding.distribution.argmax() == FORGOTTEN
    assert finding.notes["scale"] == "known"


def test_the_scan_finds_the_request(tape):
    finding = look(tape, LastLayerNnls, Watcher("broadcasts", ("public-labelled",)))
    assert [entry.round for entry in finding.said] == list(range(1, 18))
    assert all(entry.named == () for entry in finding.said[:12])


@pytest.mark.parametrize("attack", ATTACKS)
def test_rounds_that_began_alike_are_compared_in_pairs(tape, attack):
    finding = look(tape, attack, branch="retrain")
    assert finding.notes["paired"]
    assert finding.scores.argmax() == FORGOTTEN
    assert finding.distribution[FORGOTTEN] > 0.6


def test_rounds_that_were_not_recorded_whole_are_passed_over(tape):
    finding = look(tape, LastLayerNnls, Half("broadcasts", TOLD))
    assert finding.notes["rounds-read"] == 2
    assert (finding.named, finding.scores.argmax()) == ((), FORGOTTEN)
    with pytest.raises(AccessRefused, match="nothing is on record"):
        look(tape, LastLayerNnls, Half("broadcasts", TOLD, rounds=("first",)))


@pytest.mark.parametrize("attack", ATTACKS)
def test_public_images_of_other_classes_are_refused(tape, attack):
    images, labels = digits()
    for public in ((images[:300], labels[:300] % 7), (images[:300], labels[:300] + 1)):
        with pytest.raises(AccessRefused, match="classes, the model has"):
            look(tape, attack, public=public)
    with pytest.raises(AccessRefused, match="public-labelled"):
        look(tape, attack, Watcher("broadcasts", ("request-round",)))


def test_a_head_without_bias_has_no_bias_system():
    outputs = some_outputs(CLASSES)
    with pytest.raises(AccessRefused, match="last-layer-nnls"):
        mix_of_biases({"head.weight": np.ones((CLASSES, 12))}, [outputs], 1.0, 10.0)
