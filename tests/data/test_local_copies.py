"""A Hugging Face name that this machine has a copy of is read from there."""

from pathlib import Path

import numpy as np
import pytest

from fedunlearn.data import local_copy
from fedunlearn.data.local_copies import local_data
from fedunlearn.scenario import Scenario, validate
from fedunlearn.stage import set_stage


@pytest.fixture
def copies(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDUNLEARN_DATA", str(tmp_path))
    return tmp_path


def test_the_copy_is_called_like_the_set_without_its_owner(copies):
    (copies / "pets").mkdir()
    assert local_copy("owner/pets") is None  # nothing in it
    (copies / "pets" / "train-00000-of-00001.parquet").touch()
    assert local_copy("owner/pets") == copies / "pets"
    assert local_copy("pets") is None  # a built-in set's name never means a folder
    assert local_copy("owner/cars") is None


def test_without_the_variable_the_folder_beside_the_repository_is_meant(monkeypatch):
    monkeypatch.delenv("FEDUNLEARN_DATA", raising=False)
    assert local_data() == Path(__file__).resolve().parents[3] / "shared" / "data"


def test_a_scenario_names_the_set_and_reads_the_copy(shared_data, monkeypatch, tmp_path):
    monkeypatch.setenv("FEDUNLEARN_DATA", str(shared_data))
    scenario = validate(
        Scenario, {"data": {"name": "owner/usps", "train": 100, "public": 10, "validation": 0, "judge": 0}}
    )
    stage = set_stage(scenario, tmp_path)
    assert stage.scenario.data.path is None  # what is on record runs elsewhere too
    assert stage.dataset.image_shape == (1, 16, 16)
    assert len(np.concatenate(stage.held)) == 100
