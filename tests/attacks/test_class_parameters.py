"""Which class was forgotten, from the head's rows beside those of auxiliary models."""

from collections import OrderedDict

import numpy as np
import pytest
import torch

from fedunlearn.attacks.forgotten_class.auxiliary import L2, fitted, labelled_sample, retrained_head, unrelated_sample
from fedunlearn.attacks.forgotten_class.heads import Head, cosines
from fedunlearn.attacks.forgotten_class.null_class_bias import NullClassBias
from fedunlearn.attacks.forgotten_class.param_diff import ParamDiff
from fedunlearn.attacks.forgotten_class.param_dot import ParamDot
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.cache import ContentCache
from fedunlearn.observer.shadows import Shadow
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import (
    CLASSES,
    Federation,
    Watcher,
    blank,
    digits,
    fresh,
    knowledge,
    non_iid,
    recorded_run,
)

BOTH = pytest.mark.parametrize("attack", [ParamDot, ParamDiff])
FORGOTTEN = {0: 6, 1: 2, 2: 8}  # by seed
PUBLIC = slice(1000, 1797)
TWO, ONE = "weights-before-after", "final-weights"
LABELLED = ("public-labelled",)


@pytest.fixture(scope="module")
def tapes(tmp_path_factory):
    """Return by seed the recording of a federation that goes on without a class, and of one that just goes on."""
    return {
        seed: recorded_run(
            tmp_path_factory.mktemp("tape"), Federation(non_iid(4, 600, seed), "weights", 0.3, 8), 8, 4, label, seed
        )
        for seed, label in FORGOTTEN.items()
    }


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return ContentCache(tmp_path_factory.mktemp("cache"))


def public(chosen=PUBLIC):
    images, labels = digits()
    return images[chosen], labels[chosen]


def look(tape, attack, access, branch="forgotten", about=None, seed=0, **choices):
    watcher = Watcher(access, LABELLED)
    facts = knowledge(tape, watcher, branch, **{"public": public()} | (about or {}))
    return attack(attack.Settings(**choices))(tape.view(watcher, branch), facts, np.random.default_rng(seed))


def marked(folder, before, final):
    tape = Tape(folder)
    tape.mark("forgotten", request_round=0, before=before, after=final, final=final)
    return tape


# on federations


@BOTH
@pytest.mark.parametrize(("access", "lineage"), [(ONE, "frozen-backbone"), (TWO, "before")])
def test_a_forgotten_class_is_ranked_first_and_a_control_names_nobody(tapes, cache, attack, access, lineage):
    for seed, label in FORGOTTEN.items():
        finding = look(tapes[seed], attack, access, about={"cache": cache})
        assert finding.scores.argmax() == label
        assert finding.notes["lineage"] == lineage
        assert look(tapes[seed], attack, access, "control", about={"cache": cache}).named == ()


@BOTH
def test_an_auxiliary_model_of_another_lineage_tells_less(tapes, cache, attack):
    def apart(lineage):
        found = [
            (look(tapes[s], attack, TWO, about={"cache": cache}, lineage=lineage), u) for s, u in FORGOTTEN.items()
        ]
        others = [np.delete(finding.scores, label) for finding, label in found]
        return [(f.scores[u] - rest.mean()) / rest.std() for (f, u), rest in zip(found, others, strict=True)]

    assert np.less(apart("independent"), apart("frozen-backbone")).all()


@BOTH
def test_shadows_are_measured_as_the_model_is(tapes, cache, attack):
    def others(count, *, classes):
        made = []
        for seed, label in FORGOTTEN.items():
            view = tapes[seed].view(Watcher(TWO), "forgotten" if classes else "control")
            made.append(Shadow(view.before(), view.final(), (label,) if classes else ()))
        return made

    finding = look(tapes[0], attack, TWO, about={"cache": cache, "shadows": others}, decision="youden")
    assert FORGOTTEN[0] in finding.named
    assert finding.notes["youden-index"] > 0.8
    calibrated = look(
        tapes[0], attack, TWO, "control", about={"cache": cache, "shadows": others}, decision="calibrated"
    )
    assert calibrated.named == ()


