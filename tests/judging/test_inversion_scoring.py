"""Claimed pictures of classes, judged: known answers have known scores, and what is wrong is refused."""

import json

import numpy as np
import pytest

from fedunlearn.errors import DataError
from fedunlearn.judging import AnswerKey, Answers, Case, judge_finding
from fedunlearn.judging.inversion.evaluator import NET, train_evaluator
from fedunlearn.judging.judge import METRIC_NAMES
from fedunlearn.models import load_weights, to_weights
from fedunlearn.observer.cache import ContentCache
from fedunlearn.observer.findings import ClassImages
from tests.observer.recorded import blank, digits, fresh

IMAGES, LABELS = digits()
MEMBERS, UNSEEN, JUDGE = np.arange(400), np.arange(400, 900), np.arange(1000, 1500)
FORGOTTEN = 3


def first(ids, count):
    """Return the first `count` of each class among ids."""
    return np.concatenate([ids[LABELS[ids] == label][:count] for label in range(10)])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return ContentCache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def evaluator(cache):
    return train_evaluator(IMAGES[JUDGE], LABELS[JUDGE], JUDGE, 10, cache)


@pytest.fixture
def case(tmp_path, evaluator):
    key = AnswerKey(tmp_path)
    key.write_request("request-1", (FORGOTTEN,), {0: MEMBERS[LABELS[MEMBERS] == FORGOTTEN]})
    key.write_request("client-1", (), {0: np.arange(40)})

    def make(**changes):
        about = {
            "branch": "finetune",
            "control": False,
            "request_ids": ("request-1",),
            "answers": Answers(tmp_path),
            "num_classes": 10,
            "images": lambda ids: IMAGES[ids],
            "public_mean": None,
            "rng": np.random.default_rng(0),
            "pool": lambda: MEMBERS,
            "labels": lambda ids: LABELS[ids],
            "unseen": lambda: UNSEEN,
            "evaluator": lambda: evaluator,
            "models": lambda when: fresh(),
            "classifier": lambda weights: model_of(weights),
        }
        return Case(**about | changes)

    return make


def model_of(weights):
    model = blank()
    load_weights(model, weights)
    return model.eval()


def of(ids, labels=None):
    return ClassImages(IMAGES[ids], LABELS[ids] if labels is None else labels)


def test_the_judge_s_own_classifier_has_learnt_and_is_kept_by_content(evaluator, cache):
    seen = evaluator.logits(IMAGES[UNSEEN]).argmax(axis=1)
    assert (seen == LABELS[UNSEEN]).mean() > 0.9
    assert evaluator.features(IMAGES[:2]).shape == (2, 32)
    made = cache.made
    again = train_evaluator(IMAGES[JUDGE], LABELS[JUDGE], JUDGE, 10, cache)
    assert (cache.made, cache.reused) == (made, 1)
    for name, array in to_weights(evaluator.model).items():
        np.testing.assert_array_equal(array, to_weights(again.model)[name])


def test_the_private_samples_themselves_score_best(case):
    verdict = judge_finding(of(MEMBERS), case())
    values = {name: metric.value for name, metric in verdict.metrics.items()}
    assert set(values) == set(METRIC_NAMES["class-images"])
    perfect = ("precision", "recall", "coverage", "ddcs-surrogate", "vulnerable-share", "forgotten-coverage")
    assert {values[name] for name in perfect} == {1.0}
    assert values["knn-distance"] == 0
    assert values[f"frechet-{NET}"] == pytest.approx(0, abs=1e-6)
    assert values["attack-accuracy"] > 0.9
    assert values["attack-accuracy-5"] >= values["attack-accuracy"]
    assert values["ddcs-excess"] == pytest.approx(1 - values["held-out-ddcs-surrogate"])
    assert np.isnan(values["vulnerability-rank"])  # all samples are given away alike
    assert verdict.arrays["nearest-ids"].tolist() == MEMBERS.tolist()


