"""The revival attacks on recorded federations in which weights were pruned."""

import numpy as np
import pytest
from pydantic import ValidationError

from fedunlearn.attacks import ATTACKS
from fedunlearn.attacks.revival.class_bias import least_rise
from fedunlearn.attacks.revival.donor_rows import most_similar, predicted_rows
from fedunlearn.attacks.revival.regrowth_rounds import Regrowth, evidence
from fedunlearn.attacks.revival.request_detection import fallen, gone, read_out
from fedunlearn.attacks.revival.units import units_of
from fedunlearn.models import Architecture, build, to_weights
from fedunlearn.observer.access import AccessRefused
from tests.observer.recorded import Federation, Watcher, digits, fresh, knowledge, non_iid, pruned_run, recorded_run

LAYER = "body.fc1.weight"
TOLD = ("request-round", "request-target", "mask-known", "public-unlabelled")


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    return pruned_run(tmp_path_factory.mktemp("tape"), Federation(non_iid(3, 300, seed=1)), 4, 3, forget=7)


@pytest.fixture(scope="module")
def unpruned(tmp_path_factory):
    return recorded_run(tmp_path_factory.mktemp("tape"), Federation(non_iid(3, 200, seed=1)), 3, 2, forget=7)


def attack(
    tape, name, access="final-weights", flags=TOLD, branch="forgotten", granted=False, whole=("all",), **options
):
    watcher = Watcher(access, flags, whole)
    about = {"true_model": tape.recording(branch).model} if granted else {}
    facts = knowledge(tape, watcher, branch, public=(digits()[0][1500:], None), **about)
    found = ATTACKS[name](ATTACKS[name].Settings(**options))(
        tape.view(watcher, branch), facts, np.random.default_rng(0)
    )
    return (found, facts) if granted else found


def final(tape):
    return tape.recording("forgotten").model("final")


def truth(tape):
    pruned = tape.recording("forgotten").pruned()[LAYER]
    return pruned, pruned & ~pruned.all(axis=1, keepdims=True), tape.recording("forgotten").model("before")[LAYER]


@pytest.mark.parametrize("source", ["soft-impute", "random", "column-mean", "row-mean"])
def test_a_share_of_the_missing_weights_comes_back_as_large_as_their_rows(tape, source):
    found, (pruned, single, _) = attack(tape, "revival", signs=source), truth(tape)
    before, after = final(tape)[LAYER], found.weights[LAYER]
    np.testing.assert_array_equal(found.filled[LAYER], pruned)
    np.testing.assert_array_equal(found.signs[LAYER] != 0, single)
    back = after != before
    assert back.sum() == round(0.6 * single.sum())
    assert not back[~single].any()
    assert not after[single & ~back].any()  # what Top-K leaves out is 0, as it was
    largest = np.broadcast_to(np.abs(before).max(axis=1, keepdims=True), before.shape)
    assert (np.abs(after)[back] >= largest[back]).all()
    np.testing.assert_array_equal(np.sign(after)[back], found.signs[LAYER][back])
    assert found.notes["missing"][LAYER]["whole-rows"] == [0, 1]
    for name, array in final(tape).items():
        assert found.weights[name].dtype == array.dtype
        if name != LAYER:
            np.testing.assert_array_equal(found.weights[name], array)


@pytest.mark.parametrize("size", ["sampled", "averaged", "recovered", "quantised", "neuron-max"])
def test_every_magnitude_leaves_the_signs(tape, size):
    found, other = attack(tape, "revival", magnitude=size), attack(tape, "revival")
    np.testing.assert_array_equal(found.signs[LAYER], other.signs[LAYER])
    assert np.isfinite(found.weights[LAYER]).all()


def test_the_oracle_knows_signs_and_sizes_and_says_so(tape):
    options = {"signs": "oracle", "magnitude": "oracle", "top_ratio": 1.0}
    (found, facts), (_, single, before) = attack(tape, "revival", granted=True, **options), truth(tape)
    np.testing.assert_allclose(found.weights[LAYER][single], before[single], rtol=1e-6)
    assert facts.grants == {"weights"}
    with pytest.raises(AccessRefused, match="not granted"):
        attack(tape, "revival", **options)


