"""Sharded training: what is concerned is trained again as if the data had never been there, the rest is left alone."""

from dataclasses import replace

import numpy as np
import pytest

from fedunlearn.aggregation import weighted_mean
from fedunlearn.federation import weights_sha256
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.sharded import ShardedSettings
from fedunlearn.unlearning.small_federation import SmallFederation

ROUNDS = 3


class Federation:
    """A small federation whose trunk is sharded; `without` was never there."""

    def __init__(self, folder, shards=2, without=None, **training):
        self.small = SmallFederation(folder, rounds=ROUNDS)
        self.small.training = replace(self.small.training, **training)
        for client, ids in (without or {}).items():
            self.small.held[client] = np.setdiff1d(self.small.held[client], ids)
        self.branch = self.small.federation().fork("sharded")
        self.branch.restart()
        self.unlearner = UNLEARNERS["sharded"](ShardedSettings(shards=shards), 4)
        self.weights, self.history = self.unlearner.prepare(None, self.branch, self.small.trained[1])
        self.asked = []
        self.branch.round_listeners.append(lambda _branch, order, _outcomes: self.asked.append(sorted(order.jobs)))

    @property
    def models(self):
        """SHA-256 of each shard's model."""
        return [weights_sha256(shard.model) for shard in self.history.training.shards]

    @property
    def groups(self):
        """The clients of each shard."""
        return [sorted(shard.rounds.clients) for shard in self.history.training.shards]

    def forget(self, forget):
        """Serve a request for these sample ids by client; return the model."""
        self.branch.open_request(forget)
        request = UnlearningRequest("r", ROUNDS, "sample", (), forget)
        self.weights = self.unlearner(self.weights, request, self.branch, self.history)
        self.branch.close_request()
        return self.weights

    def train(self, rounds):
        """Train on, as between requests."""
        self.weights = self.history.training.run(self.branch, self.weights, rounds)


def test_one_shard_is_ordinary_training(tmp_path):
    sharded = Federation(tmp_path, shards=1)
    assert weights_sha256(sharded.weights) == weights_sha256(sharded.small.trained[0])


def test_clients_are_dealt_to_all_shards_and_train_among_themselves(tmp_path):
    sharded = Federation(tmp_path, shards=3, clients_per_round=2)
    assert sorted(client for group in sharded.groups for client in group) == [0, 1, 2, 3]
    assert sorted(map(len, sharded.groups)) == [1, 1, 2]
    assert len(set(sharded.models)) == 3
    sharded.train(2)
    assert [len(clients) for clients in sharded.asked] == [1] * 6  # half of the clients in each round, rounded up
    assert all(set(clients) <= set(group) for clients, group in zip(sharded.asked, sharded.groups * 2, strict=True))


def test_the_model_is_the_mean_by_samples(tmp_path):
    sharded = Federation(tmp_path, shards=3)
    sizes = [48 * len(group) for group in sharded.groups]
    mean = weighted_mean([shard.model for shard in sharded.history.training.shards], sizes)
    assert weights_sha256(sharded.weights) == weights_sha256(mean)


@pytest.mark.parametrize("clients_per_round", [2, 4])
def test_only_the_concerned_shard_is_trained_again_and_as_if_the_data_had_never_been_there(tmp_path, clients_per_round):
    forget = {1: np.arange(48, 96, 5)}
    sharded = Federation(tmp_path / "with", clients_per_round=clients_per_round)
    never = Federation(tmp_path / "never", without=forget, clients_per_round=clients_per_round)
    [touched] = [number for number, group in enumerate(sharded.groups) if 1 in group]
    before, spent = sharded.models, sharded.branch.spent.rounds
    after = sharded.forget(forget)
    assert sharded.models[1 - touched] == before[1 - touched]
    assert sharded.models[touched] != before[touched]
    assert sharded.models == never.models
    assert weights_sha256(after) == weights_sha256(never.weights)
    assert sharded.branch.spent.rounds - spent == ROUNDS
    assert all(set(clients) <= set(sharded.groups[touched]) for clients in sharded.asked)


def test_requests_in_sequence_with_rounds_between_and_after(tmp_path):
    first, second = {1: np.arange(48, 96, 5)}, {client: np.arange(client * 48, client * 48 + 9) for client in (1, 2)}
    sharded = Federation(tmp_path / "with")
    sharded.forget(first)
    sharded.train(2)
    sharded.forget(second)
    sharded.train(1)
    gone = {client: np.union1d(first.get(client, []), ids).astype(int) for client, ids in second.items()}
    never = Federation(tmp_path / "never", without=gone)
    never.train(3)
    assert sharded.models == never.models
    assert weights_sha256(sharded.weights) == weights_sha256(never.weights)


def test_a_shard_that_has_nothing_left_drops_out(tmp_path):
    sharded = Federation(tmp_path, shards=4)
    [place] = [number for number, group in enumerate(sharded.groups) if group == [1]]
    sharded.forget({1: np.arange(48, 96)})
    rest = [shard.model for number, shard in enumerate(sharded.history.training.shards) if number != place]
    np.testing.assert_allclose(sharded.weights["head.weight"], weighted_mean(rest, [1, 1, 1])["head.weight"], rtol=1e-6)
    assert sharded.asked == []
    sharded.train(1)
    assert [1] not in sharded.asked


def test_only_the_mean_of_the_shards_is_published(tmp_path):
    sharded, published = Federation(tmp_path), []
    sharded.branch.model_listeners.append(lambda _branch, call, model: published.append((call, weights_sha256(model))))
    sharded.train(2)
    assert [call for call, _ in published] == [2 * (ROUNDS + 1), 2 * (ROUNDS + 2)]
    assert published[-1][1] == weights_sha256(sharded.weights)
    assert not {model for _, model in published} & set(sharded.models)
    sharded.forget({1: np.arange(48, 96, 5)})
    assert len(published) == 2 + ROUNDS + 2
    assert published[-1][1] == weights_sha256(sharded.weights)
    assert not {model for _, model in published} & set(sharded.models)


def test_without_its_own_trunk_it_says_so(tmp_path):
    small = SmallFederation(tmp_path, rounds=1)
    weights, history = small.trained
    with pytest.raises(ValueError, match="starts from the trunk"):
        UNLEARNERS["sharded"](ShardedSettings(), 4)(weights, small.request("class"), small.federation(), history)
