"""Walls that an import contract cannot express: Flower's simulation, `datasets`, pickle, global seeds."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("fedunlearn", "clients", "server")
FILES = [*sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")), ROOT / "run_sim.py"]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(*modules):
    """Return the files, relative to the repository, that import any of `modules` or what is inside them."""
    return {
        str(path.relative_to(ROOT))
        for path in FILES
        if any(name == module or name.startswith(f"{module}.") for name in imports(path) for module in modules)
    }


def test_one_file_starts_flowers_simulation():
    assert importers("flwr.simulation", "ray") == {"server/ray_engine.py"}


def test_only_the_data_room_reads_data_sets():
    rooms = {Path(path).parts[:2] for path in importers("datasets", "flwr_datasets", "mlxtend")}
    assert rooms == {("fedunlearn", "data")}


def test_nothing_but_the_judge_opens_the_answers():
    readers = importers("fedunlearn.judging.answers")
    assert {Path(path).parts[:2] for path in readers} == {("fedunlearn", "judging")}


@pytest.mark.parametrize(
    "call", ["torch.manual_seed", "np.random.seed", "random.seed", "seed_everything", "torch.load"]
)
def test_no_global_seeding_and_no_unsafe_loading(call):
    assert not [str(path) for path in FILES if f"{call}(" in path.read_text()]


def test_pickle_is_only_ever_restricted():
    assert importers("pickle", "joblib", "dill", "cloudpickle") <= {"fedunlearn/data/sources/cifar.py"}