def test_masks_are_told_or_seen(tape, unpruned):
    pruned, _, _ = truth(tape)
    for access, mask in (("final-weights", "known"), ("weights-before-after", "difference")):
        found = attack(tape, "revival", access, mask=mask, signs="random")
        np.testing.assert_array_equal(found.filled[LAYER], pruned)
    few = attack(tape, "revival", mask="smallest", fraction=0.05, layers=("head.weight",), signs="random")
    assert few.filled["head.weight"].mean() == pytest.approx(0.05, abs=0.01)
    with pytest.raises(AccessRefused, match="mask-known"):
        attack(tape, "revival", flags=(), mask="known")
    with pytest.raises(AccessRefused, match="does not show before"):
        attack(tape, "revival", mask="difference")
    with pytest.raises(AccessRefused, match="no weight is exactly 0: nothing was pruned"):
        attack(unpruned, "revival", branch="control")


def test_the_least_rise_reaches_the_mean_rate_and_lowers_nothing():
    rng = np.random.default_rng(0)
    answers = rng.standard_normal((200, 5))
    answers[:, 2] -= 3
    raised = answers + least_rise(answers, 2) * (np.arange(5) == 2)
    assert (raised.argmax(axis=1) == 2).sum() == 40
    assert least_rise(answers + 10 * (np.arange(5) == 2), 2) == 0


def test_the_class_bias_is_all_that_changes(tape):
    found = attack(tape, "class-bias-revival")
    assert (found.revived_class, found.notes["class-from"], found.filled) == (7, "told", {})
    moved = {name: np.flatnonzero(found.weights[name] != array) for name, array in final(tape).items()}
    assert moved.pop("head.bias").tolist() == [7]
    assert not any(len(where) for where in moved.values())
    named = attack(tape, "class-bias-revival", flags=("public-unlabelled",), finder="null-class-bias")
    assert named.notes["class-from"] == "null-class-bias"
    assert named.revived_class == final(tape)["head.bias"].argmin()
    with pytest.raises(ValidationError, match="no attack on the forgotten class"):
        ATTACKS["class-bias-revival"].Settings(finder="revival")


def test_donors_are_live_units_whose_outgoing_weights_point_the_same_way(tape):
    found, before = attack(tape, "donor-rows"), final(tape)
    outgoing = before["head.weight"].T
    cosine = outgoing @ outgoing.T / np.outer(*[np.linalg.norm(outgoing, axis=1)] * 2)
    for unit in (0, 1):
        donor = 2 + cosine[unit, 2:].argmax()
        np.testing.assert_array_equal(found.weights[LAYER][unit], before[LAYER][donor])
        assert found.weights["body.fc1.bias"][unit] == before["body.fc1.bias"][donor]
    assert found.filled[LAYER][:2].all()
    assert not found.filled[LAYER][2:].any()
    assert most_similar(np.array([[0.0, 2.0]]), np.array([[9.0, 1.0], [0.0, 0.1]])).tolist() == [1]


@pytest.mark.parametrize("row", ["donor", "regression", "random", "column-mean"])
@pytest.mark.parametrize("outgoing", ["keep", "random", "wired"])
def test_every_fill_gives_the_units_rows_and_leaves_the_others(tape, row, outgoing):
    found, before = attack(tape, "donor-rows", fill=row, outgoing=outgoing), final(tape)
    np.testing.assert_array_equal(found.weights[LAYER][2:], before[LAYER][2:])
    np.testing.assert_array_equal(found.weights["head.weight"][:, 2:], before["head.weight"][:, 2:])
    assert np.abs(found.weights[LAYER][:2]).sum(axis=1).all()
    read = found.weights["head.weight"][:, :2]
    if outgoing == "keep":
        np.testing.assert_array_equal(read, before["head.weight"][:, :2])
    if outgoing == "wired":
        assert (read[7] > 0).all()
        assert (np.delete(read, 7, axis=0) < 0).all()
        assert found.revived_class == 7


def test_rows_are_predicted_where_they_follow_linearly_from_what_reads_them():
    rng = np.random.default_rng(0)
    outgoing, map_ = rng.standard_normal((300, 4)), rng.standard_normal((4, 20))
    found = predicted_rows(outgoing[:10], outgoing[10:], outgoing[10:] @ map_)
    true = outgoing[:10] @ map_
    cosines = (found * true).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(true, axis=1)
    assert cosines.min() > 0.99


