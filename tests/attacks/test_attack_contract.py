"""What every registered attack must keep to."""

import ast
import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest

import fedunlearn.attacks
from fedunlearn.attacks import ATTACKS
from fedunlearn.observer.access import ACCESS_LEVELS, FLAGS, AccessRefused, allows
from fedunlearn.observer.findings import (
    ClassImages,
    ForgottenClasses,
    ForgottenImages,
    LabelCounts,
    Membership,
    Reconstructions,
    RevivedModel,
)
from tests.observer.recorded import Federation, Watcher, digits, knowledge, non_iid, pruned_run, recorded_run

FINDINGS = {
    "images": Reconstructions,
    "forgotten-images": ForgottenImages,
    "labels": LabelCounts,
    "forgotten-classes": ForgottenClasses,
    "membership": Membership,
    "revival": RevivedModel,
    "class-images": ClassImages,
}
NAMES = list(ATTACKS)
IN_A_HURRY = {name: {"steps": 20} for name in NAMES if "steps" in ATTACKS[name].Settings.model_fields}
for name in NAMES:
    if "prior_steps" in ATTACKS[name].Settings.model_fields:
        IN_A_HURRY[name] = {"steps": 2, "prior_steps": 3, "prior_width": 4, "images_per_class": 1}
IN_A_HURRY |= {
    "brep-mi": {"queries": 40, **IN_A_HURRY["brep-mi"]},
    "null-class-query": {"samples": 100},
    "unlearning-inversion": {"settings": {"steps": 20}, "most": 2000},
}


@pytest.fixture(scope="module")
def tapes(tmp_path_factory):
    federation = Federation(non_iid(3, 200, seed=1))
    return {
        made: made(tmp_path_factory.mktemp("tape"), federation, 4, 2, forget=7) for made in (recorded_run, pruned_run)
    }


def run(tapes, name, watcher, seed=0):
    tape = tapes[pruned_run if ATTACKS[name].finds == "revival" else recorded_run]
    images, labels = digits()
    facts = knowledge(
        tape,
        watcher,
        "forgotten",
        public=(images[1500:], labels[1500:]),
        candidates=(images[:20], labels[:20]),
    )
    attack = ATTACKS[name](ATTACKS[name].Settings(**IN_A_HURRY.get(name, {})))
    return attack(tape.view(watcher, "forgotten"), facts, np.random.default_rng(seed))


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_declares_itself(name):
    attack = ATTACKS[name]
    assert attack.needs in ACCESS_LEVELS
    assert attack.needs_flags <= set(FLAGS)
    assert attack.finds in FINDINGS
    summary, _, rest = inspect.getdoc(attack).partition("\n")
    assert summary.endswith(".")
    assert "Source" in rest
    assert attack.Settings.model_config["extra"] == "forbid"
    for field in attack.Settings.model_fields.values():
        assert field.description


@pytest.mark.parametrize("access", ACCESS_LEVELS)
@pytest.mark.parametrize("name", NAMES)
def test_what_an_attack_declares_is_enough_and_less_is_refused(tapes, name, access):
    attack = ATTACKS[name]
    watcher = Watcher(access, tuple(sorted(attack.needs_flags)))
    if allows(access, attack.needs):
        assert isinstance(run(tapes, name, watcher), FINDINGS[attack.finds])
        for flag in attack.needs_flags:
            with pytest.raises(AccessRefused, match=flag):
                run(tapes, name, Watcher(access, tuple(attack.needs_flags - {flag})))
    else:
        with pytest.raises(AccessRefused, match=access):
            run(tapes, name, watcher)


@pytest.mark.parametrize("name", NAMES)
def test_a_finding_is_decided_by_the_tape_and_the_rng(tapes, name):
    watcher = Watcher("updates", tuple(FLAGS))
    one, other = (run(tapes, name, watcher, seed=3) for _ in range(2))
    np.testing.assert_equal(dataclasses.asdict(one), dataclasses.asdict(other))


def test_attacks_keep_off_the_private_parts_of_what_they_are_given():
    for path in Path(fedunlearn.attacks.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                assert isinstance(node.value, ast.Name), path
                assert node.value.id == "self", f"{path.name}: {ast.unparse(node)}"