def test_fresh_samples_score_as_the_held_out_ones_that_they_are_and_noise_below(case):
    verdict = judge_finding(of(first(UNSEEN, 10)), case())
    metrics, held_out = verdict.metrics, verdict.details["held-out"]
    for name in ("coverage", "precision", "density", "recall", f"frechet-{NET}"):
        assert metrics[name].value == pytest.approx(held_out[name])
    assert metrics["held-out-coverage"].value == held_out["coverage"]
    assert metrics["ddcs-surrogate"].value == pytest.approx(held_out["ddcs-surrogate"], rel=0.02)
    assert metrics["ddcs-excess"].value == pytest.approx(0, abs=0.01)
    assert 0.05 < metrics["ddcs-surrogate"].value < 0.4
    assert metrics["attack-accuracy"].chance == 0.1
    noise = np.random.default_rng(0).random((100, 1, 8, 8), dtype=np.float32)
    worse = judge_finding(ClassImages(noise, np.repeat(np.arange(10), 10)), case()).metrics
    assert worse["attack-accuracy"].value < 0.4
    assert worse["coverage"].value < metrics["coverage"].value / 3
    assert worse["knn-distance"].value > 2 * metrics["knn-distance"].value
    assert worse["ddcs-excess"].value < 0


def test_the_baseline_is_what_public_pictures_score_that_ask_no_model(case):
    public = np.arange(1500, 1700)
    metrics = judge_finding(of(first(UNSEEN, 10)), case(public=lambda: public)).metrics
    assert metrics["attack-accuracy"].baseline < 0.3  # nothing tells them which class a picture should have
    assert metrics["coverage"].baseline == pytest.approx(metrics["coverage"].value, rel=0.3)  # of the same classes
    assert metrics["ddcs-surrogate"].baseline < metrics["ddcs-surrogate"].value / 2
    assert np.isnan(judge_finding(of(first(UNSEEN, 10)), case()).metrics["coverage"].baseline)


def test_values_of_classes_pooled_ones_are_means_over_all_samples(case):
    verdict = judge_finding(of(first(UNSEEN, 10)), case())
    per_class, ids = verdict.details["per-class"], verdict.arrays["private-ids"]
    sizes = np.bincount(LABELS[ids])
    coverage = np.array([per_class["coverage"][str(label)] for label in range(10)])
    assert verdict.metrics["coverage"].value == pytest.approx((coverage * sizes).sum() / sizes.sum())
    low, high = verdict.metrics["coverage"].ci
    assert low < verdict.metrics["coverage"].value < high
    accuracy = [per_class["attack-accuracy"][str(label)] for label in range(10)]
    assert verdict.metrics["attack-accuracy"].value == pytest.approx(np.mean(accuracy))


def test_the_forgotten_class_is_told_from_the_others(case):
    """An attacker who has everything but the forgotten class."""
    kept = MEMBERS[LABELS[MEMBERS] != FORGOTTEN]
    wrong = np.full((20, 1, 8, 8), 0.5, np.float32)
    finding = ClassImages(np.concatenate([IMAGES[kept], wrong]), np.concatenate([LABELS[kept], np.full(20, FORGOTTEN)]))
    verdict = judge_finding(finding, case())
    values = {name: metric.value for name, metric in verdict.metrics.items()}
    assert (values["others-coverage"], values["others-ddcs-surrogate"], values["others-knn-distance"]) == (1, 1, 0)
    assert values["forgotten-ddcs-surrogate"] <= 1 / 30
    assert values["forgotten-attack-accuracy"] == 0
    assert verdict.metrics["forgotten-ddcs-surrogate"].n == (LABELS[MEMBERS] == FORGOTTEN).sum()
    assert verdict.details["forgotten-classes"] == [FORGOTTEN]


def test_of_a_forgotten_client_its_samples_are_told_from_the_others(case):
    finding = of(np.arange(40, 400))
    metrics = judge_finding(finding, case(request_ids=("client-1",))).metrics
    assert metrics["others-ddcs-surrogate"].value > 0.9  # some of their pictures are nearest to forgotten ones, too
    assert metrics["forgotten-ddcs-surrogate"].value < 0.5
    assert metrics["forgotten-coverage"].n == 40
    assert np.isnan(metrics["forgotten-attack-accuracy"].value)  # no class was forgotten as a whole


