"""Probes of classes: where a model sends them, and what becomes of them from one model to the next."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit

from fedunlearn.attacks.forgotten_class.class_odds import confusion, leaning, log_odds, odds_of, own_odds
from fedunlearn.attacks.forgotten_class.confusion_fingerprint import ConfusionFingerprint
from fedunlearn.attacks.forgotten_class.probe_delta import ProbeDelta, Probes, surest
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.shadows import Shadow
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import CLASSES, SHAPE, Federation, Watcher, digits, fresh, knowledge

FORGOTTEN = 6
PUBLIC = (digits()[0][1500:], digits()[1][1500:])
LABELLED = ("public-labelled",)


@pytest.fixture(scope="module")
def trained():
    """Return the weights of a model that tells digits apart."""
    federation = Federation([np.arange(n, n + 100) for n in range(0, 1000, 100)], "weights", rate=1.0)
    weights, rng = fresh(), np.random.default_rng(0)
    for number in range(1, 11):
        _, weights = federation.round(weights, number, rng)
    return weights


def lowered(weights, fall, label=FORGOTTEN):
    return weights | {"head.bias": weights["head.bias"] - fall * (np.arange(CLASSES) == label).astype("f4")}


@pytest.fixture(scope="module")
def tape(trained, tmp_path_factory):
    """Return a tape whose branch `dead` never answers 6, `shy` hardly less than before, `control` as before."""
    tape = Tape(tmp_path_factory.mktemp("tape"))
    for branch, fall in (("dead", 50), ("shy", 0.3), ("control", 0)):
        after = lowered(trained, fall)
        tape.mark(branch, request_round=0, before=trained, after=after, final=after)
    return tape


def look(tape, attack, access, branch="dead", flags=LABELLED, about=None, **choices):
    watcher = Watcher(access, flags)
    facts = knowledge(tape, watcher, branch, **({"public": PUBLIC} | (about or {})))
    finding = attack(attack.Settings(**choices))(tape.view(watcher, branch), facts, np.random.default_rng(0))
    return finding, facts


# confusion-fingerprint


@pytest.mark.parametrize("form", ["leaning", "own"])
@pytest.mark.parametrize("access", ["labels", "probabilities", "probabilities-before-after"])
def test_a_dead_class_is_sent_elsewhere(tape, access, form):
    finding, facts = look(tape, ConfusionFingerprint, access, form=form)
    assert finding.scores.argmax() == FORGOTTEN
    assert finding.named == (FORGOTTEN,)
    assert facts.query.count == len(PUBLIC[0]) * (2 if "before" in access else 1)
    assert finding.notes["sent-to"]["class"] == FORGOTTEN


@pytest.mark.parametrize("attack", [ConfusionFingerprint, ProbeDelta])
def test_a_class_that_is_hardly_forgotten_shows_between_two_models(tape, attack):
    finding, _ = look(tape, attack, "probabilities-before-after", "shy")
    assert finding.scores.argmax() == FORGOTTEN
    assert finding.named == (FORGOTTEN,)
    same, _ = look(tape, attack, "probabilities-before-after", "control")
    assert same.named == ()
    assert np.ptp(same.scores) < 1.0  # nothing changed: all tie


def test_a_class_without_public_samples_is_refused(tape):
    some = PUBLIC[1] != 3
    with pytest.raises(AccessRefused, match="no sample of class 3"):
        look(tape, ConfusionFingerprint, "labels", about={"public": (PUBLIC[0][some], PUBLIC[1][some])})
    with pytest.raises(AccessRefused, match="public-labelled"):
        look(tape, ConfusionFingerprint, "labels", about={"public": (None, None)})


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.booleans())
def test_a_confusion_matrix_knows_no_class_numbers(seed, sure):
    rng = np.random.default_rng(seed)
    labels, order = np.concatenate([np.arange(4), rng.integers(4, size=20)]), rng.permutation(4)
    place = np.argsort(order)
    answers = rng.dirichlet(np.full(4, 0.1), size=24)
    if sure:
        answers = answers.argmax(axis=1)
    renumbered = place[answers] if sure else answers[:, order]
    one, other = log_odds(answers, labels, 4), log_odds(renumbered, place[labels], 4)
    for read in (own_odds, leaning):
        np.testing.assert_allclose(read(other), read(one)[order])
    np.testing.assert_allclose(confusion(answers, labels, 4).sum(axis=1), 1)


def test_classes_that_are_confused_with_each_other_lean_nowhere():
    rates = np.array([[0.6, 0.4, 1e-9], [0.4, 0.6, 1e-9], [1e-9, 1e-9, 1]])
    odds = odds_of(rates)
    assert leaning(odds)[0] == leaning(odds)[1]
    forgotten = odds.copy()
    forgotten[:, 0] -= 2  # class 0 is lowered everywhere
    assert leaning(forgotten)[0] == pytest.approx(leaning(odds)[0] - 4)


def test_odds_agree_with_scipy_and_lose_nothing():
    p = np.random.default_rng(0).dirichlet(np.ones(5), size=7)
    np.testing.assert_allclose(odds_of(p), logit(p))
    np.testing.assert_allclose(odds_of(np.array([1.0, 1e-6, 0.0]))[0], 6 * np.log(10))
    np.testing.assert_array_equal(odds_of(np.array([1.0, 0.0])), [16, -16])


def test_labels_count_half_a_one_more():
    answers, labels = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    np.testing.assert_allclose(confusion(answers, labels, 2), [[2.5 / 4, 1.5 / 4], [0.5 / 2, 1.5 / 2]])


# probe-delta

WAYS = [
    ("weights-before-after", (), "auto", "by gradient"),
    ("probabilities-before-after", LABELLED, "auto", "public"),
    ("weights-before-after", LABELLED, "public", "public"),
    ("probabilities-before-after", (), "auto", "bred"),
    ("probabilities-before-after", LABELLED, "optimised", "bred"),
]


@pytest.mark.parametrize(("access", "flags", "probes", "made"), WAYS)
@pytest.mark.parametrize("form", ["log-odds", "difference"])
def test_the_probes_of_a_dead_class_fall(tape, access, flags, probes, made, form):
    finding, facts = look(tape, ProbeDelta, access, flags=flags, probes=probes, form=form, queries=6000)
    assert finding.notes["probes"] == made
    assert finding.scores.argmax() == FORGOTTEN
    assert finding.named == (FORGOTTEN,)
    assert finding.prototypes.shape == (CLASSES, *SHAPE)
    if made != "bred":
        assert facts.query.count == 2 * finding.notes["probe-count"]


@pytest.mark.parametrize("queries", [100, 777, 3000])
def test_bred_probes_keep_to_their_budget(tape, queries):
    _, facts = look(tape, ProbeDelta, "probabilities-before-after", flags=(), queries=queries)
    assert queries / 4 <= facts.query.count <= queries


def test_public_probes_need_labelled_images(tape):
    with pytest.raises(AccessRefused, match="public-labelled"):
        look(tape, ProbeDelta, "weights-before-after", flags=("public-unlabelled",), probes="public")


def test_only_probes_that_hit_count():
    attack = ProbeDelta(ProbeDelta.Settings(form="difference"))
    before = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
    after = np.array([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8], [0.0, 1.0]])
    found = attack._evidence(Probes(np.zeros((4, *SHAPE)), np.array([0, 0, 1, 1])), before, after)
    np.testing.assert_allclose(found.scores, [0.4, -0.1])  # the second and the fourth were taken for the other class
    lost = attack._evidence(Probes(np.zeros((2, *SHAPE)), np.array([0, 1])), before[2:], after[2:])
    np.testing.assert_allclose(lost.scores, [0.1, -0.6])  # none hit: all count


def test_the_surest_probe_is_shown():
    probes = Probes(np.arange(4.0)[:, None, None, None], np.array([0, 0, 1, 1]))
    answers = np.array([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1], [0.5, 0.5]])
    np.testing.assert_array_equal(surest(probes, answers, 2).ravel(), [1, 3])


# Shadows: the attacker's own models cost no queries


@pytest.mark.parametrize(
    ("attack", "access", "choices"),
    [
        (ConfusionFingerprint, "labels", {}),
        (ConfusionFingerprint, "probabilities-before-after", {}),
        (ProbeDelta, "weights-before-after", {"steps": 10}),
        (ProbeDelta, "probabilities-before-after", {"probes": "optimised", "queries": 2000}),
    ],
)
def test_a_decision_fitted_on_shadows_costs_no_queries(tape, trained, attack, access, choices):
    def shadows(count, *, classes):
        fallen = [(label,) if classes else () for label in range(count)]
        return [Shadow(trained, lowered(trained, 50, f[0]) if f else trained, f) for f in fallen]

    _, plain = look(tape, attack, access, **choices)
    fitted, facts = look(tape, attack, access, decision="youden", shadows=3, about={"shadows": shadows}, **choices)
    assert fitted.named == (FORGOTTEN,)
    assert facts.query.count == plain.query.count
