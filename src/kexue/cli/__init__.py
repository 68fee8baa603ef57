"""The command line, ``kexue``."""

from kexue.cli.app import main

__all__ = ["main"]
