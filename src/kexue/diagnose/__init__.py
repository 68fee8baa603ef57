"""What a trained model owes to what."""

from typing import TYPE_CHECKING

from kexue._core import lazy_names

if TYPE_CHECKING:
    from kexue.diagnose.path_classifier import PathKernelClassifier
    from kexue.diagnose.path_kernel import Explanation, PathKernel
    from kexue.diagnose.path_recorder import PathRecorder

_HOMES = {
    "Explanation": "path_kernel",
    "PathKernel": "path_kernel",
    "PathKernelClassifier": "path_classifier",
    "PathRecorder": "path_recorder",
}
__all__ = ["Explanation", "PathKernel", "PathKernelClassifier", "PathRecorder"]
__getattr__, __dir__ = lazy_names(__name__, _HOMES, extra="torch")
