"""The gradients of many trials, told by what a cosine needs of them: their product with the observed one, their norm.

A trial's gradient is never written down where it is large. With n samples (or P positions of a map) a layer's gradient
is a sum of n (or P) outer products of its inputs and the derivatives of its outputs, so that its norm follows from two
small Gram matrices, as in the fast per-example clipping of differential privacy (Goodfellow, arXiv 1510.01799; Li et
al., ICLR 2022), and its product with the observed gradient from running that one as a layer.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fedunlearn.attacks.gradient_inversion.convolutions import Kernel, SharedConvolution, WeightTerms
from fedunlearn.models import Classifier

Terms = tuple[Tensor, Tensor]  # product with the observed gradient, own squared norm; (R,) each
CACHED = 1.5  # a Gram matrix's operations are cheaper than those of writing large gradients by about this factor


class Recorded(nn.Module, ABC):
    """A layer that keeps the inputs and outputs of its last run.

    Args:
        layer: a convolution, a linear layer or a normalisation with scale and shift; its weights are constants.
        observed: gradients by the layer's own parameter names; parameters that it lacks count for nothing.
    """

    inputs: Tensor
    outputs: Tensor
    layer: Any

    def __init__(self, layer: nn.Module, observed: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.layer, self.observed = layer, dict(observed)

    def record(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Keep both and return the outputs."""
        self.inputs, self.outputs = inputs, outputs
        return outputs

    def bias_terms(self, outer: Tensor, trials: int) -> Terms:
        """Return the terms of a parameter that is added to the outputs' channels."""
        gradients = _per_trial(outer, trials)
        return gradients @ self.observed["bias"], gradients.square().sum(1)

    @abstractmethod
    def weight_terms(self, outer: Tensor, trials: int) -> Terms:
        """Return the terms of the weights, given the derivative of the outputs."""

    def terms(self, outer: Tensor, trials: int) -> Terms:
        """Return the terms of all parameters that are observed."""
        told = [getattr(self, f"{name}_terms")(outer, trials) for name in self.observed]
        products, squares = zip(*told, strict=True)
        return sum(products[1:], products[0]), sum(squares[1:], squares[0])


class RecordedLinear(Recorded):
    """A linear layer on vectors (N, d)."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, o)."""
        return self.record(inputs, F.linear(inputs, self.layer.weight, self.layer.bias))

    def weight_terms(self, outer: Tensor, trials: int) -> Terms:
        """Return the terms by Gram matrices of the samples."""
        products = (F.linear(self.inputs, self.observed["weight"]) * outer).unflatten(0, (trials, -1)).sum((1, 2))
        x, d = (t.unflatten(0, (trials, -1)) for t in (self.inputs, outer))
        return products, _gram_square(x, d)


class RecordedConvolution(Recorded):
    """A convolution, not grouped or dilated."""

    def __init__(self, layer: nn.Conv2d, observed: Mapping[str, Tensor]) -> None:
        super().__init__(layer.to(memory_format=torch.channels_last), observed)  # type: ignore[call-overload]
        self._kernel = Kernel(self.layer.weight, self.layer.stride, self.layer.padding)
        if "weight" in self.observed:
            self._observed_kernel = self._kernel.like(observed["weight"].contiguous(memory_format=torch.channels_last))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (N, O, h, w)."""
        return self.record(inputs, SharedConvolution.apply(inputs, self._kernel, self.layer.bias))

    def weight_terms(self, outer: Tensor, trials: int) -> Terms:
        """Return the terms by Gram matrices of the positions where there are few of them, else by the gradients."""
        observed = self.observed["weight"]
        positions, taps = outer[:, 0].numel() // trials, observed[0].numel()
        if CACHED * positions * (taps + len(observed)) < 3 * taps * len(observed):
            products = SharedConvolution.apply(self.inputs, self._observed_kernel, None) * outer
            return products.flatten(1).sum(1).view(trials, -1).sum(1), self._gram_square(outer, trials)
        return WeightTerms.apply(self.inputs, outer, observed, trials, self._observed_kernel)

    def _gram_square(self, outer: Tensor, trials: int) -> Tensor:
        patches = F.unfold(self.inputs, self.layer.kernel_size, 1, self.layer.padding, self.layer.stride)
        x, d = (t.flatten(2).unflatten(0, (trials, -1)).transpose(2, 3).flatten(1, 2) for t in (patches, outer))
        return _gram_square(x, d)


class RecordedNorm(Recorded):
    """Group normalisation, or batch normalisation by the running statistics; what is recorded is before the scale."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return the normalised, scaled and shifted maps."""
        layer = self.layer
        if isinstance(layer, nn.GroupNorm):
            normal = F.group_norm(maps, layer.num_groups, eps=layer.eps)
        else:
            normal = F.batch_norm(maps, layer.running_mean, layer.running_var, eps=layer.eps)
        scaled = torch.addcmul(layer.bias[:, None, None], normal, layer.weight[:, None, None])
        return self.record(normal, scaled)

    def weight_terms(self, outer: Tensor, trials: int) -> Terms:
        """Return the terms of the scale."""
        gradients = _per_trial(self.inputs * outer, trials)
        return gradients @ self.observed["weight"], gradients.square().sum(1)


