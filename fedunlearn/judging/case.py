"""What the judge is given beside a finding, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.federation import Weights
from fedunlearn.judging.answers import Answers
from fedunlearn.judging.class_shares import shares
from fedunlearn.judging.images import REBUILT_DB
from fedunlearn.judging.inversion.evaluator import Evaluator
from fedunlearn.judging.metric import Metric
from fedunlearn.judging.revival.portraits import Portraits
from fedunlearn.models import Classifier
from fedunlearn.observer.recording import When


@dataclass(frozen=True)
class Case:
    """One attack on one branch, with the truth.

    Attributes:
        branch: the id of the branch that was observed.
        control: whether nothing of what the attack looks for happened there (branches control and placebo).
        request_ids: the requests served on that branch; on a control, those that the other branches served.
        answers: the truth.
        num_classes: classes of the data set.
        images: returns the true images (n, C, H, W) in [0, 1] of sample ids (n,).
        public_mean: the mean public image (C, H, W), or None.
        rng: for bootstrap intervals (stream `judge`).
        lpips: file with the weights of LPIPS, or None; see `judging/lpips.py` for its layout.
        rebuilt_db: PSNR in dB from which on an image counts as rebuilt.
        pool: returns the sample ids of all training images, among which a rebuilt image is looked up; None: it is not.
        labels: returns the classes (n,) of sample ids (n,); None: what is judged by them is left out.
        request_round: how many rounds came before the first request, in the observer's numbering, also on a control;
            None where nothing was requested.
        flags: what the observer was told.
        models: returns the true model of the branch before or after the request or at the end; None where the branch
            has none. None: such models are not at hand, and what needs them is left out.
        pruned: returns by tensor, bool, what the branch's method pruned; empty where it pruned nothing.
        classifier: returns a model with given weights, in evaluation mode.
        unseen: returns the ids of the samples, nobody's training data, on which models are judged.
        evaluator: returns the judge's own classifier; None: what is judged by it cannot be.
        portraits: returns what a model with given weights generates of every class, from the same noise each time; None
            where it only classifies.
        public: returns the ids of the public samples; None: they are no answer to compare with.
    """

    branch: str
    control: bool
    request_ids: tuple[str, ...]
    answers: Answers
    num_classes: int
    images: Callable[[np.ndarray], np.ndarray]
    public_mean: np.ndarray | None
    rng: np.random.Generator
    lpips: Path | None = None
    rebuilt_db: float = REBUILT_DB
    pool: Callable[[], np.ndarray] | None = None
    labels: Callable[[np.ndarray], np.ndarray] | None = None
    request_round: int | None = None
    flags: frozenset[str] = frozenset()
    models: Callable[[When], Weights | None] | None = None
    pruned: Callable[[], Weights] | None = None
    classifier: Callable[[Weights], Classifier] | None = None
    unseen: Callable[[], np.ndarray] | None = None
    evaluator: Callable[[], Evaluator] | None = None
    portraits: Callable[[Weights], Portraits | None] | None = None
    public: Callable[[], np.ndarray] | None = None

    def forgotten_classes(self) -> frozenset[int]:
        """Return the classes that the requests of this case ask to forget."""
        return frozenset().union(*(self.answers.request(request_id).classes for request_id in self.request_ids))

    def forgotten_samples(self) -> np.ndarray:
        """Return the sorted ids of all samples that the requests of this case ask to forget."""
        requests = [self.answers.request(request_id) for request_id in self.request_ids]
        return np.unique(np.concatenate([ids for request in requests for ids in request.sample_ids.values()]))

    def forgotten_shares(self) -> np.ndarray | None:
        """Return the class shares (num_classes,) of what the requests ask to forget; None where they are not known."""
        if self.labels is None or not self.request_ids:
            return None
        return shares(self.labels(self.forgotten_samples()), self.num_classes)

    def training_shares(self) -> np.ndarray | None:
        """Return the class shares (num_classes,) of all training data; None where they are not known."""
        if self.labels is None or self.pool is None:
            return None
        return shares(self.labels(self.pool()), self.num_classes)


@dataclass(frozen=True)
class Verdict:
    """The judge's answer.

    Attributes:
        metrics: by name.
        details: JSON values that a report shows beside the metrics.
        arrays: what is too large for JSON: pictures, scores.
    """

    metrics: dict[str, Metric]
    details: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
