from pathlib import Path

import pytest

from tests.reporting import synthetic


@pytest.fixture(scope="session")
def single(tmp_path_factory) -> Path:
    return synthetic.single_run(tmp_path_factory.mktemp("single"))


@pytest.fixture(scope="session")
def matrix(tmp_path_factory) -> Path:
    return synthetic.matrix_run(tmp_path_factory.mktemp("matrix"))


@pytest.fixture(scope="session")
def seeds(tmp_path_factory) -> Path:
    return synthetic.matrix_run(tmp_path_factory.mktemp("seeds"), seeds=5)
