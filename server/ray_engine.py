"""Flower's simulation on Ray; the only file that imports `flwr.simulation` and `ray`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TypeVar

from fedunlearn.errors import EngineFailure, FedUnlearnError

# Read at import time by flwr and ray, so set before either is imported.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

T = TypeVar("T")


def on_ray(app: ClientApp, workers: int, num_nodes: int, gpus_per_worker: float, body: Callable[[Grid], T]) -> T:
    """Return `body(grid)`, run as a Flower ServerApp over `num_nodes` SuperNodes and `workers` Ray actors.

    Raises:
        FedUnlearnError: what `body` raised of the project's own errors.
        EngineFailure: when Ray or Flower broke.
    """
    server = ServerApp()
    result: list[T] = []
    raised: list[BaseException] = []

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        if hasattr(grid, "pull_interval"):
            grid.pull_interval = 0.005  # the default polls ten times a second
        try:
            result.append(body(grid))
        except BaseException as error:  # Flower's thread would only log it
            raised.append(error)

    os.environ["FEDUNLEARN_WORKER"] = "1"  # inherited by the workers: they may be ended and are started again
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    try:
        run_simulation(server, app, num_nodes, backend_config=_backend_config(workers, gpus_per_worker))
    except FedUnlearnError:
        raise
    except Exception as error:
        if not raised:
            raise EngineFailure(f"the Ray engine broke: {error}") from error
    finally:
        del os.environ["FEDUNLEARN_WORKER"]
        ray.shutdown()
    if raised:
        raise raised[0]
    if not result:
        raise EngineFailure("the Ray engine ended before the run did")
    return result[0]


def _backend_config(workers: int, gpus_per_worker: float) -> dict:
    return {
        "init_args": {
            "num_cpus": workers,
            "include_dashboard": False,
            "log_to_driver": False,
            "logging_level": logging.ERROR,
        },
        # Without restarts, one dead actor makes messages fail in every later round.
        "client_resources": {"num_cpus": 1, "num_gpus": gpus_per_worker, "max_restarts": -1},
    }
