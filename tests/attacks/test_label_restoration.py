"""Label counts against the identities of softmax cross-entropy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedunlearn.attacks.gradients import local_steps, mean_gradient
from fedunlearn.attacks.label_restoration.bias_form import BiasForm
from fedunlearn.attacks.label_restoration.restoring import (
    HeadStatistics,
    RestorationSettings,
    interpolate,
    measure,
    round_counts,
)
from fedunlearn.attacks.label_restoration.weight_form import WeightForm
from fedunlearn.federation import Update
from fedunlearn.models import load_weights, to_weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import CLASSES, Federation, Watcher, blank, digits, fresh, gradient_of, knowledge, non_iid

BIAS, WEIGHT = (form(RestorationSettings()) for form in (BiasForm, WeightForm))
ONE_STEP = {"learning-rate": 0.5, "batch-size": 100, "local-epochs": 1}


def restore(tape, form=BiasForm, flags=(), rng=0, **choices):
    watcher = Watcher("updates", flags)
    facts = knowledge(tape, watcher, learning={"learning-rate": 0.02, "batch-size": 8, "local-epochs": 1})
    return form(form.Settings(**choices))(tape.view(watcher), facts, np.random.default_rng(rng))


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "silu"])
@pytest.mark.parametrize("scale", [1, 8])  # confident models too
def test_with_the_true_mean_probabilities_the_bias_form_is_exact(activation, scale):
    images, labels = (part[:13] for part in digits())
    model = blank(activation)
    load_weights(model, {name: scale * array for name, array in fresh(1, activation).items()})
    gradient = gradient_of(model, images, labels)
    np.testing.assert_allclose(gradient["head.bias"].sum(), 0, atol=1e-6)
    np.testing.assert_allclose(gradient["head.weight"].sum(), 0, atol=1e-4)
    probabilities, feature_sum = measure(model, images)
    truth = HeadStatistics(np.ones(1), probabilities[None], np.array([feature_sum]))
    np.testing.assert_allclose(BIAS.estimate(gradient, truth, 13), np.bincount(labels, minlength=10), atol=1e-4)


def test_with_equal_feature_sums_the_weight_form_is_exact():
    rng = np.random.default_rng(0)
    features, labels = 3 * rng.dirichlet(np.ones(6), size=20), rng.integers(0, 5, 20)
    probabilities = rng.dirichlet(np.ones(5), size=20)
    gradient = {"head.weight": (probabilities - np.eye(5)[labels]).T @ features / 20}
    truth = HeadStatistics(np.ones(1), probabilities.mean(0)[None], np.array([3.0]))
    np.testing.assert_allclose(WEIGHT.estimate(gradient, truth, 20), np.bincount(labels, minlength=5), atol=1e-9)


def local_run(momentum=0.0, decay=0.0, batch=8, epochs=2, samples=24):
    """Return (update, broadcast, mean probabilities before every step) of a client that used torch.optim.SGD."""
    images, labels = (torch.from_numpy(part[:samples]) for part in digits())
    model, start = blank(), fresh(2)
    load_weights(model, start)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.3, momentum=momentum, weight_decay=decay)
    seen = []
    for first in [*range(0, samples, batch)] * epochs:
        part = slice(first, first + batch)
        seen.append(measure(model, images[part].numpy())[0])
        optimiser.zero_grad()
        model.loss(images[part], labels[part]).backward()
        optimiser.step()
    learning = {"learning-rate": 0.3, "batch-size": batch, "local-epochs": epochs, "momentum": momentum}
    return Update(0, "weights", to_weights(model), samples), start, np.array(seen), learning | {"weight-decay": decay}


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_fedavg_counts_are_exact_given_the_probabilities_at_every_step(momentum):
    update, start, seen, learning = local_run(momentum)
    shares = local_steps(learning, 24).weights
    counts = BIAS.estimate(mean_gradient(update, start, learning), HeadStatistics(shares, seen, np.ones(6)), 24)
    # With momentum, early batches weigh more; over whole epochs of equal batches each label keeps its batch's share.
    labels = digits()[1][:24].reshape(3, 8)
    by_batch = np.array([np.bincount(part, minlength=10) for part in labels] * 2)
    np.testing.assert_allclose(counts, 24 * shares @ by_batch / 8, atol=1e-3)
    if not momentum:
        np.testing.assert_allclose(counts, np.bincount(digits()[1][:24], minlength=10), atol=1e-3)


def test_an_update_that_is_one_step_is_the_gradient():
    images, labels = (part[:10] for part in digits())
    model, start = blank(), fresh(3)
    load_weights(model, start)
    gradient = gradient_of(model, images, labels)
    stepped = {name: array - np.float32(0.5) * gradient[name] for name, array in start.items()}
    sent = Update(0, "gradient", gradient, 10), Update(0, "weights", stepped, 10)
    as_is, converted = (mean_gradient(update, start, ONE_STEP) for update in sent)
    for name in start:
        np.testing.assert_allclose(as_is[name], gradient[name])
        np.testing.assert_allclose(converted[name], gradient[name], atol=1e-6)


def test_weight_decay_is_taken_off():
    plain, start, _, learning = local_run(epochs=1, batch=24)
    decayed, _, _, with_decay = local_run(decay=0.05, epochs=1, batch=24)
    one, other = mean_gradient(plain, start, learning), mean_gradient(decayed, start, with_decay)
    for name in one:
        np.testing.assert_allclose(other[name], one[name], atol=1e-3)
    sent = Update(0, "gradient", {name: one[name] + 0.05 * start[name] for name in one}, 24)
    for name, array in mean_gradient(sent, start, with_decay).items():
        np.testing.assert_allclose(array, one[name], atol=1e-12)


def test_weights_need_the_learning_rate(tmp_path):
    tape = Tape(tmp_path)
    Federation(non_iid(2, 40, seed=1), "weights", rate=0.02).run(tape, "trunk", fresh(), 1)
    with pytest.raises(AccessRefused, match="learning-known"):
        restore(tape)


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=12).map(np.array),
    st.integers(1, 200),
)
def test_rounding_keeps_the_total_and_the_proportions(estimate, total):
    counts = round_counts(estimate, total)
    assert counts.sum() == total
    assert (counts >= 0).all()
    positive = np.maximum(estimate, 0)
    weights = positive if positive.any() else np.ones(len(estimate))
    exact = weights / weights.sum() * total
    assert (np.abs(counts - exact) < 1 + 1e-9).all()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any))
def test_rounding_leaves_counts_alone(counts):
    assert round_counts(np.array(counts, float), sum(counts)).tolist() == counts


@pytest.mark.parametrize("form", [BiasForm, WeightForm])
@pytest.mark.parametrize("flags", [(), ("public-unlabelled",)])
def test_labels_behind_the_first_gradients_are_restored_exactly(tmp_path, form, flags):
    tape, federation = Tape(tmp_path), Federation(non_iid(8, 1000, seed=4))
    federation.run(tape, "trunk", fresh(), 1)
    watcher = Watcher("updates", flags)
    facts = knowledge(tape, watcher, public=(digits()[0][1500:], None))
    finding = form(form.Settings())(tape.view(watcher), facts, np.random.default_rng(0))
    assert len(finding.targets) == len(federation.held)
    for target, counts in zip(finding.targets, finding.counts, strict=True):
        truth = np.bincount(digits()[1][federation.batches[target]], minlength=CLASSES)
        np.testing.assert_array_equal(counts, truth)


def test_statistics_are_interpolated_between_the_two_models():
    first, last = (np.array([0.0, 1.0]), 2.0), (np.array([0.5, 0.5]), 6.0)
    found = interpolate(first, last, np.array([0.4, 0.3, 0.2, 0.1]))
    np.testing.assert_allclose(found.probabilities, [[0, 1], [0.125, 0.875], [0.25, 0.75], [0.375, 0.625]])
    np.testing.assert_allclose(found.feature_sums, [2, 3, 4, 5])
    gradient = {"head.bias": np.zeros(2), "head.weight": np.array([[1.0], [-1.0]])}
    np.testing.assert_allclose(BIAS.estimate(gradient, found, 8), 8 * np.array([0.125, 0.875]))
    inverse = 0.4 / 2 + 0.3 / 3 + 0.2 / 4 + 0.1 / 5
    np.testing.assert_allclose(WEIGHT.estimate(gradient, found, 8), 8 * np.array([0.125 - inverse, 0.875 + inverse]))


def test_fedavg_labels_end_to_end(tmp_path):
    tape, federation = Tape(tmp_path), Federation(non_iid(5, 300, seed=6), "weights", rate=0.02)
    federation.run(tape, "trunk", fresh(), 1)
    finding = restore(tape, flags=("learning-known",))
    for target, counts in zip(finding.targets, finding.counts, strict=True):
        truth = np.bincount(digits()[1][federation.batches[target]], minlength=CLASSES)
        assert counts.sum() == truth.sum()
        assert np.minimum(counts, truth).sum() / truth.sum() >= 0.9


def test_targets_are_chosen(tmp_path):
    tape = Tape(tmp_path)
    Federation(non_iid(4, 200, seed=4)).run(tape, "trunk", fresh(), 2)
    assert restore(tape).targets == tuple((1, client) for client in range(4))
    assert restore(tape, clients="first", round=2).targets == ((2, 0),)
    assert restore(tape, clients=(2, 3)).targets == ((1, 2), (1, 3))
    with pytest.raises(AccessRefused, match="client 9"):
        restore(tape, clients=(9,))


def test_public_images_must_be_there_when_asked_for(tmp_path):
    tape = Tape(tmp_path)
    Federation(non_iid(2, 40, seed=4)).run(tape, "trunk", fresh(), 1)
    with pytest.raises(AccessRefused, match="public"):
        restore(tape, statistics="public")


def test_a_head_without_bias_is_for_the_weight_form():
    statistics = HeadStatistics(np.ones(1), np.full((1, 2), 0.5), np.ones(1))
    with pytest.raises(AccessRefused, match="weight-form"):
        BIAS.estimate({"head.weight": np.zeros((2, 3))}, statistics, 4)
