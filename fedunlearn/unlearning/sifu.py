"""SIFU: go back to the last model on which the client's influence is bounded, hide the rest in noise, retrain.

Source: Fraboni, Van Waerebeke, Scaman, Vidal, Kameni and Lorenzi, "SIFU: Sequential Informed Federated Unlearning for
Efficient and Provable Client Unlearning in Federated Optimization", AISTATS 2024 (arXiv 2211.11656). The influence is
bounded along training by
Psi_{t+1} = (1 - eta * mu)^E * Psi_t + |mean change of round t - what it would be without the client|,
for one client of weight p the second term is p / (1 - p) * |its model after round t - the mean model|. It goes back to
the last t with Psi_t <= Psi* = epsilon * sigma / sqrt(2 ln(1.25 / delta)), adds N(0, sigma^2 I) and trains on without
the client. For E local steps of gradient descent on losses that are smooth and convex (mu = 0) or strongly convex of
modulus mu, Psi_t bounds the distance to the model trained without the client; on a network it is a measure.

Scope: client, whole: the bound is on everything that a client sent. Who takes part: the retained clients, in ordinary
rounds. Needs from the server: every client's update and the model of every round (rounds x (clients + 1) x model size
on disk).

Deviations: a request for several clients bounds their joint influence, the mean change less what it would be without
any of them; the paper takes the largest of theirs alone. A later request goes back along the rounds before the first
rollback only, for those that left before and those that leave now together: what was trained after a rollback is not
among the stored rounds. The paper keeps that branch as well, and so may go back less far. As many rounds as the
rollback lost are trained again, or `retraining-rounds`; the paper trains to a given accuracy. Where the clients never
took part the model is returned as it is, without noise. The mean is the weighted one: under a server strategy the bound
does not hold, and its memory is dropped. Buffers go back with the model. Each round's distance is
deliberately that of the two means after aggregation: exact, not a bound by the length of the client's own change. With
the default sigma and epsilon a small federation usually goes back to its first rounds.
"""

import math
from collections.abc import Callable

from pydantic import Field

from fedunlearn.federation import Federation, Weights
from fedunlearn.requests import UnlearningRequest
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.phases import install
from fedunlearn.unlearning.server_draws import server_rng
from fedunlearn.unlearning.stored import StoredRound, read_round
from fedunlearn.unlearning.vectors import flatten, moved, norm


class SifuSettings(Settings):
    """Hyper-parameters of SIFU."""

    noise: float = Field(default=0.05, gt=0, description="sigma, standard deviation of the noise on every weight.")
    epsilon: float = Field(default=10.0, gt=0, description="Of the unlearning guarantee.")
    delta: float | None = Field(
        default=None, gt=0, le=1, description="Of the unlearning guarantee; absent: 1 / clients."
    )
    convexity: float = Field(
        default=0.0, ge=0, description="mu, by which every client's loss is strongly convex; 0: merely convex."
    )
    retraining_rounds: int | None = Field(
        default=None, ge=0, description="Ordinary rounds after the rollback; absent: as many as it lost."
    )


@UNLEARNERS.register("sifu")
class Sifu(Unlearner):
    """Go back to the last model that the forgotten clients had hardly influenced, add noise, retrain."""

    Settings = SifuSettings
    scopes = frozenset({"client"})
    limits = "it bounds what whole clients brought in"
    takes_part = "retained"
    stores = "updates"

    @property
    def extra_rounds(self) -> int:
        """The retraining rounds if they are given; otherwise what the rollback loses is not known beforehand."""
        given: int | None = self.settings.retraining_rounds
        return self.rounds if given is None else given

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the retrained model."""
        chosen, parameters, total = self.settings, history.parameters, len(history.rounds)
        influence, clients = trace(history, federation.has_forgotten, chosen.convexity)
        within_reach = reachable(history, federation)
        if total in within_reach and clients.isdisjoint(request.samples):
            return weights
        limit = psi_star(chosen.noise, chosen.epsilon, chosen.delta or 1 / federation.num_clients)
        last = max(t for t in within_reach if influence[t] <= limit)
        back = weights if last == total else history.archive.read(*history.rounds[last])[0]
        draws, size = server_rng(federation, history), len(flatten(back, parameters))
        noisy = install(moved(back, draws.normal(0.0, chosen.noise, size), parameters), federation)
        rounds = total - last if chosen.retraining_rounds is None else chosen.retraining_rounds
        return history.training.run(federation, noisy, rounds)


def psi_star(noise: float, epsilon: float, delta: float) -> float:
    """Return the influence that Gaussian noise of standard deviation `noise` hides up to (epsilon, delta)."""
    return epsilon * noise / math.sqrt(2 * math.log(1.25 / delta))


def trace(history: History, gone: Callable[[int], bool], convexity: float) -> tuple[list[float], set[int]]:
    """Return (Psi before every stored round and after the last, for the clients in `gone` together; who took part)."""
    influence, clients = [0.0], set[int]()
    for branch, call in history.rounds:
        stored = read_round(history, branch, call)
        clients |= stored.deltas.keys()
        added = norm(stored.residual(gone, history.parameters))
        influence.append(contraction(stored, history, convexity) * influence[-1] + added)
    return influence, clients


def contraction(stored: StoredRound, history: History, convexity: float) -> float:
    """Return by how much a round's local steps bring two models together, with those of its smallest client."""
    training = history.training.settings
    steps = 1
    if history.training.algorithm == "fedavg":
        batches = math.ceil(min(stored.sizes.values(), default=1) / training["batch-size"])
        steps = batches * training.get("local-epochs", 1)
    return float(abs(1 - training["learning-rate"] * convexity) ** steps)


def reachable(history: History, federation: Federation) -> list[int]:
    """Return the t of the models to go back to: before stored round t, or now, as long as no call is missing.

    The first model, t = 0, is always among them. Where calls are missing between stored rounds, an earlier request was
    served there.
    """
    calls = [call for _, call in history.rounds] + [federation.calls + 1]
    return [t for t, call in enumerate(calls) if call == calls[0] + t]
