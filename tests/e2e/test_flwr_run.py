"""`flwr run .`: the same app on Flower's own simulation runtime gives the same models as run_sim.py."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.command import ROOT, SCENARIO, hashes


@pytest.fixture
def flower(tmp_path):
    """Environment of a Flower of its own; its background SuperLink is ended afterwards."""
    bin_folder = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "FLWR_HOME": str(tmp_path / "flower"),
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
    yield environment
    for entry in Path("/proc").iterdir():
        try:
            belongs = entry.name.isdigit() and f"FLWR_HOME={tmp_path}".encode() in (entry / "environ").read_bytes()
        except OSError:
            continue
        if belongs and int(entry.name) != os.getpid():
            os.kill(int(entry.name), signal.SIGKILL)


@pytest.mark.ray
def test_flwr_run_gives_the_same_models(finished, tmp_path, flower):
    out = tmp_path / "flwr"
    config = f'scenario="{SCENARIO.relative_to(ROOT)}" out="{out}"'
    command = [str(Path(sys.executable).parent / "flwr"), "run", ".", "--stream", "--run-config", config]
    process = subprocess.run(command, cwd=ROOT, env=flower, capture_output=True, text=True, timeout=240)
    assert (out / "report.html").exists(), process.stdout + process.stderr
    assert hashes(out) == hashes(finished)
