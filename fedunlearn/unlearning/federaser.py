"""FedEraser: replay the history without the forgotten data, with short local training to set the direction.

Source: G. Liu, Ma, Yang, Wang and J. Liu, "FedEraser: Enabling Efficient Client-Level Data Removal from
Federated Learning Models", IWQoS 2021 (arXiv 2012.13891). Stored round t of client i gives an update U; a
fresh, shorter training from the model under reconstruction gives a direction V; the server applies
`sum_i w_i * |U_i| * V_i / |V_i|`, w_i proportional to the client's retained samples.

Scopes: client as in the paper; class and sample by extension. Who takes part: the clients of each stored round that
retain data. Needs from the server: every client's update and the model of every `interval`-th round (rounds x (clients
+ 1) x model size on disk, rounds being those replayed).

Deviations: the norm is taken per tensor (`norm = "per-layer"`) or over the whole model (`"global"`); the paper
leaves this open. Round 0 applies the stored updates of clients that never forgot anything, as in the paper; a
client of which this or an earlier request removed data is calibrated in round 0 too, because its stored update was
computed from that data. A stored round of which no client retains data is skipped. The server step is the weighted
mean whatever strategy trained the model, and the strategy's memory is dropped: it stems from the forgotten data.
Buffers are averaged, not rescaled.
"""

import math
from typing import Literal

import numpy as np
from pydantic import Field

from fedunlearn.aggregation import weighted_mean
from fedunlearn.errors import QuorumLost
from fedunlearn.federation import Federation, Job, Update, Weights
from fedunlearn.requests import UnlearningRequest
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.stored import delta_of, read_round


class FedEraserSettings(Settings):
    """Hyper-parameters of FedEraser."""

    interval: int = Field(1, ge=1, description="Replay every interval-th stored round (the paper's delta t).")
    calibration_ratio: float = Field(0.5, gt=0, le=1, description="Local epochs of calibration over those of training.")
    norm: Literal["per-layer", "global"] = Field("per-layer", description="What one norm is taken over.")


@UNLEARNERS.register("federaser")
class FedEraser(Unlearner):
    """Replay stored rounds without the forgotten data, each client's update rescaled to its stored length."""

    Settings = FedEraserSettings
    stores = "updates"

    def stored_rounds(self, rounds: int) -> range:
        """Return every `interval`-th round."""
        return range(0, rounds, self.settings.interval)

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the model rebuilt from the initialisation along the calibrated updates."""
        ratio, norm = self.settings.calibration_ratio, self.settings.norm
        epochs = math.ceil(ratio * history.training.settings.get("local-epochs", 1))
        task = history.training.task(local_epochs=epochs)
        model = history.initial
        for number, (branch, call) in enumerate(history.rounds[:: self.settings.interval]):
            everything = read_round(history, branch, call)
            stored = everything.only(lambda client: federation.num_examples(client, "retain") > 0).deltas
            if not stored:
                continue
            fresh = set(stored) if number else {client for client in stored if federation.has_forgotten(client)}
            deltas = {client: delta for client, delta in stored.items() if client not in fresh}
            if fresh:
                outcomes = federation.round(task, model, {client: Job(view="retain") for client in sorted(fresh)})
                for update in (o for o in outcomes if isinstance(o, Update)):
                    direction = delta_of(update, model, history)
                    deltas[update.client_id] = rescale(
                        direction, stored[update.client_id], history.parameters, per_layer=norm == "per-layer"
                    )
            if not deltas:
                raise QuorumLost(f"branch {federation.branch}: no client answered calibration round {number}")
            clients = sorted(deltas)
            sizes = [federation.num_examples(client, "retain") for client in clients]
            mean = weighted_mean([deltas[client] for client in clients], sizes)
            model = {name: (array + mean[name]).astype(array.dtype) for name, array in model.items()}
            model = federation.publish(model)
        federation.state = None
        return model


def rescale(direction: Weights, stored: Weights, parameters: frozenset[str], *, per_layer: bool) -> Weights:
    """Return `direction` with the length of `stored`, tensor by tensor or as one vector; buffers unchanged.

    A zero direction stays zero: there is nothing to point along.
    """
    names = [name for name in direction if name in parameters]
    groups = [[name] for name in names] if per_layer else [names]
    scaled = dict(direction)
    for group in groups:
        old = math.sqrt(sum(float(np.sum(np.square(stored[name], dtype=np.float64))) for name in group))
        new = math.sqrt(sum(float(np.sum(np.square(direction[name], dtype=np.float64))) for name in group))
        factor = old / new if new else 0.0
        scaled |= {name: (direction[name].astype(np.float64) * factor) for name in group}
    return scaled
