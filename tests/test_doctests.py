"""Every example in a docstring or a page runs and prints what it says."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import kexue

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(m.name for m in pkgutil.walk_packages(kexue.__path__, "kexue."))
PAGES = sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", PAGES)
def test_pages(name):
    assert doctest.testfile(str(ROOT / name), module_relative=False, encoding="utf-8").failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    modules = (importlib.import_module(name) for name in MODULES if "__main__" not in name)
    assert sum(bool(test.examples) for m in modules for test in finder.find(m)) >= 10
