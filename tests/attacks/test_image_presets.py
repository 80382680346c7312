"""Every attack that rebuilds images, on recorded rounds: what it gives, what it says, what it refuses."""

import itertools
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedunlearn.attacks import ATTACKS
from fedunlearn.attacks.gradient_inversion import search as searching
from fedunlearn.attacks.gradient_inversion import trials as trialling
from fedunlearn.attacks.gradient_inversion.inversion import GradientInversion
from fedunlearn.attacks.gradient_inversion.labels import likeliest
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings
from fedunlearn.attacks.gradient_inversion.simulation import LocalWork
from fedunlearn.attacks.gradient_inversion.target import Target
from fedunlearn.attacks.label_restoration.bias_form import BiasForm
from fedunlearn.attacks.label_restoration.restoring import round_counts, scaled
from fedunlearn.federation import Order, Task, Update
from fedunlearn.models import load_weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.findings import Reconstructions
from fedunlearn.observer.tape import Tape
from tests.attacks.test_gradient_matching import psnr
from tests.learning.workshop import CLASSES, Workshop, perform
from tests.observer.recorded import SHAPE, Federation, Watcher, blank, digits, fresh, gradient_of, knowledge, non_iid

PRESETS = sorted(name for name in ATTACKS if issubclass(ATTACKS[name], GradientInversion))
LEARNING = {"learning-rate": 0.5, "batch-size": 4, "local-epochs": 1}
NET = "lenet-zhu"


@pytest.fixture(scope="module")
def sgd(tmp_path_factory):
    """Return (tape, federation) of one FedSGD round with batches of 2."""
    tape, federation = Tape(tmp_path_factory.mktemp("tape")), Federation(non_iid(3, 200, seed=5), batch=2)
    federation.run(tape, "trunk", fresh(), 1)
    return tape, federation


@pytest.fixture(scope="module")
def averaging(tmp_path_factory):
    """Return the tape of one FedAvg round of clients with 6 images, in batches of 4."""
    tape = Tape(tmp_path_factory.mktemp("tape"))
    Federation([np.arange(6), np.arange(6, 12)], "weights", batch=4).run(tape, "trunk", fresh(), 1)
    return tape


def record(folder, payloads, sizes, weights, kind="gradient"):
    """Return the tape of one round in which clients sent these payloads."""
    tape = Tape(folder)
    pairs = zip(payloads, sizes, strict=True)
    updates = [Update(client, kind, payload, size, {"loss": 1.0}) for client, (payload, size) in enumerate(pairs)]
    tape.on_round("trunk", Order(1, Task("work", {}, kind), weights, {}), updates)
    return tape


def attack(tape, name, flags=("learning-known",), seed=0, about=None, **choices):
    watcher = Watcher("updates", flags)
    facts = knowledge(tape, watcher, learning=LEARNING, **about or {})
    attack = ATTACKS[name](ATTACKS[name].Settings(**choices))
    return attack(tape.view(watcher), facts, np.random.default_rng(seed))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_lowers_its_loss_on_a_gradient(sgd, name):
    steps = {"restarts": 2, "clients": "all"}
    short, longer = (attack(sgd[0], name, steps=steps_, **steps) for steps_ in (1, 40))
    assert isinstance(longer, Reconstructions)
    assert [images.shape for images in longer.images] == [(2, *SHAPE)] * 3
    for images, one, other in zip(longer.images, short.notes["losses"], longer.notes["losses"], strict=True):
        assert np.isfinite(images).all()
        assert images.min() >= 0
        assert images.max() <= 1
        assert other < one or other <= 1e-7
    assert longer.notes["target"] == "gradient"
    assert longer.notes["unknowns"] == [2 * 64] * 3
    parameters = sum(array.size for array in fresh().values())
    assert all(0.5 * parameters < equations <= parameters for equations in longer.notes["equations"])
    assert all(0 < iterations <= 80 for iterations in longer.notes["iterations"])
    assert longer.label_source == ATTACKS[name].Settings().labels


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_how_it_took_weights(averaging, name):
    finding = attack(averaging, name, steps=10, restarts=1)
    assert finding.images[0].shape == (6, *SHAPE)
    assert np.isfinite(finding.images[0]).all()
    if ATTACKS[name].Settings().unroll:
        assert finding.notes["target"] == "weights after 2 local steps, simulated"
    else:
        assert finding.notes["target"] == "mean gradient of the local steps, converted from weights"
    with pytest.raises(AccessRefused, match="learning-known"):
        attack(averaging, name, flags=(), steps=10)


