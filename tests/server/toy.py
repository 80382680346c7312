"""A small federation on real digits, driven on any engine."""

from fedunlearn.federation import Federation, Update, weights_sha256
from fedunlearn.scenario import Scenario
from fedunlearn.scenario.messages import validate
from fedunlearn.stage import set_stage
from server.grid_engine import grid_engine


def scenario(**tables):
    """Return a checked scenario: 6 clients, two rounds of a small MLP on the built-in digits."""
    base = {
        "data": {"name": "digits"},
        "model": {"name": "mlp", "width": 16},
        "federation": {"clients": 6, "rounds": 2, "batch-size": 32, "engine": "inline"},
    }
    for name, table in tables.items():
        base[name] = base.get(name, {}) | table if isinstance(table, dict) else table
    return validate(Scenario, base)


def drive(stage, grid, nodes, rounds=3):
    """Train on a grid; return (SHA-256 of the model, one dict client -> 'ok' or the failure's reason per round)."""
    federation = Federation(grid_engine(stage, grid, nodes), stage.held)
    seen = []
    federation.round_listeners.append(
        lambda _branch, _order, outcomes: seen.append(
            {o.client_id: "ok" if isinstance(o, Update) else o.reason for o in outcomes}
        )
    )
    model = stage.training.run(federation, stage.fresh(0), rounds)
    return weights_sha256(model), seen


def fault(kind, **where):
    """Return a scenario's fault: client 2 in round 2, unless said otherwise."""
    return {"kind": kind, "clients": [2], "rounds": [2]} | where


__all__ = ["drive", "fault", "scenario", "set_stage"]
