"""Rooms that need an extra: names load on first use, so that the base install can open them."""

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
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
    the pip command. Where a module defines the name that it bears, as `fit.py` defines `fit`, the
    room's attribute is always what it defines, never the module.

    Examples
    --------
    In the ``__init__.py`` of a room::

        __getattr__, __dir__ = lazy_names(__name__, {"derive": "derive"}, extra="torch")
    """

    class Room(ModuleType):
        def __setattr__(self, name: str, value: Any) -> None:
            # the import system binds a module that was loaded to its room, over what it defines
            if isinstance(value, ModuleType) and name in homes:
                value = getattr(value, name)
            super().__setattr__(name, value)

    sys.modules[room].__class__ = Room

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
