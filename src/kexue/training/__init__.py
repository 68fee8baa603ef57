"""The one training loop: exact to the bit after a kill, the same for any number of processes."""

from typing import TYPE_CHECKING

from kexue._core import lazy_names
from kexue.training.config import TrainingConfig

if TYPE_CHECKING:
    from kexue.training.data import IndexedData
    from kexue.training.fit import fit
    from kexue.training.results import TrainingResult, TrainingStep

_HOMES = {
    "IndexedData": "data",
    "TrainingConfig": "config",
    "TrainingResult": "results",
    "TrainingStep": "results",
    "fit": "fit",
}
__all__ = ["IndexedData", "TrainingConfig", "TrainingResult", "TrainingStep", "fit"]
__getattr__, __dir__ = lazy_names(__name__, _HOMES, extra="torch")
