"""One thread to a matrix product, so that the number of workers is ours and changes no bit."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


def one_thread_each() -> Any:
    """Return a context in which BLAS runs on the thread that calls it."""
    return _controller().limit(limits=1, user_api="blas")


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
