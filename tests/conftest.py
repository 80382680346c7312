"""What every test can rely on: a cache that is not the user's, and where the shared data sets lie."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("fedunlearn", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("fedunlearn")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def data_cache() -> Iterator[Path]:
    """Prepared data sets go to a folder that outlives the test run, so that the next one finds them ready."""
    before = os.environ.get("FEDUNLEARN_CACHE")
    default = Path(tempfile.gettempdir()) / f"fedunlearn-tests-{os.getuid()}"
    os.environ["FEDUNLEARN_CACHE"] = before or str(default)
    yield Path(os.environ["FEDUNLEARN_CACHE"])
    if before is None:
        del os.environ["FEDUNLEARN_CACHE"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the larger data sets: `$FEDUNLEARN_DATA`, or `shared/data` beside the repository."""
    folder = Path(os.environ.get("FEDUNLEARN_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no data sets in {folder}; set FEDUNLEARN_DATA")
    return folder


@pytest.fixture(autouse=True)
def denormals_afterwards() -> Iterator[None]:
    """Whoever pins the arithmetic of this process: hypothesis refuses to draw floats where denormals are zero."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
