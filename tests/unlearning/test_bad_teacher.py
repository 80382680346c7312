"""Bad teaching: whom each sample imitates, and by how much."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fedunlearn.models import to_weights
from fedunlearn.unlearning import UNLEARNERS
from fedunlearn.unlearning.bad_teacher import BAD, BadTeacherSettings, distil
from fedunlearn.unlearning.distillation import divergence
from fedunlearn.unlearning.server_draws import BAD_TEACHER
from fedunlearn.unlearning.small_federation import SmallFederation
from tests.learning.workshop import assert_same
from tests.unlearning.workbench import carried, local_client

SAMPLES, FORGET = 20, range(8)


def bad_model():
    """Return another draw of the model."""
    other = local_client().model
    other.initialise(np.random.default_rng(99))
    return other.eval()


def attached(weights):
    return {f"{BAD}{name}": array for name, array in weights.items()}


def test_without_forgotten_data_the_loss_is_zero_and_nothing_moves():
    client = local_client(attachments=attached(to_weights(bad_model())))
    update = distil(client, carried(BadTeacherSettings, retain_share=1.0))
    assert update.metrics == {"first_loss": 0.0, "loss": 0.0}
    assert_same(update.payload, client.weights)


def test_a_bad_teacher_that_is_the_model_itself_moves_nothing():
    client = local_client(forget=FORGET)
    client.attachments.update(attached(client.weights))
    assert_same(distil(client, carried(BadTeacherSettings)).payload, client.weights)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize(("share", "retained"), [(1.0, 12), (0.3, 4), (0.0, 0)])
def test_the_loss_is_a_mean_over_samples_times_the_squared_temperature(temperature, share, retained):
    bad = bad_model()
    client = local_client(forget=FORGET, attachments=attached(to_weights(bad)))
    with torch.no_grad():
        images = client.images[list(FORGET)]
        logs = [F.log_softmax(net(images) / temperature, 1) for net in (client.model, bad)]
        total = F.kl_div(*logs, reduction="sum", log_target=True).item()  # retained samples add nothing
    settings = carried(BadTeacherSettings, temperature=temperature, retain_share=share, batch_size=SAMPLES)
    update = distil(client, settings)
    expected = temperature**2 * total / (len(FORGET) + retained)
    assert update.metrics["first_loss"] == pytest.approx(expected, rel=1e-4)


def test_it_learns_from_the_bad_teacher_on_forgotten_data_and_from_the_old_model_on_the_rest():
    bad = bad_model()
    client, old = local_client(forget=FORGET, attachments=attached(to_weights(bad))), local_client().model
    forget, retain = client.images[list(FORGET)], client.images[len(FORGET) :]

    def to(target, images):
        with torch.no_grad():
            return divergence(client.model(images), target(images)).item()

    before = to(bad, forget)
    distil(client, carried(BadTeacherSettings, epochs=100, retain_share=1.0))
    assert to(bad, forget) < 0.2 * before
    assert to(old, retain) < 0.2 * to(bad, retain)


def test_a_second_round_still_knows_the_model_before_unlearning():
    before = local_client().weights
    moved = {name: array + np.float32(0.1) for name, array in before.items()}
    client = local_client(attachments=attached(before) | {f"original/{name}": a for name, a in before.items()})
    with torch.no_grad():
        for name, tensor in client.model.state_dict().items():
            tensor.copy_(torch.from_numpy(moved[name]))
    client.weights.update(moved)
    assert distil(client, carried(BadTeacherSettings)).metrics["first_loss"] > 0


def test_all_clients_have_one_bad_teacher_that_is_no_other_initialisation(tmp_path):
    small = SmallFederation(tmp_path)
    weights, history = small.trained
    method = UNLEARNERS["bad-teacher"]
    task = method(method.Settings(), 4).task(weights, history)
    assert_same(task.attachments, attached(small.fresh(BAD_TEACHER)))
    others = [small.fresh(0), small.fresh(1), weights]
    assert all(not np.array_equal(task.attachments[f"{BAD}head.weight"], other["head.weight"]) for other in others)
