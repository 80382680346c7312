"""The peer: `breaching` 0.1.2 in an environment of its own, as a side of the inversion benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import venv
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from bench_inversion_cases import Case, save_case
from bench_inversion_sides import Attempt

from fedunlearn.data import cache_root

VERSION = "0.1.2"
# Without their dependencies: torch, numpy and scipy are the project's own, so that both sides run the same kernels.
PACKAGES = (f"breaching=={VERSION}", "hydra-core>=1.3,<1.4", "omegaconf>=2.3,<2.5", "antlr4-python3-runtime==4.9.3")
ROOT = Path(__file__).resolve().parent.parent


class PeerMissing(Exception):
    """The peer cannot be had; the message says why."""


def install() -> Path:
    """Return the Python of an environment with the peer, made on the first call.

    Raises:
        PeerMissing: when it cannot be installed.
    """
    folder = cache_root() / f"peer-breaching-{VERSION}"
    python, done = folder / "bin" / "python", folder / "installed"
    if done.exists():
        return python
    try:
        venv.create(folder, clear=True, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--retries", "1", "--no-deps", *PACKAGES]
        subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr or error).strip().splitlines()
        raise PeerMissing(f"breaching {VERSION} could not be installed: {lines[-1]}") from error
    site = sysconfig.get_path("purelib", vars={"base": str(folder)})
    Path(site, "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
    done.touch()
    return python


class Breaching:
    """The peer's attack `invertinggradients`, in a process that waits while others are measured.

    Args:
        folder: for the files that the two processes exchange.

    Raises:
        PeerMissing: when it cannot be installed or does not start.
    """

    def __init__(self, folder: Path) -> None:
        command = [str(install()), str(Path(__file__).with_name("bench_peer_breaching.py"))]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self._log = (folder / "peer.log").open("w+")
        self._folder = folder
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=environment
        )
        self._read()

    def __enter__(self) -> Breaching:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate()
        self._log.close()

    def attack(self, case: Case, steps: int, smoothness: float) -> Attempt:
        """Return the restart with the best score."""
        found, told = self._ask(case, steps, smoothness)
        best = np.where(np.isfinite(found["scores"]), found["scores"], np.inf).argmin()
        return Attempt(found["images"][best].clip(0, 1), told["seconds"], told["cpu_seconds"])

    def objectives(self, case: Case, steps: int) -> np.ndarray:
        """Return every restart's objective before each step, (restarts, steps)."""
        return self._ask(case, steps, 0.0)[0]["objectives"].reshape(len(case.starts), -1)

    def _ask(self, case: Case, steps: int, smoothness: float) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        question, answer = self._folder / "case.npz", self._folder / "answer.npz"
        save_case(case, question)
        architecture = {"model": case.architecture.name, "norm": case.architecture.norm, "stats": case.pixel_stats}
        request = {"case": str(question), "answer": str(answer), "steps": steps, "smoothness": smoothness}
        assert self._process.stdin is not None  # a pipe
        print(json.dumps(request | architecture), file=self._process.stdin, flush=True)
        told = self._read()
        with np.load(answer) as arrays:
            return dict(arrays), told

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # a pipe
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().strip().splitlines() or ["it said nothing"]
        raise PeerMissing(f"breaching {VERSION} stopped: {lines[-1]}")
