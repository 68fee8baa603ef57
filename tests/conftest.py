"""Where the real data lies, and what a test says when it is not there."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data() -> "DataFolder":
    return DataFolder(Path(os.environ.get("KEXUE_DATA", ROOT.parent / "shared" / "data")))


class DataFolder:
    """Hands out paths of the real data sets and skips, by name, what is absent."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, relative: str) -> Path:
        path = self.root / relative
        if not path.exists():
            pytest.skip(f"data set {relative} not found under {self.root}; set KEXUE_DATA")
        return path
