"""FedAU: learning is not disturbed by the second head, and merging does what the formulas say."""

from dataclasses import replace

import numpy as np
import pytest

from fedunlearn.errors import QuorumLost
from fedunlearn.federation import Update, weights_sha256
from fedunlearn.learning import LocalClient, LocalTraining
from fedunlearn.models import Architecture, build, to_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.fedau import HEAD, false_labels, learn, merge, starting_head, train_head
from fedunlearn.unlearning.small_federation import Blocks, SmallFederation

FedAU = UNLEARNERS["fedau"]


def prepared(tmp_path, scope, algorithm="fedavg", clients_per_round=4, **settings):
    """Return (small federation, branch, unlearner, request, model, history) when the request arrives."""
    small = SmallFederation(tmp_path / "trunk", rounds=3, algorithm=algorithm)
    small.training = replace(small.training, clients_per_round=clients_per_round)
    branch = small.federation().fork("fedau")
    branch.restart()
    unlearner, request = FedAU(FedAU.Settings(**settings), 4), small.request(scope)
    weights, history = unlearner.prepare(request, branch, small.trained[1])
    return small, branch, unlearner, request, weights, history


@pytest.mark.parametrize("algorithm", ["fedavg", "fedsgd"])
@pytest.mark.parametrize("scope", ["class", "client", "sample"])
def test_the_trunk_is_that_of_ordinary_training(tmp_path, scope, algorithm):
    small, branch, _, request, weights, history = prepared(tmp_path, scope, algorithm)
    assert weights_sha256(weights) == weights_sha256(small.trained[0])
    assert branch.current == {}
    assert set(branch.private) == set(request.samples)
    assert history.rounds == (("fedau.1", 1), ("fedau.1", 2), ("fedau.1", 3))


@pytest.mark.parametrize("scope", ["client", "sample"])
def test_a_share_of_zero_leaves_the_model_as_it_is(tmp_path, scope):
    _, branch, unlearner, request, weights, history = prepared(tmp_path, scope, alpha=0.0)
    branch.open_request(request.samples)
    assert weights_sha256(unlearner(weights, request, branch, history)) == weights_sha256(weights)
    assert branch.calls == 3 + 1


def test_forgetting_a_class_changes_the_head_alone_and_most_of_all_its_row(tmp_path):
    _, branch, unlearner, request, weights, history = prepared(tmp_path, "class")
    branch.open_request(request.samples)
    unlearned = unlearner(weights, request, branch, history)
    assert {name for name in weights if not np.array_equal(weights[name], unlearned[name])} == set(HEAD)
    lengths = np.linalg.norm(unlearned["head.weight"] - weights["head.weight"], axis=1)
    assert lengths.argmax() == 1
    assert unlearned["head.bias"][1] < weights["head.bias"][1]
    mean = np.mean([head["head.weight"] for head in branch.private.values()], axis=0)
    np.testing.assert_allclose(unlearned["head.weight"], weights["head.weight"] - mean, atol=1e-6)


@pytest.mark.parametrize(("scope", "share"), [("sample", 0.9), ("client", 0.5)])
def test_default_shares(tmp_path, scope, share):
    _, branch, unlearner, request, weights, history = prepared(tmp_path, scope)
    branch.open_request(request.samples)
    unlearned, kept = unlearner(weights, request, branch, history), branch.private
    mean = np.mean([head["head.bias"] for head in kept.values()], axis=0)
    np.testing.assert_allclose(unlearned["head.bias"], (1 - share) * weights["head.bias"] + share * mean, atol=1e-6)


def test_a_class_is_forgotten_and_the_others_are_not(tmp_path):
    small = SmallFederation(tmp_path)
    branch, request = small.federation().fork("fedau"), small.request("class")
    branch.restart()
    unlearner = FedAU(FedAU.Settings(), 4)
    weights, history = unlearner.prepare(request, branch, small.trained[1])
    branch.open_request(request.samples)
    unlearned = unlearner(weights, request, branch, history)
    forgotten = np.concatenate(list(request.samples.values()))
    retained = np.setdiff1d(np.concatenate(small.held), forgotten)
    assert small.accuracy(weights, forgotten) > 0.9
    assert small.accuracy(unlearned, forgotten) < 0.1
    assert small.accuracy(unlearned, retained) > 0.9


