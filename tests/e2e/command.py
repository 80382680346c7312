"""Runs the command line as a user does, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = Path(__file__).with_name("small.toml")


def start(*arguments):
    """Start `python run_sim.py ...`."""
    return subprocess.Popen(
        [sys.executable, "run_sim.py", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments, expect=0, timeout=240):
    """Run to the end; return (stdout, stderr)."""
    process = start(*arguments)
    try:
        out, error = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == expect, f"exit {process.returncode}\n{out}\n{error}"
    return out, error


def kill_when(process, path, timeout=120):
    """SIGKILL `process` as soon as `path` exists."""
    deadline = time.monotonic() + timeout
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{path} never appeared"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def results(folder):
    """Return results.json."""
    return json.loads((folder / "results.json").read_text())


def hashes(folder):
    """Return the SHA-256 of every branch's final model."""
    return {branch["id"]: branch["sha256"] for branch in results(folder)["branches"]}
