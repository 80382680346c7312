"""SCRUB: no ascent at the teacher, a finite pull back to it, and an end to the ascent."""

import numpy as np
import pytest
import torch

from fedunlearn.models import to_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.distillation import original_teacher
from fedunlearn.unlearning.local import one_pass, optimiser, parts
from fedunlearn.unlearning.scrub import ScrubSettings, apart, leave, scrub
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.learning.workshop import assert_same
from tests.unlearning.workbench import batch_norm_net, branch, carried, ids_of, local_client

FORGET = range(8)


@pytest.mark.parametrize(("net", "smoothing"), [(None, 0.0), (None, 0.5), (batch_norm_net(), 0.5)])
def test_the_first_ascent_is_no_step(net, smoothing):
    client = local_client(net, forget=FORGET)
    settings = ScrubSettings(smoothing=smoothing, batch_size=4)
    batches = one_pass(client.rng("unlearning"), parts(client)[0], 4)
    taken = leave(client, batches, original_teacher(client), optimiser(client.model, settings), settings)
    assert taken == (2, False)
    assert_same(to_weights(client.model), client.weights)


def test_the_pull_to_the_teacher_is_finite_where_they_meet():
    client = local_client()
    distance = apart(client.model, original_teacher(client))
    slopes = torch.autograd.grad(distance, list(client.model.parameters()))
    assert distance.item() == 0
    assert all(torch.isfinite(slope).all() for slope in slopes)


def test_the_pull_is_the_sum_of_the_tensors_frobenius_norms():
    client, draws = local_client(), np.random.default_rng(5)
    old = original_teacher(client)
    moves = [draws.normal(size=tuple(p.shape)).astype(np.float32) for p in client.model.parameters()]
    with torch.no_grad():
        for parameter, move in zip(client.model.parameters(), moves, strict=True):
            parameter.add_(torch.from_numpy(move))
    expected = sum(np.linalg.norm(move) for move in moves)
    assert apart(client.model, old).item() == pytest.approx(expected, rel=1e-5)


def test_the_student_leaves_on_forgotten_data_and_stays_on_retained_data(tmp_path):
    small = SmallFederation(tmp_path)
    weights, history = small.trained
    request = small.request("class")
    forgotten, retained = ids_of(small, request)
    method = UNLEARNERS["scrub"]
    scrubbed = method(method.Settings(recovery_rounds=0), 4)(weights, request, branch(small, request), history)
    assert small.accuracy(scrubbed, forgotten) < small.accuracy(weights, forgotten) - 0.5
    assert small.accuracy(scrubbed, retained) > small.accuracy(weights, retained) - 0.05


def test_without_cross_entropy_the_student_never_leaves():
    client = local_client(forget=FORGET)
    assert_same(scrub(client, carried(ScrubSettings, gamma=0.0, smoothing=0.5)).payload, client.weights)


def test_the_ascent_ends_for_good_at_its_limit():
    client = local_client(forget=FORGET)
    update = scrub(client, carried(ScrubSettings, epochs=6, msteps=6, batch_size=4, divergence_limit=1e-9))
    # The first pass sees divergence zero; the descent that follows is already beyond so small a limit.
    assert update.metrics == {"stopped": 1.0, "steps": 2.0}


def test_with_nothing_retained_the_client_returns_what_it_was_sent():
    client = local_client(forget=range(20))
    assert_same(scrub(client, carried(ScrubSettings)).payload, client.weights)


def test_batch_statistics_do_not_see_forgotten_data():
    client = local_client(batch_norm_net(), forget=range(20))
    assert_same(scrub(client, carried(ScrubSettings)).payload, client.weights)


def test_with_nothing_forgotten_and_no_divergence_it_is_ordinary_training():
    client = local_client()
    settings = ScrubSettings(epochs=2, alpha=0.0, batch_size=8)
    trained = local_client()
    moved, draws = optimiser(trained.model, settings), trained.rng("unlearning")
    for _ in range(2):
        draws.permutation(np.empty(0, int))  # the pass over nothing
        for positions in one_pass(draws, np.arange(20), 8):
            moved.zero_grad()
            trained.model.loss(*trained.take(positions)).backward()
            moved.step()
    assert_same(
        scrub(client, carried(ScrubSettings, epochs=2, alpha=0.0, batch_size=8)).payload, to_weights(trained.model)
    )


def test_it_says_why_it_does_not_serve_a_client_that_leaves():
    assert "client" not in UNLEARNERS["scrub"].scopes
    assert "no gradient" in UNLEARNERS["scrub"].limits
