"""What an attacker knows beside its view: the architecture, public data, and the answers to its own questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from fedunlearn.federation import Weights
from fedunlearn.models import Classifier, load_weights
from fedunlearn.observer.access import CAPABILITIES, AccessRefused
from fedunlearn.observer.cache import ContentCache, digest
from fedunlearn.observer.recording import When
from fedunlearn.observer.shadows import MakeShadows, Shadow
from fedunlearn.observer.view import View
from fedunlearn.storage import read_arrays, write_arrays

Pair = tuple[np.ndarray | None, np.ndarray | None]  # images (n, C, H, W) in [0, 1], labels (n,)
Labelled = tuple[np.ndarray, np.ndarray]
Answer = Callable[[np.ndarray], np.ndarray]  # probabilities (n, num_classes) to what is answered instead
Moment = Literal["final", "before"]
QUERY_BATCH = 1024
BATCH_NORM_MOMENTUM = 0.1  # of PyTorch's layers, which the architectures use as they are


class Knowledge:
    """What an attacker knows and may ask; None where its flags do not give it.

    Args:
        view: what it sees; its flags and its level decide what is shown here.
        model: returns a model of the run's architecture, its weights not set. Architectures are public.
        image_shape: (channels, height, width).
        num_classes: of the data set.
        public: the public split.
        candidates: labelled samples whose membership is in question.
        learning: the clients' algorithm, learning-rate, batch-size, local-epochs, momentum, weight-decay, ...
        true_labels: an oracle that returns the labels behind the update of (round, client); for upper bounds.
        true_model: an oracle that returns the true model of a moment; for upper bounds.
        device: where to compute, "cpu" or "cuda".
        progress: to be told in words how far an attack is, as often as it likes.
        store: a folder for what `keep` keeps, the attack's own; None to keep nothing.
        cache: what attacks of the whole run keep by content.
        shadows: trains shadow federations; None where the attacker has no labelled public data for them.
        forgotten_count: how many classes were asked to be forgotten; shown under the flag class-count-known.
        defences: the names and settings of the defences in force; shown under the flag defences-known.
        answer: what the query interface makes of probabilities; None where nothing defends it.

    Attributes:
        access: the observer's level.
        cache: as given.
        query: answers questions about the models.
        grants: what of an oracle's knowledge an attack has used.
        image_shape, num_classes, device, progress: as given.
    """

    def __init__(
        self,
        view: View,
        *,
        model: Callable[[], Classifier],
        image_shape: tuple[int, int, int],
        num_classes: int,
        public: Pair = (None, None),
        candidates: Labelled | None = None,
        learning: Mapping[str, Any] | None = None,
        true_labels: Callable[[int, int], np.ndarray] | None = None,
        true_model: Callable[[When], Weights] | None = None,
        device: str = "cpu",
        progress: Callable[[str], None] = lambda text: None,
        store: Path | None = None,
        cache: ContentCache | None = None,
        shadows: MakeShadows | None = None,
        forgotten_count: int | None = None,
        defences: Sequence[Mapping[str, Any]] = (),
        answer: Answer | None = None,
    ) -> None:
        self._store = store
        self.image_shape, self.num_classes, self.device, self.progress = image_shape, num_classes, device, progress
        self.access = view.access
        self.query = Queries(view, self.model, answer)
        self.grants: set[str] = set()
        self.cache = cache or ContentCache(None)
        self._shadows, self._forgotten_count, self._defences = shadows, forgotten_count, defences
        self._architecture, self._flags = model, view.flags
        self._public, self._candidates, self._learning, self._true_labels = public, candidates, learning, true_labels
        self._true_model = true_model

    def model(self, weights: Weights) -> Classifier:
        """Return a model with these weights, in evaluation mode, on `device`.

        Weights of another floating-point type are given the architecture's.
        """
        model = self._architecture().to(self.device)
        load_weights(model, {name: a.astype(np.float32) if a.dtype.kind == "f" else a for name, a in weights.items()})
        return model.eval()

    def keep(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return the arrays that are kept under `name`, or make and keep them.

        An attack on many updates keeps what it made of each, so that a run which is resumed repeats none. What is made
        must follow from the view and the attack's settings alone: a generator of its own for each name.
        """
        if self._store is None:
            return make()
        path = self._store / f"{name}.safetensors"
        if not path.exists():
            write_arrays(path, make())
        return read_arrays(path)[0]

    @property
    def public_images(self) -> np.ndarray | None:
        """The public split's images (n, C, H, W), under the flag public-unlabelled or public-labelled."""
        return self._public[0] if self._flags & {"public-unlabelled", "public-labelled"} else None

    @property
    def public_labels(self) -> np.ndarray | None:
        """The public split's labels (n,), under the flag public-labelled."""
        return self._public[1] if "public-labelled" in self._flags else None

    @cached_property
    def public_digest(self) -> str:
        """Names the content of what the observer knows of the public split, for work that is kept by content."""
        known = {"images": self.public_images, "labels": self.public_labels}
        return digest({name: array for name, array in known.items() if array is not None})

    @property
    def candidates(self) -> Labelled | None:
        """Images and labels whose membership is in question, under the flag candidates."""
        return self._candidates if "candidates" in self._flags else None

    @property
    def learning(self) -> Mapping[str, Any] | None:
        """How the clients learn, under the flag learning-known."""
        return self._learning if "learning-known" in self._flags else None

    @property
    def forgotten_count(self) -> int | None:
        """How many classes were asked to be forgotten, under the flag class-count-known."""
        return self._forgotten_count if "class-count-known" in self._flags else None

    @property
    def defences(self) -> Sequence[Mapping[str, Any]] | None:
        """The defences in force, each with its `name` and settings, under the flag defences-known."""
        return self._defences if "defences-known" in self._flags else None

    def shadows(self, count: int, *, classes: int = 1) -> Sequence[Shadow]:
        """Return `count` shadow federations that each forgot `classes` random classes; 0 classes: shadow controls.

        They are trained on the public split under the run's own recipe, by the run's unlearning method where the flag
        `method` tells it, else in turn by `retrain` and `finetune`; the run's defences act in them under the flag
        defences-known. Shadows are the attacker's own and may be used
        to fit thresholds, never as targets.

        Raises:
            AccessRefused: without the flag public-labelled.
        """
        if self.public_labels is None or self._shadows is None:
            raise AccessRefused('shadow federations need the flag "public-labelled" and a public split')
        return self._shadows(count, classes=classes)

    @property
    def batch_norm_momentum(self) -> float | None:
        """How much of a batch enters the running statistics, under the flag batch-norm-statistics.

        With it, the statistics of a FedSGD client's batch follow from the buffers before and after.
        """
        return BATCH_NORM_MOMENTUM if "batch-norm-statistics" in self._flags else None

    def true_labels(self, round: int, client: int) -> np.ndarray:
        """Return the labels behind an update, as granted to an oracle; the use is noted in `grants`.

        Raises:
            AccessRefused: when nothing was granted.
        """
        if self._true_labels is None:
            raise AccessRefused("the true labels were not granted")
        self.grants.add("labels")
        return self._true_labels(round, client)

    def true_model(self, when: When) -> Weights:
        """Return the true model of a moment, as granted to an oracle; the use is noted in `grants`.

        Raises:
            AccessRefused: when nothing was granted, or the branch knows no such moment.
        """
        if self._true_model is None:
            raise AccessRefused("the true models were not granted")
        weights = self._true_model(when)
        self.grants.add("weights")
        return weights


