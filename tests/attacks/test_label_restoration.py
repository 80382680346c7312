"""Label counts from recorded rounds, and from updates that are not what they should be."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from fedunlearn.attacks import ATTACKS
from fedunlearn.attacks.label_restoration.bias_form import BiasForm
from fedunlearn.attacks.label_restoration.class_conditional_nnls import ClassConditionalNNLS
from fedunlearn.attacks.label_restoration.weight_form import WeightForm
from fedunlearn.federation import Order, Task
from fedunlearn.judging.baselines import uniform_guess
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import CLASSES, Federation, Watcher, digits, fresh, knowledge, non_iid

LEARNING = {"learning-rate": 0.02, "batch-size": 8, "local-epochs": 1}
NAMES = [name for name in ATTACKS if ATTACKS[name].finds == "labels"]


def restore(tape, form=BiasForm, flags=(), rng=0, **choices):
    watcher = Watcher("updates", flags)
    images, labels = digits()
    facts = knowledge(tape, watcher, learning=LEARNING, public=(images[1500:], labels[1500:]))
    return form(form.Settings(**choices))(tape.view(watcher), facts, np.random.default_rng(rng))


def recorded(folder, federation, rounds=1):
    tape = Tape(folder)
    federation.run(tape, "trunk", fresh(), rounds)
    return tape


def truth_of(federation, target):
    return np.bincount(digits()[1][federation.batches[target]], minlength=CLASSES)


def irec(finding, federation):
    pairs = zip(finding.targets, finding.counts, strict=True)
    return np.mean([np.minimum(c, (t := truth_of(federation, target))).sum() / t.sum() for target, c in pairs])


@pytest.mark.parametrize("form", [BiasForm, WeightForm])
@pytest.mark.parametrize("flags", [(), ("public-unlabelled",)])
def test_labels_behind_the_first_gradients_are_restored_exactly(tmp_path, form, flags):
    federation = Federation(non_iid(8, 1000, seed=4))
    finding = restore(recorded(tmp_path, federation), form, flags)
    assert len(finding.targets) == len(federation.held)
    for target, counts in zip(finding.targets, finding.counts, strict=True):
        np.testing.assert_array_equal(counts, truth_of(federation, target))


@pytest.mark.parametrize(
    ("name", "least"),
    [("bias-form", 0.9), ("class-conditional-nnls", 0.9), ("rlu", 0.9), ("ilrg", 0.9), ("weight-form", 0.8)],
)
def test_fedavg_labels_end_to_end(tmp_path, name, least):
    federation = Federation(non_iid(5, 300, seed=6), "weights", rate=0.02)
    finding = restore(recorded(tmp_path, federation), ATTACKS[name], ("learning-known", "public-labelled"))
    assert irec(finding, federation) >= least
    assert finding.notes == {}


@pytest.mark.parametrize("kind", ["gradient", "weights"])
@pytest.mark.parametrize("name", NAMES)
def test_counts_add_up_to_the_samples_of_every_client(tmp_path, name, kind):
    federation = Federation(non_iid(3, 120, seed=1), kind, rate=0.02)
    finding = restore(recorded(tmp_path, federation), ATTACKS[name], ("learning-known", "public-labelled"))
    for target, counts in zip(finding.targets, finding.counts, strict=True):
        assert counts.dtype == np.int64
        assert (counts >= 0).all()
        assert counts.sum() == truth_of(federation, target).sum()


def test_the_uniform_guess_is_the_judges_baseline(tmp_path):
    federation = Federation(non_iid(3, 120, seed=1))
    for counts in restore(recorded(tmp_path, federation), ATTACKS["uniform-guess"]).counts:
        np.testing.assert_array_equal(counts, uniform_guess(counts.sum(), CLASSES))


def test_targets_are_chosen(tmp_path):
    tape = recorded(tmp_path, Federation(non_iid(4, 200, seed=4)), rounds=2)
    assert restore(tape).targets == tuple((1, client) for client in range(4))
    assert restore(tape, clients="first", round=2).targets == ((2, 0),)
    assert restore(tape, clients=(2, 3)).targets == ((1, 2), (1, 3))
    with pytest.raises(AccessRefused, match="client 9"):
        restore(tape, clients=(9,))


def test_public_images_must_be_there_when_asked_for(tmp_path):
    tape = recorded(tmp_path, Federation(non_iid(2, 40, seed=4)))
    with pytest.raises(AccessRefused, match="public"):
        restore(tape, statistics="public")


def test_unknown_steps_are_estimated_on_labelled_images_or_refused(tmp_path):
    federation = Federation(non_iid(5, 300, seed=6), "weights", rate=0.02)
    tape = recorded(tmp_path, federation)
    for flags in ((), ("public-unlabelled",)):
        with pytest.raises(AccessRefused, match="learning-known"):
            restore(tape, flags=flags)
    for form in (BiasForm, ClassConditionalNNLS):
        finding = restore(tape, form, ("public-labelled",))
        assert irec(finding, federation) >= 0.85
        assert "estimated on public images" in finding.notes["fallback"][0]
    for name in ("llg", "idlg", "uniform-guess"):  # any positive factor will do
        known, unknown = (restore(tape, ATTACKS[name], flags) for flags in (("learning-known",), ()))
        np.testing.assert_array_equal(known.counts, unknown.counts)
        assert unknown.notes == {}


def altered(folder, change, rng=0):
    """Return a tape of one round of gradients that were changed on their way."""
    federation, tape, weights = Federation(non_iid(2, 60, seed=4)), Tape(folder), fresh()
    updates, _ = federation.round(weights, 1, np.random.default_rng(rng))
    sent = [replace(update, payload=change(update.payload)) for update in updates]
    tape.on_round("trunk", Order(1, Task("work", {}, "gradient"), weights, {}), sent)
    tape.on_model("trunk", 1, weights)
    return tape


def map_values(change, payload):
    return {name: change(array) for name, array in payload.items()}


def without(*names):
    return lambda payload: {name: array for name, array in payload.items() if name not in names}


def zeroed(*names):
    return lambda payload: payload | {name: np.zeros_like(payload[name]) for name in names}


HEADED = [name for name in NAMES if name != "uniform-guess"]


@pytest.mark.parametrize("name", HEADED)
def test_a_missing_or_frozen_head_is_refused(tmp_path, name):
    flags = ("public-labelled",)
    with pytest.raises(AccessRefused, match=r"client 0's update has no head\.weight"):
        restore(altered(tmp_path / "missing", without("head.weight", "head.bias")), ATTACKS[name], flags)
    with pytest.raises(AccessRefused, match="frozen head"):
        restore(altered(tmp_path / "frozen", zeroed("head.weight", "head.bias")), ATTACKS[name], flags)


def test_a_head_without_bias_is_for_the_weight_form(tmp_path):
    tape = altered(tmp_path, without("head.bias"))
    with pytest.raises(AccessRefused, match="weight-form"):
        restore(tape)
    assert restore(tape, WeightForm).targets == ((1, 0), (1, 1))


def test_a_payload_that_a_defence_changed_is_named(tmp_path):
    rng = np.random.default_rng(3)
    noisy = partial(map_values, lambda array: array + rng.normal(0, 0.02, array.shape).astype("f4"))
    tape = altered(tmp_path, noisy)
    assert "does not sum to zero" in restore(tape).notes["fallback"][0]


def test_a_class_without_public_images_is_named(tmp_path):
    tape, watcher = recorded(tmp_path, Federation(non_iid(2, 60, seed=4))), Watcher("updates", ("public-labelled",))
    images, labels = (part[1500:][digits()[1][1500:] != 3] for part in digits())
    facts = knowledge(tape, watcher, public=(images, labels))
    finding = ClassConditionalNNLS(ClassConditionalNNLS.Settings())(tape.view(watcher), facts, np.random.default_rng(0))
    assert finding.notes["fallback"] == ["no public image of the classes [3]: measured on all images"]
