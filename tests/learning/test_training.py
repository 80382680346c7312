"""What the client halves compute, against PyTorch's own optimiser and gradients."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from fedunlearn.aggregation import gradient_step, weighted_mean
from fedunlearn.federation import Weights
from fedunlearn.learning import LocalTraining, draw_batch, epoch_batches
from fedunlearn.models import Classifier, parameter_names, to_weights
from tests.learning.workshop import Workshop, assert_same, perform

MODELS: dict[str, dict[str, Any]] = {
    "lenet": {"name": "lenet"},
    "mlp": {"name": "mlp", "activation": "tanh"},
    "convnet": {"name": "convnet", "width": 4},
    "lenet-zhu": {"name": "lenet-zhu"},
    "batch norm": {"name": "resnet18", "norm": "batch", "width": 4},
    "group norm": {"name": "resnet18", "norm": "group", "width": 4},
}


def tensors(shop: Workshop, ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(shop.samples.images(ids)), torch.from_numpy(shop.samples.labels(ids))


def trained_by_torch(shop: Workshop, client: int, batch_size: int, epochs: int, **sgd: float) -> tuple[Weights, float]:
    """Return what `torch.optim.SGD` makes of the client's batches, and the mean loss."""
    model, ids = shop.blank(), shop.partition[client]
    optimiser = torch.optim.SGD(model.parameters(), **sgd)  # type: ignore[arg-type]
    losses, sizes = [], []
    for positions in epoch_batches(shop.seed, 1, client, len(ids), batch_size, epochs):
        optimiser.zero_grad()
        loss = model.loss(*tensors(shop, ids[positions]))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        sizes.append(len(positions))
    return to_weights(model), float(np.average(losses, weights=sizes))


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("extra", [{}, {"momentum": 0.9, "weight_decay": 0.01}], ids=["plain", "momentum"])
def test_training_is_that_of_torch_to_the_last_bit(model: str, extra: dict[str, float]) -> None:
    shop = Workshop([11, 5], MODELS[model])
    settings = {"batch-size": 4, "learning-rate": 0.1, "local-epochs": 2}
    settings |= {name.replace("_", "-"): value for name, value in extra.items()}
    updates, failures = perform(shop.worker(), shop.order("train", settings))
    assert not failures
    for client, update in updates.items():
        expected, loss = trained_by_torch(shop, client, 4, 2, lr=0.1, **extra)
        assert update.kind == "weights"
        assert_same(dict(update.payload), expected)
        assert update.metrics["loss"] == pytest.approx(loss)
        assert update.metrics["seconds"] > 0


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_the_proximal_term_is_that_of_fedprox(executor: str) -> None:
    shop = Workshop([9], {"name": "mlp", "width": 12}, executor)
    settings = {"batch-size": 3, "learning-rate": 0.2, "local-epochs": 2, "proximal-mu": 0.7}
    updates, _ = perform(shop.worker(), shop.order("train", settings))
    model = shop.blank()
    start = [parameter.detach().clone() for parameter in model.parameters()]
    optimiser = torch.optim.SGD(model.parameters(), lr=0.2)
    for positions in epoch_batches(shop.seed, 1, 0, 9, 3, 2):
        optimiser.zero_grad()
        apart = sum(((p - s) ** 2).sum() for p, s in zip(model.parameters(), start, strict=True))
        (model.loss(*tensors(shop, shop.partition[0][positions])) + 0.35 * apart).backward()
        optimiser.step()
    assert_same(dict(updates[0].payload), to_weights(model), 1e-6)


def test_adamw_is_that_of_torch_and_forgets_between_rounds() -> None:
    shop = Workshop([9], {"name": "mlp", "width": 12})
    settings = {"batch-size": 4, "learning-rate": 0.02, "local-epochs": 2, "weight-decay": 0.1, "optimiser": "adamw"}
    worker = shop.worker()
    first, again = (perform(worker, shop.order("train", settings))[0] for _ in range(2))
    model = shop.blank()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    for positions in epoch_batches(shop.seed, 1, 0, 9, 4, 2):
        optimiser.zero_grad()
        model.loss(*tensors(shop, shop.partition[0][positions])).backward()
        optimiser.step()
    assert_same(dict(first[0].payload), to_weights(model), 1e-6)
    assert_same(dict(first[0].payload), dict(again[0].payload))