def test_where_nothing_was_requested_all_are_others(case):
    metrics = judge_finding(of(first(UNSEEN, 5)), case(request_ids=())).metrics
    assert np.isnan(metrics["forgotten-coverage"].value)
    assert metrics["others-coverage"].value == pytest.approx(metrics["coverage"].value)


def test_only_claimed_classes_are_judged_and_few_pictures_skip_what_needs_more(case):
    three = MEMBERS[np.isin(LABELS[MEMBERS], [1, 2])][:3]
    verdict = judge_finding(of(three), case())
    assert set(LABELS[verdict.arrays["private-ids"]]) == set(LABELS[three])
    assert np.isnan(verdict.metrics["coverage"].value)
    assert "3 claimed" in verdict.details["skipped"]["coverage"]
    assert "64 samples" in verdict.details["skipped"][f"frechet-{NET}"]
    assert verdict.metrics["knn-distance"].value == pytest.approx(0, abs=1e-9)
    json.dumps(verdict.details, allow_nan=False)


def test_the_details_tell_how_good_the_judge_s_classifier_is(case):
    details = judge_finding(of(first(UNSEEN, 5)), case()).details
    assert details["evaluator"]["trained-on"] == 500
    assert details["evaluator"]["tested-on"] == 500
    assert details["evaluator"]["accuracy"] > 0.9
    assert "not the published DDCS" in details["sample-scores"]["what"]
    assert sum(details["sample-scores"]["histogram"]) == details["private"]["samples"]


def test_pictures_with_a_nan_fail_as_a_whole(case):
    images = IMAGES[:20].copy()
    images[3, 0, 0, 0] = np.nan
    metrics = judge_finding(ClassImages(images, LABELS[:20]), case()).metrics
    assert all(np.isnan(metric.value) for metric in metrics.values())
    nothing = judge_finding(ClassImages(IMAGES[:0], LABELS[:0]), case()).metrics
    assert all(np.isnan(metric.value) for metric in nothing.values())


def test_the_attacked_model_does_not_judge_itself(case, evaluator):
    own = {"final": to_weights(evaluator.model)}
    with pytest.raises(DataError, match="is the final model itself"):
        judge_finding(of(first(UNSEEN, 5)), case(models=lambda when: own.get(when)))


def test_a_case_without_models_leaves_out_the_list_that_needs_one(case):
    metrics = judge_finding(of(first(UNSEEN, 10)), case(models=None)).metrics
    assert np.isnan(metrics["margin-rank"].value)
    assert np.isfinite(metrics["vulnerability-rank"].value)


@pytest.mark.parametrize(
    ("finding", "message"),
    [
        (ClassImages(IMAGES[:3], LABELS[:2]), "3 pictures with 2 labels"),
        (ClassImages(IMAGES[:2, :, :7], LABELS[:2]), r"claimed images of shape \(1, 7, 8\), true ones of shape"),
        (ClassImages(IMAGES[:2], np.array([3, 10])), "class 10; they are numbered 0 to 9"),
    ],
)
def test_what_does_not_fit_is_refused(case, finding, message):
    with pytest.raises(DataError, match=message):
        judge_finding(finding, case())


def test_without_samples_of_the_class_nothing_is_judged(case):
    with pytest.raises(DataError, match=r"no sample of the claimed classes \[4\]"):
        judge_finding(of(UNSEEN[LABELS[UNSEEN] == 4][:5]), case(pool=lambda: MEMBERS[LABELS[MEMBERS] != 4]))
    with pytest.raises(DataError, match="this case has none"):
        judge_finding(of(MEMBERS), case(evaluator=None))


def test_a_class_that_the_judge_has_no_sample_of_is_refused(cache):
    ids = JUDGE[LABELS[JUDGE] != 7]
    with pytest.raises(DataError, match=r"none of the judge's \d+ samples is of class 7; give data\.judge more"):
        train_evaluator(IMAGES[ids], LABELS[ids], ids, 10, cache)
