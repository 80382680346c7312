"""The trial: attacks that fail, a judge that fails, who hears of progress, which random numbers serve what."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedunlearn import trial
from fedunlearn.attacks import Attack
from fedunlearn.judging import AnswerKey, Answers
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.cache import ContentCache
from fedunlearn.observer.findings import ForgottenClasses, LabelCounts, Membership, Said
from fedunlearn.requests import UnlearningRequest
from fedunlearn.scenario import JudgeSettings
from fedunlearn.trial import Trial
from tests.observer.recorded import CLASSES, SHAPE, Federation, Watcher, blank, digits, non_iid, recorded_run

IMAGES, LABELS = digits()
HELD = non_iid(3, 600, seed=2)
REQUEST = UnlearningRequest("request-1", 2, "client", (0,), {0: HELD[0]})
CLASSES_ASKED = UnlearningRequest("request-1", 2, "class", (3, 4), {0: HELD[0]}, (3, 4))
BRANCHES = ("forgotten", "control")


class Named(Watcher):
    name = "server"


class Stub(Attack):
    """An attack that does what a test says."""

    needs, finds = "labels", "forgotten-classes"

    def __init__(self, act, finds="forgotten-classes"):
        super().__init__(self.Settings())
        self.act, self.finds = act, finds

    def run(self, view, knowledge, rng):
        return self.act(view, knowledge, rng)


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    return recorded_run(tmp_path_factory.mktemp("tape"), Federation(HELD), 2, 1, forget=4)


@pytest.fixture
def stage():
    def settings(name, branches=None):
        return SimpleNamespace(name=name, label="", observer="server", branches=branches, settings={})

    outside = np.arange(600, 1797)
    return SimpleNamespace(
        seed=3,
        scenario=SimpleNamespace(
            observers=[Named("updates", ("candidates",))],
            attacks=[settings("stub")],
            probes=(),
            defences=(),
            judge=JudgeSettings(),
        ),
        unseen=outside[50:900],
        splits=SimpleNamespace(train=np.arange(600), public=outside[:50], test=outside[50:900], judge=outside[900:]),
        dataset=SimpleNamespace(
            images=lambda ids: IMAGES[ids], labels=lambda ids: LABELS[ids], num_classes=CLASSES, image_shape=SHAPE
        ),
        training=SimpleNamespace(algorithm="fedsgd", settings={"learning-rate": 0.5}),
        site=SimpleNamespace(device="cpu"),
        model=blank,
        another=settings,
    )


@pytest.fixture
def attack(monkeypatch, tape, stage, tmp_path):
    """Return the rows of a trial in which every attack does `act`."""

    def run(act, finds="forgotten-classes", branches=BRANCHES, told=lambda text: None, request=REQUEST, cache=None):
        monkeypatch.setattr(trial, "make_attack", lambda settings: Stub(act, finds))
        key = AnswerKey(tmp_path / "answers")
        key.write_request("request-1", (4,), REQUEST.samples)
        made = Trial(stage, (), tape, key, tmp_path, None, told, cache)
        return {row["branch"]: row for row in made.attack_all(branches, [(request, None)])}

    return run


def test_an_attack_that_breaks_on_a_control_is_a_failed_alarm(attack):
    def act(view, knowledge, rng):
        raise ZeroDivisionError("oops")

    rows = attack(act)
    assert rows["control"]["status"] == rows["forgotten"]["status"] == "failed"
    assert rows["control"]["reason"] == "ZeroDivisionError: oops"
    assert set(rows["control"]["metrics"]) == {"false-alarm", "top-1"}
    assert rows["control"]["metrics"]["false-alarm"]["value"] is None
    assert "exact-set" in rows["forgotten"]["metrics"]


def test_a_refusal_is_told_from_a_failure(attack):
    def act(view, knowledge, rng):
        raise AccessRefused("not for you")

    rows = attack(act)
    assert (rows["control"]["status"], rows["control"]["reason"]) == ("refused", "not for you")
    assert "false-alarm" in rows["control"]["metrics"]


def test_a_bug_in_the_judge_is_no_failed_attack(attack, monkeypatch):
    def judge(finding, case):
        raise ZeroDivisionError("the judge is wrong")

    monkeypatch.setattr(trial, "judge_finding", judge)
    with pytest.raises(ZeroDivisionError, match="the judge is wrong"):
        attack(lambda view, knowledge, rng: ForgottenClasses(np.zeros(CLASSES), ()))


def test_a_finding_that_no_truth_is_on_record_for_says_so(attack):
    counts = LabelCounts(((3, 0),), (np.zeros(CLASSES, int),))
    row = attack(lambda view, knowledge, rng: counts, "labels")["trunk"]
    assert row["status"] == "failed"
    assert "no answer for the update of client 0 in round 3" in row["reason"]


def test_branches_that_were_not_finished_are_not_attacked(attack, stage):
    stage.scenario.attacks = [stage.another("stub", ("retrain", "control"))]
    assert set(attack(lambda view, knowledge, rng: ForgottenClasses(np.zeros(CLASSES), ()))) == {"control"}


def test_the_class_of_a_candidate_says_nothing_about_its_membership(attack, tmp_path):
    asked = []

    def act(view, knowledge, rng):
        asked.append(knowledge.candidates)
        return Membership(np.zeros(len(knowledge.candidates[1])))

    attack(act, "membership")
    truth = Answers(tmp_path / "answers").candidates()
    assert truth.member.sum() == len(truth.member) / 2 > 50
    assert set(truth.sample_ids[truth.member]) <= set(HELD[0])
    np.testing.assert_array_equal(asked[0][1], LABELS[truth.sample_ids])
    shares = np.bincount(LABELS[HELD[0]], minlength=CLASSES)  # non-IID: what a label-reader would go by
    assert roc_auc_score(truth.member, shares[asked[0][1]]) == pytest.approx(0.5)


def test_candidates_are_not_taken_from_samples_that_models_are_not_judged_on(attack, stage, tmp_path):
    stage.unseen = np.arange(650, 900)
    attack(lambda view, knowledge, rng: Membership(np.zeros(len(knowledge.candidates[1]))), "membership")
    truth = Answers(tmp_path / "answers").candidates()
    held_out = truth.sample_ids[~truth.member]
    assert len(held_out)
    assert set(held_out) <= set(stage.unseen) | set(stage.splits.judge)


def test_no_two_uses_of_the_judges_stream_share_numbers(attack, stage, monkeypatch):
    used = []

    def spy(seed, stream, round=0, client=0):
        used.append((stream, round, client))
        return np.random.default_rng(0)

    monkeypatch.setattr(trial, "rng", spy)
    stage.scenario.attacks = [stage.another(name) for name in ("a", "b", "c")]
    attack(lambda view, knowledge, rng: ForgottenClasses(np.zeros(CLASSES), ()), branches=("control",))
    judged = [entry for entry in used if entry[0] == "judge"]
    assert len(judged) == len(set(judged)) == 1 + 3


def test_progress_names_attack_and_branch_and_comes_sparingly(attack, monkeypatch):
    clock = itertools.count(0, 0.25)
    monkeypatch.setattr("fedunlearn.reporting.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
    told = []

    def act(view, knowledge, rng):
        for step in range(40):
            knowledge.progress(f"step {step}")
        return ForgottenClasses(np.zeros(CLASSES), ())

    attack(act, told=told.append)
    assert told[:2] == ["stub on forgotten", "stub on forgotten: step 3"]
    assert told[-1].startswith("stub on control: step ")
    assert len(told) == 21  # of 2 * 41 texts, a quarter of a second apart


def test_rows_tell_what_was_made_and_what_was_found_made(attack, tmp_path):
    def act(view, knowledge, rng):
        for number in range(3):
            knowledge.cache.get("head", {"number": number}, lambda: {"w": np.zeros(2)})
        return ForgottenClasses(np.zeros(CLASSES), ())

    for first in ({"made": 3, "reused": 0}, {"made": 0, "reused": 3}):  # another cell finds what the first has made
        rows = attack(act, cache=ContentCache(tmp_path / "auxiliary"))
        assert rows["forgotten"]["auxiliary"] == first
        assert rows["control"]["auxiliary"] == {"made": 0, "reused": 3}


@pytest.mark.parametrize(("request_", "count"), [(REQUEST, None), (CLASSES_ASKED, 2)])
def test_the_number_of_classes_is_told_on_controls_too(attack, stage, request_, count):
    stage.scenario.observers[0] = Named("updates", ("class-count-known",))
    told = []

    def act(view, knowledge, rng):
        told.append(knowledge.forgotten_count)
        return ForgottenClasses(np.zeros(CLASSES), ())

    attack(act, request=request_)
    assert told == [count, count]


def test_shadows_are_asked_for_by_the_method_and_the_defences_that_the_attacker_knows(attack, stage, monkeypatch):
    asked = []

    class Harness:
        def __init__(self, stage, public, cache):
            np.testing.assert_array_equal(public.classes, LABELS[stage.splits.public])

        def __call__(self, count, *, classes, method, defended, tell):
            asked.append((count, classes, method, defended))
            return []

    def act(view, knowledge, rng):
        knowledge.shadows(3, classes=0)
        return ForgottenClasses(np.zeros(CLASSES), ())

    monkeypatch.setattr(trial, "Shadows", Harness)
    for flags in (("public-labelled",), ("public-labelled", "method", "defences-known")):
        stage.scenario.observers[0] = Named("updates", flags)
        attack(act)
    assert asked == [(3, 0, None, False)] * 2 + [(3, 0, "forgotten", True), (3, 0, "control", True)]
    stage.scenario.observers[0] = Named("updates", ("public-unlabelled",))
    assert attack(act)["forgotten"]["status"] == "refused"


def test_the_judge_knows_the_round_of_the_request_and_what_was_forgotten(attack, stage):
    stage.scenario.attacks[0].label = "stream, fast"
    shares = np.bincount(LABELS[HELD[0]], minlength=CLASSES) / len(HELD[0])

    def act(view, knowledge, rng):
        said = tuple(Said(round, np.zeros(CLASSES), (4,) if round > 2 else ()) for round in (1, 2, 3))
        return ForgottenClasses(np.eye(CLASSES)[4], (4,), {"request-round": 1}, said, shares)

    rows = attack(act)
    values = {name: metric["value"] for name, metric in rows["forgotten"]["metrics"].items()}
    assert (values["detection-delay"], values["detected-within-1"], values["early-alarms"]) == (1, 1, 0)
    assert (values["request-round-error"], values["distribution-error"]) == (1, 0)
    assert rows["control"]["metrics"]["early-alarms"]["value"] == pytest.approx(1 / 3)
    assert rows["forgotten"]["metrics"]["early-alarms"]["control"] == pytest.approx(1 / 3)
    assert {row["label"] for row in rows.values()} == {"stream, fast"}
