import io
from pathlib import Path

import pytest
from rich.console import Console

from fedunlearn.reporting import publish
from tests.reporting import synthetic, synthetic_models, synthetic_probes, synthetic_suite


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


@pytest.fixture(scope="session")
def attacked(tmp_path_factory) -> Path:
    """One run in which pruned models were revived and pictures of classes were made."""
    return synthetic_models.single_run(tmp_path_factory.mktemp("attacked"))


@pytest.fixture(scope="session")
def attacked_seeds(tmp_path_factory, attacked) -> Path:
    return synthetic_models.matrix_run(tmp_path_factory.mktemp("attacked-seeds"), attacked)


@pytest.fixture(scope="session")
def attacked_pages(attacked, attacked_seeds) -> list[str]:
    """The reports of both, published."""
    console = Console(file=io.StringIO(), width=120)
    return [publish(run, console).read_text(encoding="utf-8") for run in (attacked, attacked_seeds)]


@pytest.fixture(scope="module")
def cells() -> list[dict]:
    return synthetic_suite.matrix()
