"""The attacks: each a function from what its observer sees to a finding; importing this package registers them."""

from fedunlearn.attacks.base import ATTACKS, Attack
from fedunlearn.attacks.forgotten_class.bias_drop import BiasDrop
from fedunlearn.attacks.forgotten_class.null_class_query import NullClassQuery
from fedunlearn.attacks.gradient_inversion.matching import GradientMatching
from fedunlearn.attacks.label_restoration.bias_form import BiasForm
from fedunlearn.attacks.label_restoration.weight_form import WeightForm
from fedunlearn.attacks.membership.population import Population

__all__ = [
    "ATTACKS",
    "Attack",
    "BiasDrop",
    "BiasForm",
    "GradientMatching",
    "NullClassQuery",
    "Population",
    "WeightForm",
]
