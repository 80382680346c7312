"""FedRecovery on quadratic losses, where every residual can be written down."""

import numpy as np
import pytest

from tests.unlearning.archives import trained

CENTRES = np.array([(-4.0, 2.0), (3.0, 4.0), (4.0, -3.0), (0.0, 5.0)])


def by_hand(centres, gone, rounds):
    """Return (the model after training with equal clients, the subtracted sum): steps are halfway to the mean."""
    model, correction, weight = np.zeros(centres.shape[1]), 0.0, 0.0
    for _ in range(rounds):
        deltas = (centres - model) / 2
        mean = deltas.mean(0)
        residual = (deltas[gone] - mean) / (len(centres) - 1)
        correction, weight = correction + (mean @ mean) * residual, weight + mean @ mean
        model = model + mean
    return model, correction / weight


@pytest.mark.parametrize("algorithm", ["fedavg", "fedsgd"])
def test_closed_form_for_one_of_equal_clients(tmp_path, algorithm):
    past = trained(tmp_path, CENTRES, 3, algorithm=algorithm)
    model, correction = by_hand(CENTRES, 1, 3)
    np.testing.assert_allclose(past.model["w"], model, atol=1e-12)
    unlearned, branch = past.forget("fedrecovery", [1], noise=0.0)
    np.testing.assert_allclose(unlearned["w"], model - correction, atol=1e-12)
    assert branch.spent.rounds == 0


def test_of_identical_clients_there_is_nothing_to_take_back(tmp_path):
    past = trained(tmp_path, [(3.0, 4.0)] * 3, 3, sizes=[1, 2, 5])
    unlearned, _ = past.forget("fedrecovery", [2], noise=0.0)
    np.testing.assert_allclose(unlearned["w"], past.model["w"], atol=1e-14)


def test_a_client_that_left_earlier_is_in_no_mean(tmp_path):
    past = trained(tmp_path, CENTRES, 1)
    branch = past.trunk.fork("fedrecovery")
    past.request(branch, [0])
    branch.close_request()
    unlearned, _ = past.forget("fedrecovery", [1], branch=branch, noise=0.0)
    _, correction = by_hand(CENTRES[1:], 0, 1)
    np.testing.assert_allclose(unlearned["w"], past.model["w"] - correction, atol=1e-12)


def test_a_model_that_never_moved_is_left_alone(tmp_path):
    past = trained(tmp_path, np.zeros((3, 2)), 2)
    unlearned, _ = past.forget("fedrecovery", [0], noise=0.0)
    np.testing.assert_array_equal(unlearned["w"], past.model["w"])


def test_noise_has_the_given_deviation_and_is_the_same_every_time(tmp_path):
    past = trained(tmp_path, np.ones((2, 20_000)), 2)
    unlearned, _ = past.forget("fedrecovery", [0], noise=0.3)
    noise = unlearned["w"] - past.model["w"]
    assert noise.std() == pytest.approx(0.3, rel=0.03)
    assert abs(noise.mean()) < 0.01
    np.testing.assert_array_equal(past.forget("fedrecovery", [0], noise=0.3)[0]["w"], unlearned["w"])


def test_a_second_request_in_the_same_call_has_noise_of_its_own(tmp_path):
    past = trained(tmp_path, np.ones((3, 20_000)), 2)
    first, branch = past.forget("fedrecovery", [0], noise=0.3)
    branch.close_request()
    second, _ = past.forget("fedrecovery", [1], branch=branch, noise=0.3)
    noises = [unlearned["w"] - past.model["w"] for unlearned in (first, second)]
    assert abs(np.corrcoef(noises)[0, 1]) < 0.05
