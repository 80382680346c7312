"""What there is to choose from, and whether a scenario chooses well: the checks that need the registries."""

import importlib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from fedunlearn.errors import ScenarioError
from fedunlearn.observer.access import ACCESS_LEVELS, FLAGS, SHOWS, allows
from fedunlearn.registry import nearest
from fedunlearn.scenario import Cell, Scenario, load_cells, validate
from fedunlearn.scenario.messages import problem
from fedunlearn.scenario.schema import dotted
from fedunlearn.scenario.sections import STRATEGIES, DataSettings, Scope
from fedunlearn.scenario.watching import (
    AttackSettings,
    ObserverSettings,
)

SCENARIOS = Path(__file__).parents[1] / "scenarios"
# Kind on the command line: the module and the name of its registry. Imported when asked for: they bring in torch.
REGISTRIES = {
    "datasets": ("fedunlearn.data", "DATASETS"),
    "models": ("fedunlearn.models", "MODELS"),
    "unlearners": ("fedunlearn.unlearning", "UNLEARNERS"),
    "attacks": ("fedunlearn.attacks", "ATTACKS"),
    "decisions": ("fedunlearn.attacks.forgotten_class.decisions", "DECISIONS"),
    "defences": ("fedunlearn.defences", "DEFENCES"),
    "metrics": ("fedunlearn.judging", "METRICS"),
}
# What is no plug-in, with its lines.
LINES: dict[str, Mapping[Any, str]] = {"access": SHOWS, "flags": FLAGS, "strategies": STRATEGIES}
KINDS = (*REGISTRIES, *LINES, "scenarios")


def registry(kind: str) -> Any:
    """Return the registry of a kind, with everything of the project registered in it."""
    module, name = REGISTRIES[kind]
    return getattr(importlib.import_module(module), name)


def listing(kind: str) -> dict[str, str]:
    """Return what there is of a kind, by name, with one line about each; of unlearners also what they serve and take.

    Args:
        kind: one of `KINDS`.

    Raises:
        ScenarioError: for another kind, naming the nearest.
    """
    if kind in REGISTRIES:
        described: dict[str, str] = registry(kind).describe()
        if kind == "unlearners":
            return {name: f"{line} {_declared(registry(kind)[name])}" for name, line in described.items()}
        return described
    if kind in LINES:
        return dict(LINES[kind])
    if kind == "scenarios":
        titles = {file: tomllib.loads(file.read_text(encoding="utf-8")).get("title", "") for file in _scenario_files()}
        return {file.stem: title for file, title in titles.items()}
    raise ScenarioError(f'unknown kind "{kind}"{nearest(kind, KINDS)}')


def _declared(method: Any) -> str:
    """Return what an unlearner declares: its scopes, who takes part beside the server, and what that must have kept."""
    scopes = ", ".join(scope for scope in get_args(Scope) if scope in method.scopes)
    trunk = "; trains its own trunk" if method.own_trunk else ""
    return f"[scopes: {scopes}; takes part: {method.takes_part}; server stores: {method.stores}{trunk}]"


def _scenario_files() -> list[Path]:
    return sorted(SCENARIOS.glob("*.toml"))


def checked_cells(path: Path, overrides: Sequence[str] = ()) -> list[Cell]:
    """Return the cells of a scenario file, all of them checked.

    Args:
        path: a TOML file.
        overrides: `key.path=value` texts, in order.

    Raises:
        ScenarioError: one line that names file, cell, key, value and the nearest right one.
    """
    cells = load_cells(path, overrides)
    for cell in cells:
        try:
            check(cell.scenario)
        except ScenarioError as error:
            where = f"{path}, cell {cell.name}" if cell.values else str(path)
            raise ScenarioError(f"{where}: {error}") from None
    return cells


