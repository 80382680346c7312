"""One client's work: FedSGD gradients, FedAvg local epochs, evaluation; clients one by one or many at once."""

from fedunlearn.learning.arithmetic import pin_arithmetic
from fedunlearn.learning.batches import draw_batch, epoch_batches
from fedunlearn.learning.client import CLIENT_TASKS, LocalClient, Samples
from fedunlearn.learning.evaluation import Evaluation, evaluate, evaluate_samples
from fedunlearn.learning.faults import fault_for
from fedunlearn.learning.site import Site
from fedunlearn.learning.training import LocalTraining
from fedunlearn.learning.worker import Worker, choose_executor, worker_for

__all__ = [
    "CLIENT_TASKS",
    "Evaluation",
    "LocalClient",
    "LocalTraining",
    "Samples",
    "Site",
    "Worker",
    "choose_executor",
    "draw_batch",
    "epoch_batches",
    "evaluate",
    "evaluate_samples",
    "fault_for",
    "pin_arithmetic",
    "worker_for",
]
