"""Rooms that need an extra: their names load on first use, so that the base install can open them."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    room: str, homes: Mapping[str, str], *, extra: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a room whose names load on first use.

    Parameters
    ----------
    room : str
        ``__name__`` of the room.
    homes : mapping from public name to module
        The module within the room that defines the name.
    extra : str
        Extra of kexue that installs what these modules import.

    Notes
    -----
    A name whose module needs a package that is not installed raises `ImportError` that ends in
    the pip command.

    Examples
    --------
    In the ``__init__.py`` of a room::

        __getattr__, __dir__ = lazy_names(__name__, {"derive": "derive"}, extra="torch")
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        try:
            module = importlib.import_module(f"{room}.{homes[name]}")
        except ModuleNotFoundError as error:
            raise ImportError(
                f"{error.name} is needed for {room}.{name}; install it with: "
                f'pip install "kexue[{extra}]" (in a checkout ".[{extra}]")'
            ) from error
        return getattr(module, name)

    def names() -> list[str]:
        return sorted(homes)

    return load, names
