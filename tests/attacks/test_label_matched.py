"""The estimator for trained models: by hand, and with the default choice on a federation that has learnt."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge

from fedunlearn.attacks import ATTACKS
from fedunlearn.attacks.label_restoration.bounds import fill_up, least_counts
from fedunlearn.attacks.label_restoration.margin_matched import (
    MarginMatched,
    WeightedFit,
    log_evidence,
    matching_margin,
)
from fedunlearn.attacks.label_restoration.observation import Observation
from fedunlearn.attacks.label_restoration.outputs import Outputs
from fedunlearn.attacks.label_restoration.public_scores import RIDGE, Calibration, PublicScores
from fedunlearn.attacks.label_restoration.restoring import round_counts
from fedunlearn.observer.tape import Tape
from tests.attacks.test_label_estimators import CLASSES, Head, batch, counted, estimate
from tests.observer.recorded import Federation, Watcher, digits, fresh, knowledge, non_iid


def public(seed, count=60):
    """Return features and labels, with images of every class."""
    features, labels = batch(seed, count)
    return features, np.concatenate([np.arange(CLASSES), labels[CLASSES:]])


def raised(outputs, margin):
    """Return the outputs with the logit of every true class raised."""
    truth = np.eye(outputs.probabilities.shape[1])[outputs.labels]
    odds = outputs.probabilities * np.exp(margin * truth)
    return Outputs(outputs.features, odds / odds.sum(axis=1, keepdims=True), outputs.labels)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_the_certain_counts_are_not_above_the_truth(seed, total):
    features, labels = batch(seed, total)
    least = least_counts(Head(seed, scale=3).observe(features, labels))
    assert (least <= counted(labels)).all()
    assert least.any()
    if total == 1:
        np.testing.assert_array_equal(least, counted(labels))


def test_certain_counts_over_local_steps_are_not_rounded_and_never_more_than_there_are():
    gradient = {"head.bias": np.array([-0.45, 0.1, 0.35]), "head.weight": np.zeros((3, 2))}
    one = Observation(gradient, 4, np.ones(1), (gradient, gradient))
    several = Observation(gradient, 4, np.full(2, 0.5), (gradient, gradient))
    np.testing.assert_allclose(least_counts(one), [2, 0, 0])
    np.testing.assert_allclose(least_counts(several), [1.8, 0, 0])
    wrong = {"head.bias": np.array([-1.5, -0.5, 2.0]), "head.weight": np.zeros((3, 2))}
    np.testing.assert_allclose(least_counts(Observation(wrong, 4, np.ones(1), (wrong, wrong))), [3, 1, 0])


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-3, 9)), min_size=2, max_size=9), st.integers(0, 9))
def test_filling_up_keeps_the_bounds_and_the_total(pairs, more):
    least, wanted = (np.array(part, float) for part in zip(*pairs, strict=True))
    total = int(least.sum()) + more
    counts = fill_up(least, wanted, total)
    assert (counts >= least).all()
    assert counts.sum() == pytest.approx(total)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_scores_of_a_batch_are_those_of_its_images_by_a_ridge_regression(seed):
    head, (features, labels) = Head(seed), public(seed)
    outputs = head.outputs(features, labels)
    scores = PublicScores(outputs)
    gradients = np.einsum("nc,nm->ncm", outputs.errors, features).reshape(len(labels), -1)
    ridge = RIDGE * np.mean(np.sum(gradients**2, axis=1))
    target = outputs.probabilities - outputs.probabilities.mean(axis=0)
    seen = head.observe(*batch(seed + 1, 9))
    found = scores.of_batch(9 * seen.weight, 9 * seen.bias)
    np.testing.assert_allclose(found[: CLASSES - 1], 9 * seen.bias[:-1])
    expected = KernelRidge(alpha=ridge).fit(gradients, target).predict(9 * seen.weight.reshape(1, -1))[0]
    np.testing.assert_allclose(found[CLASSES - 1 :], expected[:-1], atol=1e-8)
    # An image's own score comes from the regression on all others.
    rest = np.arange(len(labels)) != 7
    other = KernelRidge(alpha=ridge).fit(gradients[rest], target[rest]).predict(gradients[7:8])[0]
    own = scores._own_scores(0.0)[7]
    np.testing.assert_allclose(own, np.concatenate([outputs.errors[7, :-1], other[:-1]]), atol=1e-8)


@pytest.mark.parametrize("margin", [0.0, 1.5])
def test_a_margin_raises_the_logit_of_the_true_class(margin):
    outputs = Head(2).outputs(*public(2))
    np.testing.assert_allclose(PublicScores(outputs).errors(margin), raised(outputs, margin).errors, atol=1e-12)


@pytest.mark.parametrize("margin", [0.0, 0.5, 1.0])
def test_the_margin_of_a_batch_of_surer_public_images_is_found(margin):
    head, (features, _) = Head(4), public(4, 200)
    rng = np.random.default_rng(0)  # labels as likely as the head thinks: it has learnt something
    labels = np.array([rng.choice(CLASSES, p=row) for row in head.outputs(features).probabilities])
    outputs = head.outputs(features, labels)
    surer = raised(outputs, margin)
    weight, bias = surer.errors.T @ surer.features, surer.errors.sum(axis=0)
    scores = PublicScores(outputs)
    assert matching_margin(scores, weight, bias, 200) == pytest.approx(margin, abs=0.25)
    assert matching_margin(scores, weight, bias, 10**6) == pytest.approx(2 * scores.learnt(), abs=0.125)  # the limit


def test_a_class_without_public_images_gets_some_of_the_others():
    outputs = Head(1).outputs(*batch(1, total=70, classes=CLASSES - 1))
    scores = PublicScores(outputs)
    assert scores.sizes[-1] == 50
    assert np.isfinite(scores.calibration(1.0).spreads).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=30)
def test_where_all_images_are_answered_alike_the_counts_are_exact(seed, total):
    head, (features, labels), known = Head(seed, scale=0.3), batch(seed, total), public(seed)
    head.weight[:] = 0  # nothing was learnt: the answer is the bias alone
    seen = head.observe(features, labels, head.outputs(*known))
    np.testing.assert_array_equal(round_counts(estimate(MarginMatched, seen), total), counted(labels))


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
@settings(max_examples=30)
def test_counts_keep_their_bounds_and_their_total(seed, total):
    head, (features, labels) = Head(seed, scale=2), batch(seed, total)
    seen = head.observe(features, labels, head.outputs(*public(seed)))
    counts = estimate(MarginMatched, seen)
    assert (counts >= least_counts(seen) - 1e-9).all()
    assert counts.sum() == pytest.approx(total)


def test_without_noise_the_weighted_fit_solves_its_equations():
    rng = np.random.default_rng(0)
    centres, counts = rng.normal(size=(6, 3)), np.array([5.0, 0.0, 7.0])
    calibration = Calibration(centres, np.stack([1e-6 * np.eye(6)] * 3))
    fit = WeightedFit(centres @ counts, np.full(3, 1e9), 12, np.zeros(3))
    np.testing.assert_allclose(fit.solve(calibration), counts, atol=1e-4)
    np.testing.assert_allclose(fit.solve(calibration, prior_variance=1e-9), [4, 4, 4], atol=0.01)
    assert fit.evenness([calibration]) < 0.2
    even = WeightedFit(centres @ np.full(3, 40.0), np.full(3, 1e9), 120, np.zeros(3))
    assert even.evenness([calibration]) > 0.5


def test_the_doubt_is_the_share_of_the_variance_that_noise_leaves_open():
    spread = 0.25
    calibration = Calibration(np.vstack([np.eye(3), np.zeros((1, 3))]), np.stack([spread * np.eye(4)] * 3))
    for total in (6, 60):
        fit = WeightedFit(np.zeros(4), np.full(3, 20), total, np.zeros(3))
        noise = 3 * spread * (total / 3 + (total / 3) ** 2 / 20)
        prior = total * (total + 0.9) / 3 / 1.9  # a Dirichlet(0.3)-multinomial's, along what keeps the sum
        assert fit.doubt(calibration) == pytest.approx(noise / (noise + prior))
    assert (
        WeightedFit(np.zeros(4), np.full(3, 20), 6, np.zeros(3)).doubt(
            replace(calibration, spreads=1e-9 * calibration.spreads)
        )
        < 1e-6
    )


def test_the_evidence_is_that_of_a_gaussian():
    rng = np.random.default_rng(1)
    columns, scores, variance = rng.normal(size=(6, 3)), rng.normal(size=6), 1.7

    def density(prior):
        covariance = np.eye(6) + prior * columns @ columns.T
        return -0.5 * scores @ np.linalg.solve(covariance, scores) - 0.5 * np.linalg.slogdet(covariance)[1]

    values, vectors = np.linalg.eigh(columns.T @ columns)
    found = log_evidence(variance, values, vectors.T @ columns.T @ scores)
    assert found == pytest.approx(density(variance) - density(0.0))


@pytest.fixture(scope="module", params=["gradient", "weights"])
def learnt(request, tmp_path_factory):
    """Return (tape, federation, round): clients with few classes each, observed when they have learnt for a while."""
    held = non_iid(16, 1200, seed=5)
    training = Federation(held, "weights", rate=0.3)
    weights = training.run(Tape(tmp_path_factory.mktemp("training")), "trunk", fresh(), 12)
    tape = Tape(tmp_path_factory.mktemp("tape"))
    federation = Federation(held, request.param, rate=0.1, batch=32)
    federation.run(tape, "trunk", weights, 1)
    return tape, federation


def test_on_a_model_that_has_learnt_it_beats_the_bias_form(learnt):
    tape, federation = learnt
    images, labels = (part[1200:] for part in digits())
    flags = ("public-labelled", "learning-known")
    watcher = Watcher("updates", flags)
    learning = {"learning-rate": 0.1, "batch-size": 32, "local-epochs": 1}
    facts = knowledge(tape, watcher, public=(images, labels), learning=learning)
    reached = {}
    for name in ("bias-form", "margin-matched", "auto"):
        finding = ATTACKS[name](ATTACKS[name].Settings())(tape.view(watcher), facts, np.random.default_rng(0))
        truths = [np.bincount(digits()[1][federation.batches[target]], minlength=10) for target in finding.targets]
        pairs = zip(finding.counts, truths, strict=True)
        reached[name] = np.mean([np.minimum(counts, truth).sum() / truth.sum() for counts, truth in pairs])
    print(federation.kind, reached)
    assert reached["margin-matched"] >= reached["bias-form"] + 0.05
    assert reached["auto"] >= reached["margin-matched"] - 0.01
    assert finding.notes["estimators"] == ["class-conditional-nnls", "margin-matched"]
