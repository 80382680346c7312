"""What the tape keeps and what a view shows."""

import inspect
import json

import numpy as np
import pytest
from safetensors import safe_open

from fedunlearn.federation import Order, Task, Update
from fedunlearn.observer.access import ACCESS_LEVELS, CAPABILITIES, FLAGS, AccessRefused
from fedunlearn.observer.tape import Tape, keeps_for
from fedunlearn.observer.view import EVERYBODY, View, selects
from tests.observer.recorded import Federation, Watcher, fresh, non_iid, recorded_run

MEMBERS = {  # how each member is asked, and the capabilities that it takes
    "num_rounds": (lambda view: view.num_rounds, {"broadcasts"}),
    "broadcast": (lambda view: view.broadcast(1), {"broadcasts"}),
    "result": (lambda view: view.result(1), {"broadcasts"}),
    "clients": (lambda view: view.clients(1), {"updates"}),
    "update": (lambda view: view.update(1, 0), {"updates"}),
    "total": (lambda view: view.total(1), {"aggregate"}),
    "before": (lambda view: view.before(), {"weights", "before"}),
    "after": (lambda view: view.after(), {"weights", "before"}),
    "final": (lambda view: view.final(), {"weights"}),
}
UNDER_FLAGS = {"request_round", "method", "parties", "scope", "target", "own_client", "own_update", "auxiliary"} | {
    "pruned"
}


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    federation = Federation(non_iid(3, 200, seed=1))
    return recorded_run(tmp_path_factory.mktemp("tape"), federation, rounds=3, extra=2, forget=7)


def test_every_public_member_of_a_view_is_in_the_table():
    public = {name for name, _ in inspect.getmembers(View) if not name.startswith("_")}
    assert public == set(MEMBERS) | UNDER_FLAGS


@pytest.mark.parametrize("access", ACCESS_LEVELS)
@pytest.mark.parametrize("member", MEMBERS)
def test_a_level_shows_exactly_what_its_capabilities_allow(tape, access, member):
    ask, needed = MEMBERS[member]
    view = tape.view(Watcher(access), "forgotten")
    if needed <= CAPABILITIES[access]:
        assert ask(view)
    else:
        with pytest.raises(AccessRefused, match=access):
            ask(view)


@pytest.mark.parametrize(
    ("flag", "member", "expected"),
    [
        ("request-round", "request_round", 3),
        ("method", "method", "forgotten"),
        ("request-party", "parties", (0, 1)),
        ("request-target", "scope", "class"),
        ("request-target", "target", (7,)),
    ],
)
def test_the_request_is_known_only_under_its_flags(tape, flag, member, expected):
    assert getattr(tape.view(Watcher("labels", (flag,)), "forgotten"), member) == expected
    others = tuple(name for name in FLAGS if name != flag)
    with pytest.raises(AccessRefused, match=flag):
        getattr(tape.view(Watcher("updates", others), "forgotten"), member)


def test_rounds_are_numbered_over_the_trunk_and_then_the_branch(tape):
    view = tape.view(Watcher(), "forgotten")
    trunk = tape.view(Watcher())
    assert (view.num_rounds, trunk.num_rounds) == (5, 3)
    for number in (1, 2, 3):
        np.testing.assert_equal(view.broadcast(number), trunk.broadcast(number))
    np.testing.assert_equal(view.broadcast(4), view.before())
    np.testing.assert_equal(view.result(5), view.final())
    np.testing.assert_equal(trunk.final(), view.before())
    for number in range(1, 5):
        np.testing.assert_equal(view.result(number), view.broadcast(number + 1))
    for number in (0, 6):
        with pytest.raises(AccessRefused, match="there is no round"):
            view.broadcast(number)


def test_what_was_sent_is_what_is_seen(tmp_path):
    weights, federation, tape = fresh(), Federation(non_iid(3, 100, seed=2)), Tape(tmp_path)
    updates, after = federation.round(weights, 1, np.random.default_rng(0))
    tape.on_round("trunk", Order(1, Task("work", {"learning-rate": 0.5}, "gradient"), weights, {}), updates)
    tape.on_model("trunk", 1, after)
    view = tape.view(Watcher())
    np.testing.assert_equal([view.broadcast(1), view.result(1)], [weights, after])
    assert list(view.broadcast(1)) == list(weights)
    for update in updates:
        seen = view.update(1, update.client_id)
        np.testing.assert_equal(seen.payload, update.payload)
        assert (seen.kind, seen.num_examples, seen.metrics, seen.private) == ("gradient", update.num_examples, {}, None)
    total, sizes = view.total(1), [update.num_examples for update in updates]
    assert (total.client_id, total.num_examples) == (EVERYBODY, sum(sizes))
    for name in weights:
        mean = np.average([update.payload[name] for update in updates], axis=0, weights=sizes)
        np.testing.assert_allclose(total.payload[name], mean, rtol=1e-5, atol=1e-8)
    with pytest.raises(AccessRefused, match="client 9 sent nothing"):
        view.update(1, 9)