def test_merging():
    weights = {"body": np.ones(2, np.float32)} | {name: np.full((2, 2), 3, np.float32) for name in HEAD}
    heads = [{name: np.full((2, 2), value, np.float32) for name in HEAD} for value in (1, 2)]
    for alpha, expected in ((None, 1.5), (0.0, 3), (0.2, 2.7), (1.0, 1.5)):
        merged = merge(weights, heads, alpha)
        assert merged["body"] is weights["body"]
        np.testing.assert_allclose([merged[name] for name in HEAD], expected, rtol=1e-7)


def local_client(forgets, private=None, call=1):
    """Return a client with the first 16 blobs and a small convnet, which asks to forget `forgets`."""
    model = build(Architecture("convnet", None, 4, "group"), (1, 8, 8), 4, np.random.default_rng(0), (0.5, 0.5))
    ids = np.arange(16)
    return LocalClient(0, call, 0, model, to_weights(model), ids, Blocks(0), private=private, asked=np.array(forgets))


def test_the_first_step_from_zero_is_known_in_closed_form():
    client, everything = local_client(range(16)), np.arange(16)
    labels = client.labels.new_full((16,), 2)
    start = starting_head(client, 1.0)
    head = train_head(client, LocalTraining(16, learning_rate=0.5), [everything], labels, start)
    features = client.model.features(client.images).numpy(force=True).mean(axis=0)
    expected = -0.5 * (np.full(4, 0.25) - np.eye(4)[2])  # all four probabilities are 1/4
    np.testing.assert_allclose(head["head.bias"], expected, rtol=1e-6)
    np.testing.assert_allclose(head["head.weight"], np.outer(expected, features), rtol=1e-5)


def test_labels_of_the_second_head():
    client = local_client(range(0, 16, 2))
    true = client.samples.labels(client.sample_ids)
    assert false_labels(client, [3]).tolist() == [3] * 16
    assert false_labels(client, [3, 1]).tolist() == [3, 1] * 8
    drawn = false_labels(client, [])
    assert drawn[1::2].tolist() == true[1::2].tolist()
    assert drawn[::2].tolist() != true[::2].tolist()
    np.testing.assert_array_equal(drawn, false_labels(local_client(range(0, 16, 2), call=7), []))


def test_where_the_second_head_starts():
    kept = {name: np.ones_like(array) for name, array in local_client([0]).weights.items() if name in HEAD}
    client = local_client([0], kept)
    for memory, share in ((1.0, 0.0), (0.25, 0.75), (0.0, 1.0)):
        for name, array in starting_head(client, memory).items():
            np.testing.assert_allclose(array, share * client.weights[name] + (1 - share), rtol=1e-6)
    first = local_client([0])
    assert all(not array.any() for array in starting_head(first, 1.0).values())
    np.testing.assert_array_equal(starting_head(first, 0.5)["head.bias"], first.weights["head.bias"])


def test_clients_that_forget_nothing_learn_as_ever():
    settings = {"batch-size": 4, "learning-rate": 0.1, "local-epochs": 2}
    own = {"ordinary": "train", "classes": [1], "memory": 1.0}
    concerned, other = local_client([0, 3]), local_client([])
    replies = [learn(client, settings | {"auxiliary": own}) for client in (concerned, other)]
    assert weights_sha256(replies[0].payload) == weights_sha256(replies[1].payload)
    assert set(replies[0].private) == set(HEAD)
    assert replies[1].private is None


def test_the_head_comes_as_statistics_and_only_from_those_concerned(tmp_path):
    _, branch, unlearner, request, weights, history = prepared(tmp_path, "client")
    branch.open_request(request.samples)
    seen = []
    branch.round_listeners.append(lambda _branch, order, outcomes: seen.append((order, outcomes)))
    unlearner(weights, request, branch, history)
    [(order, [reply])] = seen
    assert (order.task.reply, list(order.jobs)) == ("statistics", [1])
    assert isinstance(reply, Update)
    assert set(reply.payload) == set(HEAD)


def test_who_took_part_in_no_round_has_no_second_head(tmp_path):
    _, branch, unlearner, request, weights, history = prepared(tmp_path, "sample", clients_per_round=1)
    sampled = set(branch.private)
    assert sampled < set(range(4))
    never = min(set(range(4)) - sampled)
    request = replace(request, samples={never: request.samples[never]})
    branch.open_request(request.samples)
    with pytest.raises(QuorumLost, match="no second head"):
        unlearner(weights, request, branch, history)


def test_a_request_that_was_not_foreseen_is_refused(tmp_path):
    _, branch, unlearner, request, weights, history = prepared(tmp_path, "class")
    with pytest.raises(ValueError, match='trained for request "request", not for "another"'):
        unlearner(weights, replace(request, id="another"), branch, history)
