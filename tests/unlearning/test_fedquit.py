"""FedQUIT: the virtual teacher's one changed logit, and the student that follows it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import entropy

from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.fedquit import FedQuitSettings, distil, virtual_teacher
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.learning.workshop import assert_same
from tests.unlearning.workbench import batch_norm_net, branch, carried, local_client

values = st.sampled_from(["min", "entropy"])
seeds = st.integers(0, 10**6)


def drawn(seed, classes=5, n=7):
    draws = np.random.default_rng(seed)
    logits = draws.normal(0, 3, (n, classes))
    return torch.from_numpy(logits), torch.from_numpy(draws.integers(0, classes, n))


@given(seeds, values)
def test_only_the_true_classes_logit_changes(seed, value):
    logits, labels = drawn(seed)
    changed = (virtual_teacher(logits, labels, value) != logits).numpy()
    allowed = np.eye(logits.shape[1], dtype=bool)[labels.numpy()]
    assert not changed[~allowed].any()


@given(seeds)
def test_min_makes_the_true_class_as_unlikely_as_the_least_likely(seed):
    logits, labels = drawn(seed)
    shares = torch.softmax(virtual_teacher(logits, labels, "min"), 1)
    torch.testing.assert_close(shares.gather(1, labels[:, None])[:, 0], shares.amin(1))


@given(seeds)
def test_entropy_is_largest_at_its_value(seed):
    logits, labels = drawn(seed, n=1)
    label = int(labels[0])

    def spread(v):
        return entropy(softmax(np.where(np.arange(5) == label, v, logits[0].numpy())))

    found = float(virtual_teacher(logits, labels, "entropy")[0, label])
    assert spread(found) >= max(spread(found - 0.01), spread(found + 0.01))
    assert found == pytest.approx(minimize_scalar(lambda v: -spread(v), bounds=(-30, 30), method="bounded").x, abs=1e-2)


def with_labels(client, choose):
    """Return the client with the labels that `choose` makes of its model's logits."""
    with torch.no_grad():
        client.labels = choose(client.model(client.images))
    client.take = lambda positions: (client.images[positions], client.labels[positions])
    return client


@pytest.mark.parametrize("value", ["min", "entropy"])
def test_the_student_loses_its_confidence_in_the_true_classes(value):
    client = with_labels(local_client(forget=range(20)), lambda logits: logits.argmax(1))

    def confidence():
        with torch.no_grad():
            return torch.softmax(client.model(client.images), 1).gather(1, client.labels[:, None]).mean().item()

    before = confidence()
    update = distil(client, carried(FedQuitSettings, epochs=20, value=value))
    assert confidence() < before
    assert update.metrics["loss"] < update.metrics["first_loss"]


def test_a_teacher_that_changes_nothing_moves_nothing():
    client = with_labels(local_client(), lambda logits: logits.argmin(1))  # the least likely one already
    assert_same(distil(client, carried(FedQuitSettings)).payload, client.weights)


def test_batch_statistics_do_not_see_forgotten_data():
    client = local_client(batch_norm_net(), samples=8, forget=range(8))
    after = distil(client, carried(FedQuitSettings, epochs=1)).payload
    buffers = [name for name in after if "running" in name or "tracked" in name]
    assert buffers
    assert_same({name: after[name] for name in buffers}, {name: client.weights[name] for name in buffers})


def test_holders_work_on_forgotten_data_alone(tmp_path):
    small = SmallFederation(tmp_path)
    weights, history = small.trained
    request = small.request("class")
    federation, seen = branch(small, request), []
    federation.round_listeners.append(lambda _branch, order, outcomes: seen.append((order, outcomes)))
    method = UNLEARNERS["fedquit"]
    method(method.Settings(recovery_rounds=0), 4)(weights, request, federation, history)
    ((order, outcomes),) = seen
    assert {job.view for job in order.jobs.values()} == {"forget"}
    assert [update.num_examples for update in outcomes] == [len(ids) for ids in request.samples.values()]
