"""Every scenario that is shipped: it is valid, and a short form of it runs to the end with every attack done."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedunlearn.catalogue import checked_cells
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
    for row in (row for each in results for row in each["attacks"]):
        missing = row["status"] == "refused" and ("samples are missing" in row["reason"])
        assert row["status"] == "done" or missing, f"{row['name']} on {row['branch']}: {row['reason']}"
