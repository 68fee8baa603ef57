"""Optimizers: add-ons for any optimizer of torch (extra ``torch``)."""

from typing import TYPE_CHECKING

from kexue._core import lazy_names

if TYPE_CHECKING:
    from kexue.optim.accumulate import Accumulate
    from kexue.optim.derive import Derived, derive
    from kexue.optim.eg_minimize import eg_minimize
    from kexue.optim.exponentiated_gradient import ExponentiatedGradient
    from kexue.optim.funnel_sgd import FunnelSGD
    from kexue.optim.layer_adaptation import LayerAdaptation
    from kexue.optim.lazy import Lazy
    from kexue.optim.lookahead import Lookahead
    from kexue.optim.non_negative import NonNegativeRegressor
    from kexue.optim.piecewise_linear import PiecewiseLinear, PiecewiseLinearLR, piecewise_linear
    from kexue.optim.step_size_tuner import StepSizeTuner
    from kexue.optim.weight_decay import WeightDecay

_HOMES = {
    "Accumulate": "accumulate",
    "Derived": "derive",
    "ExponentiatedGradient": "exponentiated_gradient",
    "FunnelSGD": "funnel_sgd",
    "LayerAdaptation": "layer_adaptation",
    "Lazy": "lazy",
    "Lookahead": "lookahead",
    "NonNegativeRegressor": "non_negative",
    "PiecewiseLinear": "piecewise_linear",
    "PiecewiseLinearLR": "piecewise_linear",
    "StepSizeTuner": "step_size_tuner",
    "WeightDecay": "weight_decay",
    "derive": "derive",
    "eg_minimize": "eg_minimize",
    "piecewise_linear": "piecewise_linear",
}

__all__ = [
    "Accumulate",
    "Derived",
    "ExponentiatedGradient",
    "FunnelSGD",
    "LayerAdaptation",
    "Lazy",
    "Lookahead",
    "NonNegativeRegressor",
    "PiecewiseLinear",
    "PiecewiseLinearLR",
    "StepSizeTuner",
    "WeightDecay",
    "derive",
    "eg_minimize",
    "piecewise_linear",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES, extra="torch")