class Queries:
    """The query interface of the models that an observer may ask.

    One who sees the weights asks the model itself: what defends the interface is not in its way.

    Attributes:
        answers: what a question is answered with.
        count: how many images were asked about so far.
    """

    def __init__(self, view: View, model: Callable[[Weights], Classifier], answer: Answer | None = None) -> None:
        capabilities = CAPABILITIES[view.access]
        self._answer = None if "weights" in capabilities else answer
        self.answers: Literal["probabilities", "labels"] = (
            "probabilities" if "probabilities" in capabilities else "labels"
        )
        self.moments: tuple[Moment, ...] = ("final", "before") if "before" in capabilities else ("final",)
        self.count = 0
        self._recording = view._recording  # the interface answers from models that the view itself may not show
        self._model = model
        self._answering: dict[Moment, Classifier] = {}  # searches ask hundreds of times

    def __call__(self, images: np.ndarray, when: Moment = "final") -> np.ndarray:
        """Ask about images (n, C, H, W) in [0, 1].

        Returns:
            Probabilities, float32 (n, num_classes), or at access `labels` the predicted classes, int64 (n,).

        Raises:
            AccessRefused: when the model of that moment does not answer this observer.
        """
        if when not in self.moments:
            raise AccessRefused(f"only the final model answers this observer, not the one {when} the request")
        self.count += len(images)
        if when not in self._answering:
            self._answering[when] = self._model(self._recording.model(when))
        answers = probabilities(self._answering[when], images)
        told = answers if self._answer is None else self._answer(answers)
        return told if self.answers == "probabilities" else first_choice(told, answers)


def first_choice(told: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return the classes (n,) that are told with the highest probability; of equal ones, the really most probable."""
    return np.asarray(np.where(told == told.max(axis=1, keepdims=True), probabilities, -1).argmax(axis=1))


@torch.no_grad()
def probabilities(model: Classifier, images: np.ndarray) -> np.ndarray:
    """Return the predicted probabilities (n, num_classes), float32, of images (n, C, H, W)."""
    device = model.head.weight.device
    batches = (torch.from_numpy(images[i : i + QUERY_BATCH]).to(device) for i in range(0, len(images), QUERY_BATCH))
    return np.concatenate([torch.softmax(model(batch), dim=1).numpy(force=True) for batch in batches])
