"""The defended query interface, and who is not bound by it."""

import numpy as np
import pytest

from fedunlearn.defences import answering
from fedunlearn.observer.access import ACCESS_LEVELS, CAPABILITIES
from tests.defences.workshop import make
from tests.observer.recorded import Federation, Watcher, digits, knowledge, non_iid, recorded_run

IMAGES = digits()[0][:60]


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    return recorded_run(tmp_path_factory.mktemp("tape"), Federation(non_iid(3, 200, seed=1)), 3, 2, forget=7)


def ask(tape, access, *defences, when="final"):
    return knowledge(tape, Watcher(access), "forgotten", answer=answering(defences)).query(IMAGES, when)


def test_one_choice_is_told_as_certain_and_several_as_they_are():
    answers = np.array([[0.5, 0.2, 0.3], [0.1, 0.1, 0.8]], np.float32)
    np.testing.assert_array_equal(make("answer-top1").answer(answers), [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(make("answer-top1", top=2).answer(answers), [[0.625, 0, 0.375], [1 / 9, 0, 8 / 9]])


def test_rounding():
    answers = np.array([[0.55, 0.2, 0.25]], np.float32)
    np.testing.assert_array_equal(make("rounded-probabilities", decimals=0).answer(answers), [[1, 0, 0]])
    np.testing.assert_allclose(make("rounded-probabilities").answer(answers), [[0.6, 0.2, 0.2]], rtol=1e-6)


@pytest.mark.parametrize("name", ["answer-top1", "rounded-probabilities"])
@pytest.mark.parametrize("access", ACCESS_LEVELS)
def test_only_those_who_hold_the_weights_see_past_it(tape, access, name):
    plain, defended = ask(tape, access), ask(tape, access, make(name))
    if "weights" in CAPABILITIES[access]:
        assert np.array_equal(defended, plain)
    elif "probabilities" in CAPABILITIES[access]:
        assert np.array_equal(defended, make(name).answer(plain))
        assert not np.array_equal(defended, plain)
    else:  # the prediction is what it was, also where rounding has made every probability 0
        assert np.array_equal(defended, plain)
        assert np.array_equal(ask(tape, access, make("rounded-probabilities", decimals=0)), plain)


def test_the_model_before_the_request_answers_no_more_than_the_final_one(tape):
    told = ask(tape, "probabilities-before-after", make("answer-top1"), when="before")
    assert set(np.unique(told)) == {0, 1}


def test_labels_follow_an_answer_that_changes_predictions(tape):
    def other_way_round(probabilities):
        return 1 - probabilities

    labels = knowledge(tape, Watcher("labels"), "forgotten", answer=other_way_round).query(IMAGES)
    assert np.array_equal(labels, ask(tape, "probabilities").argmin(axis=1))


def test_defences_of_the_interface_act_in_order_and_others_not_at_all():
    answers = np.array([[0.55, 0.2, 0.25]], np.float32)
    both = answering([make("answer-top1", top=2), make("head-noise"), make("rounded-probabilities")])
    np.testing.assert_allclose(both(answers), [[0.7, 0, 0.3]], rtol=1e-6)
    assert answering([make("head-noise")]) is None
