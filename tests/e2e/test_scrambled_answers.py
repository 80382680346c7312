"""No attack reads the answers: with the answer key scrambled on disk, every finding stays the same to the last bit."""

import dataclasses
import random
import shutil

import numpy as np
import pytest

from fedunlearn.attacks import ATTACKS
from fedunlearn.judging import AnswerKey
from fedunlearn.observer.access import FLAGS, AccessRefused
from fedunlearn.observer.tape import Tape
from fedunlearn.probes import prepare_probes
from fedunlearn.scenario import ObserverSettings, load
from fedunlearn.stage import set_stage
from fedunlearn.trial import IN_SINGLE_UPDATES, Trial

EVERYTHING = ObserverSettings(name="server", access="updates", flags=tuple(FLAGS))


def make_attack(name):
    """Return an attack that does not take long."""
    attack = ATTACKS[name]
    few = {name: 3 for name in ("steps", "prior_steps") if name in attack.Settings.model_fields}
    few |= {"queries": 50} if name == "brep-mi" else {}
    return attack(attack.Settings(**few))


def finding_of(name, folder):
    """Return an attack's raw finding on the finished run's tape, or why it refuses."""
    stage = set_stage(load(folder / "scenario.toml"), folder)
    key = AnswerKey(folder / "answers")
    trial = Trial(stage, prepare_probes(stage), Tape(folder / "tape"), key, folder, None, lambda text: None)
    attack = make_attack(name)
    branch = "probe-fresh" if attack.finds in IN_SINGLE_UPDATES else "finetune"
    view = trial.tape.view(EVERYTHING, branch)
    knowledge = trial.knowledge(name, view, branch, np.arange(40), name)
    shutil.rmtree(folder / "journal", ignore_errors=True)  # or the second time would be read, not found
    try:
        return dataclasses.asdict(attack(view, knowledge, np.random.default_rng(0)))
    except AccessRefused as refusal:
        return str(refusal)


@pytest.fixture(scope="module")
def scrambled(finished, tmp_path_factory):
    """A copy of the run in which the characters of every file of the answer key are shuffled."""
    folder = tmp_path_factory.mktemp("scrambled") / "run"
    shutil.copytree(finished, folder)
    for path in (folder / "answers").iterdir():
        text = list(path.read_text())
        random.Random(0).shuffle(text)
        path.write_text("".join(text))
    return folder


@pytest.mark.parametrize("name", list(ATTACKS))
def test_a_finding_does_not_depend_on_the_answers(name, finished, scrambled, tmp_path):
    original = tmp_path / "original"
    shutil.copytree(finished, original)
    np.testing.assert_equal(finding_of(name, original), finding_of(name, scrambled))
