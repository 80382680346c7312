from pathlib import Path

import pytest

from tests.reporting import synthetic, synthetic_probes, synthetic_suite


@pytest.fixture(scope="session")
def single(tmp_path_factory) -> Path:
    return synthetic.single_run(tmp_path_factory.mktemp("single"))


@pytest.fixture(scope="session")
def matrix(tmp_path_factory) -> Path:
    return synthetic.matrix_run(tmp_path_factory.mktemp("matrix"))


@pytest.fixture(scope="session")
def seeds(tmp_path_factory) -> Path:
    return synthetic.matrix_run(tmp_path_factory.mktemp("seeds"), seeds=5)


@pytest.fixture(scope="session")
def probed(tmp_path_factory) -> Path:
    return synthetic_probes.single_run(tmp_path_factory.mktemp("probed"))


@pytest.fixture(scope="session")
def probed_matrix(tmp_path_factory) -> Path:
    return synthetic_probes.matrix_run(tmp_path_factory.mktemp("probed-matrix"))


@pytest.fixture(scope="module")
def cells() -> list[dict]:
    return synthetic_suite.matrix()
