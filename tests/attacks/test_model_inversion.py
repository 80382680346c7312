"""Model inversion as a whole, on small models of digits and on models with a known answer."""

from functools import cache

import numpy as np
import pytest
import torch

from fedunlearn.attacks import ATTACKS
from fedunlearn.attacks.model_inversion.objective import Objective
from fedunlearn.attacks.model_inversion.priors.learning import PriorSchool
from fedunlearn.attacks.model_inversion.priors.networks import Generator, Reader, draw
from fedunlearn.attacks.model_inversion.settings import ObjectiveSettings, PriorSettings
from fedunlearn.models import Architecture, build, load_weights, to_weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.cache import ContentCache
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.tape import Tape
from tests.observer.recorded import CLASSES, SHAPE, Watcher, digits

PUBLIC = ("public-unlabelled",)
QUICK = {"prior": "vae", "latent": 8, "prior_width": 8, "prior_steps": 150}
GENERATIVE = {
    "gmi": {**QUICK, "steps": 40, "bound": 3.0},
    "ked-mi": {**QUICK, "steps": 60, "learning_rate": 0.1},
    "augmented-gmi": {**QUICK, "steps": 60},
    "genetic-inversion": {**QUICK, "steps": 15, "bound": 3.0},
    "brep-mi": {**QUICK, "queries": 400},
}
PIXELS = {"white-box-inversion": {"steps": 60}, "deep-inversion": {"steps": 60}}


def blank(name="mlp"):
    return build(Architecture(name), SHAPE, CLASSES, None, (0.3, 0.37))


@cache
def trained(first=0):
    """Return a model of 500 digits from `first` on: the attacked one, or another that judges pictures."""
    images, labels = (torch.from_numpy(array[first : first + 500]) for array in digits())
    model = build(Architecture("mlp"), SHAPE, CLASSES, np.random.default_rng(first), (0.3, 0.37))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        model.loss(images, labels).backward()
        optimiser.step()
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return ContentCache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("tape"), to_weights(trained()))


def recorded(folder, weights):
    tape, told = Tape(folder), {"request_round": 0, "method": "x", "clients": 1, "requests": []}
    tape.mark("forgotten", before=weights, after=weights, final=weights, **told)
    return tape


def known(tape, kept=None, access="final-weights", model=blank):
    watcher = Watcher(access, PUBLIC)
    view = tape.view(watcher, "forgotten")
    public = digits()[0][1000:1300]
    facts = {"image_shape": SHAPE, "num_classes": CLASSES, "public": (public, None), "cache": kept}
    return view, Knowledge(view, model=model, **facts)


def attack(name, tape, kept, access="final-weights", seed=0, model=blank, **settings):
    chosen = {"images_per_class": 2} | (PIXELS | GENERATIVE)[name] | settings
    made = ATTACKS[name](ATTACKS[name].Settings(**chosen))
    return made(*known(tape, kept, access, model), np.random.default_rng(seed))


@torch.no_grad()
def taken_for(model, images):
    return model(torch.from_numpy(images)).argmax(dim=1).numpy()


# What all do ---
@pytest.mark.parametrize("name", GENERATIVE)
def test_an_independent_classifier_recognises_what_a_prior_helped_to_make(name, tape, kept):
    found = attack(name, tape, kept, images_per_class=3)
    assert found.images.shape == (30, *SHAPE)
    assert found.images.dtype == np.float32
    assert found.images.min() >= 0 <= found.images.max() <= 1
    assert found.labels.tolist() == sorted(list(range(CLASSES)) * 3)
    assert (taken_for(trained(500), found.images) == found.labels).mean() > 0.4  # by chance .1


@pytest.mark.parametrize("name", PIXELS)
def test_the_model_itself_is_sure_of_pictures_made_without_a_prior(name, tape, kept):
    found = attack(name, tape, kept)
    assert (taken_for(trained(), found.images) == found.labels).mean() > 0.9


