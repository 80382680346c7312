"""What flags add to a view: an own client, what clients send beside updates, what is told of a request."""

from dataclasses import replace

import numpy as np
import pytest

from fedunlearn.federation import Order, Task
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.tape import Tape
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.observer.recorded import Federation, Watcher, asked, fresh, non_iid, recorded_run
from tests.unlearning.workbench import branch

OWN = Watcher("broadcasts", ("own-updates",))
AUXILIARY = Watcher("updates", ("auxiliary-replies",))


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    """Clients 0 and 1 of three ask to forget class 7."""
    return recorded_run(tmp_path_factory.mktemp("tape"), Federation(non_iid(3, 200, seed=1)), 3, 2, forget=7)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    small = SmallFederation(tmp_path_factory.mktemp("small"), rounds=2)
    assert small.trained
    return small


@pytest.mark.parametrize("name", ["forgotten", "control"])
def test_an_observers_own_client_never_holds_what_is_to_be_forgotten(tape, name):
    assert tape.view(OWN, name).own_client == 2
    assert tape.view(replace(OWN, client=2), name).own_client == 2
    for party in (0, 1):
        with pytest.raises(AccessRefused, match=f"own client {party} holds requested data"):
            tape.view(replace(OWN, client=party), name).own_update(1)


def test_there_may_be_no_client_of_ones_own(tmp_path):
    held, tape = non_iid(2, 200, seed=1), Tape(tmp_path)
    model = Federation(held).run(tape, "branch", fresh(), 1)
    models = {"before": fresh(), "after": model, "final": model}
    tape.mark("branch", request_round=0, clients=2, requests=[asked(held, 7, 1)], **models)
    with pytest.raises(AccessRefused, match="every client holds requested data"):
        tape.view(OWN, "branch").own_update(1)


def test_an_own_update_is_what_that_client_sent_and_no_other_is_shown(tape):
    view, server = tape.view(OWN, "forgotten"), tape.view(Watcher(), "forgotten")
    for number in (1, 4):
        np.testing.assert_equal(view.own_update(number).payload, server.update(number, 2).payload)
        assert view.own_update(number).num_examples == server.update(number, 2).num_examples
    assert set(view.own_update(1, head=True).payload) == {"head.weight", "head.bias"}
    with pytest.raises(AccessRefused, match="does not show updates"):
        view.update(1, 2)
    with pytest.raises(AccessRefused, match="there is no round 9"):
        view.own_update(9)


def test_an_own_client_that_was_not_asked_sent_nothing(tmp_path):
    federation, tape = Federation(non_iid(3, 200, seed=1)), Tape(tmp_path)
    updates, _ = federation.round(weights := fresh(), 1, np.random.default_rng(0))
    tape.on_round("trunk", Order(1, Task("work", {}, "gradient"), weights, {}), updates[1:])
    assert tape.view(OWN).own_client == 0  # nothing is requested on a trunk
    with pytest.raises(AccessRefused, match="own client 0 sent nothing in round 1"):
        tape.view(OWN).own_update(1)
    assert tape.view(replace(OWN, client=1)).own_update(1).client_id == 1


def test_a_given_client_watches_only_the_rounds_that_its_observer_chose(tape):
    view = tape.view(replace(OWN, rounds=("first",)), "forgotten")
    assert view.own_update(1)
    with pytest.raises(AccessRefused, match="only the last layer"):
        view.own_update(2)
    assert view.own_update(2, head=True)


@pytest.mark.parametrize("member", ["parties", "target", "scope"])
def test_a_control_tells_what_was_filed(tape, member):
    watcher = Watcher("labels", ("request-party", "request-target"))
    told = [getattr(tape.view(watcher, name), member) for name in ("forgotten", "control")]
    assert told[0] == told[1]
    with pytest.raises(AccessRefused, match="nothing was requested"):
        getattr(tape.view(watcher), member)


