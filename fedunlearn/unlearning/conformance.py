"""What every unlearner must keep to, as one public function for authors of new ones.

from fedunlearn.unlearning import check_unlearner
check_unlearner("my-method")
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fedunlearn.federation import Federation, Weights, weights_sha256
from fedunlearn.requests import UnlearningRequest
from fedunlearn.unlearning.base import UNLEARNERS, OwnTrunkUnlearner, Scope, Unlearner
from fedunlearn.unlearning.small_federation import SmallFederation

ROUNDS = 4  # `unlearning.rounds` of the trial


class Nonconforming(AssertionError):
    """An unlearner breaks one of the rules; the message says which, and under which scope."""


class _Stop(BaseException):
    """The process was killed."""


def check_unlearner(name: str, *, options: dict[str, Any] | None = None, band: float = 0.3, seed: int = 0) -> None:
    """Try a registered unlearner on a small federation, under every scope that it declares.

    Checked: the given model is not modified; names, shapes and dtypes of the result are the model's (the head keeps
    all its rows) and its values finite; the result is the same, bit for bit, when every client has a message of its
    own, and when the work is killed in its middle and taken up again; a scope that it does not declare is refused; an
    empty request gives the same number of ordinary rounds, or the model itself where the server works alone; a
    class request does not raise accuracy on the class, and costs at most `band` of the accuracy on the others.

    Args:
        name: as in the registry.
        options: its settings, as in a scenario.
        band: the accepted loss of accuracy on retained data, in [0, 1].
        seed: of data, model and training.

    Raises:
        Nonconforming: naming the first rule that is broken.
        ScenarioError: for an unknown name.
    """
    method = UNLEARNERS[name]
    with tempfile.TemporaryDirectory() as folder:
        small = SmallFederation(Path(folder) / "trunk", seed)
        trial = _Trial(method, options or {}, small, Path(folder))
        for scope in sorted(method.scopes):
            trial.check(scope, band)
        trial.check_refusal()
        trial.check_empty()


class _Trial:
    def __init__(self, method: type[Unlearner], options: dict[str, Any], small: SmallFederation, folder: Path) -> None:
        self._method, self._small, self._folder = method, small, folder
        self._settings = method.Settings.model_validate(options, by_alias=True, by_name=False)
        self._runs = 0

    def _new(self) -> Unlearner:
        return self._method(self._settings, ROUNDS)

    def _branch(self, *, apart: bool = False, journal: Path | None = None) -> Federation:
        self._runs += 1
        small = self._small
        federation = small.federation(apart=apart, journal=journal or self._folder / f"branch-{self._runs}")
        federation.calls = small.rounds
        return federation.fork("branch")

    def _forget(self, federation: Federation, request: UnlearningRequest) -> tuple[Weights, Weights]:
        """Return (the model before, the model after)."""
        unlearner, (weights, history) = self._new(), self._small.trained
        if isinstance(unlearner, OwnTrunkUnlearner):
            federation.restart()
            weights, history = unlearner.prepare(request, federation, history)
        federation.open_request(request.samples)
        before = {name: array.copy() for name, array in weights.items()}
        after = unlearner(weights, request, federation, history)
        _require(weights_sha256(weights) == weights_sha256(before), f"{request.scope}: the given model was modified")
        return before, after

    def check(self, scope: Scope, band: float) -> None:
        """Check one scope."""
        request = self._small.request(scope)
        before, after = self._forget(self._branch(), request)
        for name, array in before.items():
            got = after.get(name)
            same = got is not None and got.shape == array.shape and got.dtype == array.dtype
            _require(same, f"{scope}: {name} should be {array.dtype}{list(array.shape)}, not {_layout(got)}")
            _require(bool(np.isfinite(after[name]).all()), f"{scope}: {name} has NaN or infinite values")
        _require(after.keys() == before.keys(), f"{scope}: unknown tensors {sorted(after.keys() - before.keys())}")
        _, alone = self._forget(self._branch(apart=True), request)
        _require(_same(after, alone), f"{scope}: another result when every client has a message of its own")
        _require(_same(after, self._killed(request)), f"{scope}: another result after being killed and taken up again")
        if scope == "class":
            self._check_accuracy(before, after, request, band)

    def _killed(self, request: UnlearningRequest) -> Weights:
        """Return the model of a run that was killed half-way and executed again over the same journal."""
        journal = self._folder / f"killed-{request.scope}"
        counting = self._branch()
        self._forget(counting, request)
        last = counting.spent.rounds // 2

        def kill(*_: Any) -> None:
            if federation.spent.rounds > last:
                raise _Stop

        federation = self._branch(journal=journal)
        federation.round_listeners.append(kill)
        with contextlib.suppress(_Stop):
            self._forget(federation, request)
        return self._forget(self._branch(journal=journal), request)[1]

    def _check_accuracy(self, before: Weights, after: Weights, request: UnlearningRequest, band: float) -> None:
        forgotten = np.sort(np.concatenate(list(request.samples.values())))
        retained = np.setdiff1d(np.concatenate(self._small.held), forgotten)
        was, now = (self._small.accuracy(weights, forgotten) for weights in (before, after))
        _require(was > 0.5, f"class: the model before knew only {was:.0%} of what it was to forget")
        _require(now <= was, f"class: accuracy on the forgotten class rose from {was:.0%} to {now:.0%}")
        was, now = (self._small.accuracy(weights, retained) for weights in (before, after))
        _require(now >= was - band, f"class: accuracy on retained data fell from {was:.0%} to {now:.0%}")

    def check_refusal(self) -> None:
        """Check that a scope that is not declared is refused."""
        scopes: tuple[Scope, ...] = ("sample", "class", "client")
        for scope in set(scopes) - self._method.scopes:
            _require(bool(self._method.limits), f"{scope} is not among its scopes, and `limits` does not say why")
            weights, history = self._small.trained
            try:
                self._new()(weights, self._small.request(scope), self._branch(), history)
            except ValueError:
                continue
            raise Nonconforming(f"{scope}: a request that it does not declare is served")

    def check_empty(self) -> None:
        """Check what an empty request does."""
        weights, history = self._small.trained
        unlearner, federation = self._new(), self._branch()
        scope = min(self._method.scopes)
        after = unlearner(weights, UnlearningRequest("empty", self._small.rounds, scope, (), {}), federation, history)
        rounds = federation.spent.rounds
        ordinary = history.training.run(self._branch(), weights, rounds)
        _require(_same(after, ordinary), f"an empty request is not the same as {rounds} ordinary rounds")
        if self._method.takes_part == "server":
            _require(_same(after, weights), "an empty request changes the model although the server works alone")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Nonconforming(what)


def _same(one: Weights, other: Weights) -> bool:
    return weights_sha256(one) == weights_sha256(other)


def _layout(array: np.ndarray | None) -> str:
    return "missing" if array is None else f"{array.dtype}{list(array.shape)}"
