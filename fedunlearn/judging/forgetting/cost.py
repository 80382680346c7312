"""What forgetting costs: storage at the server, and work against that of retraining."""

from collections.abc import Sequence
from typing import Literal

from fedunlearn.judging.metric import NAN

NO_CLIENT_WORK = "no client work"
DURING_TRAINING = "its work is done during training"


def server_bytes(
    stores: Literal["nothing", "models", "updates"], model_bytes: int, updates: Sequence[int], own_models: int = 0
) -> int:
    """Return what a method needs the server to have kept of training, beside the latest model.

    Args:
        stores: of each round nothing, the model, or every update beside the model that it started from.
        model_bytes: the size of one model, which is that of one update too.
        updates: how many updates each round had that the method needs.
        own_models: how many models of its own making it needs.
    """
    models = {"nothing": 0, "models": len(updates), "updates": len(updates) + sum(updates)}[stores]
    return (models + own_models) * model_bytes


def speed_up(retrained: float, own: float) -> float:
    """Return how many times less work it was than retraining; NaN where there was none to compare.

    Args:
        retrained: seconds that the clients computed for retraining, the mean of several times.
        own: seconds that they computed for the method.
    """
    return retrained / own if own else NAN
