"""Which updates an attack on single updates looks at."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.view import View
from fedunlearn.settings import Settings

T = TypeVar("T")
Target = tuple[int, int]  # (round, client)
ClientId = Annotated[int, Field(ge=0)]
Clients = Literal["all", "first"] | Annotated[tuple[ClientId, ...], Field(strict=False)]


class UpdateSettings(Settings):
    """Settings shared by the attacks on single updates."""

    round: int = Field(default=1, ge=1, description="The round whose updates are attacked.")
    clients: Clients = Field(
        default="all", description='The clients: "all", "first" (the lowest id that answered) or a list of ids.'
    )


def each_target(targets: Sequence[Target], work: Callable[[Target], T]) -> tuple[dict[Target, T], dict[str, str]]:
    """Return what `work` returns for each target, and why it refused the others, by "round r, client c".

    One client's useless update shall not hide what the others give away.

    Raises:
        AccessRefused: the first refusal, when nothing is left.
    """
    done: dict[Target, T] = {}
    refused: dict[Target, AccessRefused] = {}
    for target in targets:
        try:
            done[target] = work(target)
        except AccessRefused as refusal:
            refused[target] = refusal
    if refused and not done:
        raise next(iter(refused.values()))
    return done, {f"round {round}, client {client}": str(why) for (round, client), why in refused.items()}


def choose_targets(view: View, settings: UpdateSettings) -> tuple[Target, ...]:
    """Return the (round, client) of the updates that the settings choose."""
    answered = view.clients(settings.round)
    if settings.clients == "all":
        clients = answered
    elif settings.clients == "first":
        clients = answered[:1]
    else:
        clients = settings.clients
    return tuple((settings.round, client) for client in clients)
