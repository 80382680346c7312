"""The forgotten class from streams of rounds: signs, counts, and what is said after each round."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedunlearn.attacks.forgotten_class.bias_drop import BiasDrop
from fedunlearn.attacks.forgotten_class.decaf import Decaf
from fedunlearn.attacks.forgotten_class.fuia import Fuia, row_changes
from fedunlearn.attacks.forgotten_class.head_moves import client_move, difference, fell, global_move, push_down
from fedunlearn.attacks.forgotten_class.row_sign import RowSign
from fedunlearn.attacks.forgotten_class.ulia import Ulia, excess, z_scores
from fedunlearn.attacks.forgotten_class.windows import (
    fewer_have,
    larger_drop,
    more_absences,
)
from fedunlearn.models import load_weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.tape import Tape
from tests.attacks.relu_federation import recorded
from tests.observer.recorded import (
    CLASSES,
    Federation,
    Watcher,
    blank,
    digits,
    fresh,
    knowledge,
    non_iid,
)

FORGOTTEN, ROUNDS, EXTRA = 6, 16, 4
KNOWN = ("request-round",)


def look(tape, attack, watcher, branch="forgotten", seed=0, about=None, **choices):
    images, labels = digits()
    facts = {"public": (images[1500:], labels[1500:])} | (about or {})
    known = knowledge(tape, watcher, branch, model=lambda: blank("relu"), **facts)
    return attack(attack.Settings(**choices))(tape.view(watcher, branch), known, np.random.default_rng(seed))


@pytest.fixture(scope="module", params=["gradient", "weights"])
def tape(request, tmp_path_factory):
    """Return the recording of a federation that forgets class 6; every round before it saw all classes."""
    folder = tmp_path_factory.mktemp(request.param)
    return recorded(folder, request.param, non_iid(8, 1000, seed=3), ROUNDS, EXTRA, FORGOTTEN)


# identities


def test_one_step_moves_the_bias_by_frequency_less_probability(tmp_path):
    federation, tape = Federation(non_iid(4, 400, seed=3), "gradient", batch=30), Tape(tmp_path)
    federation.run(tape, "trunk", fresh(), 1)
    images, labels = digits()
    move = global_move(tape.view(Watcher("broadcasts")), 1)
    chosen = np.concatenate([federation.batches[1, client] for client in range(len(federation.held))])
    model = blank()
    load_weights(model, fresh())
    with torch.no_grad():
        p = torch.softmax(model(torch.from_numpy(images[chosen])), dim=1).numpy()
    frequencies = np.bincount(labels[chosen], minlength=CLASSES) / len(chosen)
    np.testing.assert_allclose(move["head.bias"], 0.5 * (frequencies - p.mean(axis=0)), atol=1e-6)


def test_rows_add_up_to_nothing_and_those_of_absent_classes_fall(tape):
    view = tape.view(Watcher("updates"), "forgotten")
    for number in range(1, view.num_rounds + 1):
        move = global_move(view, number)
        for part in move.values():
            np.testing.assert_allclose(part.sum(axis=0), 0, atol=1e-5)
        if number > ROUNDS:
            assert (move["head.weight"][FORGOTTEN] <= 0).all()
            assert fell(move)[FORGOTTEN]
            for client in view.clients(number):
                own = client_move(view.update(number, client), view.broadcast(number))
                assert (own["head.weight"][FORGOTTEN] <= 0).all()


def test_masses_of_rows_against_hand():
    move = {"head.weight": np.array([[-1.0, -2.0], [-3.0, 1.0], [0.0, 0.0], [2.0, 2.0]])}
    assert fell(move).tolist() == [True, False, False, False]
    pushed = push_down(move)
    assert pushed[0] > 13
    np.testing.assert_allclose(pushed[1:3], [np.log(3), 0], atol=1e-5)
    assert pushed[3] < -13


def test_heads_of_different_forms_are_not_compared():
    with pytest.raises(AccessRefused, match="forms"):
        difference({"head.weight": np.zeros((3, 2))}, {"head.weight": np.zeros((3, 4))})


# row-sign


@pytest.mark.parametrize("access", ["broadcasts", "aggregate-only"])
@pytest.mark.parametrize("flags", [KNOWN, ()])
def test_signs_name_the_class_in_the_first_round_or_the_second_and_stay_silent_otherwise(tape, access, flags):
    finding = look(tape, RowSign, Watcher(access, flags))
    assert finding.named == (FORGOTTEN,)
    assert finding.scores.argmax() == FORGOTTEN
    assert finding.notes["request-round"] == ROUNDS
    assert [entry.round for entry in finding.said] == list(range(1, ROUNDS + EXTRA + 1))
    patience = 1 if flags else 2  # who must find the request's round as well needs a second round to be sure
    assert all(entry.named == () for entry in finding.said[: ROUNDS + patience - 1])
    assert all(entry.named == (FORGOTTEN,) for entry in finding.said[ROUNDS + patience - 1 :])
    control = look(tape, RowSign, Watcher(access, flags), "control")
    assert all(entry.named == () for entry in control.said)


def test_shares_of_falling_entries_rank_the_class_first(tape):
    assert look(tape, RowSign, Watcher("broadcasts", KNOWN), rule="shares").scores.argmax() == FORGOTTEN


def test_top_k_names_where_k_is_known_and_is_refused_where_not(tape):
    known = Watcher("broadcasts", (*KNOWN, "class-count-known"))
    finding = look(tape, RowSign, known, about={"forgotten_count": 2}, decision="top-k")
    assert FORGOTTEN in finding.named
    assert len(finding.named) == finding.notes["forgotten-count"] == 2
    with pytest.raises(AccessRefused, match="class-count-known"):
        look(tape, RowSign, Watcher("broadcasts", KNOWN), decision="top-k")
    with pytest.raises(AccessRefused, match="none is left"):
        look(tape, RowSign, known, about={"forgotten_count": CLASSES}, decision="top-k")


def test_with_too_few_rounds_before_signs_only_rank(tmp_path):
    tape = recorded(tmp_path, "gradient", non_iid(4, 400, seed=3), 2, 3, FORGOTTEN)
    finding = look(tape, RowSign, Watcher("broadcasts", KNOWN))
    assert (finding.named, int(finding.scores.argmax())) == ((), FORGOTTEN)


def test_a_tape_that_ends_with_the_request_is_refused(tmp_path):
    tape = recorded(tmp_path, "gradient", non_iid(2, 100, seed=3), 4, 0, FORGOTTEN)
    for attack in (RowSign, Decaf, BiasDrop):
        with pytest.raises(AccessRefused, match="none after"):
            look(tape, attack, Watcher("updates", KNOWN))


def test_chance_absences_raise_few_alarms():
    # Every class is missing in one round of fifty, as with partial participation: 20 rounds before, one after.
    rng = np.random.default_rng(0)
    alarms = [
        (more_absences(absent[:20], absent[20:]) < 0.05 / CLASSES).any()
        for absent in rng.random((2000, 21, CLASSES)) < 0.02
    ]
    assert np.mean(alarms) < 0.05


def test_a_class_that_is_often_absent_is_judged_by_its_own_rate():
    before = np.zeros((20, 5))
    before[:10, 2] = 1
    p_values = more_absences(before, np.ones((2, 5)))
    np.testing.assert_allclose(p_values[2], 0.5**2)
    np.testing.assert_allclose(p_values[0], (10.5 / 101) ** 2)


# decaf


def test_null_classes_of_clients_name_the_class_and_their_proportions_tell_what_is_left(tape):
    finding = look(tape, Decaf, Watcher("updates", (*KNOWN, "public-labelled")))
    assert finding.named == (FORGOTTEN,)
    assert finding.distribution.argmax() == FORGOTTEN
    np.testing.assert_allclose(finding.distribution.sum(), 1)
    for shares in finding.notes["proportions"].values():
        assert shares[FORGOTTEN] == 0
    assert look(tape, Decaf, Watcher("updates", KNOWN), "control").named == ()


def test_without_public_images_null_classes_are_enough(tape):
    finding = look(tape, Decaf, Watcher("updates"))
    assert finding.named == (FORGOTTEN,)
    assert finding.distribution is None
    assert "public-labelled" in finding.notes["fallback"]


@given(st.integers(0, 10**6))
def test_presence_is_doubted_by_both_tests(seed):
    rng = np.random.default_rng(seed)
    before, after = ([(rng.random((6, 4)) < 0.5).astype(float) for _ in range(n)] for n in (6, 3))
    shares = [[rows.mean(axis=0) for rows in part] for part in (before, after)]
    assert (fewer_have(before, after).p_values >= larger_drop(*shares).p_values).all()


# fuia


def heads(rows, biases=None):
    return {"head.weight": np.array(rows, dtype=float)} | ({} if biases is None else {"head.bias": np.array(biases)})


def test_two_classes_of_plain_sgd_tie():
    move = np.array([0.3, -0.7, 0.1])
    evidence = row_changes(heads([[0, 0, 0], [1, 1, 1]], [0.0, 1.0]), heads([move, 1 - move], [0.4, 0.6]), beta=0.5)
    np.testing.assert_allclose(evidence.scores, [0.5, 0.5])


def test_a_row_that_alone_moved_has_the_whole_score():
    before, after = heads(np.ones((4, 3)), np.ones(4)), heads(np.ones((4, 3)), np.ones(4))
    after["head.weight"][2] = 0
    after["head.bias"][2] = 0
    np.testing.assert_array_equal(row_changes(before, after, 0.5).scores, [0, 0, 1, 0])
    np.testing.assert_array_equal(row_changes(before, before, 0.5).scores, np.zeros(4))


def test_row_changes_rank_the_class_first_and_a_head_without_bias_is_named_as_such(tape, tmp_path):
    finding = look(tape, Fuia, Watcher("weights-before-after"))
    assert finding.scores.argmax() == FORGOTTEN
    np.testing.assert_allclose(np.exp(finding.scores).sum(), 1)
    other, before = Tape(tmp_path), {name: a for name, a in fresh().items() if name != "head.bias"}
    after = before | {
        "head.weight": before["head.weight"] + np.eye(CLASSES, before["head.weight"].shape[1], k=3, dtype="f4")
    }
    other.mark("forgotten", request_round=0, before=before, after=after, final=after)
    assert "beta = 1" in look(other, Fuia, Watcher("weights-before-after")).notes["fallback"]


# ulia


@given(st.integers(3, 100), st.data())
def test_z_scores_of_equal_winners_have_a_bound(classes, data):
    winners = data.draw(st.integers(1, classes - 1))
    scores = np.zeros(classes)
    scores[:winners] = 1
    np.testing.assert_allclose(z_scores(scores).max(), np.sqrt((classes - winners) / winners))
    assert classes > 10 or winners < 2 or z_scores(scores).max() <= 2 + 1e-9


@given(arrays(float, 10, elements=st.floats(0, 1)))
def test_no_z_score_exceeds_the_root_of_the_other_classes(scores):
    assert z_scores(scores).max() <= 3 + 1e-6


def test_a_client_sees_in_the_rest_what_its_own_change_does_not_explain():
    own = heads([[1.0, 0], [0, 1], [0, 0]], [1.0, 0, 0])
    move = heads([[1.0, 0], [0, 1], [-1, -1]], [1.0, 0, -1])
    np.testing.assert_array_equal(excess(move, own), [0, 0, 1])
    np.testing.assert_array_equal(excess(own, own), np.zeros(3))


@pytest.mark.parametrize("decision", ["z-score", "test"])
def test_a_clients_finding_sums_to_one_in_every_round(tape, decision):
    finding = look(tape, Ulia, Watcher("broadcasts", ("own-updates", *KNOWN)), decision=decision)
    assert len(finding.said) == ROUNDS + EXTRA
    assert FORGOTTEN not in digits()[1][non_iid(8, 1000, seed=3)[finding.notes["own-client"]]]
    if decision == "z-score":
        np.testing.assert_allclose(finding.scores.sum(), 1)
        assert "nominal-false-alarm-rate" not in finding.notes


def test_a_federation_that_begins_again_is_compared_with_its_first_rounds(tape):
    finding = look(tape, BiasDrop, Watcher("broadcasts", KNOWN), "retrain")
    assert finding.named == (FORGOTTEN,)
    assert finding.said[ROUNDS].named == (FORGOTTEN,)
    assert look(tape, RowSign, Watcher("broadcasts", KNOWN), "retrain").named == (FORGOTTEN,)
