"""Every attack against every branch it concerns: what it may see, what it finds, what the judge says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.attacks import ATTACKS, Attack
from fedunlearn.data import local_data
from fedunlearn.defences import answering, make_defences
from fedunlearn.errors import DataError
from fedunlearn.federation import Weights
from fedunlearn.judging import AnswerKey, Answers, AttackRow, Case, judge_failure, judge_finding, with_references
from fedunlearn.judging.candidates import draw_candidates
from fedunlearn.judging.grants import grant_labels, grant_model
from fedunlearn.judging.inversion.evaluator import Evaluator, train_evaluator
from fedunlearn.judging.revival.portraits import GUIDANCE, STEPS, Portraits, portray
from fedunlearn.models import Classifier, load_weights
from fedunlearn.models.diffusion import Diffusion
from fedunlearn.names import CONTROLS, PROBES, TRUNK
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.cache import ContentCache
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.recording import Recording, When
from fedunlearn.observer.shadows import MakeShadows, Shadow
from fedunlearn.observer.tape import Tape
from fedunlearn.observer.view import View
from fedunlearn.probes import Probe
from fedunlearn.randomness import rng
from fedunlearn.reporting import save_verdict
from fedunlearn.reporting.progress import sparingly
from fedunlearn.reporting.tensorboard import Board
from fedunlearn.requests import UnlearningRequest
from fedunlearn.scenario import AttackSettings, Scenario
from fedunlearn.shadows import Public, Shadows
from fedunlearn.stage import Stage

CANDIDATES = 400  # at most, half of them forgotten samples
IN_SINGLE_UPDATES = frozenset({"labels", "images"})


class Trial:
    """Runs the scenario's attacks on the tape and has them judged.

    Args:
        stage: data and model.
        probes: single rounds that were watched beside the run.
        tape: what was recorded.
        answers: where the truth is written down.
        folder: the cell's run folder.
        board: TensorBoard, or None.
        tell: is told in words how far the attacks are, about once a second at most.
        cache: what attacks keep by content, shared with the other cells of the run; absent: nothing is kept.
    """

    def __init__(
        self,
        stage: Stage,
        probes: Sequence[Probe],
        tape: Tape,
        answers: AnswerKey,
        folder: Path,
        board: Board | None,
        tell: Callable[[str], None],
        cache: ContentCache | None = None,
    ) -> None:
        self._cache = cache or ContentCache(None)
        self._forgotten_count: int | None = None
        self._stage, self.tape, self._key, self._folder, self._board = stage, tape, answers, folder, board
        self._probes = {probe.branch: probe for probe in probes if probe.samples}
        self._tell = sparingly(tell)
        public = stage.splits.public
        self._public_images = stage.dataset.images(public) if len(public) else None
        self._public_labels = stage.dataset.labels(public) if len(public) else None
        self._shadows: Shadows | None = None
        if self._public_images is not None and self._public_labels is not None:
            self._shadows = Shadows(stage, Public(self._public_images, self._public_labels), self._cache)
        self._observers = {observer.name: observer for observer in stage.scenario.observers}

    def attack_all(self, branches: Sequence[str], requests: Sequence[tuple[UnlearningRequest, Any]]) -> list[dict]:
        """Return results.json's `attacks`: one row per attack and branch, references filled in.

        Args:
            branches: those that were finished, without the trunk and the probes; on others nothing is attacked.
            requests: those that were served.
        """
        candidates = self._candidates([request for request, _ in requests])
        # On the control and the placebo too: there the attacker believes that the request is served.
        self._forgotten_count = len({c for request, _ in requests for c in request.whole_classes}) or None
        ids = tuple(request.id for request, _ in requests)
        rows = []
        for number, settings in enumerate(self._stage.scenario.attacks):
            attack = make_attack(settings)
            for branch in self._branches_for(settings, attack, branches):
                if branch in (TRUNK, *branches, *self._probes):
                    case = self._case(number, settings, branch, ids)
                    rows.append(self._attack(number, settings, attack, case, candidates))
        return [row.to_json() for row in with_references(rows)]

    def _branches_for(self, settings: AttackSettings, attack: Attack, finished: Sequence[str]) -> Sequence[str]:
        """Return where an attack is tried."""
        if settings.branches:
            named = [list(self._probes) if branch == PROBES else [branch] for branch in settings.branches]
            return list(dict.fromkeys(branch for group in named for branch in group))
        if attack.finds in IN_SINGLE_UPDATES:
            return list(self._probes) if self._stage.scenario.probes else [TRUNK]
        return finished

    def _attack(
        self, number: int, settings: AttackSettings, attack: Attack, case: Case, candidates: np.ndarray
    ) -> AttackRow:
        """Run one attack on one branch; what goes wrong inside it becomes a row without figures."""
        observer = self._observers[settings.observer]
        view = self.tape.view(observer, case.branch)
        what = f"{settings.label or settings.name} on {case.branch}"
        self._tell(what)
        knowledge = self.knowledge(what, view, case.branch, candidates, f"{number}-{settings.name}-{case.branch}")
        started, status, reason = time.perf_counter(), "done", ""
        made, reused = self._cache.made, self._cache.reused
        verdict = judge_failure(attack.finds, control=case.control)
        try:
            finding = attack(view, knowledge, rng(self._stage.seed, "attack", number))
        except AccessRefused as refusal:
            status, reason = "refused", str(refusal)
        except Exception as error:  # an attack that breaks is a result, not the end of the run
            status, reason = "failed", f"{type(error).__name__}: {error}"
        else:
            try:
                verdict = judge_finding(finding, case)
            except DataError as error:  # a finding about something that no truth is on record for
                status, reason = "failed", str(error)
        name = f"{settings.name}-{settings.observer}-{case.branch}-{number}"
        details, pictures = save_verdict(self._folder, name, verdict)
        row = AttackRow(
            name=settings.name,
            label=settings.label,
            observer=settings.observer,
            access=observer.access,
            branch=case.branch,
            finds=attack.finds,
            grants=sorted(knowledge.grants),
            queries=knowledge.query.count,
            auxiliary={"made": self._cache.made - made, "reused": self._cache.reused - reused},
            seconds=time.perf_counter() - started,
            status=status,
            reason=reason,
            metrics=verdict.metrics,
            details=details,
            pictures=pictures,
        )
        if self._board:
            self._board.attack(row, verdict)
        return row

    def _case(self, number: int, settings: AttackSettings, branch: str, request_ids: tuple[str, ...]) -> Case:
        recording = self.tape.recording(branch)
        public, marks = self._public_images, recording.marks
        return Case(
            branch=branch,
            control=branch in CONTROLS,
            request_ids=() if branch == TRUNK or branch in self._probes else request_ids,
            answers=Answers(self._key.folder),
            num_classes=self._stage.dataset.num_classes,
            images=self._stage.dataset.images,
            public_mean=None if public is None else public.mean(0),
            rng=self._judge_draws(1 + number),
            lpips=lpips_weights(self._stage.scenario),
            rebuilt_db=self._stage.scenario.judge.rebuilt_psnr,
            pool=lambda: self._stage.splits.train,
            labels=self._stage.dataset.labels,
            request_round=marks["request-rounds"][0] if marks else None,
            flags=frozenset(self._observers[settings.observer].flags),
            models=lambda when: model_at(recording, when),
            pruned=recording.pruned,
            classifier=self._classifier,
            unseen=lambda: self._stage.unseen,
            evaluator=lambda: self._evaluator,
            portraits=self._portraits,
            public=lambda: self._stage.splits.public,
        )

    def _portraits(self, weights: Weights) -> Portraits | None:
        """Return what a model generates, kept beside what attacks make; None where it only classifies."""
        model, each = self._classifier(weights), self._stage.scenario.judge.portraits
        if not isinstance(model, Diffusion):
            return None
        content = {"sampler": [STEPS, GUIDANCE, each, self._stage.seed], "weights": weights}
        made = ContentCache(self._cache.folder).get(
            "portraits", content, lambda: vars(portray(model, each, rng(self._stage.seed, "judge", client=1)))
        )
        return Portraits(**made)

    def _classifier(self, weights: Weights) -> Classifier:
        """Return a model of the run's architecture with these weights, in evaluation mode."""
        model = self._stage.model().to(self._stage.site.device)
        load_weights(model, weights)
        return model.eval()

    @cached_property
    def _evaluator(self) -> Evaluator:
        """The judge's own classifier, kept beside what attacks make but not counted as theirs."""
        ids, dataset = self._stage.splits.judge, self._stage.dataset
        return train_evaluator(
            dataset.images(ids),
            dataset.labels(ids),
            ids,
            dataset.num_classes,
            ContentCache(self._cache.folder),
            self._stage.site.device,
        )

    def _judge_draws(self, index: int) -> np.random.Generator:
        """Return the generator of the candidates (0), or of the verdict on attack `index` - 1."""
        return rng(self._stage.seed, "judge", index)

    def _candidates(self, requests: Sequence[UnlearningRequest]) -> np.ndarray:
        """Choose whose membership is in question: forgotten samples, and as many held-out ones of each class."""
        if not requests:
            return np.empty(0, np.int64)
        labels = self._stage.dataset.labels
        forgotten = np.unique(np.concatenate([ids for request in requests for ids in request.samples.values()]))
        outside = np.union1d(self._stage.unseen, self._stage.splits.judge)
        ids, member = draw_candidates(
            forgotten, outside, labels(forgotten), labels(outside), CANDIDATES, self._judge_draws(0)
        )
        self._key.write_candidates(ids, member)
        return ids

    def knowledge(self, what: str, view: View, branch: str, candidates: np.ndarray, store: str) -> Knowledge:
        """Return what an observer knows beside its view.

        Args:
            what: names the attack and the branch to those who are told of progress.
            view: what the observer sees.
            branch: where.
            candidates: sample ids whose membership is in question.
            store: names the folder of what the attack keeps until the run is done.
        """
        dataset, training = self._stage.dataset, self._stage.training
        pairs = (dataset.images(candidates), dataset.labels(candidates)) if len(candidates) else None
        probe = self._probes.get(branch)
        learning = {"algorithm": probe.algorithm if probe else training.algorithm}
        learning |= probe.learning if probe else training.settings
        return Knowledge(
            view,
            model=self._stage.model,
            image_shape=dataset.image_shape,
            num_classes=dataset.num_classes,
            public=(self._public_images, self._public_labels),
            candidates=pairs,
            learning={key: value for key, value in learning.items() if key != "faults"},
            true_labels=grant_labels(Answers(self._key.folder), branch, self._folder / "grants"),
            true_model=grant_model(self.tape.recording(branch), self._folder / "grants"),
            device=self._stage.site.device,
            progress=lambda text: self._tell(f"{what}: {text}"),
            store=self._folder / "journal" / "attacks" / store,
            cache=self._cache,
            shadows=self._shadows_for(view, what),
            forgotten_count=self._forgotten_count,
            defences=[defence.model_dump() for defence in self._stage.scenario.defences],
            answer=answering(make_defences(self._stage.scenario.defences)),
        )

    def _shadows_for(self, view: View, what: str) -> MakeShadows | None:
        """Return what trains the shadows of an attacker that sees `view`; None where nothing is public."""
        harness = self._shadows
        if harness is None:
            return None

        def make(count: int, *, classes: int) -> Sequence[Shadow]:
            return harness(
                count,
                classes=classes,
                method=view.method if "method" in view.flags else None,
                defended="defences-known" in view.flags,
                tell=lambda text: self._tell(f"{what}: {text}"),
            )

        return make


def model_at(recording: Recording, when: When) -> Weights | None:
    """Return the true model of a moment; None where the branch knows no such moment."""
    try:
        return recording.model(when)
    except AccessRefused:
        return None


def lpips_weights(scenario: Scenario) -> Path | None:
    """Return the file of LPIPS's weights, or None where the scenario names none and this machine has none."""
    if scenario.judge.lpips != "auto":
        return Path(scenario.judge.lpips).expanduser()
    path = local_data() / "lpips" / "alexnet.safetensors"
    return path if path.is_file() else None


def make_attack(settings: AttackSettings) -> Attack:
    """Return the attack that a scenario describes."""
    attack = ATTACKS[settings.name]
    return attack(attack.Settings.model_validate(settings.settings, by_alias=True, by_name=False))
