"""Which updates an attack on single updates looks at."""

from typing import Annotated, Literal

from pydantic import Field

from fedunlearn.observer.view import View
from fedunlearn.settings import Settings

Target = tuple[int, int]  # (round, client)
ClientId = Annotated[int, Field(ge=0)]
Clients = Literal["all", "first"] | Annotated[tuple[ClientId, ...], Field(strict=False)]


class UpdateSettings(Settings):
    """Settings shared by the attacks on single updates."""

    round: int = Field(default=1, ge=1, description="The round whose updates are attacked.")
    clients: Clients = Field(
        default="all", description='The clients: "all", "first" (the lowest id that answered) or a list of ids.'
    )


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
