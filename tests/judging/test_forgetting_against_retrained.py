"""MIA-efficacy, the average gap and its floor, the comparison of a cell's branches, cost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from fedunlearn.judging.forgetting.compare import FinalModel, compare
from fedunlearn.judging.forgetting.cost import server_bytes, speed_up
from fedunlearn.judging.forgetting.gap import average_gap, noise_floor
from fedunlearn.judging.forgetting.membership_auc import mia_auc
from fedunlearn.judging.forgetting.membership_efficacy import mia_efficacy
from fedunlearn.judging.forgetting.modified_entropy import modified_entropy

FIGURES = arrays(np.float64, 4, elements=st.floats(0, 1))


def draws():
    return np.random.default_rng(0)


def test_the_classifier_is_scikit_learns_and_counts_non_members():
    sure, unsure = draws().uniform(0.8, 1.0, 60), draws().uniform(0.0, 0.7, 60)
    forgotten = np.linspace(0, 1, 41)
    classifier = SVC(C=3, gamma="auto").fit(np.concatenate([sure, unsure])[:, None], [1] * 60 + [0] * 60)
    expected = 1 - classifier.predict(forgotten[:, None]).mean()
    assert mia_efficacy(sure, unsure, forgotten, draws()) == expected
    assert mia_efficacy(sure, unsure, unsure, draws()) == 1
    assert mia_efficacy(sure, unsure, sure, draws()) == 0


def test_the_classifier_learns_from_as_many_members_as_others(monkeypatch):
    fits = []
    fit = SVC.fit
    monkeypatch.setattr(SVC, "fit", lambda self, x, y: fits.append(np.bincount(y).tolist()) or fit(self, x, y))
    mia_efficacy(draws().random(3000), draws().random(40), np.zeros(3), draws())
    mia_efficacy(draws().random(1500), draws().random(1200), np.zeros(3), draws())
    assert fits == [[40, 40], [1200, 1200]]


def test_the_same_draws_give_the_same_efficacy():
    kinds = draws().random((3, 1500))
    assert mia_efficacy(*kinds, draws()) == mia_efficacy(*kinds, draws())


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_efficacy_without_a_kind_of_samples_is_undefined(missing):
    kinds = [np.zeros(0) if kind == missing else np.ones(4) for kind in range(3)]
    assert np.isnan(mia_efficacy(*kinds, draws()))


def test_the_gap_is_to_the_mean_of_the_retrained_models():
    first, second = np.array([1.0, 0.9, 0.8, 1.0]), np.array([0.8, 0.9, 0.9, 0.6])
    assert average_gap(np.array([0.5, 0.9, 0.85, 0.8]), [first, second]) == pytest.approx(0.1)
    assert noise_floor([first, second]) == pytest.approx(0.7 / 4)
    third = (first + second) / 2
    assert noise_floor([first, second, third]) == pytest.approx((0.7 * 3 / 4 + 0.7 * 3 / 4 + 0) / 4 / 3)


@given(st.lists(FIGURES, min_size=1, max_size=5))
def test_the_gap_of_equal_models_is_nothing(models):
    assert average_gap(models[0], [models[0]] * len(models)) == pytest.approx(0, abs=1e-12)
    assert np.isnan(noise_floor(models)) == (len(models) == 1)
    assert not noise_floor([models[0]] * 3) > 1e-12
    assert 0 <= average_gap(models[0], models) <= 1


def test_a_gap_with_an_unknown_figure_or_no_retrained_model_is_undefined():
    known = np.full(4, 0.5)
    assert np.isnan(average_gap(known, []))
    assert np.isnan(average_gap(np.array([np.nan, 0.5, 0.5, 0.5]), [known]))
    assert np.isnan(noise_floor([]))


def final(answers, accuracy=0.5, efficacy=0.5, steps=None):
    return FinalModel(np.eye(3)[answers], (accuracy, 0.9, 0.8), efficacy, steps)


BLIND = np.full((4, 3), 1 / 3)
MODELS = {
    "trunk": final([0, 0, 0, 0], 1.0, 0.1),
    "method": final([1, 1, 2, 0], 0.3, 0.6),
    "retrain": final([1, 1, 2, 2], 0.0, 1.0),
    "retrain-other-init": final([1, 1, 1, 2], 0.2, 0.8),
}


def test_every_branch_is_compared_with_all_retrained_models():
    found = compare(MODELS, ["retrain", "retrain-other-init"], BLIND)
    method = found["method"]
    assert method["mia_efficacy"] == 0.6
    assert method["average_gap"] == pytest.approx((0.2 + 0 + 0 + 0.3) / 4)
    assert method["average_gap_floor"] == pytest.approx((0.2 + 0.2) / 4)
    assert method["completeness"] == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert method["fingerprint_tv"] == pytest.approx((1 / 4 + 1 / 4) / 2)
    assert method["activation_distance"] == pytest.approx(np.sqrt(2) * (1 / 4 + 2 / 4) / 2)
    assert method["js_to_retrain"] == pytest.approx(np.log(2) * (1 / 4 + 2 / 4) / 2)
    assert found["trunk"]["completeness"] == 0
    assert "relearn_steps" not in method


def test_a_retrained_model_is_compared_with_the_others():
    found = compare(MODELS, ["retrain", "retrain-other-init"], BLIND)
    for name in ("retrain", "retrain-other-init"):
        assert found[name]["completeness"] == 0.75
        assert found[name]["average_gap"] == pytest.approx(0.1)


def test_a_method_that_is_the_retrained_model_is_ideal():
    models = MODELS | {"method": MODELS["retrain"]}
    found = compare(models, ["retrain"], MODELS["retrain"].forgotten)
    assert found["method"] | {"mia_efficacy": None} == {
        "mia_efficacy": None, "mia_auc": None, "average_gap": 0, "average_gap_floor": None, "zrf": 1,
        "activation_distance": 0, "completeness": 1, "js_to_retrain": 0, "fingerprint_tv": 0,
    }  # fmt: skip
    alone = found["retrain"]
    assert (alone["average_gap"], alone["completeness"], alone["zrf"]) == (None, None, 1)


def test_without_a_retrained_model_only_what_needs_none_is_known():
    found = compare(MODELS, [], BLIND)["method"]
    assert {name for name, value in found.items() if value is not None} == {"mia_efficacy", "zrf"}


def test_without_forgotten_samples_nothing_is_known():
    empty = FinalModel(np.zeros((0, 3)), (np.nan, 0.9, 0.8), np.nan)
    found = compare({"a": empty, "retrain": empty, "b": empty}, ["retrain"], np.zeros((0, 3)))
    assert set(found["a"].values()) == {None}


def test_relearning_is_compared_with_the_retrained_models_mean():
    models = {
        "method": final([0] * 4, steps=5.0), "retrain": final([0] * 4, steps=10.0), "again": final([0] * 4, steps=30.0),
    }  # fmt: skip
    found = compare(models, ["retrain", "again"], BLIND)
    assert [found[name]["anamnesis_index"] for name in models] == [5 / 20, 10 / 30, 30 / 10]
    assert found["method"]["relearn_steps"] == 5


def test_what_the_server_must_have_kept():
    updates = [5, 4, 5]
    stored = {stores: server_bytes(stores, 1000, updates) for stores in ("nothing", "models", "updates")}
    assert stored == {"nothing": 0, "models": 3000, "updates": 17_000}
    assert server_bytes("updates", 1000, []) == 0
    assert server_bytes("nothing", 1000, updates, own_models=3) == 3000


SURE, DOUBT, UNSURE = [0.98, 0.01, 0.01], [0.6, 0.2, 0.2], [0.3, 0.4, 0.3]
TURN = [2, 0, 1]  # of the columns, so that another class is the true one


def test_the_auc_is_that_of_scikit_learn_where_classes_are_mixed_alike():
    kinds = draws().dirichlet(np.ones(4), (2, 60))
    labels = np.arange(60) % 4
    entropies = -np.concatenate([modified_entropy(kind, labels) for kind in kinds])
    expected = roc_auc_score(np.repeat([1, 0], 60), entropies)
    assert mia_auc(kinds[0], labels, kinds[1], labels) == pytest.approx(expected)
    assert mia_auc(kinds[1], labels, kinds[0], labels) == pytest.approx(1 - expected)
    assert mia_auc(kinds[0], labels, kinds[0], labels) == pytest.approx(0.5)


def test_the_auc_says_whether_forgotten_samples_are_still_known():
    zeros = np.zeros(4, int)
    assert mia_auc(np.array([SURE] * 4), zeros, np.array([DOUBT] * 4), zeros) == 1
    assert mia_auc(np.array([UNSURE] * 4), zeros, np.array([DOUBT] * 4), zeros) == 0


def test_how_hard_the_forgotten_classes_are_does_not_tell():
    easy, hard = np.array(SURE), np.array(UNSURE)[TURN]  # as they are of classes 0 and 1, seen or unseen
    forgotten, own = np.array([hard] * 9 + [easy]), np.array([1] * 9 + [0])
    unseen, others = np.array([hard] * 2 + [easy] * 20), np.array([1] * 2 + [0] * 20)
    assert mia_auc(forgotten, own, unseen, others) == pytest.approx(0.5)


def test_only_classes_that_have_both_kinds_are_compared():
    forgotten, unseen = np.array([SURE, SURE]), np.array([DOUBT, SURE])
    assert mia_auc(forgotten, np.array([0, 2]), unseen, np.array([0, 1])) == 1
    assert np.isnan(mia_auc(forgotten, np.array([2, 2]), unseen, np.array([0, 1])))
    assert np.isnan(mia_auc(forgotten[:0], np.zeros(0, int), unseen, np.array([0, 1])))


def test_speed_up():
    assert speed_up(6.0, 1.5) == 4
    assert speed_up(6.0, 6.0) == 1
    assert np.isnan(speed_up(6.0, 0.0))
