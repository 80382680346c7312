"""From updates to gradients: against torch.optim.SGD, and what cannot be read."""

import numpy as np
import pytest
import torch

from fedunlearn.attacks.gradients import direction, local_steps, mean_gradient, readable, whole_model
from fedunlearn.federation import Update
from fedunlearn.models import load_weights, to_weights
from fedunlearn.observer.access import AccessRefused
from tests.observer.recorded import blank, digits, fresh, gradient_of

ONE_STEP = {"learning-rate": 0.5, "batch-size": 100, "local-epochs": 1}


def local_run(momentum=0.0, decay=0.0, batch=8, epochs=2, samples=24):
    """Return (update, broadcast, learning, (T, 10) mean probabilities before each step) of torch.optim.SGD."""
    images, labels = (torch.from_numpy(part[:samples]) for part in digits())
    model, start = blank(), fresh(2)
    load_weights(model, start)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.3, momentum=momentum, weight_decay=decay)
    seen = []
    for first in [*range(0, samples, batch)] * epochs:
        part = slice(first, first + batch)
        seen.append(torch.softmax(model(images[part]), 1).mean(0).numpy(force=True).astype(float))
        optimiser.zero_grad()
        model.loss(images[part], labels[part]).backward()
        optimiser.step()
    learning = {"learning-rate": 0.3, "batch-size": batch, "local-epochs": epochs, "momentum": momentum}
    return Update(0, "weights", to_weights(model), samples), start, learning | {"weight-decay": decay}, np.array(seen)


def test_an_update_that_is_one_step_is_the_gradient():
    images, labels = (part[:10] for part in digits())
    model, start = blank(), fresh(3)
    load_weights(model, start)
    gradient = gradient_of(model, images, labels)
    stepped = {name: array - np.float32(0.5) * gradient[name] for name, array in start.items()}
    sent = Update(0, "gradient", gradient, 10), Update(0, "weights", stepped, 10)
    as_is, converted = (mean_gradient(update, start, ONE_STEP) for update in sent)
    unscaled = direction(sent[1], start)
    for name in start:
        np.testing.assert_allclose(as_is[name], gradient[name])
        np.testing.assert_allclose(converted[name], gradient[name], atol=1e-6)
        np.testing.assert_allclose(unscaled[name], 0.5 * gradient[name], atol=1e-6)
        np.testing.assert_array_equal(direction(sent[0], start)[name], gradient[name])


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_with_the_probabilities_of_every_step_the_identity_holds_over_local_steps(momentum):
    update, start, learning, seen = local_run(momentum)
    shares = local_steps(learning, 24).weights
    counts = 24 * (shares @ seen - mean_gradient(update, start, learning)["head.bias"])
    # With momentum, early batches weigh more; over whole epochs of equal batches each label keeps its batch's share.
    labels = digits()[1][:24].reshape(3, 8)
    by_batch = np.array([np.bincount(part, minlength=10) for part in labels] * 2)
    np.testing.assert_allclose(counts, 24 * shares @ by_batch / 8, atol=1e-3)
    if not momentum:
        np.testing.assert_allclose(counts, np.bincount(digits()[1][:24], minlength=10), atol=1e-3)


def test_weight_decay_is_taken_off():
    plain, start, without, _ = local_run(epochs=1, batch=24)
    decayed, _, with_decay, _ = local_run(decay=0.05, epochs=1, batch=24)
    one, other = mean_gradient(plain, start, without), mean_gradient(decayed, start, with_decay)
    for name in one:
        np.testing.assert_allclose(other[name], one[name], atol=1e-3)
    sent = Update(0, "gradient", {name: one[name] + 0.05 * start[name] for name in one}, 24)
    for name, array in mean_gradient(sent, start, with_decay).items():
        np.testing.assert_allclose(array, one[name], atol=1e-12)


def test_weights_need_to_know_how_clients_learn():
    with pytest.raises(AccessRefused, match="learning-known"):
        mean_gradient(Update(0, "weights", fresh(1), 8), fresh(), None)
    assert mean_gradient(Update(0, "gradient", fresh(1), 8), fresh(), None).keys() == fresh().keys()


def spoilt(array):
    array = array.copy()
    array.flat[3] = np.nan
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head.weight": spoilt(fresh()["head.weight"])}, r"client 7's .*head\.weight has NaN"),
        ({"head.bias": np.zeros(9, "f4")}, r"head\.bias is \[9\], in the model \[10\]"),
        ({"head.bias": np.zeros(10, "i1")}, r"head\.bias is int8, in the model float32"),
        ({"mask": np.zeros(3, "f4")}, "the model has no mask"),
    ],
)
def test_what_is_no_update_of_the_model_is_refused(change, message):
    for kind in ("gradient", "weights"):
        with pytest.raises(AccessRefused, match=message):
            mean_gradient(Update(7, kind, fresh() | change, 8), fresh(), ONE_STEP)


def test_an_update_without_a_size_or_a_gradient_is_refused():
    with pytest.raises(AccessRefused, match="number of samples behind it is unknown"):
        readable(Update(0, "gradient", fresh(), 0), fresh())
    with pytest.raises(AccessRefused, match="statistics, neither a gradient nor weights"):
        readable(Update(0, "statistics", {"mean": np.zeros(2)}, 8), fresh())


@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_other_floating_point_types_are_read_like_the_models_own(dtype):
    sent = {name: array.astype(dtype) for name, array in fresh(1).items()}
    as_is = readable(Update(0, "weights", sent, 8), fresh())
    for name, array in as_is.items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, sent[name])
    load_weights(blank(), whole_model(Update(0, "weights", sent, 8), fresh()))


def test_tensors_that_were_not_sent_are_absent_from_the_gradient_and_the_broadcasts_in_the_model():
    sent = {"head.bias": fresh(1)["head.bias"]}
    update, start = Update(0, "weights", sent, 8), fresh()
    assert mean_gradient(update, start, ONE_STEP).keys() == {"head.bias"}
    completed = whole_model(update, start)
    assert list(completed) == list(start)
    for name, array in completed.items():
        np.testing.assert_array_equal(array, sent.get(name, start[name]))


def test_adamw_gives_no_gradient():
    learning = {"local-epochs": 1, "batch-size": 8, "learning-rate": 0.1, "optimiser": "adamw"}
    with pytest.raises(AccessRefused, match="adamw rescales"):
        local_steps(learning, 24)
