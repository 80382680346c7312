"""What a scenario can set of attacks that make pictures of classes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedunlearn.attacks.model_inversion.losses import LossName
from fedunlearn.settings import Settings


class PictureSettings(Settings):
    """How many pictures are made, and of what."""

    images_per_class: int = Field(default=5, ge=1, description="Pictures of each class.")
    classes: tuple[int, ...] | None = Field(
        default=None, strict=False, min_length=1, description="The classes that pictures are made of; absent: all."
    )


class RestartSettings(PictureSettings):
    """With searches from several starts."""

    restarts: int = Field(
        default=2, ge=1, description="Searches per picture, of which the attacked model chooses the best."
    )


class PriorSettings(Settings):
    """The generator that public images are learnt by; what was learnt is kept for the whole run."""

    prior: Literal["dcgan", "vae"] = Field(
        default="dcgan",
        description="vae: the decoder of a variational autoencoder; dcgan: the same, then trained against a critic.",
    )
    latent: int = Field(default=32, ge=2, le=64, description="Numbers that an image is made from.")
    prior_width: int = Field(default=32, ge=4, description="Channels of the generator's largest map.")
    prior_steps: int = Field(default=800, ge=1, description="Steps of the autoencoder; a critic takes a quarter more.")


class ObjectiveSettings(Settings):
    """By what the attacked model, and copies of it, are to know a class."""

    loss: LossName = Field(
        default="ce",
        description="ce: cross-entropy; logit: the class's logit, features being held near those of public images; "
        "poincare: distance in the Poincare ball; max-margin: by how much the best other logit exceeds the class's.",
    )
    identity_weight: float = Field(default=100.0, gt=0, description="Weight of that loss beside realism.")
    feature_weight: float = Field(default=1.0, ge=0, description="logit: weight of the features' squared distance.")
    students: int = Field(
        default=0,
        ge=0,
        le=8,
        description="Small nets that are taught the model's answers to public images, and asked too.",
    )
    student_steps: int = Field(default=300, ge=1, description="Steps that each of them is taught.")