@pytest.mark.parametrize("name", [*PIXELS, *GENERATIVE])
def test_class_0_alone_can_be_asked_for(name, tape, kept):
    found = attack(name, tape, kept, classes=(0,), images_per_class=3)
    assert found.labels.tolist() == [0, 0, 0]
    assert len(np.unique(found.images.round(3), axis=0)) > 1


def test_a_class_that_there_is_not_is_refused(tape, kept):
    with pytest.raises(AccessRefused, match="10 is unknown, the model has classes 0 to 9"):
        attack("white-box-inversion", tape, kept, classes=(3, 10))


def test_more_pictures_than_the_population_are_refused(tape, kept):
    with pytest.raises(AccessRefused, match="images-per-class = 51: no more than the population, 50"):
        attack("genetic-inversion", tape, kept, images_per_class=51)


# Closed forms ---
def test_the_inversion_of_a_logistic_model_is_the_positive_part_of_its_rows(tmp_path):
    # With squared pixels alone beside it, the optimum is where 2 * l2 * x / pixels is the slope of the logits, times
    # what all pixels share: at two classes the difference of their rows, where that is positive.
    def two():
        return build(Architecture("logistic"), SHAPE, 2, None)

    model, rng = two(), np.random.default_rng(0)
    rows = rng.normal(size=(2, 64)).astype(np.float32)
    load_weights(model, {"head.weight": rows, "head.bias": np.zeros(2, np.float32)})
    view, _ = known(recorded(tmp_path, to_weights(model)))
    facts = Knowledge(view, model=two, image_shape=SHAPE, num_classes=2)
    chosen = {"steps": 300, "tv": 0.0, "l2": 10.0, "images_per_class": 1, "learning_rate": 0.01}
    inversion = ATTACKS["white-box-inversion"]
    found = inversion(inversion.Settings(**chosen))(view, facts, rng)
    for label, image in zip(found.labels, found.images, strict=True):
        wanted = np.maximum(rows[label] - rows[1 - label], 0)
        cosine = image.ravel() @ wanted / np.linalg.norm(image) / np.linalg.norm(wanted)
        assert cosine > 0.999


# What is asked, and how often ---
def test_questions_are_counted_and_keep_to_the_budget(tape, kept):
    for access, name in (("labels", "brep-mi"), ("probabilities", "genetic-inversion")):
        settings = {"queries": 200, "tries": 300} if name == "brep-mi" else {"pool": 100, "steps": 4, "enough": 1.0}
        found = attack(name, tape, kept, access, **settings)
        most = 300 + 20 * 200 if name == "brep-mi" else 100 + 10 * 4 * 45
        assert 0 < found.notes["queries"] <= most
    assert found.notes["queries"] == most  # nobody was sure enough


def test_labels_alone_suffice_and_probabilities_add_nothing_to_them(tape, kept):
    one, other = (attack("brep-mi", tape, kept, access) for access in ("labels", "probabilities"))
    np.testing.assert_array_equal(one.images, other.images)


def test_a_class_that_is_never_answered_is_told_and_keeps_its_draws(kept, tmp_path):
    weights = to_weights(trained())
    weights["head.bias"] = np.where(np.arange(CLASSES) == 4, -1e3, weights["head.bias"]).astype(np.float32)
    found = attack("brep-mi", recorded(tmp_path, weights), kept)
    assert 4 in found.notes["absent"]
    assert (found.labels == 4).sum() == 2
    assert len(np.unique(found.images[found.labels == 4], axis=0)) == 2


def test_the_variants_of_the_augmented_attack_ask_equally_often_and_differ(tape, kept):
    variants = [{"entropy": e, "optimiser": o} for e in (True, False) for o in ("natural", "adam")]
    found = [attack("augmented-gmi", tape, kept, entropy_weight=100.0, **variant) for variant in variants]
    assert len({each.notes["evaluations"] for each in found}) == 1
    assert len({each.images.tobytes() for each in found}) == 4


