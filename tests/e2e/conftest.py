"""One finished run of the small scenario, in this machine's process, for all tests that only look at it."""

import pytest

from tests.e2e.command import SCENARIO, run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The run folder; not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    run("run", SCENARIO, "--out", folder)
    return folder
