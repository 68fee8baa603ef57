"""The house: who may import whom, how fast it opens, and that it speaks of itself alone."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "kexue"
FLOORS = {
    "_core": 0,
    "corpus": 1,
    "graph": 1,
    "gaussian": 1,
    "optim": 1,
    "losses": 1,
    "geometry": 1,
    "words": 2,
    "vectors": 2,
    "training": 2,
    "mixture": 3,
    "generative": 3,
    "signal": 3,
    "diagnose": 3,
    "language": 4,
    "atlas": 4,
    "cli": 5,
    "lab": 5,
}
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE)


def imported_rooms(tree: ast.AST) -> set[str]:
    """Return the rooms of kexue that a module names in any import, however deep."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that this rule can read them"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("kexue.")} - {"__version__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_from_lower_floors(path):
    room = path.relative_to(SOURCE).parts[0]
    for other in imported_rooms(ast.parse(path.read_text(encoding="utf-8"))) - {room}:
        assert FLOORS[other] < FLOORS[room], f"{path.name}: {room} must not import {other}"


def test_the_import_rule_can_fail():
    tree = ast.parse("def f():\n    from kexue.atlas import Atlas\n    import kexue.cli.app\n")
    assert imported_rooms(tree) == {"atlas", "cli"}


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [(["-c", "import kexue"], 0.3), (["-m", "kexue", "--help"], 0.5)],
    ids=["import kexue", "kexue --help"],
)
def test_opens_at_once(arguments, limit):
    def seconds(command):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT / "tests")
        return time.perf_counter() - start

    # the least of five: other work on the machine can only add to it
    assert min(seconds([sys.executable, *arguments]) for _ in range(5)) < limit


def test_rooms_are_lazy():
    code = (
        "import sys, kexue; assert not {'numba', 'numpy', 'sklearn', 'polars'} & set(sys.modules);"
        "import kexue._core; assert not {'numba', 'numpy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_room_is_named():
    import kexue

    with pytest.raises(AttributeError, match="no attribute 'atlass'; rooms: atlas, corpus"):
        _ = kexue.atlass
