"""Learn structure from data without labels, with bits as the common currency.

Rooms are imported on first use, so that ``import kexue`` costs next to nothing:
``kexue.corpus``, ``kexue.gaussian``, ``kexue.graph``, ``kexue.words``, ``kexue.vectors``,
``kexue.atlas``; ``kexue.mixture``, ``kexue.optim``, ``kexue.losses``, ``kexue.training``,
``kexue.diagnose``.
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"

__all__ = [
    "atlas",
    "corpus",
    "diagnose",
    "gaussian",
    "graph",
    "losses",
    "mixture",
    "optim",
    "training",
    "vectors",
    "words",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"kexue.{name}")
    raise AttributeError(f"module 'kexue' has no attribute {name!r}; rooms: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
