"""ConceptPrune: zero the single weights that carry most of the forgotten class and less of the others.

Source: Chavhan, Li and Hospedales, "ConceptPrune: Concept Editing in Diffusion Models via Skilled Neuron Pruning",
ICLR 2025 (arXiv 2405.19237); the score is Wanda's (Sun, Liu, Bair and Kolter, ICLR 2024, arXiv 2306.11695). With W
(out, in) a layer's weights and a its input for one image,

    A_j = sqrt(mean over images of (a_j / |a|_2)^2)        for the images of the class, and for those of the others
    S   = |W| * A                                          the same A for every row of W
    mask = (S_class among the int(ratio * in) largest of its row) and (S_class > S_others)

and the weights under the mask become zero. Wanda removes the smallest scores, this the largest.

Scope: class. Who takes part: all clients that hold data send, class by class, the mean of (a_j / |a|_2)^2, and with it
their exact numbers of images of every class. Needs from the server: nothing. The replies are statistics.

Of a model that generates images the server needs nobody and no data: it denoises as many images of the class as of the
others, from the same noise, and watches the second layers of the feed-forward blocks. There are A, S and a mask for
each of the first denoising steps, and what any of them marks is pruned: as in the source. `score = "contrast"`, ours,
is of the layers that read class tokens instead, and needs no denoising (`token_masks`).

Deviations, for classifiers: the source is made for diffusion models; here there are no denoising steps to
unite masks over, and the layers are the linear ones between hidden units. The source sums over equally many prompts
of the concept and of a base; here means stand for the sums, so that the sets need not be equally large: it is what
drawing as many images of the other classes gives on average, and the factor that is left changes no mask. Several
forgotten classes count as one set of images. Convolutions, where `layers` names them, are scored channel by channel:
|a|_2 is over the channels of a position, and a channel's A serves its whole kernel. An image that leaves a layer
without any input counts as zeros. `recovery-rounds` ordinary rounds may follow; the source has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from fedunlearn.errors import ScenarioError
from fedunlearn.federation import Federation, Update, Weights
from fedunlearn.learning import CLIENT_TASKS, LocalClient
from fedunlearn.models import Classifier, load_weights
from fedunlearn.models.diffusion import Diffusion
from fedunlearn.randomness import rng
from fedunlearn.requests import UnlearningRequest
from fedunlearn.settings import Settings
from fedunlearn.unlearning.base import UNLEARNERS, History, Unlearner
from fedunlearn.unlearning.class_statistics import class_means, pooled
from fedunlearn.unlearning.denoising import step_activations
from fedunlearn.unlearning.local import read
from fedunlearn.unlearning.masks import chosen, prune, recover
from fedunlearn.unlearning.phases import ask, method_task
from fedunlearn.unlearning.token_masks import contrast_mask


class ConceptPruneSettings(Settings):
    """Hyper-parameters of ConceptPrune."""

    ratio: float = Field(default=0.1, gt=0, lt=1, description="Largest share of a row's weights to prune.")
    layers: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description='Names of layers ("body.fc2"); absent: every linear layer between hidden units.',
    )
    batch_size: int = Field(default=128, ge=1, description="Images that a client looks at together.")
    score: Literal["wanda", "contrast"] = Field(
        default="wanda",
        description="diffusion: wanda, as published; contrast: of the layers that read class tokens, what makes the "
        "class differ from the mean of the others.",
    )
    keep: float = Field(default=1.0, ge=0, description="contrast: how much counts what the other classes lose.")
    prompts: int = Field(default=27, ge=1, description="diffusion: images of the class, and of the others.")
    steps: int = Field(default=25, ge=1, description="diffusion: of a whole denoising.")
    first_steps: int = Field(default=10, ge=1, description="diffusion: how many of them are watched.")
    recovery_rounds: int = Field(default=0, ge=0, description="Ordinary rounds on retained data afterwards.")
    reapply: bool = Field(default=True, description="Whether the server prunes again after every recovery round.")


@UNLEARNERS.register("concept-prune")
class ConceptPrune(Unlearner):
    """Zero the single weights that carry most of the forgotten class and less of the others."""

    Settings = ConceptPruneSettings
    scopes = frozenset({"class"})
    limits = "it prunes what carries a whole class"
    takes_part = "everyone"

    @property
    def extra_rounds(self) -> int:
        """The recovery rounds; the round of statistics is beside them."""
        return int(self.settings.recovery_rounds)

    def forget(self, weights: Weights, request: UnlearningRequest, federation: Federation, history: History) -> Weights:
        """Return the pruned model, after its recovery if there is one.

        Raises:
            ScenarioError: when the model has no such layer, or one with too few inputs for the ratio.
            QuorumLost: when nobody who holds the forgotten data answers.
        """
        model = history.model()
        if isinstance(model, Diffusion) and self.settings.score == "contrast":
            masks = self._of_tokens(model, weights, request.target)
        elif isinstance(model, Diffusion):
            draws = rng(history.seed, "unlearning", federation.calls)
            masks = self._while_denoising(model.to(history.device), weights, request.target, draws)
        else:
            masks = self._by_statistics(model, weights, request.target, federation, history)
        weights = prune(weights, masks, federation)
        if self.settings.reapply:
            return recover(weights, masks, self.extra_rounds, federation, history)
        return history.training.run(federation, weights, self.extra_rounds)

    def _by_statistics(
        self, model: Classifier, weights: Weights, target: Sequence[int], federation: Federation, history: History
    ) -> Weights:
        layers = scored_layers(model, self.settings.layers)
        task = method_task("concept-prune", self.settings, history.training, reply="statistics")
        found = pooled(ask(task, weights, federation.holders("all"), federation, "all"))
        forgotten = np.isin(np.arange(len(found["counts"])), target)
        masks = {}
        for name in layers:
            of_target, base = (root_mean(found[name], found["counts"] * of) for of in (forgotten, ~forgotten))
            masks[f"{name}.weight"] = concept_mask(weights[f"{name}.weight"], of_target, base, self.settings.ratio)
        return masks

    def _of_tokens(self, model: Diffusion, weights: Weights, target: Sequence[int]) -> Weights:
        names = [f"{name}.weight" for name in model.token_readers()]
        tokens, limits = weights["head.weight"], (self.settings.ratio, self.settings.keep)
        return {name: contrast_mask(weights[name], tokens, target, *limits) for name in names}

    def _while_denoising(
        self, model: Diffusion, weights: Weights, target: Sequence[int], draws: np.random.Generator
    ) -> Weights:
        settings = self.settings
        load_weights(model, weights)
        others = np.setdiff1d(np.arange(model.head.out_features), target)
        noise = int(draws.integers(2**32))  # the same for both: the class alone is to make the difference
        of_target, base = (
            step_activations(
                model.eval(),
                np.resize(classes, settings.prompts),
                np.random.default_rng(noise),
                settings.steps,
                settings.first_steps,
            )
            for classes in (np.array(sorted(target)), others)
        )
        layers = chosen(of_target, settings.layers, "concept-prune") if settings.layers else of_target
        masks = {}
        for name in layers:
            steps = zip(of_target[name], base[name], strict=True)
            found = [concept_mask(weights[f"{name}.weight"], *pair, settings.ratio) for pair in steps]
            masks[f"{name}.weight"] = np.logical_or.reduce(found)
        return masks


def scored_layers(model: nn.Module, names: tuple[str, ...] = ()) -> dict[str, nn.Module]:
    """Return the layers to prune, by name: those named, or the linear ones that see neither pixels nor give logits.

    Raises:
        ScenarioError: when there are none, or a name is wrong.
    """
    kinds = nn.Linear | nn.Conv2d
    layers = {n: m for n, m in model.named_modules() if isinstance(m, kinds) and n != "head"}
    if names:
        return chosen(layers, names, "concept-prune")
    between: dict[str, nn.Module] = {n: m for n, m in list(layers.items())[1:] if isinstance(m, nn.Linear)}
    if not between:
        raise ScenarioError(
            'unlearning.methods: "concept-prune" prunes linear layers between hidden units and this model has none; '
            "name others in unlearning.options.concept-prune.layers"
        )
    return between


@CLIENT_TASKS.register("concept-prune")
def input_shares(client: LocalClient, settings: Mapping[str, Any]) -> Update:
    """Send the mean squared normalised inputs (in, K) of each layer by class, and "counts" (K,) of the images."""
    own = read(ConceptPruneSettings, settings)
    return class_means(client, scored_layers(client.model, own.layers), squared_shares, own.batch_size)


def squared_shares(inputs: Tensor, output: Tensor) -> Tensor:
    """Return (n, in): each input's square as a share of all squares of its image; over positions, their mean."""
    squares = inputs.double().square()
    total = squares.sum(1, keepdim=True)
    shares = squares / total.where(total > 0, 1.0)
    return shares if shares.ndim == 2 else shares.mean((2, 3))


