"""What attacks that claim pictures of classes need of a scenario."""

import pytest

from fedunlearn.catalogue import check
from fedunlearn.errors import ScenarioError
from fedunlearn.scenario import Scenario, validate

TABLES = {
    "observers": [{"name": "server", "access": "final-weights"}],
    "attacks": [{"name": "white-box-inversion", "observer": "server"}],
}


def test_the_judge_needs_samples_of_its_own():
    check(validate(Scenario, TABLES))
    with pytest.raises(ScenarioError, match=r'data\.judge = 0: attack "white-box-inversion" is judged by a classifier'):
        check(validate(Scenario, TABLES | {"data": {"judge": 0}}))
    check(validate(Scenario, {"data": {"judge": 0}}))
