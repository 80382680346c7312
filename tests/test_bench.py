"""The benchmark runs, at a hundredth of its size, and writes what it promises; `make bench` is the real one."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parent.parent / "scenarios" / "bench_simulation.py"
PROMISED = ("lenet_ray_share_of_limit", "mlp_vs_stock_flower", "mlp_ray_share_of_vmap_limit", "rss_growth")


@pytest.mark.ray
def test_benchmark_writes_its_figures(tmp_path):
    figures = tmp_path / "figures.json"
    options = ["--scale", "0.01", "--turns", "1", "--json", str(figures)]
    environment = os.environ | {"FEDUNLEARN_DATA": str(tmp_path)}  # the built-in stand-in for Fashion-MNIST
    done = subprocess.run([sys.executable, BENCHMARK, *options], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = json.loads(figures.read_text())
    assert set(PROMISED) <= set(written)
    numbers = [value for value in written.values() if not isinstance(value, str)]
    assert all(math.isfinite(number) for number in numbers)
    assert all(written[name] > 0 for name in PROMISED[:-1])
    assert "fedunlearn on Ray" in done.stdout
    assert "mnist-5k" in done.stdout