@BOTH
def test_the_published_score_uses_both_auxiliary_models(tapes, cache, attack):
    finding = look(tapes[0], attack, ONE, about={"cache": cache}, form="paper")
    assert np.isfinite(finding.scores).all()
    assert finding.notes["form"] == "paper"
    if attack is ParamDot:
        assert np.abs(finding.scores).max() <= 2


def test_auxiliary_models_are_made_once(tapes, tmp_path):
    kept = ContentCache(tmp_path)
    for attack in (ParamDot, ParamDiff):
        for decision in ("outliers", "kmeans"):
            look(tapes[0], attack, ONE, about={"cache": kept}, decision=decision)
    assert (kept.made, kept.reused) == (1, 3)


# nothing to be found


@BOTH
@pytest.mark.parametrize("decision", ["outliers", "kmeans"])
@pytest.mark.parametrize("form", ["prototypes", "paper"])
def test_a_model_that_is_the_auxiliary_one_has_no_forgotten_class(tmp_path, attack, decision, form):
    backbone = fresh(3)
    watcher = Watcher(ONE, LABELLED)
    facts = knowledge(marked(tmp_path / "first", backbone, backbone), watcher, "forgotten", public=public())
    head = fitted_head(facts, backbone)
    same = marked(tmp_path / "second", backbone, backbone | head)
    finding = look(same, attack, ONE, decision=decision, form=form)
    if form == "prototypes":
        assert np.ptp(finding.scores) < 0.5  # all equal: ties in random order
    if form == "prototypes" or attack is ParamDiff:
        assert decision == "kmeans" or finding.named == ()
    assert finding.named == () or form == "paper"


def fitted_head(facts, weights):
    """Return the head of the auxiliary model, as a model has it."""
    images, labels = labelled_sample(facts, 50)
    with torch.no_grad():
        inputs = facts.model(weights).features(torch.from_numpy(images)).double().numpy()
    return fitted(inputs, labels)


@BOTH
def test_a_model_that_did_not_change_has_no_forgotten_class(tapes, tmp_path, attack):
    trained = tapes[0].view(Watcher(TWO), "forgotten").before()
    for decision in ("outliers", "kmeans"):
        finding = look(marked(tmp_path / decision, trained, trained), attack, TWO, decision=decision)
        assert finding.named == ()
        assert np.ptp(finding.scores) < 0.5  # all equal: ties in random order


@BOTH
def test_moving_all_rows_alike_changes_nothing(tapes, tmp_path, attack):
    view = tapes[0].view(Watcher(TWO), "forgotten")
    final = view.final()
    shift = np.random.default_rng(0).normal(size=final["head.weight"].shape[1])
    moved = final | {
        "head.weight": (final["head.weight"] + shift).astype("f4"),
        "head.bias": final["head.bias"] + np.float32(2),
    }
    for access in (ONE, TWO):
        one, other = (look(marked(tmp_path / f"{access}{i}", view.before(), weights), attack, access)
                      for i, weights in enumerate((final, moved)))  # fmt: skip
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4 * np.abs(one.scores).max())


# what is refused, and what is done without


@BOTH
def test_two_models_are_needed_for_the_lineage_before(tapes, attack):
    with pytest.raises(AccessRefused, match="weights-before-after"):
        look(tapes[0], attack, ONE, lineage="before")


@BOTH
def test_public_images_must_cover_the_classes_and_no_others(tapes, attack):
    images, labels = public()
    with pytest.raises(AccessRefused, match="no public image is of class 4"):
        look(tapes[0], attack, ONE, about={"public": (images[labels != 4], labels[labels != 4])})
    with pytest.raises(AccessRefused, match="no public image is of class"):
        look(tapes[0], attack, ONE, about={"public": (images[:1], labels[:1])})
    with pytest.raises(AccessRefused, match="class 10, the model has 10"):
        look(tapes[0], attack, ONE, about={"public": (images, np.where(labels == 4, 10, labels))})
    with pytest.raises(AccessRefused, match="public split"):
        look(tapes[0], attack, ONE, about={"public": (None, None)})


@BOTH
def test_models_of_different_architectures_are_refused_in_one_line(tmp_path, attack):
    with pytest.raises(AccessRefused, match="different architectures") as refusal:
        look(marked(tmp_path, fresh(name="logistic"), fresh()), attack, TWO)
    assert "\n" not in str(refusal.value)


