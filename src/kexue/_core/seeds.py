"""One seed in, one result out: what `random_state` means everywhere in kexue."""

from numbers import Integral
from typing import Any

from kexue._core.errors import InputError


def check_seed(random_state: Any) -> int:
    """Return a seed in ``[0, 2**32)`` for scikit-learn's `random_state` argument.

    Kernels take explicit integer seeds, so a generator is asked for one number.

    Parameters
    ----------
    random_state : None, int, numpy.random.RandomState or numpy.random.Generator
        ``None`` draws fresh entropy, as in scikit-learn.

    Raises
    ------
    InputError
        If it is an integer outside ``[0, 2**32)`` or of another type.
    """
    import numpy as np

    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, Integral) and not isinstance(random_state, bool):
        if 0 <= int(random_state) < 2**32:
            return int(random_state)
    elif isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, 2**32, dtype=np.uint32))
    elif isinstance(random_state, np.random.Generator):
        return int(random_state.integers(0, 2**32))
    raise InputError(
        "random_state must be None, an int in [0, 2**32), a numpy RandomState or Generator, "
        f"got {random_state!r}"
    )
