"""The judge: findings with a known score, failed findings, controls."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from fedunlearn.errors import DataError
from fedunlearn.judging import METRICS, AnswerKey, Answers, Case, Metric, judge_failure, judge_finding
from fedunlearn.judging.judge import METRIC_NAMES
from fedunlearn.judging.score_classes import CONTROL_NAMES, GUESSED_NAMES, STREAM_NAMES
from fedunlearn.observer.findings import ForgottenClasses, ForgottenImages, LabelCounts, Membership, Reconstructions
from tests.judging.test_lpips import random_weights

IMAGES = np.random.default_rng(0).random((12, 1, 8, 8), dtype=np.float32)
LABELS = np.array([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3])


@pytest.fixture
def case(tmp_path):
    key = AnswerKey(tmp_path)
    key.write_update("trunk", 1, 0, [0, 1, 2, 4], LABELS[[0, 1, 2, 4]])
    key.write_update("trunk", 1, 1, [3, 7], LABELS[[3, 7]])
    key.write_request("request-1", (2,), {0: np.array([2, 6])})
    key.write_candidates(np.arange(12), np.arange(12) < 6)

    def make(branch="trunk", control=False, **changes):
        return Case(
            branch=branch,
            control=control,
            request_ids=changes.pop("request_ids", ("request-1",)),
            answers=Answers(tmp_path),
            num_classes=4,
            images=lambda ids: IMAGES[ids],
            public_mean=IMAGES.mean(axis=0),
            rng=np.random.default_rng(1),
            **changes,
        )

    return make


def test_every_metric_of_a_verdict_is_registered_and_described():
    names = {name for names in METRIC_NAMES.values() for name in names}
    assert names | {*CONTROL_NAMES, *STREAM_NAMES, *GUESSED_NAMES} == set(METRICS)
    assert all(METRICS.describe().values())


def test_label_counts(case):
    finding = LabelCounts(((1, 0), (1, 1)), (np.array([2, 1, 1, 0]), np.array([1, 0, 0, 1])))
    verdict = judge_finding(finding, case())
    assert set(verdict.metrics) == set(METRIC_NAMES["labels"])
    assert verdict.metrics["irec"].value == (1 + 0.5) / 2
    assert verdict.metrics["exact"].value == 0.5
    assert verdict.metrics["exact"].n == 2
    assert verdict.metrics["irec"].baseline == pytest.approx((3 / 4 + 0) / 2)  # 1,1,1,1 and 1,1,0,0
    assert 0 < verdict.metrics["irec"].chance < 1
    assert verdict.details["updates"][1] == {"round": 1, "client": 1, "true": [0, 0, 0, 2], "found": [1, 0, 0, 1]}


def test_reconstructions(case):
    truth = IMAGES[[0, 1, 2, 4]]
    noisy = np.clip(truth + 0.01, 0, 1)[::-1]  # about 40 dB, in another order
    finding = Reconstructions(
        ((1, 0), (1, 1)), (noisy, np.full((2, 1, 8, 8), 0.5, np.float32)), (LABELS[:4], LABELS[:2]), "bias-form"
    )
    verdict = judge_finding(finding, case())
    assert set(verdict.metrics) == set(METRIC_NAMES["images"])
    assert verdict.metrics["rebuilt-share"].value == pytest.approx(4 / 6)
    assert verdict.metrics["rebuilt-share"].n == 6
    assert verdict.metrics["psnr-best"].value == pytest.approx(40, abs=0.5)
    assert verdict.metrics["psnr"].baseline == verdict.metrics["psnr-batch-mean"].value
    assert verdict.metrics["psnr-batch-mean"].value > verdict.metrics["psnr-grey"].value
    assert verdict.details["label-source"] == "bias-form"
    assert verdict.details["updates"][0]["labels"] == [0, 1, 2, 0]
    np.testing.assert_array_equal(verdict.arrays["originals-0"], truth)
    np.testing.assert_allclose(verdict.arrays["rebuilt-0"], truth, atol=0.011)


TRIVIAL = {
    "psnr-grey": lambda truth, public: np.full_like(truth[0], 0.5),
    "psnr-batch-mean": lambda truth, public: truth.mean(axis=0),
    "psnr-public-mean": lambda truth, public: public,
}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    sizes=st.lists(st.tuples(st.integers(2, 9), st.integers(1, 9)), min_size=1, max_size=3),
    answer=st.sampled_from(sorted(TRIVIAL)),
)
def test_a_trivial_answer_scores_its_own_baseline_and_never_above(seed, sizes, answer):
    draws = np.random.default_rng(seed)
    images = draws.random((27, 1, 8, 8), dtype=np.float32) * draws.random((27, 1, 1, 1), dtype=np.float32)
    public, rebuilt = images[::2].mean(axis=0), []
    with tempfile.TemporaryDirectory() as folder:
        key = AnswerKey(Path(folder))
        for client, (true, made) in enumerate(sizes):
            ids = draws.permutation(27)[:true]
            key.write_update("trunk", 1, client, ids, ids % 4)
            rebuilt.append(np.repeat(TRIVIAL[answer](images[ids], public)[None], made, axis=0))
        targets = tuple((1, client) for client in range(len(sizes)))
        finding = Reconstructions(targets, tuple(rebuilt), tuple(np.zeros(len(r), int) for r in rebuilt), "known")
        truth = Answers(key.folder)
        case = Case("trunk", False, (), truth, 4, lambda ids: images[ids], public, np.random.default_rng(0))
        case = replace(case, pool=lambda: np.arange(27))
        metrics = judge_finding(finding, case).metrics
    assert metrics["psnr"].value == metrics[answer].value
    assert metrics["psnr"].baseline == max(metrics[name].value for name in TRIVIAL)
    for name in ("psnr", "ssim", "rebuilt-share", "psnr-best", "identification-rate"):
        assert metrics[name].value <= metrics[name].baseline
    assert metrics["fft2d"].value >= metrics["fft2d"].baseline


def test_a_trivial_answer_that_is_not_known_for_every_update_is_no_baseline(case):
    AnswerKey(case().answers.folder).write_update("trunk", 2, 0, [5], [1])  # a single image is its own batch mean
    finding = Reconstructions(((1, 0), (2, 0)), (IMAGES[[0, 1, 2, 4]], IMAGES[[5]]), (LABELS[:4], LABELS[:1]), "known")
    metrics = judge_finding(finding, case()).metrics
    assert np.isnan(metrics["psnr-batch-mean"].value)
    assert metrics["psnr"].baseline == max(metrics[name].value for name in ("psnr-grey", "psnr-public-mean"))


def test_fewer_reconstructions_than_images_leave_the_rest_lost(case):
    finding = Reconstructions(((1, 0),), (IMAGES[[4]],), (LABELS[[4]],), "known")
    metrics = judge_finding(finding, case()).metrics
    assert metrics["psnr"].n == 1
    assert (metrics["rebuilt-share"].value, metrics["rebuilt-share"].n) == (0.25, 4)


def test_a_diverged_reconstruction_is_nan_and_not_zero(case):
    broken = np.full((4, 1, 8, 8), np.nan, np.float32)
    verdict = judge_finding(Reconstructions(((1, 0),), (broken,), (LABELS[:4],), "known"), case())
    failed = ("psnr", "ssim", "rebuilt-share", "psnr-best", "psnr-of-mean")
    assert all(np.isnan(verdict.metrics[name].value) for name in failed)
    assert verdict.metrics["psnr-grey"].value > 0
    json.dumps(verdict.details, allow_nan=False)


def test_the_labels_that_an_attack_used_are_counted_too(case):
    images = (IMAGES[[0, 1, 2, 4]], IMAGES[[3, 7]])
    used = (np.array([3, 0, 0, 1]), np.array([3, 1]))  # true: 0, 1, 2, 0 and 3, 3
    details = judge_finding(Reconstructions(((1, 0), (1, 1)), images, used, "weight-form"), case()).details
    assert details["labels-right"] == [4, 6]
    assert [update["labels-right"] for update in details["updates"]] == [3, 1]


@pytest.mark.parametrize("shape", [(0, 1, 8, 8), (2, 3, 8, 8), (2, 1, 8, 9)])
def test_pictures_of_another_shape_are_refused(case, shape):
    finding = Reconstructions(((1, 0),), (np.zeros(shape, np.float32),), (LABELS[:2],), "known")
    with pytest.raises(DataError, match="claimed images of shape"):
        judge_finding(finding, case())
    unlabelled = ForgottenImages("request-1", IMAGES[:3], LABELS[:2], "known")
    with pytest.raises(DataError, match="3 pictures with 2 labels"):
        judge_finding(unlabelled, case("finetune"))


def test_a_diverged_reconstruction_identifies_nobody(case):
    broken = np.full((4, 1, 8, 8), np.nan, np.float32)
    finding = Reconstructions(((1, 0),), (broken,), (LABELS[:4],), "known")
    metrics = judge_finding(finding, case(pool=lambda: np.arange(12))).metrics
    assert np.isnan([metrics[name].value for name in ("identification-rate", "fft2d")]).all()
    assert metrics["identification-rate"].baseline <= 0.25


def test_identification_has_chance_baseline_and_interval(case):
    truth = IMAGES[[0, 1, 2, 4]]
    finding = Reconstructions(((1, 0),), (np.concatenate([truth[:2] + 0.01, IMAGES[[9, 10]]]),), (LABELS[:4],), "known")
    verdict = judge_finding(finding, case(pool=lambda: np.arange(1, 12)))  # sample 0 is none of the training data
    rate = verdict.metrics["identification-rate"]
    assert (rate.value, rate.n) == (0.5, 4)
    assert rate.chance == 1 / 12
    assert rate.ci == pytest.approx((0.150, 0.850), abs=1e-3)  # Wilson's of 2 of 4
    assert 0 <= rate.baseline <= 0.25
    assert verdict.details["skipped"] == {"lpips": "no weights file"}


def test_what_the_judge_was_not_given_is_skipped_with_a_reason(case, tmp_path):
    finding = Reconstructions(((1, 0),), (IMAGES[:4],), (LABELS[:4],), "known")
    verdict = judge_finding(finding, case(lpips=tmp_path / "nowhere"))
    assert "nowhere: no readable LPIPS weights" in verdict.details["skipped"]["lpips"]
    assert verdict.details["skipped"]["identification-rate"] == "no training images to look among"
    for name in ("lpips", "identification-rate"):
        assert np.isnan(verdict.metrics[name].value)
        assert verdict.metrics[name].n == 0


def test_lpips_of_an_attack_stands_beside_that_of_trivial_answers(case, tmp_path):
    path = tmp_path / "weights"
    save_file(random_weights(16), path)
    finding = Reconstructions(((1, 0),), (np.clip(IMAGES[[0, 1, 2, 4]] + 0.01, 0, 1),), (LABELS[:4],), "known")
    verdict = judge_finding(finding, case(lpips=path))
    metric = verdict.metrics["lpips"]
    assert 0 < metric.value < metric.baseline
    assert len(verdict.details["updates"][0]["lpips"]) == 4
    assert verdict.metrics["fft2d"].value < verdict.metrics["fft2d"].baseline


def test_the_threshold_of_the_scenario_counts(case):
    finding = Reconstructions(((1, 0),), (np.clip(IMAGES[[0, 1, 2, 4]] + 0.03, 0, 1),), (LABELS[:4],), "known")
    for threshold, share in ((20.0, 1.0), (35.0, 0.0)):
        verdict = judge_finding(finding, case(rebuilt_db=threshold))
        assert verdict.metrics["rebuilt-share"].value == share
        assert verdict.details["rebuilt-db"] == threshold


def test_means_are_shown_where_there_are_several_images(case):
    AnswerKey(case().answers.folder).write_update("trunk", 2, 0, [5], [1])
    finding = Reconstructions(((1, 0), (2, 0)), (IMAGES[[0, 1, 2, 2]], IMAGES[[5]]), (LABELS[:4], LABELS[:1]), "known")
    verdict = judge_finding(finding, case())
    np.testing.assert_allclose(verdict.arrays["means-0"][0], IMAGES[[0, 1, 2, 4]].mean(0), rtol=1e-6)
    np.testing.assert_allclose(verdict.arrays["means-0"][1], IMAGES[[0, 1, 2, 2]].mean(0), rtol=1e-6)
    assert "means-1" not in verdict.arrays
    assert verdict.metrics["psnr-of-mean"].baseline < 40
    assert verdict.details["updates"][1]["psnr-of-mean"] == 100


FORGOTTEN = (2, 6)


def test_pictures_of_forgotten_samples_are_matched_with_all_of_them(case):
    claimed = np.clip(IMAGES[[6, 3, 2]] + 0.01, 0, 1)
    finding = ForgottenImages("request-1", claimed, np.array([2, 3, 2]), "bias-form", {"losses": [0.1]})
    verdict = judge_finding(finding, case("finetune"))
    assert set(verdict.metrics) == set(METRIC_NAMES["forgotten-images"])
    assert verdict.metrics["psnr"].value == pytest.approx(40, abs=0.5)
    assert (verdict.metrics["rebuilt-share"].value, verdict.metrics["rebuilt-share"].n) == (1.0, 2)
    assert verdict.metrics["psnr"].baseline == max(verdict.metrics[name].value for name in TRIVIAL)
    shown = verdict.details["forgotten"]
    assert (shown["request"], shown["claimed"], shown["images"], shown["labels"]) == ("request-1", 3, 2, [2, 2])
    assert verdict.details["label-source"] == "bias-form"
    np.testing.assert_array_equal(verdict.arrays["originals-0"], IMAGES[list(FORGOTTEN)])
    np.testing.assert_allclose(verdict.arrays["rebuilt-0"], IMAGES[list(FORGOTTEN)], atol=0.011)


def test_with_fewer_claims_than_samples_the_best_pairs_count_for_trivial_answers_too(case):
    finding = ForgottenImages("request-1", np.full((1, 1, 8, 8), 0.5, np.float32), np.array([2]), "known")
    metrics = judge_finding(finding, case("finetune")).metrics
    closest = max(-10 * np.log10(np.mean((IMAGES[sample] - 0.5) ** 2)) for sample in FORGOTTEN)
    assert metrics["psnr"].value == metrics["psnr-grey"].value == pytest.approx(closest, abs=1e-4)
    assert (metrics["psnr"].n, metrics["rebuilt-share"].n) == (1, 2)


def test_on_a_control_the_same_samples_are_looked_for(case):
    finding = ForgottenImages("request-1", IMAGES[[2, 6]], np.array([2, 2]), "known")
    there, here = (judge_finding(finding, case(*where)).metrics for where in (("control", True), ("finetune", False)))
    assert there["psnr"] == here["psnr"]
    with pytest.raises(DataError, match="nothing was asked to be forgotten on trunk"):
        judge_finding(finding, case(request_ids=()))
    nothing = ForgottenImages("request-1", IMAGES[:0], LABELS[:0], "known")
    assert np.isnan(judge_finding(nothing, case("finetune")).metrics["psnr"].value)


def test_forgotten_class_on_a_request_branch(case):
    verdict = judge_finding(ForgottenClasses(np.array([0.0, 1.0, 3.0, 2.0]), (2,)), case("finetune"))
    assert set(verdict.metrics) == set(METRIC_NAMES["forgotten-classes"])
    perfect = ("top-1", "exact-set", "jaccard", "mcc", "balanced-accuracy", "per-class-accuracy", "mrr", "class-auc")
    assert {verdict.metrics[name].value for name in (*perfect, "alarm")} == {1.0}
    assert verdict.metrics["top-1"].chance == 0.25
    assert verdict.metrics["per-class-accuracy"].baseline == 0.75
    assert verdict.metrics["top-1"].ci[0] == pytest.approx(0.207, abs=1e-3)  # one trial says little
    assert verdict.details["true"] == [2]


def test_a_control_is_scored_by_its_false_alarm(case):
    quiet = judge_finding(ForgottenClasses(np.zeros(4), ()), case("control", control=True)).metrics
    assert set(quiet) == {"false-alarm", "top-1"}
    assert quiet["false-alarm"].value == 0
    assert quiet["top-1"].value == 0.25  # a tie of four
    loud = judge_finding(ForgottenClasses(np.array([1.0, 0, 0, 0]), (0,)), case("control", control=True)).metrics
    assert (loud["false-alarm"].value, loud["top-1"].value) == (1, 0)


def test_scores_with_a_nan_fail_as_a_whole(case):
    verdict = judge_finding(ForgottenClasses(np.array([0.0, np.nan, 3.0, 2.0]), (2,)), case("finetune"))
    assert all(np.isnan(metric.value) for metric in verdict.metrics.values())
    json.dumps(verdict.details, allow_nan=False)


def test_membership(case):
    finding = Membership(np.arange(12)[::-1].astype(float))
    verdict = judge_finding(finding, case("finetune"))
    assert verdict.metrics["auc"].value == 1
    assert verdict.metrics["auc"].n == 12
    assert verdict.metrics["tpr-at-1-fpr"].value == 1
    assert verdict.details["members"] == 6
    with pytest.raises(DataError, match="3 membership scores for 12"):
        judge_finding(Membership(np.zeros(3)), case("finetune"))


def test_failures_are_nan_everywhere(case):
    for finds, names in METRIC_NAMES.items():
        verdict = judge_failure(finds)
        assert set(verdict.metrics) == set(names)
        assert all(np.isnan(metric.value) and metric.n == 0 for metric in verdict.metrics.values())
    assert set(judge_failure("forgotten-classes", control=True).metrics) == {"false-alarm", "top-1"}
    assert np.isnan(judge_finding(LabelCounts((), ()), case()).metrics["exact"].value)


def test_same_stream_same_verdict(case):
    finding = Reconstructions(((1, 0),), (IMAGES[:4],), (LABELS[:4],), "known")
    assert judge_finding(finding, case()).metrics == judge_finding(finding, case()).metrics


def test_notes_become_json(case):
    notes = {"drift": np.array([1.0, np.nan]), "rounds": np.int64(3), "rule": ("a", 1), "access": object}
    verdict = judge_finding(ForgottenClasses(np.zeros(4), (), notes), case("finetune"))
    plain = verdict.details["notes"]
    assert plain["drift"] == [1.0, None]
    assert plain["rounds"] == 3
    assert plain["rule"] == ["a", 1]
    json.dumps(plain, allow_nan=False)


def test_a_metric_becomes_json():
    plain = json.loads(json.dumps(Metric(0.5, 4, (0.1, np.nan), chance=0.1).to_json(), allow_nan=False))
    unknown = dict.fromkeys(("baseline", "control", "oracle"))
    assert plain == {"value": 0.5, "n": 4, "ci": [0.1, None], "chance": 0.1, **unknown}