# Priors ---
def nearness(images, others):
    return np.linalg.norm(images.reshape(len(images), 1, -1) - others.reshape(1, len(others), -1), axis=2).min(axis=1)


@pytest.mark.parametrize("prior", ["vae", "dcgan"])
def test_samples_of_a_prior_are_nearer_to_the_public_images_than_noise_and_than_before(prior, tape, kept):
    _, facts = known(tape, kept)
    settings = PriorSettings(**QUICK | {"prior": prior})
    learnt = PriorSchool(settings, facts).prior()
    draws = np.random.default_rng(0)
    latents = draws.standard_normal((100, 8))
    fresh = Generator(8, SHAPE, 8)
    draw(fresh, draws)
    samples, noise = learnt.pictures(latents), draws.random((100, *SHAPE))
    unlearnt = fresh(torch.from_numpy(latents).float()).numpy(force=True)
    public = facts.public_images
    far = nearness(samples, public).mean()
    assert far < 0.8 * nearness(unlearnt, public).mean() < nearness(noise, public).mean()
    assert (
        nearness(public, samples).mean() < nearness(public, public.mean(axis=0, keepdims=True)).mean()
    )  # of many kinds
    assert (learnt.critic is None) == (prior == "vae")


def test_what_was_learnt_is_kept_by_content(tape, tmp_path):
    cache_ = ContentCache(tmp_path)
    settings = PriorSettings(latent=4, prior_width=4, prior_steps=3, prior="dcgan")
    one, other = (PriorSchool(settings, known(tape, cache_)[1]).prior() for _ in range(2))
    assert (cache_.made, cache_.reused) == (2, 2)  # the decoder, and what it became
    latents = np.zeros((1, 4))
    np.testing.assert_array_equal(one.pictures(latents), other.pictures(latents))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (1, 32, 20)])
def test_networks_fit_every_size(shape):
    generator, reader = Generator(5, shape, 4), Reader(shape, 4, 3)
    generator.centre(torch.full((2, *shape), 0.25))
    images = generator(torch.zeros(2, 5))
    assert images.shape == (2, *shape)
    assert reader(images).shape == (2, 3)
    for parameter in generator.parameters():
        torch.nn.init.zeros_(parameter)
    np.testing.assert_allclose(generator(torch.ones(1, 5)).detach(), 0.25, rtol=1e-6)  # the mean public image


def test_without_public_images_there_is_no_prior(tape):
    view, _ = known(tape)
    facts = Knowledge(view, model=blank, image_shape=SHAPE, num_classes=CLASSES)
    with pytest.raises(AccessRefused, match="public images are needed"):
        PriorSchool(PriorSettings(), facts)


# The objective ---
def test_students_learn_what_the_model_answers(tape, kept):
    _, facts = known(tape, kept)
    objective = Objective(ObjectiveSettings(students=2, student_steps=150), to_weights(trained()), facts)
    public = torch.from_numpy(facts.public_images)
    told = objective.target.ask_all(public)
    for student in told[1:]:
        assert (student.logits.argmax(dim=1) == told[0].logits.argmax(dim=1)).float().mean() > 0.4  # by chance .1
    assert objective.target.evaluations == len(public)


def test_the_logit_loss_holds_features_near_those_of_public_images(tape, kept):
    _, facts = known(tape, kept)
    objective = Objective(ObjectiveSettings(loss="logit", identity_weight=1.0), to_weights(trained()), facts)
    features = trained().features(torch.from_numpy(facts.public_images)).numpy()
    anchors = objective.anchors(4000, np.random.default_rng(0)).numpy()
    np.testing.assert_allclose(anchors.mean(axis=0), features.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(anchors.std(axis=0), features.std(axis=0), rtol=0.1, atol=1e-3)
    image, label = torch.from_numpy(digits()[0][:1]), torch.tensor([0])
    there = trained().features(image)
    loss = objective(image, label, there + 2)
    np.testing.assert_allclose(loss, 4 - trained()(image)[:, 0], rtol=1e-4)
