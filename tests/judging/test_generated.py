"""Models that generate are judged by what the judge's own classifier takes their images for."""

from dataclasses import replace

import numpy as np
import pytest

from fedunlearn.errors import DataError
from fedunlearn.judging import AnswerKey, Answers, Case, judge_finding
from fedunlearn.judging.revival.generated import shown_models
from fedunlearn.judging.revival.portraits import Portraits, portray
from fedunlearn.models import Architecture, build
from fedunlearn.observer.findings import RevivedModel
from fedunlearn.reporting.artefacts import portrait_rows

LABELS = np.arange(3).repeat(4)


class Reader:
    """Takes a picture for the class that its first pixel says, in thirds."""

    sample_ids = np.arange(7)

    def logits(self, images):
        return np.eye(3)[np.rint(images[:, 0, 0, 0] * 2).astype(int)]


def pictures(shown):
    """Return images of classes (n,)."""
    return np.broadcast_to(np.asarray(shown)[:, None, None, None] / 2, (len(shown), 1, 2, 2)).astype(np.float32)


DRAWS = {  # by the model's one weight: what it shows when asked for 0000 1111 2222
    1.0: [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 0],
    0.0: [0, 0, 0, 0, 1, 2, 2, 0, 2, 2, 2, 0],
    2.0: [0, 0, 1, 0, 1, 1, 1, 0, 2, 2, 2, 0],
}


def weights(value):
    return {"w": np.array([[value, 5.0]], np.float32)}


@pytest.fixture
def case(tmp_path):
    AnswerKey(tmp_path).write_request("request-1", (1,), {0: np.arange(5)})
    models = {"before": weights(1.0), "after": weights(0.0), "final": weights(0.0)}
    return Case(
        branch="concept-prune",
        control=False,
        request_ids=("request-1",),
        answers=Answers(tmp_path),
        num_classes=3,
        images=lambda ids: pictures(ids % 3),
        public_mean=None,
        rng=np.random.default_rng(0),
        labels=lambda ids: np.where(ids == 0, 2, ids % 3),
        models=models.get,
        pruned=lambda: {"w": np.array([[True, False]])},
        classifier=lambda values: pytest.fail("a generating model is not asked for answers"),
        unseen=lambda: np.arange(10),
        evaluator=lambda: Reader(),
        portraits=lambda values: Portraits(pictures(DRAWS[float(values["w"][0, 0])]), LABELS),
    )


FINDING = RevivedModel(weights(2.0), {"w": np.array([[True, False]])}, None, {}, {"w": np.array([[1, 0]], np.int8)})


def test_shares_by_hand(case):
    verdict = judge_finding(FINDING, case)
    values = {name: metric.value for name, metric in verdict.metrics.items()}
    assert values["erased-accuracy"] == 3 / 4
    assert values["retained-accuracy"] == 6 / 8
    assert values["class-false-positive-rate"] == 1 / 8
    assert values["class-precision"] == 3 / 4
    assert values["sign-accuracy"] == 1
    assert [verdict.metrics[name].n for name in ("erased-accuracy", "retained-accuracy")] == [4, 8]
    assert verdict.metrics["erased-accuracy"].baseline == 1 / 4
    stages = verdict.details["stages"]
    assert [stages[name]["erased-accuracy"] for name in ("before", "pruned", "revived")] == [1, 1 / 4, 3 / 4]
    assert [stages[name]["retained-accuracy"] for name in ("before", "pruned")] == [7 / 8, 7 / 8]
    assert verdict.details["evaluator"] == {"trained-on": 7, "tested-on": 10, "accuracy": 0.9}
    assert verdict.details["generated"] == {"per-class": 4, "sampler": "DDIM", "steps": 25, "guidance": 0.0}


def test_picture_grids_have_a_row_per_class_and_the_models_side_by_side(case):
    arrays = judge_finding(FINDING, case).arrays
    assert list(arrays) == ["portraits-before", "portraits-pruned", "portraits-revived"]
    assert {array.shape for array in arrays.values()} == {(3, 4, 1, 2, 2)}
    rows = portrait_rows(arrays)
    assert [row.shape for row in rows] == [(4 + 1 + 4 + 1 + 4, 1, 2, 2)] * 3
    np.testing.assert_allclose(rows[1][5:9], pictures([1, 2, 2, 0]))


def test_a_defended_model_is_shown_beside_the_pruned_one():
    masks = {"w": np.array([[True, False]])}
    shown = shown_models(weights(1.0), weights(0.5), weights(2.0), masks)
    assert [None if model is None else float(model["w"][0, 0]) for model in shown.values()] == [1, 0, 0.5, 2]
    assert list(shown) == ["before", "pruned", "defended", "revived"]
    assert shown_models(None, weights(0.0), weights(2.0), masks)["defended"] is None


def test_without_a_classifier_of_the_judges_nothing_is_judged(case):
    with pytest.raises(DataError, match="classifier of the judge's own"):
        judge_finding(FINDING, replace(case, evaluator=None))


def test_models_are_given_the_same_noise():
    pytest.importorskip("diffusers", reason="fedunlearn[diffusion] is not installed")
    model = build(Architecture("diffusion", width=8), (1, 8, 8), 3, np.random.default_rng(0)).eval()
    first, again = (portray(model, 2, np.random.default_rng(5)) for _ in range(2))
    assert first.labels.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_array_equal(first.images, again.images)
