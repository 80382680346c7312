"""What an attacker knows beside its view."""

import numpy as np
import pytest
import torch

from fedunlearn.models import load_weights
from fedunlearn.observer.access import FLAGS, AccessRefused
from tests.observer.recorded import Federation, Watcher, blank, digits, fresh, knowledge, non_iid, recorded_run

IMAGES, LABELS = digits()[0][-50:], digits()[1][-50:]
TOLD = {
    "public": (IMAGES, LABELS),
    "candidates": (IMAGES, LABELS),
    "learning": {"learning-rate": 0.5},
    "forgotten_count": 1,
    "defences": ({"name": "head-noise", "settings": {}},),
    "shadows": lambda count, classes: ["a shadow"] * count,
}


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    return recorded_run(tmp_path_factory.mktemp("tape"), Federation(non_iid(2, 60, seed=3)), 2, 1, forget=4)


@pytest.mark.parametrize(
    ("flags", "known"),
    [
        ((), set()),
        (("public-unlabelled",), {"public_images"}),
        (("public-labelled",), {"public_images", "public_labels"}),
        (("candidates",), {"candidates"}),
        (("learning-known",), {"learning"}),
        (("class-count-known",), {"forgotten_count"}),
        (("defences-known",), {"defences"}),
    ],
)
def test_flags_decide_what_is_known(tape, flags, known):
    facts = knowledge(tape, Watcher("updates", flags), **TOLD)
    members = ("public_images", "public_labels", "candidates", "learning", "forgotten_count", "defences")
    assert {name for name in members if getattr(facts, name) is not None} == known


ASKED = {  # what is not told by a property: how it is asked
    "shadows": lambda shadows: shadows(2),
    "own_update": lambda own_update: own_update(1),
    "auxiliary": lambda auxiliary: auxiliary(3),
    "pruned": lambda pruned: pruned(),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_every_flag_that_is_offered_tells_something(tape, flag):
    def known(flags):
        facts = knowledge(tape, Watcher("updates", flags), "forgotten", **TOLD)
        view, found = tape.view(Watcher("updates", flags), "forgotten"), set()
        for source in (facts, view):
            for member in (name for name in dir(source) if not name.startswith("_")):
                try:
                    value = ASKED.get(member, lambda value: value)(getattr(source, member))
                except AccessRefused:
                    continue
                if value is not None:
                    found.add(member)
        return found

    assert known((flag,)) > known(())


def test_probabilities_are_those_of_the_final_model(tape):
    facts = knowledge(tape, Watcher("probabilities"), "forgotten")
    model = blank()
    load_weights(model, tape.view(Watcher(), "forgotten").final())
    with torch.no_grad():
        expected = torch.softmax(model(torch.from_numpy(IMAGES)), dim=1).numpy()
    np.testing.assert_allclose(facts.query(IMAGES), expected, atol=1e-6)
    np.testing.assert_allclose(expected.sum(1), 1, atol=1e-5)
    assert facts.query.count == 50


def test_at_the_level_labels_the_answer_is_the_class(tape):
    answers = knowledge(tape, Watcher("labels"), "forgotten").query(IMAGES)
    probabilities = knowledge(tape, Watcher("probabilities"), "forgotten").query(IMAGES)
    np.testing.assert_array_equal(answers, probabilities.argmax(1))


@pytest.mark.parametrize(("access", "answers"), [("final-weights", False), ("probabilities-before-after", True)])
def test_the_model_before_answers_only_where_the_level_says_so(tape, access, answers):
    query = knowledge(tape, Watcher(access), "forgotten").query
    if answers:
        assert not np.array_equal(query(IMAGES, "before"), query(IMAGES))
    else:
        with pytest.raises(AccessRefused):
            query(IMAGES, "before")


def test_a_granted_truth_is_noted(tape):
    facts = knowledge(tape, Watcher(), true_labels=lambda round, client: LABELS[:4])
    assert facts.grants == set()
    np.testing.assert_array_equal(facts.true_labels(1, 0), LABELS[:4])
    assert facts.grants == {"labels"}
    with pytest.raises(AccessRefused):
        knowledge(tape, Watcher()).true_labels(1, 0)


def test_weights_of_another_floating_point_type_are_loaded(tape):
    facts, weights = knowledge(tape, Watcher("updates"), **TOLD), fresh(3)
    halves = {name: array.astype(np.float16) for name, array in weights.items()}
    loaded = facts.model(halves).state_dict()
    for name, array in halves.items():
        np.testing.assert_array_equal(loaded[name].numpy(), array.astype(np.float32))


def test_what_is_kept_is_made_once(tape, tmp_path):
    calls = []

    def make():
        calls.append(1)
        return {"images": np.arange(6.0).reshape(2, 3), "count": np.array(4)}

    for _ in range(2):  # a run, and the run resumed
        facts = knowledge(tape, Watcher("updates"), store=tmp_path / "journal", **TOLD)
        kept = facts.keep("r1-c3", make)
        assert list(kept) == ["images", "count"]
        np.testing.assert_array_equal(kept["images"], [[0, 1, 2], [3, 4, 5]])
    assert len(calls) == 1
    facts.keep("r1-c4", make)
    knowledge(tape, Watcher("updates"), **TOLD).keep("r1-c3", make)  # nowhere to keep anything
    assert len(calls) == 3
