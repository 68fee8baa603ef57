"""Memory as a setting: sizes such as ``"2GB"`` in and out."""

import re

from kexue._core.errors import InputError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def parse_memory(value: int | str) -> int:
    """Return a number of bytes from ``2_000_000``, ``"500MB"``, ``"2GB"`` or ``"1.5GiB"``.

    Decimal units are powers of 1000 and binary units (``KiB``, ...) powers of 1024.

    Raises
    ------
    InputError
        If the text is not a positive size.
    """
    allowed = "memory must be a size such as '500MB', '2GB', '1.5GiB' or a number of bytes > 0"
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{allowed}, got {value!r}")
    if isinstance(value, int):
        size = value
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
        if match is None or match[2].upper() not in _UNITS:
            raise InputError(f"{allowed}, got {value!r}")
        size = int(float(match[1]) * _UNITS[match[2].upper()])
    if size <= 0:
        raise InputError(f"{allowed}, got {value!r}")
    return size


def format_memory(size: float) -> str:
    """Return `size` bytes for people, in decimal units: ``format_memory(2e9) == '2.0 GB'``."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
