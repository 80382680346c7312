"""Prototypes of classes, by gradient and by breeding, and what their making tells of a forgotten class."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedunlearn.attacks.forgotten_class.evolution import EvolutionSettings, evolve, first_generation, smooth_noise
from fedunlearn.attacks.forgotten_class.inv_black import InvBlack
from fedunlearn.attacks.forgotten_class.inv_white import InvWhite
from fedunlearn.attacks.forgotten_class.inversion_curves import Curves, entropy, evidence, steps_until_sure
from fedunlearn.attacks.forgotten_class.null_class_query import NullClassQuery, NullClassSettings, noise_images
from fedunlearn.attacks.forgotten_class.prototypes import SearchSettings, best_of, curves_of, descend
from fedunlearn.models import load_weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.cache import ContentCache
from fedunlearn.observer.knowledge import probabilities
from fedunlearn.observer.shadows import Shadow
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import CLASSES, SHAPE, Federation, Watcher, blank, digits, fresh, knowledge

FORGOTTEN = 6
CRITERIA = ["auto", "odds", "leaning", "threshold", "entropy", "steps"]


@pytest.fixture(scope="module")
def trained():
    """Return the weights of a model that tells digits apart."""
    held = [np.arange(n, n + 100) for n in range(0, 1000, 100)]
    federation = Federation(held, "weights", rate=1.0)
    weights, rng = fresh(), np.random.default_rng(0)
    for number in range(1, 11):
        _, weights = federation.round(weights, number, rng)
    return weights


def without(weights, label=FORGOTTEN, fall=50):
    return weights | {"head.bias": weights["head.bias"] - fall * (np.arange(CLASSES) == label).astype("f4")}


def classifier(weights):
    model = blank()
    load_weights(model, weights)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def tape(trained, tmp_path_factory):
    """Return a tape with the branch `forgotten`, whose class 6 is dead, and `control`, in which nothing changed."""
    tape = Tape(tmp_path_factory.mktemp("tape"))
    after = without(trained)
    tape.mark("forgotten", request_round=0, before=trained, after=after, final=after)
    tape.mark("control", request_round=0, before=trained, after=trained, final=trained)
    return tape


def look(tape, attack, access, branch="forgotten", seed=0, flags=(), about=None, **choices):
    watcher = Watcher(access, flags)
    facts = knowledge(tape, watcher, branch, **(about or {}))
    finding = attack(attack.Settings(**choices))(tape.view(watcher, branch), facts, np.random.default_rng(seed))
    return finding, facts


# By gradient


def starts(count=2, seed=0):
    return np.random.default_rng(seed).random((count, *SHAPE), dtype=np.float32)


def test_on_a_trained_model_every_class_has_a_prototype(trained):
    found = descend(classifier(trained), starts(3), SearchSettings())
    assert (np.exp(found["own"][-1]) > 0.9).all()
    assert found["images"].min() >= 0
    assert found["images"].max() <= 1
    told = probabilities(classifier(trained), found["images"].astype("f4").reshape(-1, *SHAPE)).reshape(
        3, CLASSES, CLASSES
    )
    np.testing.assert_allclose(found["profiles"], told, atol=5e-3)
    np.testing.assert_array_equal(told.argmax(axis=2), np.tile(np.arange(CLASSES), (3, 1)))


def test_all_classes_at_once_are_as_one_by_one(trained):
    choices, model = SearchSettings(steps=12, tv=0.1, l2=0.5), classifier(trained)
    found = descend(model, starts(2), choices)
    for restart, label in ((0, 3), (1, 8)):
        image = torch.tensor(starts(2)[restart : restart + 1], requires_grad=True)
        adam = torch.optim.Adam([image], lr=choices.learning_rate)
        for step in range(choices.steps + 1):
            loss = model.loss(image, torch.tensor([label]))
            assert loss.item() == pytest.approx(-found["own"][step, restart, label], rel=1e-4)
            if step < choices.steps:
                smooth = image.diff(dim=-1).abs().mean() + image.diff(dim=-2).abs().mean()
                adam.zero_grad()
                (loss + choices.tv * smooth + choices.l2 * image.square().mean()).backward()
                adam.step()
                image.data.clamp_(0, 1)
        np.testing.assert_allclose(image.detach()[0], found["images"][restart, label], atol=1e-3)


def test_renumbering_the_classes_renumbers_the_curves(trained):
    order = np.random.default_rng(1).permutation(CLASSES)
    renumbered = trained | {name: trained[name][order] for name in ("head.weight", "head.bias")}
    one, other = (descend(classifier(w), starts(), SearchSettings(steps=15)) for w in (trained, renumbered))
    for name in ("own", "odds", "others"):
        np.testing.assert_allclose(other[name], one[name][..., order], atol=1e-3)


@pytest.mark.parametrize("access", ["final-weights", "weights-before-after"])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_dead_class_is_found_by_gradient(tape, criterion, access):
    finding, facts = look(tape, InvWhite, access, criterion=criterion, steps=40, restarts=2)
    assert finding.scores.argmax() == FORGOTTEN
    assert finding.prototypes.shape == (CLASSES, *SHAPE)
    assert facts.query.count == 0
    assert finding.notes["models"] == (2 if access == "weights-before-after" else 1)
    assert len(finding.notes["curve"]) == 5


def test_the_classes_are_named_and_a_control_names_none(tape):
    for decision in ("outliers", "threshold"):
        found, _ = look(tape, InvWhite, "final-weights", criterion="threshold", decision=decision)
        assert found.named == (FORGOTTEN,)
        quiet, _ = look(tape, InvWhite, "final-weights", "control", criterion="threshold", decision="threshold")
        assert quiet.named == ()
    same, _ = look(tape, InvWhite, "weights-before-after", "control", steps=10)
    assert same.named == ()
    assert np.ptp(same.scores) < 1.0  # nothing changed: all tie, and the order is the generator's


def test_two_models_cannot_be_had_where_one_is_shown(tape):
    with pytest.raises(AccessRefused, match="weights-before-after"):
        look(tape, InvWhite, "final-weights", models="two")


def test_prototypes_are_kept_by_content(tape, tmp_path):
    cache = ContentCache(tmp_path)
    for criterion in CRITERIA:
        look(tape, InvWhite, "final-weights", criterion=criterion, steps=5, about={"cache": cache})
    assert (cache.made, cache.reused) == (1, len(CRITERIA) - 1)
    look(tape, InvWhite, "final-weights", steps=6, about={"cache": cache})
    assert cache.made == 2
    look(tape, InvWhite, "weights-before-after", steps=5, about={"cache": cache})
    assert cache.made == 4  # from other noise: the first model's
    kept, _ = look(tape, InvWhite, "final-weights", steps=6, about={"cache": cache})
    new, _ = look(tape, InvWhite, "final-weights", steps=6)
    np.testing.assert_equal(vars(kept), vars(new))


# By breeding


def counted(model, asked):
    def ask(images):
        asked.append(len(images))
        return probabilities(model, images)

    return ask


@pytest.mark.parametrize("budget", [150, 1000, 5003])
def test_breeding_keeps_to_its_budget(trained, budget):
    asked = []
    choices = EvolutionSettings(sure=1.0, patience=1000, first=200)
    evolve(
        counted(classifier(trained), asked), SHAPE, choices, budget, lambda c: -c.own[-1, 0], np.random.default_rng(0)
    )
    per_generation = CLASSES * (choices.population - 2)
    assert sum(asked) <= budget < sum(asked) + per_generation
    assert asked == [min(200, budget // 2)] + [per_generation] * (len(asked) - 1)


def test_breeding_makes_prototypes_of_all_classes_and_stops_early(trained):
    asked = []
    choices = EvolutionSettings(sure=0.95, patience=1000)
    ask = counted(classifier(trained), asked)
    bred = evolve(ask, SHAPE, choices, 50_000, lambda c: -c.own[-1, 0], np.random.default_rng(0))
    assert (np.exp(bred.curves.own[-1, 0]) > 0.95).all()
    assert (np.diff(bred.curves.own[:, 0], axis=0) >= 0).all()  # the elite stays
    assert sum(asked) < 50_000
    assert asked[-1] < asked[1]  # classes that have come far enough breed no more
    told = probabilities(classifier(trained), bred.images[:, 0])
    np.testing.assert_allclose(told, bred.curves.profiles[0], atol=1e-5)
    noise = noise_images(NullClassSettings(samples=choices.first), SHAPE, np.random.default_rng(0))
    background = np.log(probabilities(classifier(trained), noise).mean(axis=0))
    np.testing.assert_allclose(bred.curves.others, np.broadcast_to(background, bred.curves.own.shape), rtol=1e-4)


def test_breeding_ends_when_the_order_settles(trained):
    bred = evolve(
        counted(classifier(trained), []),
        SHAPE,
        EvolutionSettings(sure=1.0, patience=4),
        50_000,
        lambda curves: np.arange(CLASSES),
        np.random.default_rng(0),
    )
    assert len(bred.curves.own) == 1 + 4


@pytest.mark.parametrize("access", ["probabilities", "probabilities-before-after"])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_dead_class_is_found_by_breeding(tape, criterion, access):
    finding, facts = look(tape, InvBlack, access, criterion=criterion, queries=6000)
    assert finding.scores.argmax() == FORGOTTEN
    assert facts.query.count == finding.notes["queries"] <= 6000
    assert finding.prototypes.shape == (CLASSES, *SHAPE)


def test_at_equal_queries_the_baseline_finds_it_too(tape):
    found, facts = look(tape, InvBlack, "probabilities")
    baseline, _ = look(tape, NullClassQuery, "probabilities", images="noise", samples=facts.query.count)
    assert found.scores.argmax() == baseline.scores.argmax() == FORGOTTEN


def test_the_generator_decides_what_is_bred(tape):
    one, again, other = (look(tape, InvBlack, "probabilities", seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_equal(vars(one), vars(again))
    assert not np.array_equal(one.scores, other.scores)


def test_labels_alone_are_refused_and_the_baseline_named(tape):
    with pytest.raises(AccessRefused, match="null-class-query works on labels"):
        look(tape, InvBlack, "labels")


def test_the_first_generation_is_the_fittest_noise():
    logs = np.log(np.random.default_rng(0).dirichlet(np.ones(3), size=7))
    noise = np.arange(7, dtype=np.float32)[:, None, None, None] * np.ones((1, *SHAPE), dtype=np.float32)
    herd = first_generation(noise, logs, 4)
    for label in range(3):
        np.testing.assert_array_equal(herd.images[label, :, 0, 0, 0], np.argsort(-logs[:, label])[:4])
    assert first_generation(noise[:2], logs[:2], 5).images.shape == (3, 5, *SHAPE)


def test_mutations_are_smooth_and_standard_at_their_knots():
    noise = smooth_noise((3000, 1, 9, 9), np.random.default_rng(0))
    assert stats.kstest(noise[:, 0, 0, 0], "norm").pvalue > 0.01
    assert np.corrcoef(noise[:, 0, 4, 4], noise[:, 0, 4, 5])[0, 1] > 0.5
    assert smooth_noise((2, 5, 3, 28, 28), np.random.default_rng(0)).shape == (2, 5, 3, 28, 28)


def test_bred_shadows_are_kept_by_content_and_cost_no_queries(tape, trained, tmp_path):
    cache = ContentCache(tmp_path)

    asked = set()

    def shadows(count, *, classes):
        fallen = [(label,) if classes else () for label in range(count)]
        asked.update(fallen)
        return [Shadow(trained, without(trained, labels[0]) if labels else trained, labels) for labels in fallen]

    about = {"shadows": shadows, "cache": cache, "public": digits()}
    choices = {"queries": 2000, "shadows": 2, "flags": ("public-labelled",), "about": about}
    one, facts = look(tape, InvBlack, "probabilities", decision="youden", **choices)
    again, _ = look(tape, InvBlack, "probabilities", decision="tree", **choices)
    assert len(list(tmp_path.glob("bred-prototypes-*"))) == len(asked)  # nothing was bred twice
    assert one.named == again.named == (FORGOTTEN,)
    assert facts.query.count == one.notes["queries"]


# What the curves tell


def curves(own, profiles=None):
    own = np.asarray(own, dtype=np.float64)
    return Curves(own, own + 1, own - 1, np.eye(own.shape[2])[None] if profiles is None else profiles)


def test_entropies_of_sure_and_of_empty_answers():
    profiles = np.stack([np.eye(4), np.eye(4)])
    profiles[:, 1] = 0.25
    np.testing.assert_allclose(entropy(curves(np.zeros((1, 2, 4)), profiles)), [0, np.log(4), 0, 0], atol=1e-12)
    uneven = np.random.default_rng(0).dirichlet(np.ones(4), size=(1, 4))
    np.testing.assert_allclose(entropy(curves(np.zeros((1, 1, 4)), uneven)), stats.entropy(uneven[0], axis=1))


def test_steps_until_sure_in_closed_form():
    goal = np.log(0.9)
    falls = np.array([[0.0, 2, 4, 9], [0.0, 1, 1, 7], [0.0, -1, -0.5, 5]])  # over the goal, in steps of time
    own = goal - falls[:, None]
    # sure from the start (0 is not above the goal), between steps 1 and 2, one third on the way ..., never
    np.testing.assert_allclose(steps_until_sure(curves(own)), [2, 1.5, 1 + 1 / 1.5, 2 + 5])
    np.testing.assert_allclose(steps_until_sure(curves(np.full((3, 2, 2), -0.01))), [0, 0])


def test_the_threshold_criterion_reads_the_mean_over_restarts():
    found = evidence([curves(np.log([[[0.5, 0.1], [0.7, 0.3]]]))], "threshold", 1)
    np.testing.assert_allclose(found.levels, [0.6, 0.2])
    np.testing.assert_allclose(found.scores, -np.log([0.6, 0.2]))
    assert np.isfinite(evidence([curves(np.full((2, 1, 2), -1000.0))], "threshold", 1).scores).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.sampled_from(CRITERIA))
def test_criteria_know_no_class_numbers_and_no_change_is_no_rise(seed, criterion):
    rng = np.random.default_rng(seed)
    own, profiles = np.log(rng.random((6, 2, 5))), rng.dirichlet(np.ones(5), size=(2, 5))
    order = rng.permutation(5)
    one, other = curves(own, profiles), curves(own[..., order], profiles[:, order][..., order])
    expected = evidence([one], criterion, 3).scores[order]
    np.testing.assert_allclose(evidence([other], criterion, 3).scores, expected, atol=1e-12)
    np.testing.assert_array_equal(evidence([one, one], criterion, 3).scores, np.zeros(5))


def test_curves_are_read_off_logits_without_loss():
    logits = torch.tensor(np.random.default_rng(0).normal(size=(2, 1, 3, 3)))
    logits[1, 0, 0] = torch.tensor([40.0, 0.0, 0.0])  # 1 - p is 8.5e-18: gone if taken from 1
    found = curves_of(logits)
    p = logits.softmax(dim=-1).numpy()
    odds = np.log(p / np.maximum(1 - p, 1e-300))
    odds[1, 0, 0] = [40 - np.log(2), -40, -40]
    np.testing.assert_allclose(found["odds"], np.diagonal(odds, axis1=2, axis2=3))
    np.testing.assert_allclose(found["others"][0, 0, 1], (odds[0, 0, 0, 1] + odds[0, 0, 2, 1]) / 2)
    np.testing.assert_allclose(np.exp(found["own"]), np.diagonal(p, axis1=2, axis2=3))
    np.testing.assert_allclose(found["profiles"], p[-1])


def test_the_best_restart_is_shown():
    images = np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1, 1)
    best = best_of(images, np.array([[-1.0, -3, -2], [-2.0, -1, -2]]))
    np.testing.assert_array_equal(best.ravel(), [0, 4, 2])
