"""Losses and rules for data in which some classes are rare."""

from typing import TYPE_CHECKING

from kexue._core import lazy_names

if TYPE_CHECKING:
    from kexue.losses.adjusted_loss import LogitAdjustedLoss
    from kexue.losses.logit_adjustment import logit_adjustment
    from kexue.losses.long_tail import (
        LongTailReport,
        long_tail_report,
        longtail_counts,
        longtail_subset,
    )
    from kexue.losses.pairwise_margin import PairwiseMarginLoss
    from kexue.losses.prior_adjusted import PriorAdjustedClassifier
    from kexue.losses.prior_bias import PriorBias, fold_prior
    from kexue.losses.prior_estimation import PriorEstimate, estimate_prior

_HOMES = {
    "LogitAdjustedLoss": "adjusted_loss",
    "LongTailReport": "long_tail",
    "PairwiseMarginLoss": "pairwise_margin",
    "PriorAdjustedClassifier": "prior_adjusted",
    "PriorBias": "prior_bias",
    "PriorEstimate": "prior_estimation",
    "estimate_prior": "prior_estimation",
    "fold_prior": "prior_bias",
    "logit_adjustment": "logit_adjustment",
    "long_tail_report": "long_tail",
    "longtail_counts": "long_tail",
    "longtail_subset": "long_tail",
}

__all__ = [
    "LogitAdjustedLoss",
    "LongTailReport",
    "PairwiseMarginLoss",
    "PriorAdjustedClassifier",
    "PriorBias",
    "PriorEstimate",
    "estimate_prior",
    "fold_prior",
    "logit_adjustment",
    "long_tail_report",
    "longtail_counts",
    "longtail_subset",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES, extra="torch")
