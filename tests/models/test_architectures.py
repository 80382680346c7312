"""Every architecture, at every size that it promises."""

import numpy as np
import pytest
import torch
from torch import nn

from fedunlearn.errors import ScenarioError
from fedunlearn.models import MODELS, Architecture, Classifier, build
from fedunlearn.models.base import ACTIVATIONS

CLASSIFIERS = sorted(set(MODELS) - {"diffusion"})  # it classifies too, but has a test file of its own
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 112, 92)]


def make(name: str, shape: tuple[int, int, int] = (1, 8, 8), classes: int = 10, **settings: object) -> Classifier:
    architecture = Architecture(name, **settings)  # type: ignore[arg-type]
    return build(architecture, shape, classes, np.random.default_rng(0), (0.4, 0.3))


def images_for(shape: tuple[int, int, int], n: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).random((n, *shape), dtype=np.float32))


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_it_maps_images_to_logits_with_finite_gradients(name: str, shape: tuple[int, int, int]) -> None:
    model = make(name, shape, width=8 if name == "resnet18" else None)
    images, labels = images_for(shape), torch.tensor([3, 7])
    assert model(images).shape == (2, 10)
    assert model.features(images).shape == (2, model.head.in_features)
    assert torch.equal(model(images), model.head(model.features(images)))
    for gradient in torch.autograd.grad(model.loss(images, labels), list(model.parameters())):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_resnet18_takes_imagenet_sizes(norm: str) -> None:
    model = make("resnet18", (3, 224, 224), 1000, norm=norm)
    loss = model.loss(images_for((3, 224, 224), 1), torch.tensor([5]))
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        ("lenet-zhu", (3, 32, 32), 10, 15_826),  # mit-han-lab/dlg
        ("lenet-zhu", (3, 32, 32), 100, 85_036),
        ("lenet", (1, 28, 28), 10, 61_706),  # LeNet-5
        ("resnet18", (3, 224, 224), 1000, 11_689_512),  # torchvision.models.resnet18
        ("resnet18", (3, 32, 32), 10, 11_173_962),  # kuangliu/pytorch-cifar
        ("mlp", (1, 8, 8), 10, 9_610),
        ("deep-mlp", (1, 28, 28), 10, 200_960 + 32_896 + 1_290),  # 784-256-128-10
        ("logistic", (1, 28, 28), 10, 7_850),
    ],
)
def test_parameter_counts_are_the_published_ones(
    name: str, shape: tuple[int, int, int], classes: int, count: int
) -> None:
    assert num_parameters(make(name, shape, classes, norm="batch")) == count


@pytest.mark.parametrize("name", sorted(set(CLASSIFIERS) - {"logistic"}))
def test_the_head_sees_nothing_negative_with_relu(name: str) -> None:
    features = make(name, activation="relu").features(images_for((1, 8, 8), 16))
    assert (features >= 0).all()
    assert (features > 0).any()


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("name", sorted(set(CLASSIFIERS) - {"logistic"}))
def test_the_activation_is_the_one_asked_for(name: str, activation: str) -> None:
    kinds = {type(module) for module in make(name, activation=activation).modules()} & set(ACTIVATIONS.values())
    assert kinds == {ACTIVATIONS[activation]}


def test_each_architecture_has_its_own_default_activation() -> None:
    assert any(isinstance(module, nn.Sigmoid) for module in make("lenet-zhu").modules())
    assert any(isinstance(module, nn.ReLU) for module in make("lenet").modules())


@pytest.mark.parametrize("name", ["mlp", "deep-mlp", "lenet", "lenet-zhu", "convnet", "resnet18"])
def test_width_scales_the_model(name: str) -> None:
    assert num_parameters(make(name, width=16)) < num_parameters(make(name, width=32))


def test_only_linear_models_say_so() -> None:
    assert {name for name in MODELS if MODELS[name].linear_only} == {"logistic", "mlp", "deep-mlp"}
    for name in ("logistic", "mlp", "deep-mlp"):
        model = make(name)
        assert all(isinstance(m, nn.Linear) for m in model.modules() if list(m.parameters(recurse=False)))


def test_pixels_are_normalised_inside_and_the_statistics_are_no_weights() -> None:
    shape, mean, std = (3, 8, 8), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    model = build(Architecture("logistic"), shape, 10, np.random.default_rng(0), (mean, std))
    images = images_for(shape)
    expected = (images.double().numpy() - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_allclose(model.features(images).numpy(), expected.reshape(2, -1), rtol=1e-5)
    assert set(model.state_dict()) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("name", ["lenet", "lenet-zhu", "convnet", "mlp", "deep-mlp", "resnet18"])
def test_gradients_can_be_differentiated_again(name: str) -> None:
    model = make(name, activation="silu", width=8 if name == "resnet18" else None)
    images = images_for((1, 8, 8)).requires_grad_()
    gradients = torch.autograd.grad(
        model.loss(images, torch.tensor([0, 1])), list(model.parameters()), create_graph=True
    )
    (second,) = torch.autograd.grad(sum((g**2).sum() for g in gradients), images)  # type: ignore[arg-type]
    assert torch.isfinite(second).all()
    assert second.abs().max() > 0


def test_batch_norm_survives_a_batch_of_one_on_the_smallest_image() -> None:
    model = make("resnet18", (1, 8, 8), norm="batch", width=8)
    assert torch.isfinite(model.loss(images_for((1, 8, 8), 1), torch.tensor([0])))


def test_wrong_names_and_widths_are_refused_in_one_line() -> None:
    with pytest.raises(ScenarioError, match='unknown model "lenett"; did you mean "lenet"'):
        make("lenett")
    with pytest.raises(ScenarioError, match=r"model\.width = 5"):
        make("logistic", width=5)