KINDS: dict[type[nn.Module], type[Recorded]] = {
    nn.Conv2d: RecordedConvolution,
    nn.Linear: RecordedLinear,
    nn.GroupNorm: RecordedNorm,
    nn.BatchNorm2d: RecordedNorm,
}


def can_tell(model: nn.Module) -> bool:
    """Return whether every parameter is of a layer whose terms are known."""
    return all(_known(m) for m in model.modules() if any(True for _ in m.parameters(recurse=False)))


def _known(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and set(layer.dilation) == {1} and layer.padding_mode == "zeros"
    return type(layer) in KINDS and not (isinstance(layer, nn.BatchNorm2d) and layer.training)


class CosineDistance:
    """1 - cosine similarity between the gradients of trials and one observed gradient, twice differentiable.

    Args:
        model: a network for which `can_tell`; it is copied.
        gradient: the observed one, by parameter name, on the model's device; what it lacks counts for nothing.
    """

    def __init__(self, model: Classifier, gradient: Mapping[str, Tensor]) -> None:
        self._model = copy.deepcopy(model).requires_grad_(False)
        self._layers: list[Recorded] = []
        for name, layer in list(self._model.named_modules()):
            if kind := KINDS.get(type(layer)):
                own = {part: gradient[key] for part in ("weight", "bias") if (key := f"{name}.{part}") in gradient}
                recorded = kind(layer, own)
                self._model.set_submodule(name, recorded)
                self._layers += [recorded] if own else []
        self._norm = torch.stack([part.square().sum() for part in gradient.values()]).sum().sqrt()

    def __call__(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the distances (R,) of the mean-loss gradients of normalised images (R, n, C, H, W), labels (R, n)."""
        trials, maps = len(inputs), inputs.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        logits = self._model.head(self._model.body(maps))
        loss = F.cross_entropy(logits, labels.flatten(), reduction="sum") / labels.shape[1]
        outputs = [layer.outputs for layer in self._layers]
        derivatives = torch.autograd.grad(loss, outputs, create_graph=True)
        told = [layer.terms(d, trials) for layer, d in zip(self._layers, derivatives, strict=True)]
        products, squares = (torch.stack(terms).sum(0) for terms in zip(*told, strict=True))
        for layer in self._layers:
            del layer.inputs, layer.outputs
        return 1 - products / (squares.sqrt() * self._norm)


def _per_trial(maps: Tensor, trials: int) -> Tensor:
    """Return the sums over samples and positions, (R, C), of maps (R n, C, H, W) or vectors (R n, C)."""
    summed = maps.flatten(2).sum(2) if maps.dim() > 2 else maps
    return summed.unflatten(0, (trials, -1)).sum(1)


def _gram_square(x: Tensor, d: Tensor) -> Tensor:
    """Return the squared norm of each sum over p of the outer products d_p x_p, (R,), for (R, P, a) and (R, P, b)."""
    return (torch.bmm(x, x.transpose(1, 2)) * torch.bmm(d, d.transpose(1, 2))).sum((1, 2))
