"""What a search for images is made of: every part by name, every weight with its convention."""

from __future__ import annotations

import copy
from typing import Any, Literal

from pydantic import Field, create_model, field_validator, model_validator

from fedunlearn.attacks.base import ATTACKS
from fedunlearn.attacks.targets import Clients, UpdateSettings

SpaceName = Literal["pixels", "normalised", "whitened", "half-whitened"]


class ImageSettings(UpdateSettings):
    """Settings of all attacks that rebuild images."""

    clients: Clients = Field(
        default="first", description='The clients: "first" (the lowest id that answered), "all" or a list of ids.'
    )
    labels: str = Field(
        default="bias-form", description='The label attack that gives the labels, or "known" for an oracle.'
    )
    wrong_labels: int = Field(
        default=0, ge=0, description='So many of the "known" labels are replaced by a wrong class: what does it cost?'
    )
    label_tries: int = Field(
        default=1,
        ge=1,
        description="Label counts that are tried at most, the likeliest first, while the loss stays above `doubt`.",
    )
    doubt: float = Field(default=1e-5, ge=0, description="A loss above which the labels may be wrong.")
    images: int = Field(
        default=16,
        ge=1,
        description="Of a FedAvg client's mean gradient, rebuild so many images at most, labels in proportion.",
    )

    @property
    def label_source(self) -> str:
        """What a finding says about where its labels came from."""
        return f"{self.labels}, {self.wrong_labels} wrong" if self.wrong_labels else self.labels

    @field_validator("labels")
    @classmethod
    def _check_source(cls, name: str) -> str:
        sources = sorted({"known"} | {known for known in ATTACKS if ATTACKS[known].finds == "labels"})
        if name not in sources:
            raise ValueError(f"no source of labels; choose one of {', '.join(sources)}")
        return name

    @model_validator(mode="after")
    def _check_labels(self) -> ImageSettings:
        if self.wrong_labels and self.labels != "known":
            raise ValueError('wrong-labels needs labels = "known": only of those is it known which are right')
        return self


class InversionSettings(ImageSettings):
    """Settings of the attacks that search for images; a preset changes nothing but the defaults."""

    objective: Literal["euclidean", "cosine", "layer-norms"] = Field(
        default="euclidean", description="How the distance of two gradients is measured."
    )
    total_variation: float = Field(default=0.0, ge=0, description="Weight of mean |dx| + mean |dy| in the loss.")
    l2: float = Field(default=0.0, ge=0, description="Weight of the root mean square of the candidate, in its space.")
    box: float = Field(default=0.0, ge=0, description="Weight of the mean squared excess of pixels over [0, 1].")
    batch_norm: float = Field(
        default=0.0, ge=0, description="Weight of the distance of the layers' statistics from batch normalisation's."
    )
    consistency: float = Field(
        default=0.0, ge=0, description="Weight of the root mean square distance from the mean of the restarts (Adam)."
    )
    epoch_order: float = Field(
        default=0.0, ge=0, description="Weight of the differences between the copies of the images, one per epoch."
    )
    optimiser: Literal["lbfgs", "signed-adam", "adam"] = Field(
        default="lbfgs", description="L-BFGS for smooth models, signed Adam for ReLU models, Adam with cosine decay."
    )
    rate: float | None = Field(default=None, gt=0, description="Step size; by default 1 for L-BFGS, 0.1 for Adam.")
    warm_up: int = Field(default=0, ge=0, description="Steps over which Adam's rate rises to its value.")
    noise: float = Field(default=0.0, ge=0, description="Adam: deviation of the noise added at a step, per rate.")
    steps: int = Field(default=3000, ge=1, description="Iterations of the optimiser, at most, per restart.")
    tolerance: float = Field(default=1e-7, ge=0, description="A loss at which the search ends, restarts included.")
    restarts: int = Field(default=1, ge=1, description="Starts, of which the one with the lowest loss is kept.")
    start: Literal["grey", "normal", "patterned"] = Field(
        default="grey", description="Grey with a little noise, normal noise, or one noisy tile repeated."
    )
    space: SpaceName = Field(
        default="pixels",
        description="What the search moves: pixels, the model's normalised inputs, or the waves of natural images.",
    )
    second_space: SpaceName | None = Field(
        default=None, description="What it moves in the second half of the steps, from the images of the first half."
    )
    precision: Literal["float32", "float64"] = Field(default="float32", description="The arithmetic of the search.")
    unroll: int = Field(
        default=0,
        ge=0,
        description="A FedAvg client's local steps are simulated if there are at most so many of them; with more, the "
        "mean gradient stands for them.",
    )
    copies: Literal["one", "per-epoch"] = Field(
        default="one", description="Simulated steps: one set of images for all epochs, or one each, merged at last."
    )
    rank: bool = Field(
        default=False, description="Report the numerical rank of the gradient's Jacobian (at most 800 pixels in all)."
    )

    @model_validator(mode="after")
    def _check_parts(self) -> InversionSettings:
        if self.optimiser == "lbfgs" and (self.consistency or self.noise or self.warm_up):
            raise ValueError('consistency, noise and warm-up need an Adam, not optimiser = "lbfgs"')
        return self


def preset(name: str, **defaults: Any) -> type[InversionSettings]:
    """Return a subclass of the settings with other defaults, by the fields' Python names."""
    fields: dict[str, Any] = {}
    for key, default in defaults.items():
        field = copy.copy(InversionSettings.model_fields[key])
        field.default = default
        fields[key] = (field.annotation, field)
    return create_model(name, __base__=InversionSettings, __doc__=f"Settings of `{name}`.", **fields)
