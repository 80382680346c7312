"""The errors a user meets: one line each, with the exit code the command line returns."""


class FedUnlearnError(Exception):
    """Base of every error that the command line prints as one line instead of a traceback."""

    exit_code = 1


class BadInput(FedUnlearnError):
    """A scenario, an option or a data set that cannot be used; nothing was run."""

    exit_code = 2


class ScenarioError(BadInput):
    """A wrong scenario: the message names the key, the value and the nearest right one."""


class DataError(BadInput):
    """A data set that is missing, unreadable or inconsistent; the message names the file."""


class QuorumLost(FedUnlearnError):
    """Fewer clients answered a round than the scenario's quorum asks for."""

    exit_code = 4


class EngineFailure(FedUnlearnError):
    """The engine under the federation (Ray, a time limit) broke."""

    exit_code = 5


class NonFiniteModel(FedUnlearnError):
    """Aggregation produced a model with NaN or infinite weights."""

    exit_code = 6


class HistoryLost(FedUnlearnError):
    """A finished round that was stored cannot be read; the message names its file."""


class BranchesFailed(FedUnlearnError):
    """The run was finished and reported, but some of its branches could not be."""

    exit_code = 4