@pytest.mark.parametrize("name", ["dlf", "whitened-matching"])
def test_one_image_behind_several_local_steps_comes_back(tmp_path, name):
    tape = Tape(tmp_path)
    federation = Federation([np.tile(np.arange(7, 8), 1)], "weights", rate=0.1, batch=4)
    weights = fresh()
    updates = federation.round(weights, 1, np.random.default_rng(0))[0]
    for _ in range(2):  # two more epochs on the same image
        step = federation.round(updates[0].payload, 1, np.random.default_rng(0))[0]
        updates = [Update(0, "weights", step[0].payload, 1, {"loss": 1.0})]
    tape.on_round("trunk", Order(1, Task("work", {}, "weights"), weights, {}), updates)
    watcher = Watcher("updates", ("learning-known",))
    facts = knowledge(tape, watcher, learning={"learning-rate": 0.1, "batch-size": 4, "local-epochs": 3})
    found = ATTACKS[name](ATTACKS[name].Settings())(tape.view(watcher), facts, np.random.default_rng(0))
    assert found.notes["target"] == "weights after 3 local steps, simulated"
    assert psnr(torch.from_numpy(found.images[0]), torch.from_numpy(digits()[0][7:8])).min() >= 25


def net_targets(sizes, seed=0):
    """Return a convolutional net and the targets of so many images each."""
    model = blank(name=NET)
    weights = fresh(seed, name=NET)
    load_weights(model, weights)
    images, labels = digits()
    places = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    targets = [
        Target(gradient_of(model, images[ids], labels[ids]), labels[ids][None], LocalWork(len(ids), len(ids)))
        for ids in places
    ]
    return model, targets


@pytest.mark.parametrize("name", ["inverting-gradients", "grad-inversion", "whitened-matching"])
def test_restarts_and_targets_side_by_side_are_the_same_as_one_by_one(monkeypatch, name):
    model, targets = net_targets([2, 2])
    choices = ATTACKS[name].Settings(steps=8, restarts=3, precision="float64")
    draws = lambda: [np.random.default_rng(seed) for seed in (1, 2)]  # noqa: E731
    together = searching.search(model, targets, SHAPE, choices, draws())
    monkeypatch.setattr(trialling, "together", lambda *about: 1)
    looped = searching.search(model, targets, SHAPE, choices, draws())
    alone = [searching.search(model, [t], SHAPE, choices, [rng])[0] for t, rng in zip(targets, draws(), strict=True)]
    for one, other, third in zip(together, looped, alone, strict=True):
        np.testing.assert_allclose(one.losses, other.losses, rtol=1e-6)
        np.testing.assert_allclose(one.images, other.images, atol=1e-5)
        np.testing.assert_allclose(third.images, other.images, atol=1e-5)


def recorded_net(folder, sizes):
    """Return the tape of a round of clients with a convolutional net, and what their observer knows."""
    _, targets = net_targets(sizes)
    tape = record(folder, [target.gradient for target in targets], sizes, fresh(0, name=NET))
    return tape, {"model": partial(blank, name=NET)}


