"""From scores per class to named classes: every decision, and the call that chooses one."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fedunlearn.attacks.forgotten_class.decisions import (
    DECISIONS,
    ClassEvidence,
    DecisionName,
    conclude,
    decide,
)
from fedunlearn.attacks.forgotten_class.decisions.youden import best_threshold
from fedunlearn.attacks.forgotten_class.fuia import Fuia
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.shadows import Shadow
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import CLASSES, SHAPE, Watcher, blank, digits, fresh

K = 8
FLAGS = ("class-count-known", "public-labelled")


def evidence(scores, features=None, levels=None):
    scores = np.asarray(scores, dtype=float)
    return ClassEvidence(scores, scores[:, None] if features is None else features, levels)


def shadows_of(rng, count, gap, forgotten=1):
    """Return measured shadows, half of them controls; forgotten classes score `gap` above standard normal scores."""
    made = []
    for number in range(2 * count):
        classes = tuple(sorted(rng.permutation(K)[:forgotten].tolist())) if number % 2 else ()
        scores = rng.normal(size=K)
        scores[list(classes)] += gap
        made.append((evidence(scores, np.column_stack([scores, rng.normal(size=K)])), classes))
    return made


def decided(name, seen, shadows=(), count=1, alpha=0.05, seed=0):
    return DECISIONS[name](alpha, count)(seen, shadows, np.random.default_rng(seed))


def test_the_settings_offer_what_there_is():
    assert set(get_args(DecisionName)) == set(DECISIONS)


# every decision


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(DECISIONS)), st.integers(0, 10**6), st.booleans())
def test_renumbering_the_classes_renumbers_the_answer(name, seed, apart):
    rng = np.random.default_rng(seed)
    shadows = shadows_of(rng, 6, 6.0)
    scores = rng.normal(size=K)
    scores[0] += 8 * apart
    features = np.column_stack([scores, rng.normal(size=K)])
    seen = evidence(scores, features, np.exp(-scores))
    order = rng.permutation(K)
    renumbered = evidence(scores[order], features[order], np.exp(-scores[order]))
    one, other = decided(name, seen, shadows), decided(name, renumbered, shadows)
    assert sorted(order[list(other.named)]) == list(one.named)
    assert one.named == tuple(sorted(one.named))


@pytest.mark.parametrize("name", sorted(set(DECISIONS) - {"none"}))
def test_a_class_that_stands_far_out_is_named(name):
    rng = np.random.default_rng(1)
    scores = rng.normal(size=K)
    scores[5] = 40.0
    seen = evidence(scores, np.column_stack([scores, scores]), np.exp(-scores / 10))
    shadows = [(evidence(e.scores, np.column_stack([e.scores, e.scores])), f) for e, f in shadows_of(rng, 20, 30.0)]
    assert decided(name, seen, shadows).named == (5,)


@pytest.mark.parametrize("name", ["outliers", "kmeans", "youden", "tree", "threshold", "calibrated", "none"])
def test_equal_scores_name_nobody(name):
    shadows = [(evidence(np.ones(K)), classes) for classes in ((), (1,), (), (4,))]
    assert decided(name, evidence(np.ones(K)), shadows).named == ()
    if name in ("outliers", "kmeans"):
        assert decided(name, evidence(np.ones(K) + 1e-14 * np.arange(K)), shadows).named == ()


# top-k


def test_the_k_highest_are_named_and_ties_favour_nobody():
    assert decided("top-k", evidence([0, 3, 1, 2, 0, 0, 0, 0]), count=2).named == (1, 3)
    first = [decided("top-k", evidence(np.zeros(K)), seed=seed).named[0] for seed in range(200)]
    assert set(first) == set(range(K))


# kmeans


def test_the_smaller_cluster_is_named_whichever_way_it_stands_out():
    assert decided("kmeans", evidence([0, 0.1, 9, 0.2, 8.9, 0.1, 0, 0.05])).named == (2, 4)
    assert decided("kmeans", evidence([9, 9.1, 0, 9.2, 9.3, 9.1, 9, 9.05])).named == (2,)


def test_of_equal_clusters_the_one_with_higher_scores_is_named():
    assert decided("kmeans", evidence([0, 0.1, 0.2, 0.1, 5, 5.1, 5, 5.2])).named == (4, 5, 6, 7)


def test_clusters_that_hardly_separate_name_nobody():
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(40, 12))
    finding = decided("kmeans", evidence(cloud[:, 0], cloud))
    assert finding.named == ()
    assert finding.notes["silhouette"] < 0.25
    assert decided("kmeans", evidence([0.0, 5.0])).named == ()


# youden and threshold


def test_separated_scores_have_a_threshold_in_the_gap():
    shadows = [(evidence([0.0, 1.0, 9.0, 0.5]), (2,)), (evidence([0.2, 8.0, 2.0, 0.1]), (1,))]
    threshold, index = best_threshold(shadows)
    assert (threshold, index) == (5.0, 1.0)
    assert decided("youden", evidence([4.9, 5.1, 0.0, 7.0]), shadows).named == (1, 3)


@given(st.integers(0, 10**6), st.floats(0, 3))
def test_the_threshold_has_the_highest_index_of_all(seed, gap):
    shadows = shadows_of(np.random.default_rng(seed), 5, gap)
    scores = np.concatenate([seen.scores for seen, _ in shadows])
    truth = np.concatenate([np.isin(np.arange(K), classes) for _, classes in shadows])
    threshold, index = best_threshold(shadows)
    indices = [(scores[truth] > at).mean() - (scores[~truth] > at).mean() for at in (*scores, -np.inf)]
    assert index == pytest.approx(max(indices))
    assert (scores[truth] > threshold).mean() - (scores[~truth] > threshold).mean() == pytest.approx(index)


def test_scores_that_tell_nothing_name_nobody():
    shadows = [(evidence([1.0, 1.0, 1.0]), (0,)), (evidence([1.0, 1.0, 1.0]), ())]
    found = decided("youden", evidence([5.0, 0.0, 1.0]), shadows)
    assert (found.named, found.notes["youden-index"]) == ((), 0)
    with pytest.raises(ValueError, match="forgotten and retained"):
        best_threshold([(evidence([1.0, 2.0]), ())])


def test_without_shadows_the_threshold_is_half_the_median():
    levels = np.array([0.9, 0.8, 0.39, 1.0, 0.41, 0.9, 0.7, 0.8])
    found = decided("threshold", evidence(-levels, levels=levels))
    assert (found.named, found.notes) == ((2,), {"fallback": "half-median", "threshold": 0.4})
    assert decided("threshold", evidence([0, 0.1, 0.2, 0, 0.1, 0, 30.0, 0.1])).notes["fallback"] == "outliers"


# tree and calibrated


def test_the_tree_learns_from_features_that_scores_do_not_have():
    rng = np.random.default_rng(0)

    def shadow(number):
        classes = (number % K,) if number % 2 else ()
        noise = rng.normal(size=K)
        telling = np.isin(np.arange(K), classes) + 0.1 * rng.normal(size=K)
        return evidence(noise, np.column_stack([noise, telling])), classes

    shadows = [shadow(number) for number in range(40)]
    right = [decided("tree", seen, shadows).named == classes for seen, classes in (shadow(n) for n in range(20))]
    assert np.mean(right) >= 0.9


def test_calibrated_false_alarms_keep_to_the_level():
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(600):
        controls = [(evidence(rng.standard_t(3, size=K)), ()) for _ in range(19)]
        found = decided("calibrated", evidence(rng.standard_t(3, size=K)), controls, alpha=0.1)
        assert found.notes["nominal-false-alarm-rate"] == 0.1
        alarms.append(bool(found.named))
    assert 0.06 < np.mean(alarms) < 0.14  # exactly 0.1 in expectation: 18 of 20 places are below the bound


def test_too_few_controls_have_a_level_of_their_own():
    controls = [(evidence([0.0, 1.0, number]), ()) for number in (2.0, 3.0, 4.0)]
    found = decided("calibrated", evidence([3.9, 4.1, 0.0]), controls)
    assert found.named == (1,)
    assert found.notes == {"threshold": 4.0, "shadow-controls": 3, "nominal-false-alarm-rate": 0.25}
    exact = [(evidence([float(number)]), ()) for number in range(19)]
    assert decided("calibrated", evidence([17.5]), exact).named == ()
    assert decided("calibrated", evidence([18.5]), exact).named == (0,)


# the call


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    tape = Tape(tmp_path_factory.mktemp("tape"))
    tape.mark("forgotten", request_round=0, before=fresh(), after=fresh(1), final=fresh(1))
    return lambda flags: tape.view(Watcher("final-weights", flags), "forgotten")


class Harness:
    """Shadows whose biases are what an attack would find, and what was asked of them."""

    def __init__(self):
        self.asked = []

    def __call__(self, count, *, classes):
        self.asked.append((count, classes))
        rng = np.random.default_rng(classes)
        made = []
        for _ in range(count):
            forgotten = tuple(sorted(rng.permutation(CLASSES)[:classes].tolist()))
            bias = -rng.normal(size=CLASSES) - 20 * np.isin(np.arange(CLASSES), forgotten)
            made.append(Shadow(fresh(), {"head.bias": bias}, forgotten))
        return made


def knows(view, flags=FLAGS, count=1, harness=None):
    images, labels = digits()
    return Knowledge(
        view(flags), model=blank, image_shape=SHAPE, num_classes=CLASSES, public=(images, labels), shadows=harness,
        forgotten_count=count,
    )  # fmt: skip


def read(shadow):
    return evidence(-shadow.after["head.bias"])


SEEN = evidence([0.3, -1, 0.2, 0.9, 25.0, -0.4, 0, 0.1, -0.2, 1.1])


@pytest.mark.parametrize("name", sorted(set(DECISIONS) - {"none"}))
@pytest.mark.parametrize("count", [1, 3])
def test_decisions_ask_for_the_shadows_that_they_need(view, name, count):
    harness = Harness()
    found = decide(name, SEEN, knows(view, count=count, harness=harness), read, np.random.default_rng(0))
    assert 4 in found.named
    assert (found.notes["decision"], found.notes["forgotten-count"]) == (name, count)
    wanted = {"both": [(20, 0), (20, count)], "controls": [(20, 0)], "none": []}[DECISIONS[name].shadows]
    assert harness.asked == wanted


def test_an_unknown_number_is_noted_and_refused_where_it_is_needed(view):
    rng = np.random.default_rng(0)
    facts = knows(view, flags=("public-labelled",))
    assert decide("outliers", SEEN, facts, read, rng).notes["forgotten-count"] == "unknown"
    with pytest.raises(AccessRefused, match="class-count-known"):
        decide("top-k", SEEN, facts, read, rng)


@pytest.mark.parametrize("count", [10, 11])
def test_forgetting_all_classes_leaves_nothing_to_compare(view, count):
    with pytest.raises(AccessRefused, match="of 10 classes were forgotten"):
        decide("top-k", SEEN, knows(view, count=count), read, np.random.default_rng(0))


def test_without_shadows_fitted_decisions_are_refused_and_the_threshold_falls_back(view):
    facts, rng = knows(view, flags=()), np.random.default_rng(0)
    for name in ("youden", "tree", "calibrated"):
        with pytest.raises(AccessRefused, match="public-labelled"):
            decide(name, SEEN, facts, read, rng)
    notes = decide("threshold", SEEN, facts, read, rng).notes
    assert notes["fallback"] == "outliers"
    assert "public-labelled" in notes["no-shadows"]


def test_a_conclusion_ranks_and_names_and_is_decided_by_its_generator(view):
    attack = Fuia(Fuia.Settings(decision="calibrated", alpha=0.1, shadows=30))
    one, other = (
        conclude(attack, SEEN, knows(view, harness=Harness()), read, np.random.default_rng(3), {"own": 1})
        for _ in range(2)
    )
    assert one.named == other.named == (4,)
    assert one.notes == other.notes
    assert (one.notes["own"], one.notes["nominal-false-alarm-rate"]) == (1, 0.1)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert roc_auc_score(np.arange(CLASSES) == 4, one.scores) == 1
