"""Images rebuilt from gradients."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torchmetrics.functional.image import peak_signal_noise_ratio

from fedunlearn.attacks.gradient_inversion.matching import GradientMatching
from fedunlearn.attacks.gradient_inversion.search import rebuild
from fedunlearn.attacks.gradient_inversion.settings import InversionSettings
from fedunlearn.models import Architecture, build, load_weights
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import SHAPE, Federation, Watcher, blank, digits, fresh, gradient_of, knowledge, non_iid


def psnr(rebuilt, truth):
    """Return the PSNR of each true image in the best one-to-one matching."""
    table = [[float(peak_signal_noise_ratio(r, t, data_range=1.0)) for t in truth] for r in rebuilt]
    rows, columns = linear_sum_assignment(table, maximize=True)
    return np.array(table)[rows, columns]


def attack(tape, flags=(), seed=0, true_labels=None, **choices):
    watcher = Watcher("updates", flags)
    learning = {"learning-rate": 0.5, "batch-size": 8, "local-epochs": 1}
    facts = knowledge(tape, watcher, true_labels=true_labels, learning=learning)
    finding = GradientMatching(InversionSettings(**choices))(tape.view(watcher), facts, np.random.default_rng(seed))
    return finding, facts


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return (tape, federation) of one FedSGD round with batches of 4."""
    tape, federation = Tape(tmp_path_factory.mktemp("tape")), Federation(non_iid(4, 400, seed=5), batch=4)
    federation.run(tape, "trunk", fresh(), 1)
    return tape, federation


def test_one_image_on_the_lenet_of_deep_leakage_comes_back_above_40_db():
    image, label = digits()[0][:1], digits()[1][:1]
    model = build(Architecture("lenet-zhu"), SHAPE, 10, np.random.default_rng(0))
    observed, draws = gradient_of(model, image, label), np.random.default_rng(1)
    found = rebuild(model, observed, label, SHAPE, InversionSettings(), draws)
    assert psnr(torch.from_numpy(found.images), torch.from_numpy(image)).min() >= 40


@pytest.mark.parametrize(
    "recipe",
    [
        {"objective": "euclidean", "optimiser": "lbfgs"},
        {"objective": "cosine", "optimiser": "signed-adam", "total_variation": 1e-5, "steps": 1500},
    ],
    ids=["lbfgs", "signed-adam"],
)
def test_a_batch_of_four_comes_back_with_its_labels(recorded, recipe):
    tape, federation = recorded
    finding, _ = attack(tape, **recipe)
    batch = federation.batches[1, 0]
    assert finding.targets == ((1, 0),)
    np.testing.assert_array_equal(finding.labels[0], np.sort(digits()[1][batch]))
    rebuilt = torch.from_numpy(finding.images[0])
    assert rebuilt.min() >= 0
    assert rebuilt.max() <= 1
    assert psnr(rebuilt, torch.from_numpy(digits()[0][batch])).min() >= 20
    assert (finding.label_source, finding.notes["target"]) == ("bias-form", "gradient")


def test_the_finding_is_decided_by_the_rng_alone(recorded):
    state = torch.get_rng_state()
    one, other, third = (attack(recorded[0], seed=seed, steps=20)[0].images[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, third)
    assert torch.equal(torch.get_rng_state(), state)


def test_known_labels_are_a_grant(recorded):
    tape, federation = recorded
    _, facts = attack(tape, steps=20)
    assert facts.grants == set()
    truth = lambda round, client: digits()[1][federation.batches[round, client]]  # noqa: E731
    finding, facts = attack(tape, labels="known", true_labels=truth, steps=20)
    assert facts.grants == {"labels"}
    assert finding.label_source == "known"


def test_weights_are_attacked_through_the_mean_gradient_and_say_so(tmp_path):
    tape = Tape(tmp_path)
    Federation(non_iid(3, 200, seed=5), "weights").run(tape, "trunk", fresh(), 1)
    finding, _ = attack(tape, ("learning-known",), images=6, steps=40)
    assert "converted from weights" in finding.notes["target"]
    assert finding.images[0].shape == (6, *SHAPE)


def test_the_best_restart_is_the_one_with_the_lowest_loss(recorded):
    batch = recorded[1].batches[1, 0]
    images, labels = digits()[0][batch], np.sort(digits()[1][batch])
    model = blank()
    load_weights(model, fresh())
    gradient = gradient_of(model, images, digits()[1][batch])
    few = {"steps": 20, "tolerance": 0.0}
    rng = np.random.default_rng(0)
    singles = [rebuild(model, gradient, labels, SHAPE, InversionSettings(**few), rng).loss for _ in range(3)]
    best = rebuild(model, gradient, labels, SHAPE, InversionSettings(**few, restarts=3), np.random.default_rng(0))
    np.testing.assert_allclose(sorted(best.losses), sorted(singles), rtol=1e-3)
    assert best.loss == min(best.losses)


def test_progress_is_told(recorded):
    told = []
    watcher = Watcher()
    facts = knowledge(recorded[0], watcher, progress=told.append)
    settings = InversionSettings(steps=100, restarts=2, tolerance=0.0)
    GradientMatching(settings)(recorded[0].view(watcher), facts, np.random.default_rng(0))
    places = [text.rpartition(",")[0] for text in told]
    steps = [int(place.removeprefix("client 0, step ")) for place in places]
    assert len(steps) >= 5
    assert steps == sorted(steps)
    assert 90 <= steps[-1] <= 100
    assert "loss" in told[0]