@pytest.mark.parametrize("name", ["inverting-gradients", "gradient-matching"])
def test_what_was_kept_is_not_searched_again(tmp_path, monkeypatch, name):
    tape, about = recorded_net(tmp_path / "tape", [2, 1, 2])
    kept = {"store": tmp_path / "kept"}
    run = partial(attack, tape, name, clients="all", steps=20, restarts=2)
    plain = run(about=about)
    first = run(about=about | kept)
    files = sorted(path.name for path in kept["store"].iterdir())
    grouped = ["r1-c0.safetensors", "r1-c1.safetensors"]
    assert files == (grouped if name == "gradient-matching" else [*grouped, "r1-c2.safetensors"])
    (kept["store"] / "r1-c1.safetensors").unlink()
    searched = []
    original = searching.search
    spy = lambda *args: searched.append(len(args[1])) or original(*args)  # noqa: E731
    monkeypatch.setattr("fedunlearn.attacks.gradient_inversion.inversion.search", spy)
    again = run(about=about | kept)
    assert searched == [1]
    for finding in (first, again):
        np.testing.assert_equal(vars(finding), vars(plain))


def test_oracle_labels_are_noted_even_when_the_images_were_kept(sgd, tmp_path):
    tape, federation = sgd
    truth = lambda round, client: digits()[1][federation.batches[round, client]]  # noqa: E731
    for _ in range(2):
        watcher = Watcher()
        facts = knowledge(tape, watcher, true_labels=truth, store=tmp_path)
        attack = ATTACKS["dlg"](ATTACKS["dlg"].Settings(labels="known", steps=20))
        finding = attack(tape.view(watcher), facts, np.random.default_rng(0))
        assert finding.label_source == "known"
        assert facts.grants == {"labels"}


def test_a_wrong_label_is_a_wrong_label(sgd):
    tape, federation = sgd
    truth = lambda round, client: digits()[1][federation.batches[round, client]]  # noqa: E731
    right, wrong = (
        attack(tape, "dlg", about={"true_labels": truth}, labels="known", wrong_labels=n, steps=400) for n in (0, 1)
    )
    assert len(np.setdiff1d(wrong.labels[0], right.labels[0])) == 1
    assert (right.label_source, wrong.label_source) == ("known", "known, 1 wrong")
    assert wrong.notes["losses"][0] > 100 * right.notes["losses"][0]


def test_labels_that_the_loss_belies_are_tried_again(sgd, monkeypatch):
    tape, federation = sgd
    true = np.bincount(digits()[1][federation.batches[1, 0]], minlength=10)
    label, absent = int(np.flatnonzero(true)[0]), int(np.flatnonzero(true == 0)[0])
    misled = true.astype(float)
    misled[[label, absent]] += (-0.6, 0.6)  # rounds to a wrong label; the truth is the next nearest
    monkeypatch.setattr(BiasForm, "estimate", lambda self, seen: misled)
    for tries in (1, 2):
        found = attack(tape, "dlg", labels="bias-form", label_tries=tries, steps=400)
        right = np.array_equal(np.bincount(found.labels[0], minlength=10), true)
        assert right == (tries == 2)
        assert (found.notes["losses"][0] < 1e-5) == right
    assert found.notes["labels-tried"] == 2


@given(
    estimate=st.lists(st.floats(0, 5), min_size=2, max_size=4).filter(lambda values: sum(values) > 0.1),
    total=st.integers(1, 5),
    most=st.integers(1, 12),
)
def test_the_nearest_counts_come_first(estimate, total, most):
    wanted = scaled(np.array(estimate), total)
    first = round_counts(wanted, total)
    found = likeliest(first, wanted, most)
    every = [c for c in itertools.product(range(total + 1), repeat=len(wanted)) if sum(c) == total]
    distances = sorted(((np.array(c) - wanted) ** 2).sum() for c in every)[: len(found)]
    assert len(found) == min(most, len(every)) == len({tuple(c) for c in found})
    np.testing.assert_allclose([((c - wanted) ** 2).sum() for c in found], distances, atol=1e-9)


