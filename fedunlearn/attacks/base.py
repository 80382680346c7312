"""What an attack is: a function of what its observer sees. Callers use `__call__`; authors write `run`."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np

from fedunlearn.observer.access import Access, AccessRefused, allows
from fedunlearn.observer.findings import Finding
from fedunlearn.observer.knowledge import Knowledge
from fedunlearn.observer.view import View
from fedunlearn.registry import Registry
from fedunlearn.settings import Settings as BaseSettings

Finds = Literal["images", "labels", "forgotten-classes", "membership", "forgotten-images", "revival", "class-images"]


class Attack(ABC):
    """Base of the attacks; one file each, registered by name.

    Class attributes declare what the attack needs; the scenario check refuses an observer that gives less.
    """

    Settings: ClassVar[type[BaseSettings]] = BaseSettings
    needs: ClassVar[Access]
    needs_flags: ClassVar[frozenset[str]] = frozenset()
    finds: ClassVar[Finds]

    def __init__(self, settings: BaseSettings) -> None:
        self.settings: Any = settings  # an instance of the subclass's own Settings

    def __call__(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> Finding:
        """Attack what `view` shows.

        Raises:
            AccessRefused: when the view gives less than the attack declares to need.
        """
        if not allows(view.access, self.needs):
            raise AccessRefused(f"{type(self).__name__} needs access {self.needs}, its observer has {view.access}")
        if missing := self.needs_flags - view.flags:
            raise AccessRefused(f"{type(self).__name__} needs the flags {sorted(missing)} of its observer")
        return self.run(view, knowledge, rng)

    @abstractmethod
    def run(self, view: View, knowledge: Knowledge, rng: np.random.Generator) -> Finding:
        """Return the finding; all randomness comes from `rng`."""


ATTACKS: Registry[type[Attack]] = Registry("attack")
