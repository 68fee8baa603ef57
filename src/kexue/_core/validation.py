"""Argument checks with one style of message: what is allowed, then what was given."""

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import TypeVar

from kexue._core.errors import InputError

T = TypeVar("T")


def check_int(
    name: str, value: object, *, minimum: int | None = None, maximum: int | None = None
) -> int:
    """Return `value` as an ``int`` within ``[minimum, maximum]``.

    Raises
    ------
    TypeError
        If `value` is not an integer (``bool`` is not one).
    InputError
        If it lies outside the interval.
    """
    allowed = f"an int{_interval(minimum, maximum)}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be {allowed}, got {value!r}")
    number = int(value)
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        raise InputError(f"{name} must be {allowed}, got {value!r}")
    return number


def check_float(
    name: str, value: object, *, minimum: float | None = None, maximum: float | None = None
) -> float:
    """Return `value` as a finite ``float`` within ``[minimum, maximum]``.

    Raises
    ------
    TypeError
        If `value` is not a real number.
    InputError
        If it is NaN, infinite or outside the interval.
    """
    allowed = f"a finite number{_interval(minimum, maximum)}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be {allowed}, got {value!r}")
    number = float(value)
    outside = (minimum is not None and number < minimum) or (
        maximum is not None and number > maximum
    )
    if not math.isfinite(number) or outside:
        raise InputError(f"{name} must be {allowed}, got {value!r}")
    return number


def check_choice(name: str, value: T, allowed: Collection[T]) -> T:
    """Return `value` if it is one of `allowed`, else raise `InputError` listing them."""
    if value not in allowed:
        choices = ", ".join(repr(item) for item in allowed)
        raise InputError(f"{name} must be one of {choices}, got {value!r}")
    return value


def check_texts_argument(value: object, *, name: str = "texts") -> None:
    """Refuse a bare ``str`` or ``bytes`` where several texts are due.

    Iterating a string yields characters, so the mistake would otherwise pass silently.
    """
    if isinstance(value, str | bytes):
        raise TypeError(
            f"{name} must be an iterable of str, got one {type(value).__name__}; "
            "wrap one text in a list, or give a path as pathlib.Path or through "
            "kexue.corpus.read_texts"
        )


def _interval(minimum: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f" in [{minimum}, {maximum}]"
    if minimum is not None:
        return f" >= {minimum}"
    return f" <= {maximum}" if maximum is not None else ""
