"""One atlas of a novel for all tests of this room, and modules that lie beside them."""

import importlib.util
import lzma
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def beside(name):
    """Import a module that lies beside the tests."""
    spec = importlib.util.spec_from_file_location(f"atlas_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def recompute_ledger():
    return beside("recompute_ledger")


@pytest.fixture(scope="session")
def novel_lines(data):
    with lzma.open(data("zh-novels/hongloumeng.txt.xz"), "rt", encoding="utf-8") as file:
        return [line for line in file.read().split("\n") if line]


@pytest.fixture(scope="session")
def novel(data, tmp_path_factory):
    """Return the atlas of the novel, made by the command line, and its folder."""
    from kexue.atlas import Atlas
    from kexue.corpus import read_texts

    folder = tmp_path_factory.mktemp("novel") / "hongloumeng-atlas"
    atlas = Atlas(random_state=0).fit(read_texts(data("zh-novels/hongloumeng.txt.xz")))
    atlas.write(folder, title="红楼梦")
    return atlas, folder


@pytest.fixture(scope="session")
def browser():
    return beside("browser")
