"""The tables of a scenario file about those who watch: observers, probes, attacks, and how findings are judged."""

from typing import Any, Literal

from pydantic import Field, model_validator

from fedunlearn.names import PROBE
from fedunlearn.observer.access import Access
from fedunlearn.scenario.fields import Count, Everyone, Indices, Name, wrong
from fedunlearn.settings import Settings


class ObserverSettings(Settings):
    """Someone who watches the federation and sees what the access level shows."""

    name: Name = Field(description="What attacks call it.")
    access: Access = Field(description="How much it sees.")
    rounds: tuple[Literal["first", "around-request", "all"] | Count, ...] = Field(
        default=("first", "around-request"), strict=False, description="The rounds whose updates it records."
    )
    flags: tuple[str, ...] = Field(default=(), strict=False, description="What it knows beside.")
    client: int | None = Field(
        default=None,
        ge=0,
        description="The client that is the observer's own, for the flag own-updates; absent: the lowest-numbered that "
        "holds none of the requested data.",
    )

    @model_validator(mode="after")
    def _check(self) -> "ObserverSettings":
        if self.client is not None and "own-updates" not in self.flags:
            raise wrong("client", self.client, 'needs the flag "own-updates" beside it')
        return self


class ProbeSettings(Settings):
    """One extra, real round that the observers watch from a checkpoint of ordinary training; the run goes on without.

    Clients draw their images once for all probes of a seed: a smaller batch is the beginning of a larger one, and
    held-out images have the classes that the members would have had, so that probes can be compared pair by pair.
    """

    name: Name = Field(description="Attacks call it `probe-<name>`.")
    after: int = Field(default=0, ge=0, description="Rounds of ordinary training before it; 0: the fresh model.")
    algorithm: Literal["fedsgd", "fedavg"] | None = Field(default=None, description="The federation's if absent.")
    clients: Everyone | Indices = Field(default="all", description="Who is probed.")
    samples: int | None = Field(
        default=None,
        ge=1,
        description="Images that each client works on; absent: fedsgd a batch, fedavg all that it holds. "
        "A client that holds fewer is left out.",
    )
    source: Literal["members", "held-out"] = Field(
        default="members", description="The client's own training images, or test images of the same classes."
    )
    equal_labels: int | None = Field(
        default=None,
        ge=0,
        description="So many of the images share a class, the others have one each; absent: as drawn.",
    )
    batch_size: int | None = Field(
        default=None, ge=1, description="fedavg: samples per local step; the federation's if absent."
    )
    local_epochs: int | None = Field(default=None, ge=1, description="fedavg: the federation's if absent.")
    learning_rate: float | None = Field(default=None, gt=0, description="fedavg: the federation's if absent.")
    momentum: float | None = Field(default=None, ge=0, lt=1, description="fedavg: the federation's if absent.")

    @property
    def branch(self) -> str:
        """What the tape and the attacks call it."""
        return f"{PROBE}{self.name}"

    @model_validator(mode="after")
    def _check(self) -> "ProbeSettings":
        if self.equal_labels is not None and (self.samples is None or self.equal_labels > self.samples):
            raise wrong("equal-labels", self.equal_labels, 'needs "samples" of at least as many beside it')
        if self.clients == ():
            raise wrong("clients", self.clients, 'must be "all" or name at least one client')
        return self


class AttackSettings(Settings):
    """An attack by an observer."""

    name: str = Field(description="An attack; `run_sim.py list attacks` shows them.")
    label: str = Field(
        default="",
        max_length=40,
        pattern=r"^([A-Za-z0-9][A-Za-z0-9 ._+-]*)?$",
        description="What tables and summaries call it, so that an attack can be tried with several settings; its "
        "name if absent.",
    )
    observer: str = Field(description="The name of the observer that attacks.")
    branches: tuple[str, ...] | None = Field(
        default=None,
        strict=False,
        description="Where it attacks, `probes` meaning all of them; absent: for labels and images the probes, or the "
        "trunk where there are none, else every branch but the trunk.",
    )
    settings: dict[str, Any] = Field(default={}, description="The attack's own settings.")


class JudgeSettings(Settings):
    """How rebuilt images and forgetting are judged."""

    rebuilt_psnr: float = Field(default=20.0, gt=0, description="PSNR in dB from which an image counts as rebuilt.")
    lpips: str = Field(
        default="auto",
        min_length=1,
        description="AlexNet weights for LPIPS (safetensors); auto: lpips/alexnet.safetensors among the data sets of "
        "this machine, LPIPS is left out where there are none.",
    )
    split: Literal["test", "validation"] = Field(
        default="test", description="What models are judged on that nobody trained on; validation: while tuning."
    )
    relearn: bool = Field(
        default=False, description="Whether every final model is taught the forgotten data again, counting the steps."
    )
    portraits: int = Field(
        default=50, ge=1, description="diffusion: images of each class that a model must make when a revival is judged."
    )
    trained_on: int | None = Field(
        default=None,
        ge=1,
        description="Samples of a kind, at most, that final models are compared on; absent: thousands.",
    )
    margins: bool = Field(
        default=False,
        description="Whether the final models' margins are kept, for comparisons over cells with other training seeds.",
    )
