"""Forgotten data take no part: a federation told to exclude them trains exactly as one that never had them."""

import numpy as np
import pytest

from clients.app import app
from fedunlearn.data import save_partition
from fedunlearn.federation import Federation, weights_sha256
from fedunlearn.stage import set_stage
from server.grid_engine import grid_engine
from server.local_grid import in_process
from tests.server.toy import scenario


def train(stage, held, forget=None, rounds=2):
    def body(grid):
        federation = Federation(grid_engine(stage, grid, 1), held)
        if forget:
            federation.open_request(forget)
        return weights_sha256(stage.training.run(federation, stage.fresh(0), rounds))

    return in_process(app, 1, body)


@pytest.mark.parametrize("model", ["mlp", "lenet"])
@pytest.mark.parametrize("algorithm", ["fedsgd", "fedavg"])
@pytest.mark.parametrize("whole", [True, False])
def test_forgetting_is_never_having_had(tmp_path, model, algorithm, whole):
    tables = {"model": {"name": model, "width": 4}, "federation": {"algorithm": algorithm, "clients": 4}}
    stage = set_stage(scenario(**tables), tmp_path / "with")
    forget = {1: stage.held[1] if whole else stage.held[1][::3], 2: stage.held[2][:5]}
    never = [np.setdiff1d(ids, forget.get(client, ids[:0])) for client, ids in enumerate(stage.held)]
    bare = set_stage(scenario(**tables), tmp_path / "without")
    save_partition(never, tmp_path / "without" / "partition")
    assert train(stage, stage.held, forget) == train(bare, never)
    assert train(stage, stage.held, forget) != train(stage, stage.held)
