"""Random labels: never the right one, uniform over the others, drawn anew; retained data keep theirs."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from fedunlearn.errors import QuorumLost
from fedunlearn.federation import Failure
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.random_label import RandomLabelSettings, random_label, wrong_labels
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.unlearning.workbench import (
    batch_norm_net,
    branch,
    carried,
    ids_of,
    local_client,
    watch_losses,
)

FORGET, RETAIN = range(8), range(8, 20)


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_wrong_labels_are_uniform_over_the_others(classes):
    labels = torch.arange(classes).repeat_interleave(3000)
    drawn = wrong_labels(labels, classes, np.random.default_rng(5))
    for label in range(classes):
        counts = torch.bincount(drawn[labels == label], minlength=classes).numpy()
        assert len(counts) == classes
        assert counts[label] == 0
        assert classes == 2 or chisquare(np.delete(counts, label)).pvalue > 1e-3


def test_every_epoch_goes_through_forgotten_data_with_wrong_labels_and_then_through_the_rest_with_their_own():
    client = local_client(forget=FORGET)
    calls = watch_losses(client)
    random_label(client, carried(RandomLabelSettings, epochs=3, batch_size=4))
    assert len(calls) == 3 * (2 + 3)
    drawn = []
    for epoch in (calls[:5], calls[5:10], calls[10:]):
        wrong, right = epoch[:2], epoch[2:]
        assert not any(call.training for call in wrong)
        assert all(call.training for call in right)
        assert sorted(np.concatenate([call.positions for call in wrong])) == list(FORGET)
        assert sorted(np.concatenate([call.positions for call in right])) == list(RETAIN)
        for call in wrong:
            assert (call.labels != client.labels[call.positions]).all()
        for call in right:
            assert (call.labels == client.labels[call.positions]).all()
        found = {position: int(label) for call in wrong for position, label in zip(*call[:2], strict=True)}
        drawn.append([found[position] for position in FORGET])
    assert drawn[0] != drawn[1] != drawn[2]


def test_batch_norm_statistics_do_not_follow_forgotten_data():
    client = local_client(batch_norm_net(), forget=range(20))
    after = random_label(client, carried(RandomLabelSettings)).payload
    for name in ("body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked"):
        np.testing.assert_array_equal(after[name], client.weights[name])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFederation(tmp_path_factory.mktemp("random-label"))


def forget(small, scope, federation=None, **settings):
    (weights, history), request = small.trained, small.request(scope)
    unlearner = UNLEARNERS["random-label"](RandomLabelSettings(recovery_rounds=0, **settings), 4)
    return unlearner(weights, request, federation or branch(small, request), history)


def test_the_class_is_forgotten_and_the_others_are_not(small):
    forgotten, retained = ids_of(small, small.request("class"))
    after = forget(small, "class")
    assert small.accuracy(small.trained[0], forgotten) > 0.9
    assert small.accuracy(after, forgotten) < 0.1
    assert small.accuracy(after, retained) > 0.9


@pytest.mark.parametrize(("scope", "asked"), [("client", [0, 1, 2, 3]), ("class", [0, 1, 2, 3])])
def test_under_client_scope_the_others_do_the_second_pass_in_the_same_rounds(small, scope, asked):
    federation, orders = branch(small, small.request(scope)), []
    federation.round_listeners.append(lambda _branch, order, _outcomes: orders.append(order))
    forget(small, scope, federation, rounds=2)
    assert [sorted(order.jobs) for order in orders] == [asked, asked]
    assert {job.view for order in orders for job in order.jobs.values()} == {"all"}


def test_a_round_without_the_target_is_no_unlearning(small):
    federation = branch(small, small.request("client"))
    deliver = federation._engine.deliver
    federation._engine.deliver = lambda order: [
        Failure(1, "left") if outcome.client_id == 1 else outcome for outcome in deliver(order)
    ]
    with pytest.raises(QuorumLost, match="client 1: left"):
        forget(small, "client", federation)