def test_a_mask_is_what_was_pruned_and_where_nothing_was_there_is_none(tape):
    watcher = Watcher("final-weights", ("mask-known",))
    masks = tape.view(watcher, "forgotten").pruned()
    assert {name: mask.dtype for name, mask in masks.items()} == {"head.weight": np.dtype(bool)}
    np.testing.assert_array_equal(masks["head.weight"], tape.view(Watcher(), "forgotten").before()["head.weight"] > 0)
    for name in ("control", "trunk"):
        with pytest.raises(AccessRefused, match=f'branch "{name}" nothing was pruned'):
            tape.view(watcher, name).pruned()
    with pytest.raises(AccessRefused, match="mask-known"):
        tape.view(Watcher(), "forgotten").pruned()
    with pytest.raises(AccessRefused, match="does not show weights"):
        tape.view(replace(watcher, access="probabilities"), "forgotten").pruned()


@pytest.mark.parametrize("method", ["fucdp", "concept-prune", "finetune"])
def test_only_methods_that_prune_leave_a_mask(small, tmp_path, method):
    weights, history = small.trained
    request, tape = small.request("class"), Tape(tmp_path)
    federation = branch(small, request)
    unlearner = UNLEARNERS[method](UNLEARNERS[method].Settings(), 0)
    final = unlearner(weights, request, federation, history)
    models = {"before": weights, "after": final, "final": final}
    tape.mark("branch", request_round=0, requests=[request], clients=4, pruned=federation.pruned, **models)
    view = tape.view(Watcher("final-weights", ("mask-known",)), "branch")
    if method == "finetune":
        with pytest.raises(AccessRefused, match="nothing was pruned"):
            view.pruned()
        return
    for name, mask in view.pruned().items():
        assert mask.any()
        np.testing.assert_array_equal(final[name][mask], 0)
        np.testing.assert_array_equal(final[name][~mask], weights[name][~mask])


def test_statistics_come_before_the_round_that_follows_them(tape):
    view = tape.view(AUXILIARY, "forgotten")
    assert view.num_rounds == 5
    assert [sorted(view.auxiliary(number)) for number in range(1, 7)] == [[], [], [], [0, 1, 2], [], []]
    np.testing.assert_equal(view.auxiliary(4)[1], {"1/counts": np.arange(3.0)})
    for number in (0, 7):
        with pytest.raises(AccessRefused, match="there is no round"):
            view.auxiliary(number)
    with pytest.raises(AccessRefused, match="auxiliary-replies"):
        tape.view(Watcher(), "forgotten").auxiliary(4)
    with pytest.raises(AccessRefused, match="does not show updates"):
        tape.view(replace(AUXILIARY, access="aggregate-only"), "forgotten").auxiliary(4)


@pytest.mark.parametrize(
    ("method", "options", "exchanges"),
    [("salun", {"rounds": 1}, {"1"}), ("ssd", {}, {"1", "2"}), ("ssd", {"recovery_rounds": 1}, {"1", "2"})],
)
def test_what_a_methods_clients_send_beside_updates_is_on_the_tape(small, tmp_path, method, options, exchanges):
    weights, history = small.trained
    request, tape = small.request("class"), Tape(tmp_path, auxiliary=True)
    federation, sent = branch(small, request), []
    federation.round_listeners = [
        tape.on_round,
        lambda name, order, outcomes: sent.append(outcomes) if order.task.reply == "statistics" else None,
    ]
    federation.model_listeners = [tape.on_model]
    unlearner = UNLEARNERS[method](UNLEARNERS[method].Settings(**options), 2)
    final = unlearner(weights, request, federation, history)
    tape.mark("branch", request_round=0, before=weights, after=final, final=final, requests=[request], clients=4)
    view = tape.view(AUXILIARY, "branch")
    seen = view.auxiliary(1)
    assert len(sent) == len(exchanges)
    assert {name.split("/")[0] for arrays in seen.values() for name in arrays} == exchanges
    for exchange, outcomes in enumerate(sent, start=1):
        for update in outcomes:
            for name, array in update.payload.items():
                np.testing.assert_array_equal(seen[update.client_id][f"{exchange}/{name}"], array)
    assert {name for arrays in seen.values() for name in arrays} >= {"1/head.weight", "1/head.bias"}
    assert all(not view.auxiliary(number) for number in range(2, view.num_rounds + 2))
