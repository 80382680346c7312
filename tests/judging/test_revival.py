"""The judge of revived models: answers, signs, masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedunlearn.errors import DataError
from fedunlearn.judging import AnswerKey, Answers, Case, judge_finding
from fedunlearn.judging.grants import grant_model
from fedunlearn.judging.revival import answers, weights
from fedunlearn.observer.findings import RevivedModel
from tests.observer.recorded import Federation, blank, digits, fresh, non_iid, recorded_run

LOGITS = np.eye(3)[[0, 0, 1, 1, 2, 0]] * 5.0
LABELS = np.array([0, 0, 1, 1, 2, 2])


def test_answers_by_hand():
    assert answers.erased_accuracy(LOGITS, LABELS, {2}) == 0.5
    assert answers.retained_accuracy(LOGITS, LABELS, {2}) == 1
    assert answers.class_false_positive_rate(LOGITS, LABELS, {0}) == 0.25
    assert answers.class_precision(LOGITS, LABELS, {0}) == pytest.approx(2 / 3)
    assert answers.logit_auc(LOGITS, LABELS, {1}) == 1
    assert answers.logit_auc(LOGITS, LABELS, {2}) == 0.75
    assert np.isnan(answers.class_precision(LOGITS[:2], LABELS[:2], {2}))
    assert np.isnan(answers.erased_accuracy(LOGITS, LABELS, set()))


def test_the_bias_of_a_class_changes_its_calls_and_not_its_auc():
    raised = LOGITS + np.array([0, 0, 6.0])
    assert answers.erased_accuracy(raised, LABELS, {2}) == 1
    assert answers.class_false_positive_rate(raised, LABELS, {2}) == 1
    assert answers.logit_auc(raised, LABELS, {2}) == answers.logit_auc(LOGITS, LABELS, {2})


def test_signs_and_masks_by_hand():
    before = {"w": np.array([[1.0, -2.0, 0.0, 3.0]]), "v": np.array([1.0])}
    pruned = {"w": np.array([[True, True, True, False]])}
    claimed = {"w": np.array([[1, 1, 1, -1]]), "v": np.array([-1])}
    assert weights.sign_accuracy(claimed, before, pruned) == weights.Count(1, 2)
    filled = {"w": np.array([[True, False, False, True]])}
    assert weights.mask_precision(filled, pruned) == weights.Count(1, 2)
    assert weights.mask_recall(filled, pruned) == weights.Count(1, 3)
    revived = {"w": np.array([[4.0, 0.0, 0.0, -1.0]])}
    assert weights.kept_sign_accuracy(revived, before, pruned, filled) == weights.Count(1, 1)
    assert np.isnan(weights.sign_accuracy({}, before, pruned).share)


@pytest.fixture
def case(tmp_path):
    AnswerKey(tmp_path).write_request("request-1", (7,), {0: np.arange(5)})
    before = fresh(0, "relu")
    gone = np.random.default_rng(0).random(before["body.fc1.weight"].shape) < 0.2
    after = before | {"body.fc1.weight": np.where(gone, 0, before["body.fc1.weight"]).astype("f4")}
    models = {"before": before, "after": after, "final": after}

    def classifier(values):
        model = blank("relu")
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                tensor.copy_(torch.from_numpy(values[name]))
        return model.eval()

    return Case(
        branch="concept-prune",
        control=False,
        request_ids=("request-1",),
        answers=Answers(tmp_path),
        num_classes=10,
        images=lambda ids: digits()[0][ids],
        public_mean=None,
        rng=np.random.default_rng(0),
        labels=lambda ids: digits()[1][ids],
        models=models.get,
        pruned=lambda: {"body.fc1.weight": gone},
        classifier=classifier,
        unseen=lambda: np.arange(1000, 1400),
    )


def perfect(case):
    before, mask = case.models("before"), case.pruned()
    signs = {name: np.where(where, np.sign(before[name]), 0).astype(np.int8) for name, where in mask.items()}
    return RevivedModel(dict(before), mask, 7, {"mask": "known"}, signs)


def test_the_model_before_is_a_perfect_revival(case):
    verdict = judge_finding(perfect(case), case)
    names = ("sign-accuracy", "kept-sign-accuracy", "mask-precision", "mask-recall")
    assert [verdict.metrics[name].value for name in names] == [1, 1, 1, 1]
    assert verdict.metrics["mask-precision"].chance == pytest.approx(case.pruned()["body.fc1.weight"].mean())
    assert verdict.metrics["sign-accuracy"].ci[0] > 0.99
    stages = verdict.details["stages"]
    assert stages["revived"] == stages["before"]
    for name, metric in verdict.metrics.items():
        if name in stages["pruned"]:
            expected = stages["pruned"][name]
            assert metric.baseline == pytest.approx(np.nan if expected is None else expected, nan_ok=True)


def test_without_zeros_put_back_nothing_is_claimed_about_weights(case):
    verdict = judge_finding(RevivedModel(dict(case.models("final")), {}, 7), case)
    assert np.isnan(verdict.metrics["sign-accuracy"].value)
    assert verdict.details["stages"]["revived"] == verdict.details["stages"]["pruned"]


def test_random_signs_are_at_chance(case):
    finding, rng = perfect(case), np.random.default_rng(1)
    signs = {name: (array * rng.choice([-1, 1], array.shape)).astype(np.int8) for name, array in finding.signs.items()}
    metric = judge_finding(replace(finding, signs=signs), case).metrics["sign-accuracy"]
    assert metric.ci[0] < 0.5 < metric.ci[1]
    assert metric.chance == 0.5


def test_what_does_not_fit_the_model_is_an_error(case):
    finding = perfect(case)
    with pytest.raises(DataError, match="not those of the model"):
        judge_finding(replace(finding, weights={}), case)
    with pytest.raises(DataError, match=r"signs head.bias is \[1\], the model has \[10\]"):
        judge_finding(replace(finding, signs={"head.bias": np.zeros(1)}), case)
    with pytest.raises(DataError, match="this case has none"):
        judge_finding(finding, replace(case, models=None))
    with pytest.raises(DataError, match="no final model"):
        judge_finding(finding, replace(case, models=lambda when: None))


def test_models_are_granted_and_the_grant_is_written_down(tmp_path):
    tape = recorded_run(tmp_path / "tape", Federation(non_iid(2, 60, seed=0)), 2, 1, forget=7)
    oracle = grant_model(tape.recording("forgotten"), tmp_path / "grants")
    given = oracle("before")
    assert given.keys() == fresh().keys()
    assert '"when": "before"' in (tmp_path / "grants" / "models.jsonl").read_text()
