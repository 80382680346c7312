"""PGA: the reference and its radius in closed form, the ball that no step leaves, and the early stop."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fedunlearn.federation import Failure
from fedunlearn.unlearning import UNLEARNERS, pga
from fedunlearn.unlearning.pga import PgaSettings, ascend, latest_together, mean_square_distance, reference_models
from fedunlearn.unlearning.server_draws import DISTANT
from fedunlearn.unlearning.small_federation import SmallFederation
from fedunlearn.wire import encode_private
from tests.unlearning.archives import trained
from tests.unlearning.workbench import branch, carried, local_client

CENTRES = np.array([(-4.0, 2.0), (3.0, 4.0), (4.0, -3.0), (0.0, 5.0)])


def references(past, gone, federation=None):
    """Return (w_ref, own last models) for the clients `gone`."""
    federation = federation or past.trunk.fork("pga")
    past.request(federation, gone)
    leaving = federation.holders("forget")
    stored = latest_together(leaving, federation, past.history)
    return reference_models(past.model, stored, leaving, past.history)


@pytest.mark.parametrize("algorithm", ["fedavg", "fedsgd"])
@pytest.mark.parametrize("gone", [[0], [1, 3]])
def test_with_equal_clients_the_reference_is_the_mean_of_the_others_last_models(tmp_path, algorithm, gone):
    before = trained(tmp_path / "before", CENTRES, 2, algorithm=algorithm).model["w"]
    last = before + (CENTRES - before) / 2  # every client's local model in round 3
    reference, own = references(trained(tmp_path / "after", CENTRES, 3, algorithm=algorithm), gone)
    np.testing.assert_allclose(reference["w"], np.delete(last, gone, 0).mean(0), atol=1e-12)
    for client in gone:
        np.testing.assert_allclose(own[client]["w"], last[client], atol=1e-12)


def test_with_unequal_clients_it_is_the_formula_with_the_clients_share(tmp_path):
    sizes = [1, 2, 5, 4]
    past = trained(tmp_path, CENTRES, 3, sizes=sizes)
    reference, own = references(past, [2])
    share = sizes[2] / sum(sizes)
    expected = (past.model["w"] - share * own[2]["w"]) / (1 - share)
    np.testing.assert_allclose(reference["w"], expected, atol=1e-12)


def test_a_client_that_never_took_part_has_nothing_to_be_taken_out(tmp_path):
    past = trained(tmp_path, CENTRES, 1, clients=2)
    ((branch_name, call),) = past.history.rounds
    stranger = min(set(range(4)) - {o.client_id for o in past.history.archive.read(branch_name, call)[1]})
    reference, own = references(past, [stranger])
    np.testing.assert_array_equal(reference["w"], past.model["w"])
    np.testing.assert_array_equal(own[stranger]["w"], past.model["w"])


def test_a_client_that_left_earlier_is_not_in_the_reference(tmp_path):
    past, last = trained(tmp_path, CENTRES, 1), CENTRES / 2
    federation = past.trunk.fork("pga")
    past.request(federation, [0])
    federation.close_request()
    reference, _ = references(past, [1], federation)
    expected = past.model["w"] + last[2:].mean(0) - last[1:].mean(0)
    np.testing.assert_allclose(reference["w"], expected, atol=1e-12)


def test_the_radius_is_made_of_squared_distances():
    others = [{"w": np.array(point)} for point in [(3.0, 4.0), (0.0, 1.0)]]
    assert mean_square_distance({"w": np.zeros(2)}, others, frozenset("w")) == pytest.approx((25 + 1) / 2)


def ascending(radius, forget=range(20), **settings):
    """Return (update, client, reference) of a client that starts at the reference; its own model lies 1 away."""
    client = local_client(samples=20, forget=forget)
    client.attachments |= {f"reference/{name}": array for name, array in client.weights.items()}
    client = replace(client, private={name: array.copy() for name, array in client.weights.items()})
    client.private["head.bias"][0] += 1
    return ascend(client, carried(PgaSettings, **settings) | {"radius": radius}), client


def length(one, other):
    return math.sqrt(sum(float(np.square(one[n].astype(np.float64) - other[n]).sum()) for n in one))


def test_no_step_leaves_the_ball(monkeypatch):
    radius, outside, after = 0.05, [], []
    project = pga.project

    def watched(parameters, centre, size):
        outside.append(pga.distance(parameters, centre) > size)
        project(parameters, centre, size)
        after.append(pga.distance(parameters, centre))

    monkeypatch.setattr(pga, "project", watched)
    update, client = ascending(radius, learning_rate=0.1, batch_size=5, stop=1000)
    assert len(after) == update.metrics["steps"] == 5 * 4
    assert sum(outside) > 10
    assert max(after) <= radius * (1 + 1e-6)
    assert length(update.payload, client.weights) == pytest.approx(radius, rel=1e-5)
    assert update.metrics["stopped"] == 0


def test_it_climbs():
    before = local_client(samples=20)
    update, client = ascending(10.0, learning_rate=0.05, stop=1000)
    with torch.no_grad():
        now, then = (float(one.model.loss(*one.take(np.arange(20)))) for one in (client, before))
    assert now > then
    assert update.metrics["steps"] == 5


def test_it_stops_when_far_enough_from_its_own_last_model():
    update, client = ascending(1.0, learning_rate=0.01, momentum=0.0, batch_size=5, epochs=500, stop=1.2)
    assert update.metrics["stopped"] == 1
    assert 1 < update.metrics["steps"] < 500 * 4
    assert length(update.payload, client.private) > 1.2


def test_only_the_forgotten_data_are_looked_at(monkeypatch):
    client = local_client(samples=20, forget=(2, 3, 5))
    client = replace(client, private=client.weights)
    seen, take = [], client.take
    monkeypatch.setattr(client, "take", lambda positions: seen.extend(positions.tolist()) or take(positions))
    client.attachments |= {f"reference/{name}": array for name, array in client.weights.items()}
    ascend(client, carried(PgaSettings, stop=1000) | {"radius": 1.0})
    assert sorted(seen) == sorted([2, 3, 5] * 5)


def test_the_round_starts_from_the_reference_and_sends_what_the_client_needs(tmp_path):
    small = SmallFederation(tmp_path, rounds=2)
    (weights, history), asked = small.trained, small.request("client")
    federation, orders = branch(small, asked), []
    federation.round_listeners.append(lambda _branch, order, _outcomes: orders.append(order))
    unlearned = UNLEARNERS["pga"](PgaSettings(), 3)(weights, asked, federation, history)
    first = orders[0]
    assert [sorted(order.jobs) for order in orders] == [[1], [0, 2, 3], [0, 2, 3]]
    stored = latest_together([1], federation, history)
    reference, own = reference_models(weights, stored, [1], history)
    inits = [history.fresh(number) for number in DISTANT]
    expected = math.sqrt(mean_square_distance(reference, inits, history.parameters) / 3)
    assert first.task.settings["radius"] == pytest.approx(expected)
    for name, array in reference.items():
        np.testing.assert_array_equal(first.weights[name], array)
        np.testing.assert_array_equal(first.private[1][name], own[1][name])
    assert unlearned.keys() == weights.keys()
    assert federation.private == {}


class Leaving:
    """Workers that note what each client is sent beside the model; those who leave and are `absent` do not answer."""

    def __init__(self, engine, absent):
        self._engine, self._absent, self.sent = engine, absent, {}

    def deliver(self, order):
        if order.task.name == "pga":
            self.sent |= {c: (set(order.task.attachments), encode_private(order, [c])) for c in order.jobs}
        answers = self._engine.deliver(order)
        return [Failure(o.client_id, "gone") if o.client_id in self._absent else o for o in answers]

    def aggregate(self, weights, updates, state):
        return self._engine.aggregate(weights, updates, state)


@pytest.mark.parametrize("absent", [(), (1,)])
def test_each_of_those_who_leave_gets_its_own_model_only_and_one_answer_is_enough(tmp_path, absent):
    small = SmallFederation(tmp_path, rounds=2)
    weights, history = small.trained
    asked = small.request("client")
    asked = replace(asked, target=(1, 2), samples={client: small.held[client] for client in (1, 2)})
    federation = branch(small, asked)
    federation._engine = engine = Leaving(federation._engine, absent)
    unlearner = UNLEARNERS["pga"](PgaSettings(), 3)
    unlearner(weights, asked, federation, history)
    assert federation.spent.rounds == unlearner.extra_rounds
    _, own = reference_models(weights, latest_together([1, 2], federation, history), [1, 2], history)
    assert sorted(engine.sent) == [1, 2]
    for client, (attached, private) in engine.sent.items():
        assert attached == {f"reference/{name}" for name in weights}
        assert set(private) == {f"{client}/{name}" for name in weights}
        for name, array in own[client].items():
            np.testing.assert_array_equal(private[f"{client}/{name}"], array)
