"""The checks that need the registries, against registries of our own."""

from pathlib import Path
from typing import Any, ClassVar, get_args

import pytest
from pydantic import Field

from fedunlearn import catalogue
from fedunlearn.errors import ScenarioError
from fedunlearn.observer.access import ACCESS_LEVELS, FLAGS
from fedunlearn.registry import Registry
from fedunlearn.scenario import Scenario, Strategy, validate
from fedunlearn.settings import Settings


class Steps(Settings):
    """Settings of a plug-in."""

    steps: int = Field(default=10, ge=1, description="How many.")
    max_rate: float = Field(default=0.1, gt=0, description="How fast.")


class Slow:
    """Forgets whole clients. The rest of the docstring is not listed."""

    Settings = Steps
    scopes = frozenset({"client"})
    limits = "it is slow"
    takes_part = "retained"
    stores = "nothing"
    own_trunk = foresees = False


class Quick(Slow):
    """Forgets anything."""

    scopes = frozenset({"sample", "class", "client"})


class Remembers(Quick):
    """Forgets by looking back."""

    takes_part = "server"
    stores = "updates"


class Foresees(Quick):
    """Forgets what it knew it would."""

    own_trunk = foresees = True


class Watch:
    """Sees every update."""

    Settings = Steps
    finds = "labels"
    needs = "broadcasts"
    needs_flags: ClassVar[frozenset[str]] = frozenset()


class Guess(Watch):
    """Asks the final model."""

    Settings = Settings
    needs = "labels"
    needs_flags = frozenset({"public-unlabelled"})


@pytest.fixture(autouse=True)
def registries(monkeypatch: pytest.MonkeyPatch) -> None:
    entries: dict[str, dict[str, Any]] = {
        "datasets": {"digits": Slow, "mnist-5k": Slow},
        "models": {"lenet": Slow, "mlp": Slow},
        "unlearners": {"finetune": Quick, "foresees": Foresees, "remembers": Remembers, "slow": Slow},
        "attacks": {"watch": Watch, "guess": Guess},
        "metrics": {},
    }
    made = {}
    for kind, named in entries.items():
        made[kind] = Registry[Any](kind.removesuffix("s"))
        for name, entry in named.items():
            made[kind].register(name)(entry)
    monkeypatch.setattr(catalogue, "registry", made.__getitem__)


BASE: dict[str, Any] = {
    "requests": [{"round": 3, "scope": "class", "target": {"random": 1}}],
    "observers": [
        {"name": "server", "access": "updates"},
        {"name": "user", "access": "labels", "flags": ["public-unlabelled"]},
    ],
    "attacks": [
        {"name": "guess", "observer": "user"},
        {"name": "watch", "observer": "server", "settings": {"steps": 3}},
    ],
}


def refusal(**tables: Any) -> str:
    with pytest.raises(ScenarioError) as caught:
        catalogue.check(validate(Scenario, BASE | tables))
    return str(caught.value)


