"""The tables of a scenario: defaults, ranges, and checks across tables."""

import pytest
from pydantic import BaseModel, ValidationError

from fedunlearn.errors import ScenarioError
from fedunlearn.scenario import FederationSettings, RequestSettings, Scenario, TargetSettings, validate
from fedunlearn.scenario.schema import all_keys, dotted, fields_of, is_table, plain

REQUEST = {"round": 3, "scope": "class", "target": {"random": 1}}


def tables(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return a model and all models below it."""
    below = [plain(field.annotation) for field in model.model_fields.values()]
    items = [getattr(annotation, "__args__", (annotation,))[0] for annotation in below]
    return [model] + [each for item in items if is_table(item) for each in tables(item)]


def refusal(**tables: object) -> str:
    with pytest.raises(ScenarioError) as caught:
        validate(Scenario, tables)
    return str(caught.value)


def test_every_key_is_described_and_frozen():
    for model in tables(Scenario):
        assert model.model_config["frozen"]
        for key, field in fields_of(model).items():
            assert (field.description or "").endswith("."), f"{model.__name__}.{key}"
            assert "_" not in key


def test_an_empty_scenario_is_valid():
    scenario = validate(Scenario, {})
    assert scenario.federation.round_size == scenario.federation.clients == 10
    assert scenario.trunk_rounds == scenario.federation.rounds
    assert scenario.branches == ()  # nothing is requested


def test_arrays_become_tuples_so_that_nothing_can_change():
    scenario = validate(Scenario, {"requests": [REQUEST | {"holders": [1, 2]}], "partition": {"sizes": [4]}})
    assert scenario.requests[0].holders == (1, 2)
    assert scenario.partition.sizes == (4,)
    with pytest.raises(ValidationError):
        scenario.seed = 2  # type: ignore[misc]


def test_requests_are_numbered_where_they_have_no_id():
    requests = validate(Scenario, {"requests": [REQUEST, REQUEST | {"id": "erase-me"}, REQUEST]}).requests
    assert [request.id for request in requests] == ["request-1", "erase-me", "request-3"]


def test_the_trunk_ends_at_the_first_request():
    scenario = validate(Scenario, {"requests": [REQUEST | {"round": 9}, REQUEST]})
    assert scenario.trunk_rounds == 3
    assert scenario.branches == ("retrain", "retrain-other-init", "control", "placebo", "absent", "finetune")


def test_a_folder_is_called_after_itself():
    assert validate(Scenario, {"data": {"path": "shared/faces/", "format": "npz"}}).data.name == "faces"
    assert validate(Scenario, {"data": {"path": "x", "format": "npz", "name": "faces"}}).data.name == "faces"


def test_python_code_may_use_field_names():
    assert FederationSettings(clients_per_round=3).round_size == 3
    assert RequestSettings(round=1, scope="client", target=TargetSettings(clients=(2,))).target.chosen == "clients"


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ({"data": {"path": "x"}}, 'data.path = "x": needs "format" beside it'),
        ({"data": {"format": "npz"}}, 'data.format = "npz": needs "path" beside it'),
        (
            {"data": {"public": 0.6, "judge": 0.5}},
            "data.public = 0.6: the shares public + validation + judge add up to more than 1",
        ),
        ({"partition": {"kind": "by-size"}}, 'partition.kind = "by-size": needs "sizes" beside it'),
        (
            {"partition": {"kind": "by-size", "sizes": [5, 5]}},
            "partition.sizes = [5, 5]: has 2 sizes for federation.clients = 10",
        ),
        (
            {"federation": {"clients-per-round": 11}},
            "federation.clients-per-round = 11: must be at most federation.clients = 10",
        ),
        (
            {"federation": {"optimiser": "adamw", "momentum": 0.5}},
            'federation.momentum = 0.5: does not go with optimiser = "adamw"; leave it out',
        ),
        (
            {"federation": {"optimiser": "adamw", "algorithm": "fedsgd"}},
            'federation.optimiser = "adamw": is of fedavg\'s clients; fedsgd has strategy = "FedAdam"',
        ),
        ({"federation": {"quorum": 11}}, "federation.quorum = 11: must be at most the 10 clients of a round"),
        (
            {"faults": [{"kind": "nan", "clients": [0, 10]}]},
            "faults.0.clients.1 = 10: unknown client; they are numbered 0 to 9",
        ),
        (
            {"requests": [REQUEST | {"round": 13}]},
            "requests.0.round = 13: must be at most federation.rounds = 12",
        ),
        (
            {"requests": [REQUEST | {"holders": [10]}]},
            "requests.0.holders.0 = 10: unknown client; they are numbered 0 to 9",
        ),
        ({"requests": [REQUEST | {"holders": []}]}, 'requests.0.holders = []: must be "all" or name at least one'),
        (
            {"requests": [REQUEST | {"target": {"clients": [1]}}]},
            'requests.0.target.clients = [1]: does not fit scope = "class"; give "classes" or "random"',
        ),
        (
            {"requests": [REQUEST | {"target": {"random": 1, "classes": [2]}}]},
            "requests.0.target.classes = [2]: give exactly one of random, classes, samples, clients",
        ),
        (
            {"requests": [REQUEST | {"target": {}}]},
            "requests.0.target.random: give exactly one of random, classes, samples, clients",
        ),
        ({"requests": [REQUEST | {"target": {"classes": []}}]}, "requests.0.target.classes = []: must not be empty"),
        (
            {"requests": [REQUEST | {"scope": "client", "target": {"clients": [3, 12]}}]},
            "requests.0.target.clients.1 = 12: unknown client; they are numbered 0 to 9",
        ),
        (
            {"requests": [REQUEST | {"scope": "client", "target": {"random": 11}}]},
            "requests.0.target.random = 11: must be at most federation.clients = 10",
        ),
        (
            {"requests": [REQUEST | {"id": "a"}, REQUEST | {"id": "a"}]},
            'requests.1.id = "a": is the id of requests.0 already',
        ),
        ({"unlearning": {"methods": ["control"]}}, 'unlearning.methods.0 = "control": is a reference and runs'),
        ({"unlearning": {"methods": ["x", "x"]}}, 'unlearning.methods.0 = "x": is listed twice'),
        (
            {"observers": [{"name": "a", "access": "updates", "rounds": [17]}]},
            "observers.0.rounds.0 = 17: must be at most 16, the rounds of training and unlearning",
        ),
        (
            {"observers": [{"name": "a", "access": "updates"}, {"name": "a", "access": "labels"}]},
            'observers.1.name = "a": is the name of observers.0 already',
        ),
        ({"attacks": [{"name": "x", "observer": "a"}]}, 'attacks.0.observer = "a": there are no [[observers]]'),
    ],
)
def test_contradictions_between_keys(tables: dict[str, object], line: str):
    assert refusal(**tables).startswith(line)


def test_references_may_run_as_methods_when_they_are_not_references():
    scenario = validate(Scenario, {"unlearning": {"methods": ["retrain"], "references": ["control"]}})
    assert scenario.unlearning.references == ("control",)


def test_attacks_name_observers_and_branches_that_exist():
    observers = [{"name": "server", "access": "updates"}]
    attack = {"name": "x", "observer": "server"}
    assert 'attacks.0.observer = "sever": unknown observer; did you mean "server"?' in refusal(
        observers=observers, attacks=[attack | {"observer": "sever"}]
    )
    assert 'attacks.0.branches.1 = "fintune": unknown branch; did you mean "finetune"?' in refusal(
        observers=observers, attacks=[attack | {"branches": ["trunk", "fintune"]}], requests=[REQUEST]
    )


def test_an_observers_own_client_is_one_of_the_clients():
    observer = {"name": "client", "access": "broadcasts", "flags": ["own-updates"], "client": 3}
    assert validate(Scenario, {"observers": [observer]}).observers[0].client == 3
    line = "observers.0.client = 12: unknown client; they are numbered 0 to 9"
    assert line in refusal(observers=[observer | {"client": 12}])
    line = 'observers.0.client = 3: needs the flag "own-updates" beside it'
    assert line in refusal(observers=[observer | {"flags": []}])


def test_all_keys_lists_what_set_takes():
    keys = {dotted(path) for path in all_keys(Scenario)}
    assert {"seed", "federation.local-epochs", "requests.0.target.random", "attacks.0.settings"} <= keys


def test_a_request_without_a_round_comes_after_the_last_one():
    raw = {"federation": {"rounds": 7}, "requests": [{"scope": "class", "target": {"random": 1}}]}
    assert validate(Scenario, raw).requests[0].round == 7
    assert validate(Scenario, {"requests": raw["requests"]}).requests[0].round == Scenario().federation.rounds


@pytest.mark.parametrize(
    ("probe", "line"),
    [
        ({"after": 13}, "probes.0.after = 13: must be at most 12"),
        ({"clients": [2, 10]}, "probes.0.clients.1 = 10: unknown client; they are numbered 0 to 9"),
        ({"equal-labels": 3}, 'probes.0.equal-labels = 3: needs "samples" of at least as many beside it'),
        ({"samples": 2, "equal-labels": 3}, 'probes.0.equal-labels = 3: needs "samples" of at least as many beside it'),
        ({"algorithm": "fedsgd", "batch-size": 3}, "probes.0.batch-size = 3: means nothing for fedsgd"),
        ({"sorce": "members"}, 'did you mean "source"'),
    ],
)
def test_probes_that_cannot_be(probe, line):
    assert line in refusal(probes=[{"name": "p"} | probe])


def test_attacks_may_name_probes():
    observer = {"name": "server", "access": "updates"}
    attack = {"name": "bias-form", "observer": "server", "branches": ["trunk", "probe-p"]}
    validate(Scenario, {"probes": [{"name": "p"}], "observers": [observer], "attacks": [attack]})
    wrong = attack | {"branches": ["probe-q"]}
    assert 'attacks.0.branches.0 = "probe-q": unknown branch; did you mean "probe-p"' in refusal(
        probes=[{"name": "p"}], observers=[observer], attacks=[wrong]
    )
    assert "unknown branch" in refusal(observers=[observer], attacks=[attack | {"branches": ["probes"]}])


def test_probes_are_called_differently():
    assert "is the name of probes.0 already" in refusal(probes=[{"name": "p"}, {"name": "p", "after": 1}])


LABELLED = {
    "observers": [{"name": "server", "access": "updates"}],
    "attacks": [{"name": "bias-drop", "observer": "server", "label": label} for label in ("bias sum", "bias rises")],
}


def test_attacks_may_be_called_what_a_scenario_likes():
    attacks = validate(Scenario, LABELLED).attacks
    assert [attack.label for attack in attacks] == ["bias sum", "bias rises"]
    unnamed = {"name": "bias-drop", "observer": "server"}
    assert [a.label for a in validate(Scenario, LABELLED | {"attacks": [unnamed, unnamed]}).attacks] == ["", ""]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("same", "same"), 'attacks.0.label = "same": is what attacks.1 is called already'),
        ((None, "bias-drop"), 'attacks.1.label = "bias-drop": is what attacks.0 is called already'),
        (("x/y", "z"), "attacks.0.label"),
    ],
)
def test_two_attacks_are_not_called_the_same(labels, message):
    attacks = [{"name": "bias-drop", "observer": "server"} | ({"label": label} if label else {}) for label in labels]
    with pytest.raises(ScenarioError) as error:
        validate(Scenario, LABELLED | {"attacks": attacks})
    assert str(error.value).startswith(message)
