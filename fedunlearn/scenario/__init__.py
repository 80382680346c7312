"""The scenario language: one TOML file says everything about an experiment."""

from fedunlearn.names import TRUNK
from fedunlearn.scenario.defending import DefenceSettings
from fedunlearn.scenario.loading import load, load_cells, read, to_toml
from fedunlearn.scenario.matrix import Cell, expand, trunk_key
from fedunlearn.scenario.messages import validate
from fedunlearn.scenario.models import Scenario
from fedunlearn.scenario.poison import PoisonSettings
from fedunlearn.scenario.sections import (
    DataSettings,
    FaultSettings,
    FederationSettings,
    ModelSettings,
    OutputSettings,
    PartitionSettings,
    RequestSettings,
    Strategy,
    TargetSettings,
    UnlearningSettings,
)
from fedunlearn.scenario.summary import summary
from fedunlearn.scenario.watching import (
    AttackSettings,
    JudgeSettings,
    ObserverSettings,
    ProbeSettings,
)

__all__ = [
    "TRUNK",
    "AttackSettings",
    "Cell",
    "DataSettings",
    "DefenceSettings",
    "FaultSettings",
    "FederationSettings",
    "JudgeSettings",
    "ModelSettings",
    "ObserverSettings",
    "OutputSettings",
    "PartitionSettings",
    "PoisonSettings",
    "ProbeSettings",
    "RequestSettings",
    "Scenario",
    "Strategy",
    "TargetSettings",
    "UnlearningSettings",
    "expand",
    "load",
    "load_cells",
    "read",
    "summary",
    "to_toml",
    "trunk_key",
    "validate",
]
