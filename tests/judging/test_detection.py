"""Attacks on streams: delays, early alarms, the round of the request; claimed class shares."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cityblock

from fedunlearn.errors import DataError
from fedunlearn.judging import AnswerKey, Answers, Case, judge_failure, judge_finding
from fedunlearn.judging.class_shares import distribution_error, shares
from fedunlearn.judging.detection import detected, detected_within_1, detection_delay, early_alarms, watch
from fedunlearn.observer.findings import ForgottenClasses, Said

REQUEST = 4  # rounds before the request
LABELS = np.array([0, 0, 1, 1, 2, 2, 3, 3])


def said(*named, first=1):
    """What was named after each round from `first` on."""
    return tuple(Said(round, np.zeros(4), tuple(names)) for round, names in enumerate(named, start=first))


def quiet(rounds):
    return [()] * rounds


@pytest.fixture
def case(tmp_path):
    key = AnswerKey(tmp_path)
    key.write_request("request-1", (2,), {0: np.array([4, 5])})
    key.write_request("two", (0, 2), {0: np.array([0, 1, 4, 5])})
    key.write_request("client", (), {1: np.array([0, 1, 2, 4])})
    case = Case(
        branch="finetune",
        control=False,
        request_ids=("request-1",),
        answers=Answers(tmp_path),
        num_classes=4,
        images=lambda ids: np.zeros((len(ids), 1, 8, 8), np.float32),
        public_mean=None,
        rng=np.random.default_rng(0),
        pool=lambda: np.arange(8),
        labels=lambda ids: LABELS[ids],
        request_round=REQUEST,
    )
    return lambda **changes: replace(case, **changes)


@pytest.mark.parametrize(
    ("named", "delay", "within"),
    [
        ([(2,), (2,), (2,)], 1, 1),
        ([(), (2,), (2,)], 2, 0),
        ([(2,), (1,), (2,)], 3, 0),  # right, wrong, right: only the last time counts
        ([(2, 3), (2,), (2,)], 2, 0),  # more than the forgotten class is wrong
        ([(2,), (2,), ()], np.nan, 0),  # not to the end
        ([(), (), ()], np.nan, 0),
    ],
)
def test_delay_counts_from_the_request_to_the_first_round_that_stays_right(named, delay, within):
    seen = watch(said(*quiet(REQUEST), *named), {2}, REQUEST)
    assert detection_delay(seen) == pytest.approx(delay, nan_ok=True)
    assert detected_within_1(seen) == within
    assert detected(seen) == float(not np.isnan(delay))


def test_naming_the_class_before_the_request_is_an_alarm_and_no_detection():
    seen = watch(said((2,), (), (2,), (), (2,), (2,)), {2}, REQUEST)
    assert early_alarms(seen) == 0.5
    assert detection_delay(seen) == 1
    before = watch(said(*[(2,)] * REQUEST), {2}, REQUEST)
    assert early_alarms(before) == 1
    assert np.isnan([detection_delay(before), detected(before), detected_within_1(before)]).all()
    assert np.isnan(early_alarms(watch(said((2,), first=REQUEST + 1), {2}, REQUEST)))


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_delay_is_one_more_than_the_last_wrong_round(right):
    seen = watch(said(*[(2,) if r else (1,) for r in right], first=REQUEST + 1), {2}, REQUEST)
    last_wrong = max([t for t, r in enumerate(right, start=1) if not r], default=0)
    expected = last_wrong + 1 if right[-1] else np.nan
    assert detection_delay(seen) == pytest.approx(expected, nan_ok=True)


def test_the_order_in_which_rounds_are_told_does_not_matter():
    told = said((), (), (), (1,), (), (2,))
    assert watch(told[::-1], {2}, REQUEST).right.tolist() == watch(told, {2}, REQUEST).right.tolist()


def finding(*named, **more):
    return ForgottenClasses(np.array([0.0, 0.1, 0.9, 0.2]), (2,), said=said(*quiet(REQUEST), *named), **more)


def test_the_verdict_on_a_stream(case):
    verdict = judge_finding(finding((), (2,), (2,)), case())
    metrics = verdict.metrics
    assert (metrics["detection-delay"].value, metrics["detected-within-1"].value, metrics["detected"].value) == (
        2,
        0,
        1,
    )
    assert metrics["early-alarms"].value == metrics["early-alarms"].baseline == 0
    assert metrics["detected"].chance == metrics["exact-set"].chance == 0.25
    assert metrics["detected"].ci == pytest.approx((0.207, 1), abs=1e-3)
    assert verdict.details["detection"] == {
        "rounds": [-3, -2, -1, 0, 1, 2, 3],
        "loud": [False] * 5 + [True] * 2,
        "right": [False] * 5 + [True] * 2,
        "delay": 2.0,
        "censored": False,
    }


def test_a_censored_delay_is_unknown_and_not_zero(case):
    verdict = judge_finding(finding((), (2,), (1,)), case())
    delay = verdict.metrics["detection-delay"]
    assert np.isnan(delay.value)
    assert delay.n == 1
    assert verdict.details["detection"]["censored"]
    assert verdict.details["detection"]["delay"] is None
    assert verdict.metrics["detected"].value == 0
    json.dumps(verdict.details, allow_nan=False)


def test_on_a_control_every_alarm_is_early(case):
    verdict = judge_finding(finding((), (2,), (1,)), case(control=True))
    assert verdict.metrics["early-alarms"].value == 2 / 7
    assert set(verdict.metrics) == {"false-alarm", "top-1", "early-alarms"}
    assert verdict.metrics["top-1"].value == 1


def test_attacks_that_watch_no_stream_have_no_delay(case):
    alone = ForgottenClasses(np.array([0.0, 0.1, 0.9, 0.2]), (2,))
    assert "detected" not in judge_finding(alone, case()).metrics
    assert "detected" not in judge_finding(finding((2,)), case(request_round=None)).metrics
    assert "detected" not in judge_failure("forgotten-classes").metrics


def test_the_guessed_round_counts_where_it_was_not_told(case):
    guess = finding((2,), notes={"request-round": 7})
    assert judge_finding(guess, case()).metrics["request-round-error"].value == 3
    assert "request-round-error" not in judge_finding(guess, case(flags=frozenset({"request-round"}))).metrics
    assert "request-round-error" not in judge_finding(guess, case(control=True)).metrics


def test_a_failed_attack_detects_nothing_and_names_nothing(case):
    broken = replace(finding((2,), (2,), distribution=np.full(4, 0.25)), scores=np.full(4, np.nan))
    assert np.isnan([metric.value for metric in judge_finding(broken, case()).metrics.values()]).all()


@given(st.lists(st.floats(0.01, 1), min_size=4, max_size=4), st.lists(st.floats(0.01, 1), min_size=4, max_size=4))
def test_distribution_error_is_half_the_city_block_distance(one, other):
    p, q = np.array(one) / sum(one), np.array(other) / sum(other)
    assert distribution_error(p, q) == pytest.approx(cityblock(p, q) / 2)


def test_distribution_error_from_equal_to_disjoint():
    assert distribution_error(np.array([0.5, 0.5, 0]), np.array([0.5, 0.5, 0])) == 0
    assert distribution_error(np.array([0.5, 0.5, 0]), np.array([0, 0, 1.0])) == 1
    assert np.isnan(distribution_error(np.array([np.nan, 0.5, 0.5]), np.array([0, 0, 1.0])))
    np.testing.assert_array_equal(shares(np.array([1, 1, 3]), 4), [0, 2 / 3, 0, 1 / 3])


def test_class_shares_of_a_clients_data(case):
    claimed = np.array([0.5, 0.25, 0.25, 0])
    client = case(request_ids=("client",))
    verdict = judge_finding(finding((2,), distribution=claimed), client)
    error = verdict.metrics["distribution-error"]
    assert error.value == 0
    assert error.chance == error.baseline == pytest.approx(0.25)  # all classes alike: .5, .25, .25, 0 against .25 each
    assert verdict.details["shares"]["true"] == [0.5, 0.25, 0.25, 0]
    control = judge_finding(finding((2,), distribution=np.full(4, 0.25)), replace(client, control=True))
    assert control.metrics["distribution-error"].value == pytest.approx(0.25)


def test_without_whole_classes_there_is_nothing_to_rank_or_to_name(case):
    metrics = judge_finding(finding((2,), distribution=np.full(4, 0.25)), case(request_ids=("client",))).metrics
    nothing = {name for name, metric in metrics.items() if np.isnan(metric.value)}
    assert nothing == {
        "top-1",
        "exact-set",
        "jaccard",
        "mcc",
        "balanced-accuracy",
        "per-class-accuracy",
        "mrr",
        "class-auc",
    }
    assert metrics["alarm"].value == 1
    assert "detected" not in metrics


def test_what_naming_nobody_scores_stands_beside_every_score(case):
    verdict = judge_finding(finding((2,)), case(request_ids=("two",)))
    assert verdict.details["nobody"] == {
        "exact-set": 0, "jaccard": 0, "mcc": 0, "balanced-accuracy": 0.5, "per-class-accuracy": 0.5, "alarm": 0,
    }  # fmt: skip


@pytest.mark.parametrize("what", [{"distribution": np.ones(3) / 3}, {"prototypes": np.zeros((5, 1, 8, 8))}])
def test_claims_about_other_classes_are_refused(case, what):
    with pytest.raises(DataError, match=f"claimed {next(iter(what))} of . classes, there are 4"):
        judge_finding(finding((2,), **what), case())


def test_prototypes_are_kept_for_pictures(case):
    made = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)
    np.testing.assert_array_equal(judge_finding(finding((2,), prototypes=made), case()).arrays["prototypes"], made)