def test_units_of_convolutions_are_read_and_put_back():
    weights = to_weights(build(Architecture("lenet"), (1, 28, 28), 10, np.random.default_rng(0)))
    names = [name for name, array in weights.items() if array.ndim > 1]
    for name in names[:-1]:
        units = units_of(weights, name)
        same = units.placed(weights, units.rows, units.vectors, units.outgoing)
        for key, array in weights.items():
            np.testing.assert_array_equal(same[key], array)
        first = units.outgoing.copy()
        first[0] = 0
        changed = units.placed(weights, units.rows, units.vectors, first)[units.reader]
        assert not changed.reshape(len(changed), len(units.rows), -1)[:, 0].any()
    with pytest.raises(AccessRefused, match="is the last matrix"):
        units_of(weights, names[-1])


def test_who_kept_the_old_model_has_everything_back(tape):
    found, before = (
        attack(tape, "past-round-oracle", "weights-before-after"),
        tape.recording("forgotten").model("before"),
    )
    pruned = tape.recording("forgotten").pruned()
    for name, mask in pruned.items():
        np.testing.assert_array_equal(found.weights[name][mask], before[name][mask])
        np.testing.assert_array_equal(found.filled[name], mask & (before[name] != 0))


@pytest.mark.parametrize("access", ["broadcasts", "aggregate-only", "updates"])
def test_regrowth_reads_signs_from_what_grows_again(tape, access):
    found = attack(tape, "regrowth-revival", access, fused=False, rounds=2)
    view = tape.view(Watcher(access, TOLD), "forgotten")
    _, single, _ = truth(tape)
    rounds = (5, 6)
    if access == "broadcasts":
        moved = sum(view.result(number)[LAYER].astype(float) - view.broadcast(number)[LAYER] for number in rounds)
    else:
        totals = [tape.view(Watcher("updates"), "forgotten").total(number) for number in rounds]
        moved = -sum(total.payload[LAYER].astype(float) * total.num_examples for total in totals)
    clear = single & (np.abs(moved) > 1e-6)
    np.testing.assert_array_equal(found.signs[LAYER][clear], np.sign(moved)[clear])
    assert found.notes["rounds"] == [5, 6]


def test_rounds_after_the_request_are_told_or_seen_by_their_zeros(tape, unpruned):
    told, seen = (attack(tape, "regrowth-revival", "updates", flags=flags).notes["rounds"] for flags in (TOLD, ()))
    assert told == seen == [5, 6, 7]
    assert attack(tape, "regrowth-revival", "updates", flags=(), whole=(4, 5, 6, 7)).notes["rounds"] == seen
    with pytest.raises(AccessRefused, match="no broadcast has a weight that is exactly 0"):
        attack(unpruned, "regrowth-revival", "updates", flags=())


def test_evidence_is_refused_where_nothing_grows():
    change = {"w": np.zeros((2, 3))}
    with pytest.raises(AccessRefused, match="nothing grows in w"):
        evidence([Regrowth(1, (change,), (1,))], "w", np.ones((2, 3), bool))


def test_a_pruning_request_is_detected_in_its_round_and_nowhere_else(tape, unpruned):
    found = attack(tape, "mask-difference", "broadcasts", flags=())
    assert found.notes["request-round"] == 4
    assert len(found.named) == 1
    assert [entry.round for entry in found.said if entry.named] == [5, 6, 7]
    quiet = attack(unpruned, "mask-difference", "broadcasts", flags=())
    assert (quiet.named, quiet.notes["seen"]) == ((), "none")


def test_the_class_is_the_one_whose_logit_falls_with_what_is_gone():
    before = fresh(0, "relu")
    head = np.abs(before["head.weight"])
    head[:, :5] = 0
    head[3, :5] = 1.0  # the first units speak for class 3 alone
    before = before | {"head.weight": head, LAYER: np.abs(before[LAYER])}
    after = before | {LAYER: before[LAYER] * (np.arange(len(before[LAYER])) >= 5)[:, None].astype("f4")}
    kind, where = gone(before, after)
    assert kind == "zeros"
    assert fallen(before, after, where, 10).argmax() == 3
    assert gone(before, before) is None
    layers = {"a": np.ones((4, 6)), "b": np.ones((3, 8)), "c": np.ones((2, 3))}
    np.testing.assert_array_equal(read_out(layers, "a", 2), np.full((2, 4), 6))
    assert read_out(layers | {"b": np.ones((3, 7))}, "a", 2) is None
