"""Defences at work on a branch: what clients are sent, what comes out, what is left alone."""

import numpy as np
import pytest

from fedunlearn.federation import weights_sha256
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.defences.workshop import branch, guard, make

SERVE_CLASSES = [name for name in UNLEARNERS if "class" in UNLEARNERS[name].scopes]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFederation(tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize("name", SERVE_CLASSES)
def test_what_every_method_leaves_is_what_was_published_last(small, tmp_path, name):
    weights, _, published = branch(small, name, make("head-noise", scale=0.02), journal=tmp_path, rounds=1)
    assert weights_sha256(weights) == weights_sha256(published[-1])


def test_clients_are_sent_what_was_published(small, tmp_path):
    weights, history = small.trained
    federation = small.federation(journal=tmp_path)
    federation.calls = small.rounds
    seen = []
    federation.round_listeners.append(lambda branch, order, outcomes: seen.append(weights_sha256(order.weights)))
    federation.model_listeners.append(lambda branch, call, model: seen.append(weights_sha256(model)))
    guard(small, make("head-noise")).request(federation, (1,))
    last = history.training.run(federation, weights, 3)
    assert seen[0] == weights_sha256(weights)  # known to everybody since the trunk
    assert seen[1::2] == [*seen[2::2], weights_sha256(last)]


def test_every_model_gets_noise_of_its_own_and_the_same_again(small, tmp_path):
    weights = small.trained[0]
    noise = make("head-noise")
    runs = []
    for _ in range(2):
        federation = small.federation()
        guard(small, noise).request(federation, (1,))
        runs.append([weights_sha256(federation.publish(weights)) for _ in range(3)])
        federation.restart()
        assert weights_sha256(federation.publish(weights)) not in runs[-1]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3


def test_the_same_mechanism_acts_where_nothing_was_asked(small, tmp_path):
    weights = small.trained[0]

    def released(name, classes):
        federation = small.federation()
        guard(small, make(name)).request(federation, classes)
        return [federation.publish(weights) for _ in range(2)]

    for model in released("head-noise", ()) + released("row-norm-match", ()) + released("teleport-rows", ()):
        assert weights_sha256(model) != weights_sha256(weights)
    moved = [model["head.bias"] != weights["head.bias"] for model in released("row-norm-match", ())]
    assert [mask.sum() for mask in moved] == [1, 1]
    assert np.array_equal(*moved)  # one class, the same in every round
    assert weights_sha256(released("twin-row", ())[0]) == weights_sha256(weights)


@pytest.mark.parametrize(("classes", "vanish"), [((1,), 3), ((), 3)])
def test_decoys_are_left_out_and_come_back(small, tmp_path, classes, vanish):
    weights, history = small.trained
    federation = small.federation(journal=tmp_path)
    federation.calls = small.rounds
    used = []
    labels = small.samples.labels

    def watch(branch, order, outcomes):
        every = np.concatenate([federation.samples(client, "retain") for client in order.jobs])
        used.append(set(labels(every).tolist()))
        assert all(np.isin(labels(order.past[c]), list({0, 1, 2, 3} - used[-1] - {1} | {1})).all() for c in order.past)

    federation.round_listeners.append(watch)
    federation.open_request(small.request("class").samples if classes else {})
    guard(small, make("decoy-class", decoys=2, rounds=2)).request(federation, classes)
    history.training.run(federation, weights, 4)
    left = {0, 1, 2, 3} - set(classes)
    assert [len({0, 1, 2, 3} - seen) for seen in used] == [vanish, vanish, len(classes), len(classes)]
    assert used[0] == used[1]
    assert used[2] == used[3] == left


def test_clients_apart_or_together_learn_the_same(small, tmp_path):
    defences = [make("teleport-rows"), make("head-noise"), make("decoy-class", decoys=1, rounds=1)]
    together = branch(small, "finetune", *defences, journal=tmp_path / "together")
    apart = branch(small, "finetune", *defences, journal=tmp_path / "apart", apart=True)
    assert weights_sha256(together[0]) == weights_sha256(apart[0])


@pytest.mark.parametrize("name", ["finetune", "retrain", "control"])
def test_executed_again_a_branch_reads_its_rounds_and_ends_in_the_same_model(small, tmp_path, name):
    defences = [make("teleport-rows"), make("twin-row", share=0.1), make("decoy-class", decoys=1, rounds=1)]
    first, again = (branch(small, name, *defences, journal=tmp_path) for _ in range(2))
    assert first[1].spent.executed_client_seconds > 0
    assert again[1].spent.executed_client_seconds == 0
    assert weights_sha256(first[0]) == weights_sha256(again[0])


def test_a_second_request_is_defended_together_with_the_first(small):
    weights, federation = small.trained[0], small.federation()
    watch = guard(small, make("row-norm-match"))
    watch.request(federation, (1,))
    watch.request(federation, (3,))
    moved = federation.publish(weights)["head.bias"] != weights["head.bias"]
    assert np.flatnonzero(moved).tolist() == [1, 3]
