"""A scenario in a few lines, for people who are about to run it."""

from collections.abc import Iterable, Sequence

from fedunlearn.scenario.matrix import Cell, trunk_key
from fedunlearn.scenario.models import Scenario

MAX_NAMES = 8


def summary(cells: Sequence[Cell]) -> list[str]:
    """Return lines of text: the cells, what is trained and forgotten, and what each attack may know."""
    trunks = len({trunk_key(cell.scenario) for cell in cells})
    rows = [
        ("cells", [f"{len(cells)}: {_few(cell.name for cell in cells)}; trunks to train: {trunks}"]),
        ("training", _distinct(_training(cell.scenario) for cell in cells)),
        ("requests", _distinct(line for cell in cells for line in _requests(cell.scenario))),
        ("branches", _distinct(_few(cell.scenario.branches) for cell in cells)),
        ("probes", _distinct(_few(probe.name for probe in cell.scenario.probes) for cell in cells)),
        ("defences", _distinct(_few(defence.name for defence in cell.scenario.defences) for cell in cells)),
        ("attacks", _distinct(line for cell in cells for line in _attacks(cell.scenario))),
    ]
    return [f"  {title if not number else '':9} {line}" for title, lines in rows for number, line in enumerate(lines)]


def _training(scenario: Scenario) -> str:
    federation, poison = scenario.federation, scenario.poison
    what = f"{scenario.model.name} on {scenario.data.name}, {scenario.partition.kind}"
    planted = f", client {poison.client} plants a backdoor to class {poison.target}" if poison else ""
    return f"{federation.algorithm}: {what}, {federation.clients} clients, {federation.rounds} rounds{planted}"


def _requests(scenario: Scenario) -> list[str]:
    lines = []
    for request in scenario.requests:
        target = request.target.model_dump(exclude_none=True)
        what = ", ".join(
            f"{key} = {list(value) if isinstance(value, tuple) else value}" for key, value in target.items()
        )
        who = "all clients" if request.holders == "all" else f"clients {list(request.holders)}"
        lines.append(f"{request.id}: after round {request.round}, {who}, {request.scope} ({what})")
    return lines


def _attacks(scenario: Scenario) -> list[str]:
    observers = {observer.name: observer for observer in scenario.observers}
    lines = []
    for attack in scenario.attacks:
        seen = observers[attack.observer]
        knowledge = ", ".join([f"access {seen.access}", *seen.flags])
        lines.append(f"{attack.name} by {attack.observer} ({knowledge})")
    return lines


def _distinct(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines)) or ["none"]


def _few(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(names[:MAX_NAMES]) + (f", ... {names[-1]}" if len(names) > MAX_NAMES else "")
    return shown or "none"
