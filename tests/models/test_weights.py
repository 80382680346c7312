"""Where weights come from, and how they travel."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from fedunlearn.models import MODELS, Architecture, Classifier, build, load_weights, parameter_names, to_weights


def make(name: str, seed: int | None = 0, **settings: object) -> Classifier:
    draws = None if seed is None else np.random.default_rng(seed)
    return build(Architecture(name, **settings), (1, 16, 16), 10, draws)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_same_generator_gives_the_same_weights_whatever_torch_has_drawn(name: str) -> None:
    first = to_weights(make(name))
    torch.rand(7)
    state = torch.random.get_rng_state()
    second = to_weights(make(name))
    assert torch.equal(torch.random.get_rng_state(), state)
    other = to_weights(make(name, seed=1))
    for key in first:
        np.testing.assert_array_equal(first[key], second[key])
    assert any((first[key] != other[key]).any() for key in first)


@pytest.mark.parametrize("name", ["logistic", "mlp", "deep-mlp", "lenet", "convnet", "resnet18"])
def test_weights_follow_the_defaults_of_pytorch(name: str) -> None:
    model = make(name, **({"width": 16} if name == "resnet18" else {}))
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            drawn = {key: parameter.detach().clone() for key, parameter in module.named_parameters()}
            bound = module.weight[0].numel() ** -0.5
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                module.reset_parameters()
            for key, parameter in module.named_parameters():
                assert drawn[key].abs().max() <= bound + 1e-7
                same = stats.ks_2samp(drawn[key].flatten().numpy(), parameter.detach().flatten().numpy())
                assert same.pvalue > 1e-4, (key, same)
        elif isinstance(module, nn.GroupNorm):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


def test_lenet_zhu_starts_wide_as_in_the_paper() -> None:
    values = np.concatenate([array.ravel() for array in to_weights(make("lenet-zhu")).values()])
    assert stats.kstest(values, stats.uniform(-0.5, 1).cdf).pvalue > 1e-3


def test_without_a_generator_the_parameters_are_zero() -> None:
    model = make("lenet", seed=None)
    assert all((parameter == 0).all() for parameter in model.parameters())


def test_weights_are_copies_in_the_models_order_and_come_back() -> None:
    model, other = make("resnet18", norm="batch", width=8), make("resnet18", 1, norm="batch", width=8)
    weights = to_weights(model)
    assert list(weights) == list(model.state_dict())
    before = weights["head.weight"].copy()
    with torch.no_grad():
        model.head.weight.add_(1)
    np.testing.assert_array_equal(weights["head.weight"], before)
    for array in weights.values():
        array.flags.writeable = False  # as they arrive in a message
    load_weights(other, weights)
    for name, array in to_weights(other).items():
        assert array.dtype == weights[name].dtype
        np.testing.assert_array_equal(array, weights[name])


def test_buffers_are_weights_but_no_parameters() -> None:
    model = make("resnet18", norm="batch", width=8)
    buffers = set(to_weights(model)) - parameter_names(model)
    assert {name.rpartition(".")[2] for name in buffers} == {"running_mean", "running_var", "num_batches_tracked"}
    assert to_weights(model)["body.norm1.num_batches_tracked"].dtype == np.int64


def test_weights_that_do_not_fit_are_refused_and_leave_the_model_alone() -> None:
    model = make("mlp")
    good = to_weights(model)
    missing = {name: array for name, array in good.items() if name != "head.bias"}
    wrong = [missing, good | {"head.bias": np.ones(1, np.float32)}, good | {"head.bias": np.ones(10)}]
    for bad in wrong:
        with pytest.raises(ValueError, match=r"head\.bias"):
            load_weights(model, bad)
    for name, array in to_weights(model).items():
        np.testing.assert_array_equal(array, good[name])
