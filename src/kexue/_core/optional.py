"""Optional imports whose error says what to type."""

import importlib
from types import ModuleType


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or raise an error that ends in the exact pip command.

    Parameters
    ----------
    module : str
        Dotted module name.
    extra : str
        Extra of kexue that installs it.
    purpose : str
        What it is needed for, as the object of "needed for".

    Raises
    ------
    ImportError
        If the module, or something that it imports, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{module} is needed for {purpose} ({error}); install it with: "
            f'pip install "kexue[{extra}]" (in a checkout ".[{extra}]")'
        ) from error
