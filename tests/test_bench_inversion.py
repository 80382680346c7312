"""The inversion benchmark runs, at a hundredth of its iterations and where its peer cannot be installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parent.parent / "scenarios" / "bench_inversion.py"
ROWS = ("lenet_zhu_b1", "convnet_b8", "resnet18_b1")
BESIDE_PLAIN = ("psnr_over_plain", "speed_over_plain", "speed_over_plain_cpu", "objective_gap_to_plain")
BESIDE_PEER = ("psnr_over_peer", "speed_over_peer", "speed_over_peer_cpu", "objective_gap_to_peer", "peer_psnr")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "FEDUNLEARN_CACHE": str(folder / "cache")}
    environment = os.environ | offline | {"FEDUNLEARN_DATA": str(folder)}  # the built-in stand-in for CIFAR-10
    size = ["--iterations-scale", "0.01", "--turns", "1", "--restarts", "2", "--rows", *ROWS]
    command = [sys.executable, BENCHMARK, *size, "--json", str(folder / "figures.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done, json.loads((folder / "figures.json").read_text())


def test_our_attack_and_the_published_algorithm_minimise_the_same_objective(run):
    figures = run[1]
    for row in ROWS:
        assert figures[f"{row}_objective_gap_at_start_to_plain"] < 1e-4
        assert figures[f"{row}_psnr_over_plain"] == pytest.approx(0, abs=0.5)


def test_figures_are_named_by_row_and_side(run):
    figures = run[1]
    for row in ROWS:
        assert figures[f"{row}_ours_throughput"] > 0
        assert figures[f"{row}_plain_throughput"] > 0
        assert all(isinstance(figures[f"{row}_{name}"], float) for name in BESIDE_PLAIN)
        assert figures[f"{row}_speed_over_plain_min"] <= figures[f"{row}_speed_over_plain_max"]


def test_peer_that_cannot_be_had_is_recorded_as_not_measured(run):
    done, figures = run
    assert figures["peer"] is None
    assert "could not be installed" in figures["peer_missing"]
    assert all(figures[f"{row}_{name}"] is None for row in ROWS for name in BESIDE_PEER)
    assert "the peer was not measured" in done.stdout
    assert done.stdout.count("not measured") == len(ROWS) + 1


def test_table_names_the_data_and_the_sides(run):
    table = run[0].stdout
    assert "mnist-5k" in table
    assert table.count("fedunlearn") == table.count("plain loop") == len(ROWS)
