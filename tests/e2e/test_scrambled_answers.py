"""No attack reads the answers: with the answer key scrambled on disk, every finding stays the same to the last bit."""

import dataclasses
import random
import shutil

import numpy as np

from fedunlearn.attacks import ATTACKS
from fedunlearn.judging import AnswerKey
from fedunlearn.observer.tape import Tape
from fedunlearn.scenario import load
from fedunlearn.stage import set_stage
from fedunlearn.trial import IN_SINGLE_UPDATES, Trial, make_attack


def findings(folder, candidates):
    """Return every attack's raw finding on the finished run's tape."""
    scenario = load(folder / "scenario.toml")
    stage = set_stage(scenario, folder)
    trial = Trial(stage, (), Tape(folder / "tape"), AnswerKey(folder / "answers"), folder, None, lambda text: None)
    found = {}
    for number, settings in enumerate(scenario.attacks):
        attack = make_attack(settings)
        observer = next(o for o in scenario.observers if o.name == settings.observer)
        branch = "trunk" if attack.finds in IN_SINGLE_UPDATES else "finetune"
        view = trial.tape.view(observer, branch)
        knowledge = trial.knowledge(settings.name, view, branch, candidates, f"{number}")
        found[settings.name] = attack(view, knowledge, np.random.default_rng(number))
    return found


def scramble(folder):
    """Shuffle the characters of every file of the answer key."""
    for path in (folder / "answers").iterdir():
        text = list(path.read_text())
        random.Random(0).shuffle(text)
        path.write_text("".join(text))


def test_findings_do_not_depend_on_the_answers(finished, tmp_path):
    folder, candidates = tmp_path / "copy", np.arange(40)
    shutil.copytree(finished, folder)
    before = findings(folder, candidates)
    assert set(before) == set(ATTACKS)
    scramble(folder)
    after = findings(folder, candidates)
    for name, finding in before.items():
        np.testing.assert_equal(dataclasses.asdict(finding), dataclasses.asdict(after[name]), err_msg=name)
