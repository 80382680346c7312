"""What this room reads from a scenario; any object with these attributes will do."""

from collections.abc import Sequence
from typing import Protocol

Amount = int | float  # a count of samples, or (float) a share of them


class DataSettings(Protocol):
    """Where the samples come from, and how they are split."""

    @property
    def name(self) -> str:
        """A built-in data set or a Hugging Face name; beside `path`, only what to call it."""

    @property
    def path(self) -> str | None:
        """A folder (or a file) of the user's own."""

    @property
    def format(self) -> str | None:
        """A name in `FORMATS`: how the files in `path` are written."""

    @property
    def train(self) -> Amount | None:
        """Training samples to keep; None for all that the other parts leave."""

    @property
    def test(self) -> Amount:
        """Test samples, from the source's own test part when it has one."""

    @property
    def public(self) -> Amount:
        """Samples that an attacker may own."""

    @property
    def validation(self) -> Amount:
        """Samples for tuning."""

    @property
    def judge(self) -> Amount:
        """Samples for the judge's own models."""

    @property
    def stratified(self) -> bool:
        """Whether every part has the classes in the proportions of the whole."""

    @property
    def private_classes(self) -> int | Sequence[int] | None:
        """The federation's classes, or how many of the first; the others' samples are public. None: all of them."""

    @property
    def side(self) -> int | None:
        """Pixels: pictures are cut to their middle square and resized to this; None to leave them as they are."""

    @property
    def image_column(self) -> str | None:
        """The column of the images in a table; None to find it by its type."""

    @property
    def label_column(self) -> str | None:
        """The column of the labels in a table; None to find it by its type."""


class PartitionSettings(Protocol):
    """Which client holds which training samples."""

    @property
    def kind(self) -> str:
        """A name in `PARTITIONS`."""

    @property
    def alpha(self) -> float:
        """dirichlet: the concentration, > 0."""

    @property
    def classes_per_client(self) -> int:
        """pathological: the number of classes of each client, >= 1."""

    @property
    def shards_per_client(self) -> int:
        """shard: the number of label-sorted shards of each client, >= 1."""

    @property
    def sizes(self) -> Sequence[int]:
        """by-size: the number of samples of each client."""

    @property
    def min_size(self) -> int:
        """dirichlet: the fewest samples of a client; 0 counts as 1."""
