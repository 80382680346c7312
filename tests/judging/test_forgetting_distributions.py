"""Distributions over training seeds: which cells belong together, what their rows say, how they are shown."""

import io

import numpy as np
import pytest
from rich.console import Console

from fedunlearn.errors import DataError
from fedunlearn.judging.forgetting.distributions import distribution_rows
from fedunlearn.judging.forgetting.klom import klom
from fedunlearn.judging.forgetting.likelihood import u_lira
from fedunlearn.judging.forgetting.margin_store import MARGINS, Margins, read_margins, write_margins
from fedunlearn.judging.groups import group_cells
from fedunlearn.judging.summary import summarise
from fedunlearn.reporting.distributions import distribution_tables

SIZES = {"forget": 30, "retain": 20, "test": 25}
SHIFTS = {"trunk": 2.0, "finetune": 1.0, "retrain": 0.0, "retrain-other-init": 0.0}


def cell(training_seed, seed=0, algorithm="fedavg"):
    """Results and margins of a cell; the forgotten samples of a method stand out by its shift."""
    values = {"federation.algorithm": algorithm, "training-seed": training_seed, "seed": seed}
    branches = [
        {"id": name, "name": name, "metrics": {"retain_accuracy": 0.9 - 0.1 * (name == "finetune"),
                                               "test_accuracy": 0.8 - 0.1 * (name == "retrain"),
                                               "test_retain_accuracy": None if name == "trunk" else 0.75,
                                               "forget_accuracy": 0.7}}
        for name in SHIFTS
    ]  # fmt: skip
    results = {"cell": values, "seed": seed, "attacks": [], "branches": branches}
    draws = np.random.default_rng([training_seed, seed])
    ids = {kind: np.arange(size) + 100 * seed for kind, size in SIZES.items()}
    margins = {
        name: {kind: draws.normal(shift * (kind == "forget"), 1, size) for kind, size in SIZES.items()}
        for name, shift in SHIFTS.items()
    }
    return results, Margins(ids, margins)


def rows_of(*pairs):
    return list(distribution_rows([results for results, _ in pairs], [margins for _, margins in pairs]))


@pytest.fixture(scope="module")
def rows():
    return {row["branch"]: row for row in rows_of(*[cell(number) for number in range(12)])}


def test_every_branch_but_the_oracle_has_a_row(rows):
    assert set(rows) == set(SHIFTS) - {"retrain"}
    assert {(row["group"], row["seed"], row["models"], row["pooled_variance"]) for row in rows.values()} == {
        ("FedAvg", 0, 12, True)
    }


def test_rows_hold_what_the_metrics_say_of_the_stacked_margins(rows):
    margins = [cell(number)[1].by_branch for number in range(12)]
    own, other = (np.stack([m[name]["forget"] for m in margins]) for name in ("finetune", "retrain"))
    found = rows["finetune"]
    assert found["klom_forget"] == klom(own, other).mean()
    assert found["klom_forget_p95"] == np.quantile(klom(own, other), 0.95)
    area = found["u_lira_auc_forget"], found["u_lira_tpr_at_1_fpr_forget"]
    assert area == u_lira(own, other, pooled=True)
    assert found["retain_ratio"] == pytest.approx(0.8 / 0.9)
    assert found["test_ratio"] == 1  # of retained test samples; of all where no whole class was forgotten
    assert rows["trunk"]["test_ratio"] == pytest.approx(0.8 / 0.75)
    assert found["competition_score"] == pytest.approx(found["forgetting_quality"] * 0.8 / 0.9)


def test_the_less_was_forgotten_the_better_it_is_seen(rows):
    order = ("retrain-other-init", "finetune", "trunk")
    for metric in ("klom_forget", "u_lira_auc_forget"):
        values = [rows[name][metric] for name in order]
        assert values == sorted(values)
    assert rows["retrain-other-init"]["u_lira_auc_forget"] == pytest.approx(0.5, abs=0.08)
    assert rows["trunk"]["u_lira_auc_test"] == pytest.approx(0.5, abs=0.08)
    qualities = [rows[name]["forgetting_quality"] for name in order]
    assert qualities == sorted(qualities, reverse=True)


def test_only_training_seeds_are_put_together():
    pairs = [
        cell(number, seed, algorithm) for seed in (0, 1) for algorithm in ("fedsgd", "fedavg") for number in range(3)
    ]
    found = rows_of(*pairs)
    assert {(row["group"], row["seed"]) for row in found} == {
        (group, seed) for group in ("FedSGD", "FedAvg") for seed in (0, 1)
    }
    assert {row["models"] for row in found} == {3}
    assert [len(group.cells) for group in group_cells([results for results, _ in pairs])] == [6, 6]


def test_branches_are_paired_with_the_retrained_model_of_their_own_cell():
    pairs = [cell(number) for number in range(4)]
    del pairs[0][1].by_branch["finetune"]
    del pairs[1][1].by_branch["retrain"]
    models = {row["branch"]: row["models"] for row in rows_of(*pairs)}
    assert models == {"trunk": 3, "retrain-other-init": 3}  # two pairs are too few


def test_too_few_cells_or_none_with_margins_have_no_rows():
    assert rows_of(cell(0), cell(1)) == []
    results, _ = cell(0)
    assert list(distribution_rows([results] * 4, [None] * 4)) == []
    assert summarise([results])["distributions"] == []


def test_margins_of_other_samples_are_refused():
    pairs = [cell(number) for number in range(3)]
    pairs[2][1].ids["test"][0] += 1
    with pytest.raises(DataError, match="different test samples"):
        rows_of(*pairs)


def test_nothing_to_forget_is_undefined():
    pairs = [cell(number) for number in range(3)]
    for _, margins in pairs:
        for kinds in (margins.ids, *margins.by_branch.values()):
            kinds["forget"] = kinds["forget"][:0]
    found = rows_of(*pairs)[0]
    undefined = ("klom_forget", "klom_forget_p95", "u_lira_auc_forget", "forgetting_quality", "competition_score")
    assert [found[name] for name in undefined] == [None] * 5
    assert found["klom_test"] is not None


def test_margins_on_disk_come_back(tmp_path):
    margins = cell(0)[1]
    assert read_margins(tmp_path) is None
    write_margins(tmp_path, margins)
    again = read_margins(tmp_path)
    assert list(again.by_branch) == list(SHIFTS)
    assert (tmp_path / MARGINS).exists()
    for branch, kinds in margins.by_branch.items():
        for kind, values in kinds.items():
            np.testing.assert_array_equal(again.by_branch[branch][kind], values)
            np.testing.assert_array_equal(again.ids[kind], margins.ids[kind])


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_has_every_method_and_the_number_of_models(width):
    pairs = [cell(number) for number in range(3)]
    summary = summarise([results for results, _ in pairs], [margins for _, margins in pairs])
    console = Console(file=io.StringIO(), width=width)
    for part in distribution_tables(summary, width):
        console.print(part)
    shown = console.file.getvalue()
    assert all(len(line) <= width for line in shown.splitlines())
    assert "seed 0" in shown
    for name in ("trunk", "finetune", "retrain-other-init"):
        line = next(line for line in shown.splitlines() if line.startswith(name))
        assert line.split()[-1] == "3+3"
    finetune = next(row for row in summary["distributions"] if row["branch"] == "finetune")
    assert f"{finetune['klom_forget']:.2f}" in shown
    assert ("95th percentile" in shown) == (width == 120)


def test_without_distributions_there_is_no_table():
    assert list(distribution_tables(None, 80)) == list(distribution_tables({"distributions": []}, 80)) == []
