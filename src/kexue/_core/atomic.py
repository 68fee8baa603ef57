"""Writing files so that a reader never meets half of one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# mkstemp makes private files; a result has the mode that the user's umask gives. Asked for once,
# because asking sets it for a moment for all threads.
_umask = os.umask(0)
os.umask(_umask)
_MODE = 0o666 & ~_umask


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`.

    The temporary file is flushed to disk before the rename, and removed if the body
    raises, so that after a kill or a full disk `path` holds either its old content or
    its new content, whole. The temporary name keeps the suffix, for libraries that
    choose a format by it; what a kill leaves behind is found by `leftovers`.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.name}.", suffix=f".part{target.suffix}"
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        temporary.chmod(_MODE)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def leftovers(path: str | os.PathLike[str]) -> list[Path]:
    """Return the temporary files that killed writes of `path` left beside it."""
    target = Path(path)
    prefix = f".{target.name}."
    if not target.parent.is_dir():
        return []
    return [
        file
        for file in target.parent.iterdir()
        if file.name.startswith(prefix) and file.name.endswith(f".part{target.suffix}")
    ]


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Write `text` to `path` atomically, as UTF-8 with ``\n`` line ends."""
    write_bytes(path, text.encode("utf-8"))