def check(scenario: Scenario) -> None:
    """Check what a scenario names against what there is, and what its attacks need against what observers see.

    Raises:
        ScenarioError: one line that names key, value and the nearest right one.
    """
    _check_data(scenario.data)
    _look_up("models", "model.name", scenario.model.name)
    _check_unlearning(scenario)
    lpips = scenario.judge.lpips
    if lpips != "auto" and not Path(lpips).expanduser().is_file():
        raise ScenarioError(problem("judge.lpips", lpips, "no such file"))
    for number, observer in enumerate(scenario.observers):
        for place, flag in enumerate(observer.flags):
            if flag not in FLAGS:
                key = f"observers.{number}.flags.{place}"
                raise ScenarioError(problem(key, flag, f"unknown flag{nearest(flag, FLAGS)}"))
    _check_defences(scenario)
    observers = {observer.name: observer for observer in scenario.observers}
    for number, attack in enumerate(scenario.attacks):
        _check_attack(number, attack, observers[attack.observer])
        finds, generates = registry("attacks")[attack.name].finds, scenario.model.name == "diffusion"
        if (finds == "class-images" or (finds == "revival" and generates)) and not scenario.data.judge:
            why = f'attack "{attack.name}" is judged by a classifier of the judge\'s own; give it samples'
            raise ScenarioError(problem("data.judge", scenario.data.judge, why))


def _look_up(kind: str, key: str, name: str, value: Any = None) -> Any:
    """Return the registered class of a name, which is the value of `key` unless `value` is."""
    entries = registry(kind)
    if name not in entries:
        why = f"unknown {entries.kind}{nearest(name, entries)}"
        raise ScenarioError(problem(key, name if value is None else value, why))
    return entries[name]


def _check_data(data: DataSettings) -> None:
    if data.path is not None:
        if not Path(data.path).expanduser().exists():
            raise ScenarioError(problem("data.path", data.path, "no such folder or file"))
    elif "/" not in data.name:  # a Hugging Face name has an owner; whether it exists is known when it is fetched
        _look_up("datasets", "data.name", data.name)


def _check_unlearning(scenario: Scenario) -> None:
    for name, options in scenario.unlearning.options.items():
        path = ("unlearning", "options", name)
        method = _look_up("unlearners", dotted(path), name, options)
        validate(method.Settings, options, path)
    for place, name in enumerate(scenario.unlearning.methods):
        key = f"unlearning.methods.{place}"
        method = _look_up("unlearners", key, name)
        for number, request in enumerate(scenario.requests):
            if request.scope not in method.scopes:
                served = " or ".join(sorted(method.scopes))
                why = f'cannot serve requests.{number}.scope = "{request.scope}", only {served}: {method.limits}'
                raise ScenarioError(problem(key, name, why))
        if not scenario.federation.keep_updates and method.stores != "nothing":
            why = f"needs the {method.stores} of every round, and federation.keep-updates = false"
            raise ScenarioError(problem(key, name, why))
        if method.foresees and len(scenario.requests) > 1:
            why = f"serves one request, known while it trains; there are {len(scenario.requests)}"
            raise ScenarioError(problem(key, name, why))


def _check_defences(scenario: Scenario) -> None:
    for number, settings in enumerate(scenario.defences):
        key = f"defences.{number}.name"
        defence = _look_up("defences", key, settings.name)
        validate(defence.Settings, settings.settings, ("defences", number, "settings"))
        if defence.needs_public and not scenario.data.public:
            raise ScenarioError(problem(key, settings.name, "needs images of the server's own: data.public above 0"))


def _check_attack(number: int, settings: AttackSettings, observer: ObserverSettings) -> None:
    key = f"attacks.{number}.name"
    attack = _look_up("attacks", key, settings.name)
    if not allows(observer.access, attack.needs):
        enough = " or ".join(level for level in ACCESS_LEVELS if allows(level, attack.needs))
        why = f'needs access {enough}; observer "{observer.name}" has access {observer.access}'
        raise ScenarioError(problem(key, settings.name, why))
    if missing := sorted(attack.needs_flags - set(observer.flags)):
        why = f'needs the flag "{missing[0]}", which its observer "{observer.name}" does not have'
        raise ScenarioError(problem(key, settings.name, why))
    validate(attack.Settings, settings.settings, ("attacks", number, "settings"))