def test_metrics_private_parts_and_settings_never_reach_the_disk(tmp_path):
    recorded_run(tmp_path, Federation(non_iid(2, 60, seed=3)), rounds=1, extra=1, forget=0)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or path.suffix == ".safetensors"
        if path.is_file():
            with safe_open(path, framework="numpy") as file:
                text = json.dumps([list(file.keys()), file.metadata()])
            assert not [word for word in ("secret", "loss", "learning-rate") if word in text]


def test_statistics_are_not_taped(tmp_path):
    tape = Tape(tmp_path)
    order = Order(1, Task("count", reply="statistics"), fresh(), {})
    tape.on_round("trunk", order, [Update(0, "statistics", {"counts": np.ones(3)}, 5)])
    assert not list(tmp_path.rglob("*.safetensors"))


def test_of_other_rounds_the_last_layer_is_on_record(tmp_path):
    watcher = Watcher(rounds=("first",))
    tape = Tape(tmp_path, keeps_for([watcher], [2]))
    Federation(non_iid(2, 60, seed=3)).run(tape, "trunk", fresh(), rounds=3)
    view = tape.view(watcher)
    assert set(view.update(1, 0).payload) == set(view.broadcast(1)) == set(fresh())
    for ask in (view.broadcast, view.result, view.total, lambda number, head: view.update(number, 0, head=head)):
        assert set(getattr(seen := ask(3, head=True), "payload", seen)) == {"head.weight", "head.bias"}
        with pytest.raises(AccessRefused, match="only the last layer"):
            ask(3, head=False)


def test_a_view_shows_only_the_rounds_that_its_observer_chose(tape):
    view = tape.view(Watcher(rounds=("around-request",)), "forgotten")
    for number in (3, 4):
        assert view.update(number, 0)
    for number in (1, 2, 5):
        with pytest.raises(AccessRefused, match="only the last layer"):
            view.update(number, 0)


def test_choices_of_rounds():
    chosen = lambda *rounds: [n for n in range(1, 8) if selects(rounds, n, [4])]  # noqa: E731
    assert chosen("first", "around-request") == [1, 4, 5]
    assert chosen("all") == list(range(1, 8))
    assert chosen(2, 6) == [2, 6]
    keeps = keeps_for([Watcher(rounds=("first",)), Watcher(rounds=("around-request", 9))], [4, 6])
    assert [n for n in range(1, 8) if keeps("trunk", n)] == [1, 4, 5, 6, 7]
    assert [n for n in range(1, 8) if keeps("branch", n)] == [1, 2, 3, 5]


def test_recording_a_branch_anew_replaces_it(tmp_path):
    federation = Federation(non_iid(2, 60, seed=3))
    federation.run(Tape(tmp_path), "trunk", fresh(), rounds=3)
    again = Tape(tmp_path)
    federation.run(again, "trunk", fresh(1), rounds=1)
    view = again.view(Watcher())
    assert view.num_rounds == 1
    np.testing.assert_equal(view.broadcast(1), fresh(1))


def test_a_trunk_has_no_request(tape):
    view = tape.view(Watcher("updates", ("request-round",)))
    for ask in (lambda: view.request_round, view.before, view.after):
        with pytest.raises(AccessRefused):
            ask()


def test_a_model_published_without_a_round_does_not_replace_a_rounds_result(tmp_path):
    tape, federation = Tape(tmp_path), Federation(non_iid(2, 60, seed=3))
    federation.run(tape, "trunk", fresh(), rounds=1)
    result = tape.view(Watcher()).result(1)
    tape.on_model("trunk", 1, fresh(5))
    federation.run(tape, "trunk", fresh(5), rounds=1)
    view = tape.view(Watcher())
    np.testing.assert_equal(view.result(1), result)
    np.testing.assert_equal(view.broadcast(2), fresh(5))


def test_the_round_after_a_later_request_is_recorded_whole(tmp_path):
    watcher = Watcher(rounds=("around-request",))
    tape, federation = Tape(tmp_path, keeps_for([watcher], [2])), Federation(non_iid(2, 60, seed=3))
    model = federation.run(tape, "trunk", fresh(), rounds=2)
    for _ in range(2):
        tape.request("branch")
        model = federation.run(tape, "branch", model, rounds=3)
    tape.mark("branch", request_round=2, before=fresh(), after=model, final=model)
    view = tape.view(watcher, "branch")
    whole = []
    for number in range(1, view.num_rounds + 1):
        try:
            whole.append((number, set(view.update(number, 0).payload) == set(view.broadcast(number)) == set(fresh())))
        except AccessRefused:
            continue
    assert whole == [(2, True), (3, True), (6, True)]
