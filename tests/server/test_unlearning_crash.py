"""A client whose process dies while it unlearns: on Ray the same models come out as where the death is only said."""

import pytest

from tests.e2e.command import SCENARIO, hashes, results, run

CHANGES = [
    '--set=unlearning.methods=["neggrad", "finetune"]',
    "--set=unlearning.references=[]",
    "--set=probes=[]",
    "--set=attacks=[]",
    '--set=faults=[{kind="crash",clients=[2],rounds=[4]}]',  # the first round after the first request
]
LEAVING = '--set=requests=[{round=3,scope="client",target={clients=[2]}}]'


def failed(folder):
    """Return the clients that failed in the first round of gradient ascent."""
    [row] = [row for row in results(folder)["rounds"] if (row["branch"], row["round"]) == ("neggrad", 4)]
    return [failure["client_id"] for failure in row["failures"]]


@pytest.mark.ray
@pytest.mark.slow
def test_other_holders_go_on(tmp_path):
    for engine in ("inline", "ray"):
        run("run", SCENARIO, "--out", tmp_path / engine, "--engine", engine, *CHANGES)
        assert failed(tmp_path / engine) == [2]
    assert hashes(tmp_path / "ray") == hashes(tmp_path / "inline")


@pytest.mark.ray
@pytest.mark.slow
def test_alone_it_costs_the_branch_and_no_other(tmp_path):
    for engine in ("inline", "ray"):
        _, error = run("run", SCENARIO, "--out", tmp_path / engine, "--engine", engine, *CHANGES, LEAVING, expect=4)
        assert 'neggrad: branch neggrad, call 4: no answer to "neggrad". client 2: ' in error.splitlines()[-1]
    assert hashes(tmp_path / "ray") == hashes(tmp_path / "inline")
    assert set(hashes(tmp_path / "ray")) == {"trunk", "finetune"}