@BOTH
def test_one_public_image_of_each_class_is_enough_to_answer(tapes, attack):
    finding = look(tapes[0], attack, ONE, samples_per_class=1)
    assert finding.notes["public-samples"] == CLASSES
    assert np.isfinite(finding.scores).all()


@BOTH
def test_a_head_without_bias_is_compared_by_its_rows(tapes, tmp_path, attack):
    def without_bias():
        model = blank()
        model.head = torch.nn.Linear(model.head.in_features, CLASSES, bias=False)
        return model

    view = tapes[0].view(Watcher(TWO), "forgotten")
    before, final = (
        OrderedDict((name, array) for name, array in weights.items() if name != "head.bias")
        for weights in (view.before(), view.final())
    )
    for access in (ONE, TWO):
        tape = marked(tmp_path / access, before, final)
        finding = look(tape, attack, access, about={"model": without_bias})
        assert finding.scores.argmax() == FORGOTTEN[0]
        assert "no bias" in finding.notes["fallback"]


# null-class-bias


def test_the_lowest_bias_and_the_shortest_row(tmp_path):
    weights = fresh()
    weights["head.bias"] = np.zeros(CLASSES, "f4") - 5 * (np.arange(CLASSES) == 3).astype("f4")
    weights["head.weight"] = weights["head.weight"] * (1 - 0.9 * (np.arange(CLASSES) == 7))[:, None].astype("f4")
    tape = marked(tmp_path, fresh(), weights)
    assert look(tape, NullClassBias, ONE).named == (3,)
    assert look(tape, NullClassBias, ONE, part="row-norm").scores.argmax() == 7
    del weights["head.bias"]
    with pytest.raises(AccessRefused, match="no bias"):
        look(marked(tmp_path / "bare", fresh(), weights), NullClassBias, ONE)


# parts


def test_the_auxiliary_head_is_the_optimum_of_its_loss():
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(300, 6)) * 3, np.arange(300) % 4
    inputs[:, :4] += 2 * np.eye(4)[labels]
    head = fitted(inputs, labels)
    scale = np.sqrt((inputs**2).sum(axis=1).mean())
    weight = torch.tensor(head["head.weight"].astype(float) * scale, requires_grad=True)
    bias = torch.tensor(head["head.bias"].astype(float), requires_grad=True)
    logits = torch.from_numpy(inputs / scale) @ weight.T + bias
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)) + L2 / 2 * (weight**2).sum()
    for gradient in torch.autograd.grad(loss, [weight, bias]):
        assert gradient.abs().max() < 1e-3


def test_a_head_of_two_classes_has_two_rows():
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 2
    inputs = rng.normal(size=(100, 3)) + labels[:, None]
    head = fitted(inputs, labels)
    assert head["head.weight"].shape == (2, 3)
    right = (inputs @ head["head.weight"].T + head["head.bias"]).argmax(axis=1) == labels
    assert right.mean() > 0.7
    np.testing.assert_allclose(head["head.weight"].sum(axis=0), 0, atol=1e-6)


def test_answers_and_cosines_against_loops():
    rng = np.random.default_rng(0)
    weights = {"head.weight": rng.normal(size=(4, 3)), "head.bias": rng.normal(size=4)}
    head, features = Head.read(weights), rng.normal(size=(4, 3))
    for label in range(4):
        logits = weights["head.weight"] @ features[label] + weights["head.bias"]
        assert head.answers(features)[label] == pytest.approx(logits[label] - logits.mean())
    rows = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(cosines(rows, np.array([[4.0, 3.0], [-2.0, 0.0], [1.0, 1.0]])), [0.96, -1, 0])


def test_unrelated_images_say_nothing_of_their_labels(tapes):
    facts = knowledge(tapes[0], Watcher(ONE, LABELLED), "forgotten", public=public())
    images, labels = unrelated_sample(facts, 20)
    assert (images.shape, images.dtype) == ((200, 1, 8, 8), np.float32)
    assert np.bincount(labels).tolist() == [20] * CLASSES
    assert retrained_head(facts, fresh(), (images, labels)).head.weight.shape[0] == CLASSES