def gradient_by_torch(model: Classifier, images: torch.Tensor, labels: torch.Tensor) -> Weights:
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    names = [name for name, _ in model.named_parameters()]
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return {name: gradient.numpy() for name, gradient in zip(names, gradients, strict=True)}


@pytest.mark.parametrize("model", sorted(MODELS))
def test_a_gradient_update_is_the_gradient_of_the_batch_with_the_buffers_after_it(model: str) -> None:
    shop = Workshop([11, 3], MODELS[model])
    updates, failures = perform(shop.worker(), shop.order("gradient", {"batch-size": 4}))
    assert not failures
    for client, ids in enumerate(shop.partition):
        oracle = shop.blank()
        batch = ids[draw_batch(shop.seed, 1, client, len(ids), 4)]
        expected = gradient_by_torch(oracle, *tensors(shop, batch))
        after = to_weights(oracle)
        assert updates[client].kind == "gradient"
        assert_same(dict(updates[client].payload), {name: expected.get(name, after[name]) for name in after})


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_weight_decay_enters_a_gradient_when_it_is_set(executor: str) -> None:
    shop = Workshop([6], {"name": "mlp", "width": 12}, executor)
    worker = shop.worker()
    plain, _ = perform(worker, shop.order("gradient", {"batch-size": 4}))
    decayed, _ = perform(worker, shop.order("gradient", {"batch-size": 4, "weight-decay": 0.5}))
    weights = shop.weights()
    expected = {name: plain[0].payload[name] + np.float32(0.5) * array for name, array in weights.items()}
    assert_same(dict(decayed[0].payload), expected, 1e-6)


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_fedsgd_is_sgd_on_the_joint_batch(executor: str) -> None:
    shop = Workshop([3, 8, 5, 1], {"name": "mlp", "width": 12}, executor)
    worker, weights, joint = shop.worker(), shop.weights(), shop.blank()
    optimiser = torch.optim.SGD(joint.parameters(), lr=0.3)
    for _ in range(3):
        order = shop.order("gradient", {"batch-size": 8})
        order = type(order)(order.call, order.task, weights, order.jobs)
        updates, _ = perform(worker, order)
        sizes = [len(ids) for ids in shop.partition]
        mean = weighted_mean([dict(updates[client].payload) for client in sorted(updates)], sizes)
        weights = gradient_step(weights, mean, 0.3, set(parameter_names(joint)))
        optimiser.zero_grad()
        joint.loss(*tensors(shop, np.arange(sum(sizes)))).backward()
        optimiser.step()
    assert_same(weights, to_weights(joint), 1e-6)


def test_batch_norm_buffers_travel_in_both_algorithms() -> None:
    shop = Workshop([8, 8], {"name": "resnet18", "norm": "batch", "width": 4})
    worker, counter = shop.worker(), "body.norm1.num_batches_tracked"
    for task, batches in (("train", 2), ("gradient", 1)):
        updates, failures = perform(worker, shop.order(task, {"batch-size": 4, "learning-rate": 0.1}))
        assert not failures
        for update in updates.values():
            assert update.payload[counter] == batches
            assert update.payload[counter].dtype == np.int64
            assert (update.payload["body.norm1.running_mean"] != 0).any()
        mean = weighted_mean([dict(update.payload) for update in updates.values()], [8, 8])
        assert list(mean) == list(shop.weights())


def test_settings_that_are_missing_or_wrong_are_named() -> None:
    with pytest.raises(ValueError, match='lack "batch-size"'):
        LocalTraining.read({})
    with pytest.raises(ValueError, match='lack "learning-rate"'):
        LocalTraining.read({"batch-size": 1}, "learning-rate")
    with pytest.raises(ValueError, match="batch-size = 0"):
        LocalTraining.read({"batch-size": 0})
    assert LocalTraining.read({"batch-size": 2, "faults": []}) == LocalTraining(2)
    assert math.isclose(LocalTraining.read({"batch-size": 2, "proximal-mu": 0.1}).proximal_mu, 0.1)
