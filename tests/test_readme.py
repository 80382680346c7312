"""The README's promises: its commands run, its scenario checks and runs, its plug-ins work as single files."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reduced import REDUCED, overrides

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
STUDIES = set(REDUCED) - {"quickstart_seeds"}  # tests/test_scenarios.py runs these, marked slow
PARTS = ("run_sim.py", "fedunlearn", "clients", "server", "scenarios")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands():
    """Return the README's run_sim.py commands, without comments."""
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    found = [line for line in lines if line.startswith("python run_sim.py")]
    return [line for line in found if not any(f"{name}.toml" in line for name in STUDIES)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the code: what the README tells a reader to add must not end up in this repository."""
    folder = tmp_path_factory.mktemp("checkout")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    (scenario,) = blocks("toml")
    (folder / "readme.toml").write_text(scenario)
    return folder


def execute(checkout, command):
    words = [sys.executable, *command.split()[1:], *overrides(command)]
    data = os.environ.get("FEDUNLEARN_DATA") or str(ROOT.parent / "shared" / "data")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout), "FEDUNLEARN_DATA": data}
    finished = subprocess.run(words, cwd=checkout, env=environment, capture_output=True, text=True, timeout=280)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.ray
@pytest.mark.parametrize("command", commands())
def test_command(checkout, command):
    assert execute(checkout, command).strip()


def test_the_commands_leave_what_the_readme_says(checkout):
    for run in ("runs/quickstart", "runs/mine"):
        assert (checkout / run / "report.html").stat().st_size > 100_000
        cells = sorted((checkout / run / "cells").iterdir())
        assert len(cells) == 2
        for cell in cells:
            kept = ("scenario.toml", "manifest.json", "ledger.sqlite", "checkpoints", "tape", "answers", "results.json")
            assert all((cell / name).exists() for name in kept)
            assert list((cell / "tensorboard").glob("events*"))


def test_scenario(checkout):
    execute(checkout, "python run_sim.py run readme.toml --out runs/readme --set matrix.seed=[0]")
    results = json.loads((checkout / "runs/readme/results.json").read_text())
    assert {attack["status"] for attack in results["attacks"]} == {"done"}


def test_plug_ins_are_single_files(checkout):
    unlearner, trial, attack = blocks("python")
    paths = re.findall(r"Save this as\s+`(.+?)`", README)
    for path, text in zip(paths, (unlearner, attack), strict=True):
        (checkout / path).write_text(text)
    assert "shrink" in execute(checkout, "python run_sim.py list unlearners")
    (checkout / "trial.py").write_text(trial)
    execute(checkout, "python trial.py")
    changes = ["attacks.0.name=smallest-row", 'unlearning.methods=["shrink"]', "matrix.seed=[0]"]
    options = " ".join(f"--set {change}" for change in changes)
    execute(checkout, f"python run_sim.py run readme.toml --out runs/plugged {options}")
    results = json.loads((checkout / "runs/plugged/results.json").read_text())
    assert {"shrink", "retrain", "control"} <= {branch["id"] for branch in results["branches"]}
    assert {(row["name"], row["status"]) for row in results["attacks"]} == {("smallest-row", "done")}
