"""The forgotten class, from answers and from biases."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedunlearn.attacks.forgotten_class.bias_drop import BiasDrop, level
from fedunlearn.attacks.forgotten_class.decisions import broken_ties, critical_deviate, outliers
from fedunlearn.attacks.forgotten_class.null_class_query import (
    NullClassQuery,
    NullClassSettings,
    class_shares,
    noise_images,
)
from fedunlearn.attacks.forgotten_class.windows import fewer_rises, larger_drop
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import (
    CLASSES,
    Federation,
    Watcher,
    digits,
    fresh,
    knowledge,
    non_iid,
    recorded_run,
    without_class,
)

FORGOTTEN = 6


def look(tape, attack, watcher, branch="forgotten", seed=0, **choices):
    facts = knowledge(tape, watcher, branch, public=(digits()[0][1500:], None))
    return attack(attack.Settings(**choices))(tape.view(watcher, branch), facts, np.random.default_rng(seed))


@pytest.fixture(scope="module", params=["gradient", "weights"])
def tape(request, tmp_path_factory):
    """Return the recording of a federation that forgets class 6 after its training."""
    kind = request.param
    rate, batch, rounds = (0.5, 4, 60) if kind == "gradient" else (0.3, 8, 8)
    federation = Federation(non_iid(8, 1000, seed=3), kind, rate, batch)
    return recorded_run(tmp_path_factory.mktemp(kind), federation, rounds, 5, FORGOTTEN)


# null-class-query


@pytest.fixture(scope="module")
def dead_class(tmp_path_factory):
    """Return a tape whose final model never predicts class 6; before the request it was trained to."""
    tape = Tape(tmp_path_factory.mktemp("tape"))
    before = Federation(non_iid(8, 1000, seed=3), "weights", 0.3).run(tape, "trunk", fresh(), 8)
    after = before | {"head.bias": before["head.bias"] - 50 * (np.arange(CLASSES) == FORGOTTEN).astype("f4")}
    tape.mark("forgotten", request_round=8, before=before, after=after, final=after)
    return tape


@pytest.mark.parametrize("access", ["labels", "probabilities", "probabilities-before-after"])
@pytest.mark.parametrize("flags", [(), ("public-unlabelled",)])
def test_a_bias_of_minus_fifty_is_noticed_at_every_level(dead_class, access, flags):
    finding = look(dead_class, NullClassQuery, Watcher(access, flags), samples=2000)
    assert finding.scores.argmax() == FORGOTTEN
    if access == "probabilities-before-after":
        assert finding.named == (FORGOTTEN,)


def test_the_threshold_names_what_is_hardly_predicted(dead_class):
    finding = look(dead_class, NullClassQuery, Watcher("probabilities", ("public-unlabelled",)))
    assert finding.named == (FORGOTTEN,)
    assert finding.notes["decision"] == "threshold"


def test_noise_on_one_model_only_ranks(dead_class):
    finding = look(dead_class, NullClassQuery, Watcher("probabilities"), samples=500)
    assert (finding.named, finding.notes["decision"]) == ((), "none")


def test_public_images_are_asked_about_only_where_there_are_some(dead_class):
    with pytest.raises(AccessRefused, match="public"):
        look(dead_class, NullClassQuery, Watcher("probabilities"), images="public")
    with pytest.raises(AccessRefused, match="before"):
        look(dead_class, NullClassQuery, Watcher("probabilities"), models="two")


def test_a_model_retrained_without_the_class_is_found_out(tmp_path):
    other, held = Tape(tmp_path), non_iid(8, 1000, seed=3)
    final = Federation(without_class(held, FORGOTTEN), "weights", 0.3).run(other, "forgotten", fresh(), 8)
    other.mark("forgotten", request_round=0, before=fresh(), after=final, final=final)
    finding = look(other, NullClassQuery, Watcher("probabilities", ("public-unlabelled",)))
    assert finding.scores.argmax() == FORGOTTEN
    assert finding.named == (FORGOTTEN,)


def test_shares_against_counting():
    np.testing.assert_allclose(class_shares(np.array([0, 0, 1, 3]), 4), np.array([2.5, 1.5, 0.5, 1.5]) / 6)
    answers = np.random.default_rng(0).dirichlet(np.ones(4), 30).astype("f4")
    np.testing.assert_allclose(class_shares(answers, 4), answers.mean(0), rtol=1e-5)


@pytest.mark.parametrize("noise", ["sparse", "uniform", "gaussian"])
def test_noise_is_made_of_pixels(noise):
    images = noise_images(NullClassSettings(noise=noise, samples=50), (2, 5, 5), np.random.default_rng(0))
    assert (images.shape, images.dtype) == ((50, 2, 5, 5), np.float32)
    assert 0 <= images.min() < images.max() <= 1


# bias-drop


def test_the_bias_of_an_absent_class_never_rises(tape):
    view = tape.view(Watcher(), "forgotten")
    for number in range(view.num_rounds - 4, view.num_rounds + 1):
        start = level(view.broadcast(number))
        for client in view.clients(number):
            update = view.update(number, client)
            change = -level(update.payload) if update.kind == "gradient" else level(update.payload) - start
            assert change[FORGOTTEN] < 0
            np.testing.assert_allclose(change.sum(), 0, atol=1e-5)


@pytest.mark.parametrize("flags", [("request-round",), ()])
def test_updates_give_the_forgotten_class_away_and_the_control_gives_nothing(tape, flags):
    finding = look(tape, BiasDrop, Watcher("updates", flags))
    assert finding.named == (FORGOTTEN,)
    assert finding.scores.argmax() == FORGOTTEN
    assert (finding.notes["form"], finding.notes["nominal-false-alarm-rate"]) == ("rises", 0.05)
    assert look(tape, BiasDrop, Watcher("updates", flags), "control").named == ()
    if not flags:
        rounds = tape.view(Watcher()).num_rounds
        assert abs(finding.notes["request-round"] - rounds) <= 2


@pytest.mark.parametrize(
    ("access", "form"), [("broadcasts", "sum"), ("aggregate-only", "sum"), ("weights-before-after", "two-models")]
)
def test_the_form_follows_the_level(tape, access, form):
    finding = look(tape, BiasDrop, Watcher(access, ("request-round",)))
    assert finding.notes["form"] == form
    assert finding.scores.argmax() == FORGOTTEN
    assert look(tape, BiasDrop, Watcher(access, ("request-round",)), "control").named == ()


def test_a_form_above_the_level_is_refused(tape):
    with pytest.raises(AccessRefused, match="updates"):
        look(tape, BiasDrop, Watcher("broadcasts", ("request-round",)), form="rises")


def test_without_rounds_before_the_request_nothing_is_named(tmp_path):
    federation = Federation(non_iid(4, 300, seed=3))
    tape = recorded_run(tmp_path, federation, rounds=2, extra=3, forget=FORGOTTEN)
    for form in ("rises", "sum"):
        finding = look(tape, BiasDrop, Watcher("updates", ("request-round",)), form=form)
        assert finding.named == ()
        assert np.isfinite(finding.scores).all()


def test_without_rounds_after_the_request_there_is_nothing_to_compare(tmp_path):
    tape = recorded_run(tmp_path, Federation(non_iid(2, 100, seed=3)), rounds=4, extra=0, forget=FORGOTTEN)
    with pytest.raises(AccessRefused, match="none after"):
        look(tape, BiasDrop, Watcher("updates", ("request-round",)))


def test_a_head_without_bias_is_read_by_its_rows():
    head = {"head.weight": np.arange(6, dtype="f4").reshape(2, 3)}
    np.testing.assert_array_equal(level(head), [3, 12])
    np.testing.assert_array_equal(level(head | {"head.bias": np.array([1, 2], "f4")}), [1, 2])


# the tests behind the decisions


@given(st.integers(2, 20), st.integers(1, 6), st.integers(1, 10), st.integers(0, 10**6))
def test_rises_are_compared_by_fishers_exact_test(before, after, updates, seed):
    rng = np.random.default_rng(seed)
    old, new = (list(rng.normal(size=(rounds, updates, 3))) for rounds in (before, after))
    found = fewer_rises(old, new)
    for label in range(3):
        risen = [sum((part[:, label] > 0).sum() for part in parts) for parts in (new, old)]
        table = [[risen[0], after * updates - risen[0]], [risen[1], before * updates - risen[1]]]
        np.testing.assert_allclose(found.p_values[label], stats.fisher_exact(table, "less").pvalue, rtol=1e-8)


def test_one_round_is_compared_by_students_test():
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=(9, 4)), rng.normal(size=(1, 4))
    expected = stats.ttest_ind(old, new, alternative="greater")  # one value has no spread: pooled is the old one's
    found = larger_drop(list(old), list(new))
    np.testing.assert_allclose(found.scores, expected.statistic)
    np.testing.assert_allclose(found.p_values, expected.pvalue)


def test_without_a_request_the_p_values_of_drops_are_uniform():
    rng = np.random.default_rng(0)
    runs = rng.normal(size=(400, 12, 5)) * rng.random(5)
    p_values = np.concatenate([larger_drop(list(run[:8]), list(run[8:])).p_values for run in runs])
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_critical_deviates_against_the_handbook():
    # NIST/SEMATECH e-Handbook of Statistical Methods 1.3.5.17.3: n = 54, two-sided at 5 %
    published = [3.158, 3.151, 3.143, 3.136, 3.128, 3.120, 3.111, 3.103, 3.094, 3.085]
    computed = [critical_deviate(54, i, 0.025, 54 - i - 1) for i in range(1, 11)]
    np.testing.assert_allclose(computed, published, atol=1e-3)


def test_outliers_are_rare_among_normal_scores_and_masked_ones_are_found():
    rng = np.random.default_rng(0)
    alarms = [bool(outliers(rng.normal(size=10), 0.05)) for _ in range(1000)]
    assert np.mean(alarms) <= 0.05
    scores = rng.normal(size=20)
    scores[[3, 11, 17]] = 30.0, 31.0, 32.0
    assert outliers(scores, 0.05) == (3, 11, 17)
    assert outliers(-scores, 0.05) == ()
    assert outliers(np.ones(10), 0.05) == outliers(np.array([0.0, 9.0]), 0.05) == ()


def test_equal_scores_favour_nobody():
    rng = np.random.default_rng(0)
    first = np.bincount([broken_ties(np.zeros(4), rng).argmax() for _ in range(400)], minlength=4)
    assert stats.chisquare(first).pvalue > 0.001


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=8), st.integers(0, 99))
def test_breaking_ties_keeps_the_order(scores, seed):
    broken = broken_ties(np.array(scores, float), np.random.default_rng(seed))
    assert len(set(broken)) == len(scores)
    for i, j in zip(*np.triu_indices(len(scores), 1), strict=True):
        assert scores[i] == scores[j] or (scores[i] < scores[j]) == (broken[i] < broken[j])
