"""Amnesiac: what is taken back is what the marked batches did, no more and no less; and whose labels are wrong."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from fedunlearn.errors import QuorumLost
from fedunlearn.federation import Failure, Federation, Job
from fedunlearn.journal import Journal
from fedunlearn.learning import draw_batch, epoch_batches
from fedunlearn.models import parameter_names
from fedunlearn.requests import UnlearningRequest
from fedunlearn.rounds import OrdinaryRounds
from fedunlearn.unlearning import UNLEARNERS, History
from fedunlearn.unlearning.amnesiac import AmnesiacSettings, relabelled, repeat_task
from fedunlearn.unlearning.small_federation import LEARNING_RATE, SmallFederation
from fedunlearn.unlearning.stored import read_round
from fedunlearn.unlearning.vectors import flatten
from fedunlearn.worker_engine import WorkerEngine
from tests.learning.workshop import MemorySamples, Workshop
from tests.unlearning.workbench import branch, carried, ids_of, local_client

MLP = {"name": "mlp", "width": 12}
SIZES = (20, 7, 30)


@dataclass(frozen=True)
class Twins(Workshop):
    """Clients that all hold copies of the same pictures."""

    @property
    def samples(self):
        one, times = Workshop(self.sizes[:1], self.model).samples, len(self.sizes)
        return MemorySamples(np.tile(one.x, (times, 1, 1, 1)), np.tile(one.y, times))

    @property
    def partition(self):
        return np.split(np.arange(sum(self.sizes)), len(self.sizes))


class Past:
    """A federation after its training, and what the clients said when they were asked to repeat rounds."""

    def __init__(self, folder, shop, rounds=2, algorithm="fedavg", **settings):
        names, journal = parameter_names(shop.blank()), Journal(folder)
        self.trunk = Federation(WorkerEngine(shop.worker(), names, LEARNING_RATE), shop.partition, journal)
        known = {"batch-size": 8, "learning-rate": LEARNING_RATE, "local-epochs": 2} | settings
        training = OrdinaryRounds(shop.seed, algorithm, len(shop.sizes), settings=known)
        self.start, self.shop = shop.weights(), shop
        self.model = training.run(self.trunk, self.start, rounds)
        self.history = History(
            journal, tuple(("trunk.0", call + 1) for call in range(rounds)), self.start, lambda _: self.start, training,
            LEARNING_RATE, names, shop.blank, lambda: np.empty(0), "cpu", shop.seed,
        )  # fmt: skip
        self.repeated = []

    def forget(self, samples, **settings):
        """Return the model after forgetting `samples` (ids by client), without any recovery."""
        federation = self.trunk.fork("amnesiac")
        federation.open_request(samples)
        federation.round_listeners.append(lambda _branch, _order, outcomes: self.repeated.extend(outcomes))
        request = UnlearningRequest("r", 2, "sample", (0,), samples)
        unlearner = UNLEARNERS["amnesiac"](AmnesiacSettings(recovery_rounds=0, **settings), 4)
        return unlearner(self.model, request, federation, self.history)


def same(one, other, tolerance=0.0):
    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], rtol=0, atol=tolerance, err_msg=name)


MANNERS = [("fedavg", {}), ("fedavg", {"momentum": 0.9, "weight-decay": 0.01, "proximal-mu": 0.1}), ("fedsgd", {})]


@pytest.mark.parametrize(("algorithm", "settings"), MANNERS)
@pytest.mark.parametrize(("sizes", "rounds"), [((20,), 1), (SIZES, 3)])
def test_with_all_batches_marked_it_is_the_initialisation_again(tmp_path, algorithm, settings, sizes, rounds):
    past = Past(tmp_path, Workshop(sizes, MLP), rounds, algorithm, **settings)
    assert (
        np.abs(flatten(past.model, past.history.parameters) - flatten(past.start, past.history.parameters)).max()
        > 0.005
    )
    same(past.forget(dict(enumerate(past.shop.partition))), past.start, 1e-6)


def test_with_no_batch_marked_it_is_the_model_as_it_was(tmp_path):
    past = Past(tmp_path, Workshop(SIZES, MLP), 2, "fedsgd")
    drawn = [draw_batch(past.shop.seed, call, 2, SIZES[2], 8) for call in (1, 2)]
    unseen = np.setdiff1d(np.arange(SIZES[2]), np.concatenate(drawn))
    same(past.forget({2: past.shop.partition[2][unseen]}), past.model)
    assert [update.metrics["marked"] for update in past.repeated] == [0, 0]


@pytest.mark.parametrize("algorithm", ["fedavg", "fedsgd"])
def test_one_of_identical_clients_has_its_share_of_everything(tmp_path, algorithm):
    past = Past(tmp_path, Twins([10] * 5, MLP), 2, algorithm, **{"batch-size": 10})
    unlearned = past.forget({1: past.shop.partition[1]})
    for name, array in unlearned.items():
        np.testing.assert_allclose(array - past.model[name], (past.start[name] - past.model[name]) / 5, atol=1e-6)


def test_batches_are_marked_by_what_was_drawn_in_the_stored_round(tmp_path):
    past, forgotten = Past(tmp_path, Workshop(SIZES, MLP), 2), np.array([2, 11])
    past.forget({2: past.shop.partition[2][forgotten]})
    for call, update in enumerate(past.repeated, start=1):
        batches = epoch_batches(past.shop.seed, call, 2, SIZES[2], 8, 2)
        marked = sum(bool(np.isin(batch, forgotten).any()) for batch in batches)
        assert (update.metrics["marked"], update.metrics["batches"]) == (marked, len(batches))
        assert 0 < marked < len(batches)


def test_marked_and_unmarked_batches_together_are_the_clients_stored_change(tmp_path):
    past = Past(tmp_path, Workshop(SIZES, MLP), 1, **{"batch-size": 1})
    forgotten, kept = np.split(past.shop.partition[0], [6])
    parts = [flatten(past.forget({0: ids}), past.history.parameters) for ids in (forgotten, kept)]
    now = flatten(past.model, past.history.parameters)
    stored = read_round(past.history, "trunk.0", 1)
    change = stored.contribution(lambda client: client == 0, past.history.parameters)
    np.testing.assert_allclose(sum(parts) - 2 * now, -change, atol=1e-6)
    assert np.abs(parts[0] - now).max() > 1e-3


def test_a_repeated_round_is_the_stored_one_bit_for_bit(tmp_path):
    past = Past(tmp_path, Workshop([20], MLP), 2, momentum=0.9)
    federation, ids = past.trunk.fork("repeat"), past.shop.partition[0]
    stored = read_round(past.history, "trunk.0", 2)
    federation.open_request({0: ids})
    (whole,) = federation.round(repeat_task(2, past.history), stored.broadcast, {0: Job(view="all")})
    for name in past.history.parameters:
        change = past.model[name].astype(np.float64) - stored.broadcast[name]
        np.testing.assert_array_equal(whole.payload[name], change.astype(np.float32))


def test_only_the_last_rounds_are_taken_back_if_asked_for(tmp_path):
    past = Past(tmp_path, Workshop([20, 9], MLP), 3)
    before_last, _ = past.history.archive.read("trunk.0", 3)
    same(past.forget(dict(enumerate(past.shop.partition)), last_rounds=1), before_last, 1e-6)


def test_a_client_that_took_no_part_in_a_round_is_not_asked_about_it(tmp_path):
    past = Past(tmp_path, Workshop(SIZES, MLP), 4)
    fewer = OrdinaryRounds(past.shop.seed, "fedavg", 1, settings=past.history.training.settings)
    trunk = past.trunk.fork("few")
    model = fewer.run(trunk, past.start, 4)
    rounds = tuple(("few.0", call) for call in range(5, 9))
    past.model, past.history = model, replace(past.history, rounds=rounds, training=fewer)
    took_part = [read_round(past.history, *entry).deltas.keys() for entry in rounds]
    chosen = min(took_part[0])
    past.forget({chosen: past.shop.partition[chosen]})
    assert len(past.repeated) == sum(chosen in clients for clients in took_part) < 4


class Mute:
    """An engine whose clients in `silent` do not answer."""

    def __init__(self, engine, silent):
        self._engine, self._silent = engine, silent

    def deliver(self, order):
        return [
            Failure(outcome.client_id, "gone") if outcome.client_id in self._silent else outcome
            for outcome in self._engine.deliver(order)
        ]


def test_who_does_not_answer_leaves_its_part_in_the_model(tmp_path):
    past = Past(tmp_path, Workshop(SIZES, MLP), 2)
    one, two = ({client: past.shop.partition[client]} for client in (0, 2))
    few = OrdinaryRounds(past.shop.seed, "fedavg", 1, settings=past.history.training.settings)
    trunk = past.trunk.fork("few")
    past.model = few.run(trunk, past.start, 4)
    past.history = replace(past.history, rounds=tuple(("few.0", call) for call in range(3, 7)), training=few)
    took_part = {client for entry in past.history.rounds for client in read_round(past.history, *entry).deltas}
    assert {0, 2} <= took_part  # each in rounds of its own
    answering = past.forget(two)
    past.trunk._engine = Mute(past.trunk._engine, {0})
    same(past.forget(one | two), answering)
    with pytest.raises(QuorumLost, match="no holder of forgotten data"):
        past.forget(one)


def test_relabelling_gives_wrong_labels_to_the_forgotten_data_and_to_nothing_else(monkeypatch):
    client = local_client(samples=20, forget=(1, 4, 5, 11, 17))
    images, true = client.take(np.arange(20))
    places = {image.tobytes(): place for place, image in enumerate(images.numpy())}
    seen, loss = [], client.model.loss
    monkeypatch.setattr(client.model, "loss", lambda x, y: seen.append((x, y)) or loss(x, y))
    relabelled(client, carried(AmnesiacSettings, mode="relabel", epochs=3, batch_size=6))
    visited = [
        (places[x.tobytes()], int(y)) for batch, labels in seen for x, y in zip(batch.numpy(), labels, strict=True)
    ]
    assert len(visited) == 3 * 20
    assert len(set(visited)) == 20  # the wrong labels are drawn once
    assert {place for place, label in visited if label != int(true[place])} == {1, 4, 5, 11, 17}
    assert torch.equal(client.labels, true)


@pytest.mark.parametrize("mode", ["subtract", "relabel"])
def test_in_a_federation_the_forgotten_class_goes_and_the_others_come_back(tmp_path, mode):
    small = SmallFederation(tmp_path)
    (weights, history), asked = small.trained, small.request("class")
    unlearner = UNLEARNERS["amnesiac"](AmnesiacSettings(mode=mode, learning_rate=0.01, batch_size=8), 6)
    federation = branch(small, asked)
    unlearned = unlearner(weights, asked, federation, history)
    forgotten, retained = ids_of(small, asked)
    assert small.accuracy(weights, forgotten) > 0.9
    assert small.accuracy(unlearned, forgotten) < 0.1
    assert small.accuracy(unlearned, retained) > 0.9
    asked_about = federation.spent.rounds - unlearner.extra_rounds
    assert asked_about == (small.rounds if mode == "subtract" else 0)
