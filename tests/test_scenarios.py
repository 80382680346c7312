"""Every scenario that is shipped: it is valid, and a short form of it runs to the end with every attack done."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clients.app import app
from fedunlearn.catalogue import checked_cells
from server.engine import run_experiment
from tests.reduced import REDUCED, overrides

ROOT = Path(__file__).resolve().parent.parent
SCENARIOS = sorted((ROOT / "scenarios").glob("*.toml"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_it_is_valid(path, shared_data, monkeypatch):
    monkeypatch.chdir(ROOT)  # imagenet_leakage.toml names a folder as seen from here
    assert checked_cells(path)


def test_at_most_200_rows_of_the_label_table():
    cells = checked_cells(ROOT / "scenarios" / "label_restoration.toml")
    assert len({(cell.values["runs"]["name"], probe.name) for cell in cells for probe in cell.scenario.probes}) <= 200


def test_the_leakage_table_on_digits_in_little(tmp_path):
    settings = ["federation.rounds=2", 'unlearning.methods=["finetune"]', 'unlearning.references=["retrain","control"]']
    few = ["attacks.1.settings.shadows=2", "attacks.3.settings.shadows=2", "attacks.3.settings.steps=5"]
    cells = checked_cells(
        ROOT / "scenarios" / "label_leakage_digits.toml",
        [*settings, *few, "attacks.4.settings.steps=5", "attacks.5.settings.queries=500", "matrix.seed=[0]"],
    )
    run_experiment(cells, tmp_path / "run", app)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    labels = {attack.label or attack.name for attack in cells[0].scenario.attacks}
    assert {(row["attack"], row["on"]) for row in summary["alarms"]} == {(label, "control") for label in labels}
    for cell in ("000-one-seed0", "001-three-seed0"):
        attacks = json.loads((tmp_path / "run" / "cells" / cell / "results.json").read_text())["attacks"]
        assert len(attacks) == 3 * len(labels)
        assert {row["status"] for row in attacks} == {"done"}


# Refusals that short forms cannot avoid: too little data, and a method that serves a request without any round.
EXPECTED = ("samples are missing", "none after the request")
# Refusals that revival.toml is about, by run and attack: these attacks are to find nothing to work with.
NO_ZEROS = {(run, "revival"): "no weight is exactly 0" for run in ("obfuscated", "obfuscated-little", "reinitialised")}
MUST = NO_ZEROS | {
    ("units", "revival"): "only whole rows or columns are missing",
    ("recovered", "regrowth on models"): "the server prunes again before it shows a model",
}
# Noise as wide as the kept weights leaves no narrow component, or the fit finds one by chance: this may happen.
MAY = {(run, "revival mixture"): "no narrow component stands out" for run, _ in NO_ZEROS}


def is_expected(row, run):
    """Say whether a refusal is one that must or may happen: of this attack, on this branch, in this run."""
    if row["finds"] != "revival":
        return any(why in row["reason"] for why in EXPECTED)
    if row["branch"] == "control":
        return "nothing was pruned" in row["reason"]
    why = (MUST | MAY).get((run, row["label"]))
    return why is not None and why in row["reason"]


def missing_refusals(rows):
    """Return what must be refused and was not, of (run, row) pairs."""
    need = {(run, row["label"], row["branch"]) for run, row in rows if (run, row["label"]) in MUST}
    return need - {(run, row["label"], row["branch"]) for run, row in rows if row["status"] == "refused"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in REDUCED if name != "quickstart_seeds"])
def test_a_short_form_runs(name, shared_data, tmp_path):
    path = f"scenarios/{name}.toml"
    command = [sys.executable, "run_sim.py", "run", path, "--out", str(tmp_path / "run"), *overrides(path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "FEDUNLEARN_DATA": str(shared_data)}
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    cells = list((tmp_path / "run").glob("cells/*/results.json")) or [tmp_path / "run" / "results.json"]
    results = [json.loads(cell.read_text()) for cell in cells]
    assert all(each["attacks"] or each["scenario"]["unlearning"]["methods"] for each in results)
    rows = [(each["cell"].get("runs", {}).get("name"), row) for each in results for row in each["attacks"]]
    for run, row in rows:
        refused = row["status"] == "refused" and is_expected(row, run)
        assert row["status"] == "done" or refused, f"{row['label']} on {row['branch']} ({run}): {row['reason']}"
    assert not missing_refusals(rows)
