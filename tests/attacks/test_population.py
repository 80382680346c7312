"""Membership by comparison with the population."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from fedunlearn.attacks.membership.population import Population, standing, sureness
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import Federation, Watcher, digits, fresh, knowledge

FLAGS = ("public-labelled", "candidates")


def test_sureness_is_the_logit_and_keeps_its_digits():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(5), 20)
    labels = np.arange(20) % 5
    np.testing.assert_allclose(sureness(probabilities, labels), logit(probabilities[np.arange(20), labels]))
    certain = np.array([[1.0, 1e-12, 0.0], [1.0, 1e-13, 0.0], [0.0, 1.0, 0.0]], dtype=np.float32)
    first, second, wrong = sureness(certain, np.array([0, 0, 0]))
    assert wrong < 0 < first < second < np.inf


def test_standing_against_scipy():
    rng = np.random.default_rng(0)
    population, values = rng.integers(0, 9, 50).astype(float), rng.integers(-1, 10, 30).astype(float)
    expected = [stats.percentileofscore(population, value, kind="mean") / 100 for value in values]
    np.testing.assert_allclose(standing(values, population), expected)


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    """Return a tape whose final model has learnt 60 digits by heart."""
    tape = Tape(tmp_path_factory.mktemp("tape"))
    final = Federation([np.arange(60)], "weights", rate=1.0).run(tape, "trunk", fresh(), 60)
    tape.mark("branch", request_round=60, before=final, after=final, final=final)
    return tape


def scores(tape, chosen, **choices):
    images, labels = digits()
    facts = knowledge(
        tape,
        Watcher("probabilities", FLAGS),
        "branch",
        public=(images[800:], labels[800:]),
        candidates=(images[chosen], labels[chosen]),
    )
    attack = Population(Population.Settings(**choices))
    return attack(tape.view(Watcher("probabilities", FLAGS), "branch"), facts, np.random.default_rng(0)).scores


def test_members_stand_out_and_fresh_samples_are_uniform(tape):
    found = scores(tape, np.arange(460))
    assert roc_auc_score(np.arange(460) < 60, found) > 0.75
    assert stats.kstest(found[60:], "uniform").pvalue > 0.001


def test_small_classes_are_compared_with_everybody(tape):
    chosen = np.arange(100)
    np.testing.assert_array_equal(scores(tape, chosen, smallest=10**6).argsort(), scores_of_loss(tape, chosen))


def scores_of_loss(tape, chosen):
    images, labels = digits()
    facts = knowledge(tape, Watcher("probabilities"), "branch")
    return sureness(facts.query(images[chosen]), labels[chosen]).argsort()


def test_candidates_must_be_given(tape):
    facts = knowledge(tape, Watcher("probabilities", FLAGS), "branch")
    with pytest.raises(AccessRefused, match="candidates"):
        Population(Population.Settings())(
            tape.view(Watcher("probabilities", FLAGS), "branch"), facts, np.random.default_rng(0)
        )