def test_a_good_scenario_passes():
    catalogue.check(validate(Scenario, BASE))
    catalogue.check(validate(Scenario, BASE | {"federation": {"keep-updates": False}}))
    catalogue.check(validate(Scenario, BASE | {"unlearning": {"methods": ["remembers", "foresees"]}}))
    catalogue.check(validate(Scenario, BASE | {"data": {"name": "owner/some-data"}}))  # on the Hugging Face hub
    catalogue.check(validate(Scenario, BASE | {"data": {"path": str(Path(__file__).parent), "format": "npz"}}))


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ({"data": {"name": "digit"}}, 'data.name = "digit": unknown dataset; did you mean "digits"?'),
        ({"data": {"path": "/no/where", "format": "npz"}}, 'data.path = "/no/where": no such folder or file'),
        ({"model": {"name": "lenett"}}, 'model.name = "lenett": unknown model; did you mean "lenet"?'),
        (
            {"unlearning": {"methods": ["finetun"]}},
            'unlearning.methods.0 = "finetun": unknown unlearner; did you mean "finetune"?',
        ),
        (
            {"unlearning": {"methods": ["finetune", "slow"]}},
            'unlearning.methods.1 = "slow": cannot serve requests.0.scope = "class", only client: it is slow',
        ),
        (
            {"unlearning": {"methods": ["finetune", "remembers"]}, "federation": {"keep-updates": False}},
            'unlearning.methods.1 = "remembers": needs the updates of every round, and federation.keep-updates = false',
        ),
        (
            {"unlearning": {"methods": ["foresees"]}, "requests": [*BASE["requests"], *BASE["requests"]]},
            'unlearning.methods.0 = "foresees": serves one request, known while it trains; there are 2',
        ),
        (
            {"unlearning": {"options": {"slwo": {}}}},
            'unlearning.options.slwo = {}: unknown unlearner; did you mean "slow"?',
        ),
        (
            {"unlearning": {"options": {"slow": {"step": 3}}}},
            'unlearning.options.slow.step = 3: unknown key; did you mean "steps"?',
        ),
        (
            {"unlearning": {"options": {"slow": {"max_rate": 3}}}},
            'unlearning.options.slow.max_rate = 3: unknown key; did you mean "max-rate"?',
        ),
        (
            {"unlearning": {"options": {"slow": {"steps": 0}}}},
            "unlearning.options.slow.steps = 0: must be an integer >= 1",
        ),
        (
            {"observers": [BASE["observers"][0] | {"flags": ["methd"]}, BASE["observers"][1]]},
            'observers.0.flags.0 = "methd": unknown flag; did you mean "method"?',
        ),
        (
            {"attacks": [{"name": "wach", "observer": "server"}]},
            'attacks.0.name = "wach": unknown attack; did you mean "watch"?',
        ),
        (
            {"attacks": [*BASE["attacks"], {"name": "watch", "observer": "user"}]},
            'attacks.2.name = "watch": needs access broadcasts or aggregate-only or updates; '
            'observer "user" has access labels',
        ),
        (
            {"attacks": [{"name": "guess", "observer": "server"}]},
            'attacks.0.name = "guess": needs the flag "public-unlabelled", which its observer "server" does not have',
        ),
        (
            {"attacks": [BASE["attacks"][0], {"name": "watch", "observer": "server", "settings": {"steps": "x"}}]},
            'attacks.1.settings.steps = "x": must be an integer >= 1',
        ),
        (
            {"attacks": [{"name": "watch", "observer": "server", "settings": {"max-rate": float("nan")}}]},
            "attacks.0.settings.max-rate = nan: must be a finite number > 0",
        ),
    ],
)
def test_a_bad_one_is_refused(tables: dict[str, Any], line: str):
    assert refusal(**tables) == line


def test_checked_cells_name_file_and_cell(tmp_path: Path):
    file = tmp_path / "x.toml"
    file.write_text('[matrix]\n"model.name" = ["lenet", "mpl"]\n')
    with pytest.raises(ScenarioError) as caught:
        catalogue.checked_cells(file)
    assert str(caught.value) == f'{file}, cell mpl: model.name = "mpl": unknown model; did you mean "mlp"?'
    assert [cell.name for cell in catalogue.checked_cells(file, ["model.name=mlp"])] == ["x"]


def test_listing_gives_one_line_each():
    assert catalogue.listing("unlearners") == {
        "finetune": "Forgets anything. [scopes: sample, class, client; takes part: retained; server stores: nothing]",
        "foresees": "Forgets what it knew it would. "
        "[scopes: sample, class, client; takes part: retained; server stores: nothing; trains its own trunk]",
        "remembers": "Forgets by looking back. "
        "[scopes: sample, class, client; takes part: server; server stores: updates]",
        "slow": "Forgets whole clients. The rest of the docstring is not listed. "
        "[scopes: client; takes part: retained; server stores: nothing]",
    }
    assert catalogue.listing("attacks")["watch"] == "Sees every update."
    assert catalogue.listing("scenarios")["quickstart"].startswith("Ten clients")
    with pytest.raises(ScenarioError, match='unknown kind "modles"; did you mean "models"'):
        catalogue.listing("modles")


def test_levels_flags_and_strategies_are_listed_with_a_line_each():
    assert tuple(catalogue.listing("access")) == ACCESS_LEVELS
    assert catalogue.listing("flags") == FLAGS
    assert tuple(catalogue.listing("strategies")) == get_args(Strategy)
    for kind in ("access", "flags", "strategies"):
        assert all(line and "\n" not in line for line in catalogue.listing(kind).values())
