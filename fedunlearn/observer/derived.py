"""A view of something that an observer worked out from what it saw, for attacks that look at single updates."""

from fedunlearn.federation import Update, Weights
from fedunlearn.observer.access import AccessRefused
from fedunlearn.observer.view import View


class SingleUpdateView(View):
    """A view in which one derived update is the only one, whatever round is asked for.

    Args:
        view: what it was derived from; flags and the query interface stay the same.
        broadcast: the model that the update is about.
        update: as if a client had sent it.
    """

    def __init__(self, view: View, broadcast: Weights, update: Update) -> None:
        super().__init__(view._recording, "updates", view.flags)
        self._origin, self._broadcast, self._update = view, broadcast, update

    @property
    def num_rounds(self) -> int:
        """One."""
        return 1

    def broadcast(self, number: int, *, head: bool = False) -> Weights:
        """Return the model that the update is about."""
        return self._broadcast

    def clients(self, number: int) -> tuple[int, ...]:
        """Return the one that the update stands for."""
        return (self._update.client_id,)

    def update(self, number: int, client: int, *, head: bool = False) -> Update:
        """Return the update."""
        return self._update

    def total(self, number: int, *, head: bool = False) -> Update:
        """Return the update, as nobody else sent one."""
        return self._update

    def result(self, number: int, *, head: bool = False) -> Weights:
        """Refuse: no model came of it."""
        raise AccessRefused("no model came of an update that was worked out")

    def before(self) -> Weights:
        """Return what the original view shows."""
        return self._origin.before()

    def after(self) -> Weights:
        """Return what the original view shows."""
        return self._origin.after()

    def final(self) -> Weights:
        """Return what the original view shows."""
        return self._origin.final()