def root_mean(means: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return (in,): the root of the mean of `means` (in, K) over classes with `counts` (K,) images each."""
    return np.asarray(np.sqrt(means @ counts / max(counts.sum(), 1)))


def wanda(weight: np.ndarray, activation: np.ndarray) -> np.ndarray:
    """Return |weight| * activation (out, in * kernel) for a weight (out, in, ...) and activations (in,)."""
    flat = np.abs(weight.reshape(len(weight), -1)).astype(np.float64)
    return flat * np.repeat(activation, flat.shape[1] // len(activation))


def concept_mask(weight: np.ndarray, target: np.ndarray, base: np.ndarray, ratio: float) -> np.ndarray:
    """Return bool in the shape of `weight`: what to prune, given activations (in,) on the class and on the others.

    Equal scores fall to the earlier input.

    Raises:
        ScenarioError: when the ratio of a row is less than one weight.
    """
    scores, others = wanda(weight, target), wanda(weight, base)
    inputs = scores.shape[1]
    if not (count := int(ratio * inputs)):
        key = f"unlearning.options.concept-prune.ratio = {ratio}"
        raise ScenarioError(f"{key}: of rows of {inputs} weights that is none; take at least {1 / inputs:.3g}")
    highest = np.zeros(scores.shape, bool)
    np.put_along_axis(highest, np.argsort(-scores, axis=1, kind="stable")[:, :count], True, axis=1)
    return (highest & (scores > others)).reshape(weight.shape)
