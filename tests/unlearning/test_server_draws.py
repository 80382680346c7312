"""Whose draws the server's are: nobody else's, and in every request others."""

import numpy as np

from fedunlearn.randomness import rng
from fedunlearn.unlearning.server_draws import BAD_TEACHER, DEGRADATION, DISTANT, server_rng
from tests.unlearning.archives import trained


def test_no_two_uses_share_an_initialisation():
    assert len(DISTANT) == 10
    assert len({BAD_TEACHER, DEGRADATION, *DISTANT}) == 12


def test_two_requests_in_one_call_draw_differently_and_unlike_every_client(tmp_path):
    past = trained(tmp_path, np.zeros((3, 2)), 1)
    branch, draws = past.trunk.fork("branch"), []
    for client in (0, 1):
        past.request(branch, [client])
        draws.append(server_rng(branch, past.history).random())
        assert draws[-1] == server_rng(branch, past.history).random()
        branch.close_request()
    of_clients = [rng(past.history.seed, "unlearning", branch.calls, client).random() for client in range(3)]
    assert len({*draws, *of_clients}) == 5
