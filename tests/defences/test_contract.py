"""What every registered defence must keep to."""

import inspect
from typing import get_args

import numpy as np
import pytest

from fedunlearn.attacks import ATTACKS
from fedunlearn.defences import DEFENCES, AnswerDefence, ReleaseDefence, TrainingDefence
from fedunlearn.defences.base import Place
from fedunlearn.federation import weights_sha256
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.defences.workshop import OFF, branch, make, occasion, pruned_head

NAMES = list(DEFENCES)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return SmallFederation(tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize("name", NAMES)
def test_a_defence_names_those_who_must_face_it(name):
    assert DEFENCES[name].adaptive
    for attack in DEFENCES[name].adaptive:
        assert attack in ATTACKS
        assert f"`{attack}`" in inspect.getdoc(DEFENCES[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_defence_declares_itself(name):
    defence = DEFENCES[name]
    assert defence.place in get_args(Place)
    assert defence.costs
    assert inspect.getdoc(defence).partition("\n")[0].endswith(".")
    assert all(field.description for field in defence.Settings.model_fields.values())


def features_of_pruned():
    """Return head inputs (20, 30): the pruned units put nothing out."""
    return np.random.default_rng(0).random((20, 30)) * (np.arange(30) >= 3)


def test_every_defence_can_be_off():
    assert set(OFF) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_off_returns_what_it_was_given(name):
    defence = make(name, **OFF[name])
    if isinstance(defence, ReleaseDefence):
        weights, masks = pruned_head()
        assert defence.release(weights, occasion(features_of_pruned(), pruned=masks)) is weights
    elif isinstance(defence, AnswerDefence):
        answers = np.random.default_rng(0).dirichlet(np.ones(10), 5).astype("f4")
        assert defence.answer(answers) is answers
    else:
        assert isinstance(defence, TrainingDefence)
        assert defence.rounds == 0


@pytest.mark.parametrize("method", ["finetune", "control"])
def test_a_branch_with_everything_off_is_the_undefended_one(small, method, tmp_path):
    off = [make(name, **settings) for name, settings in OFF.items()]
    plain, guarded = branch(small, method), branch(small, method, *off, journal=tmp_path)
    assert weights_sha256(guarded[0]) == weights_sha256(plain[0])
    assert [weights_sha256(model) for model in guarded[2]] == [weights_sha256(model) for model in plain[2]]


@pytest.mark.parametrize("name", [name for name in NAMES if issubclass(DEFENCES[name], ReleaseDefence)])
def test_a_release_leaves_the_rest_of_the_model_and_its_input_alone(name):
    (weights, masks), features = pruned_head(), features_of_pruned()
    before = {key: array.copy() for key, array in weights.items()}
    released = make(name).release(weights, occasion(features, pruned=masks))
    assert list(released) == list(weights)
    assert weights_sha256(weights) == weights_sha256(before)
    assert np.array_equal(released["body"], weights["body"])
    assert all(released[key].dtype == array.dtype for key, array in weights.items())
    assert weights_sha256(released) != weights_sha256(weights)
    again = make(name).release(weights, occasion(features, pruned=masks))
    assert weights_sha256(again) == weights_sha256(released)