@pytest.mark.parametrize(
    ("choices", "match"),
    [
        ({"labels": "bias-from"}, "choose one of"),
        ({"labels": "dlg"}, "choose one of"),
        ({"wrong_labels": 1}, "known"),
        ({"consistency": 0.1}, "Adam"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(choices, match):
    with pytest.raises(ValidationError, match=match):
        InversionSettings(**choices)


@pytest.mark.parametrize("name", ["dlg", "inverting-gradients", "linear-analytic"])
def test_a_gradient_of_zero_is_nothing_to_match(tmp_path, name):
    tape = record(tmp_path, [{n: np.zeros_like(a) for n, a in fresh().items()}], [2], fresh())
    with pytest.raises(AccessRefused, match="client 0's update is zero"):
        attack(tape, name)


def test_a_frozen_head_and_an_absent_bias_are_left_out_and_named(sgd, tmp_path):
    tape, federation = sgd
    batch = federation.batches[1, 0]
    whole = dict(tape.view(Watcher()).update(1, 0).payload)
    del whole["body.fc1.bias"]
    whole["head.weight"] = np.zeros_like(whole["head.weight"])
    partly = record(tmp_path, [whole], [2], fresh())
    truth = {"true_labels": lambda round, client: digits()[1][batch]}
    finding = attack(partly, "gradient-matching", about=truth, labels="known", steps=1500)
    assert finding.notes["absent"] == ["body.fc1.bias"]
    assert finding.notes["frozen"] == ["head.weight"]
    assert psnr(torch.from_numpy(finding.images[0]), torch.from_numpy(digits()[0][batch])).min() >= 30


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_another_precision_is_read_like_the_models_own(sgd, tmp_path, dtype):
    tape, federation = sgd
    batch = federation.batches[1, 0]
    cast = {name: array.astype(dtype) for name, array in tape.view(Watcher()).update(1, 0).payload.items()}
    other = record(tmp_path, [cast], [2], {name: array.astype(dtype) for name, array in fresh().items()})
    truth = {"true_labels": lambda round, client: digits()[1][batch]}
    finding = attack(other, "gradient-matching", about=truth, labels="known", steps=1500)
    assert psnr(torch.from_numpy(finding.images[0]), torch.from_numpy(digits()[0][batch])).min() >= 20


def test_nan_in_an_update_is_refused_in_one_line(sgd, tmp_path):
    payload = dict(sgd[0].view(Watcher()).update(1, 0).payload)
    payload["head.bias"] = np.full_like(payload["head.bias"], np.nan)
    with pytest.raises(AccessRefused, match=r"head\.bias has NaN"):
        attack(record(tmp_path, [payload], [2], fresh()), "dlg")


@pytest.mark.parametrize("exact", [False, True])
def test_grad_inversion_says_whose_statistics_it_used(tmp_path, exact):
    workshop = Workshop([3], {"name": "resnet18", "width": 4, "norm": "batch"}, image_shape=(3, 8, 8))
    updates, _ = perform(workshop.worker(), workshop.order("gradient", {"batch-size": 3}))
    tape = record(tmp_path, [updates[0].payload], [3], workshop.weights())
    about = {"model": workshop.blank, "image_shape": (3, 8, 8), "num_classes": CLASSES}
    flags = ("batch-norm-statistics",) if exact else ()
    choices = {"labels": "bias-form", "restarts": 2, "start": "grey"}
    one, more = (attack(tape, "grad-inversion", flags, about=about, steps=steps, **choices) for steps in (1, 15))
    assert more.notes["batch-norm"] == ("statistics of the batch" if exact else "running statistics of the broadcast")
    assert more.notes["losses"][0] < one.notes["losses"][0]


def test_without_such_layers_the_term_is_left_out(sgd):
    assert attack(sgd[0], "grad-inversion", steps=1).notes["batch-norm"] == "the model has none"
