"""The folder of an atlas: what is in it, and whether a folder may become one."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kexue import __version__
from kexue._core import InputError, atomic_path, write_text

if TYPE_CHECKING:
    from kexue.atlas.atlas import Atlas

FORMAT = "kexue-atlas-1"
RUN = "run.json"
STAGES = ".stages"


def check_folder(folder: Path) -> None:
    """Raise `InputError` unless `folder` is new, empty, or an atlas (a half-made one too)."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder to write the atlas to")
    if not folder.is_dir():
        return
    names = {path.name for path in folder.iterdir()}
    if not names or STAGES in names or is_atlas(folder):
        return
    raise InputError(
        f"{folder} holds something else ({', '.join(sorted(names)[:3])}, ...); name an empty or "
        "new folder with -o"
    )


def is_atlas(folder: Path) -> bool:
    """Return whether `folder` is an atlas that `Atlas.write` finished."""
    try:
        return bool(read_json(folder / RUN).get("format") == FORMAT)
    except (OSError, ValueError, AttributeError):
        return False


def read_atlas_file(folder: Path, name: str) -> Any:
    """Return the content of a JSON file of an atlas.

    Raises
    ------
    InputError
        If `folder` is not an atlas.
    """
    if not is_atlas(folder):
        raise InputError(f"{folder} is not an atlas: there is no {RUN} of kexue atlas in it")
    return read_json(folder / name)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_atlas(
    atlas: Atlas, folder: Path, title: str, gold: dict[str, float] | None = None
) -> Path:
    """Write every file of an atlas; ``run.json`` comes last and says that all are there."""
    from safetensors.numpy import save_file

    from kexue.atlas.page import render_page
    from kexue.atlas.report import describe
    from kexue.graph import write_tree

    check_folder(folder)
    run = run_record(atlas)
    facts = [(name, str(value)) for name, value in {**run["arguments"], **run["versions"]}.items()]
    facts.append(("sha256 of the documents", run["input"]))
    write_text(folder / "atlas.html", render_page(describe(atlas, title, facts, gold)))
    atlas.tokenizer_.save(folder / "tokenizer.json")
    with atomic_path(folder / "words.parquet") as temporary:
        atlas.words_.write_parquet(temporary)
    with atomic_path(folder / "vectors.safetensors") as temporary:
        words = json.dumps(atlas.placed_words_)
        save_file({"vectors": atlas.vectors_}, temporary, metadata={"words": words})
    write_tree(
        folder / "communities.tree",
        atlas.labels_,
        atlas.word_flow_,
        names=atlas.placed_words_,
        codelength=atlas.codelength_,
    )
    ledger = {
        "unit": "bits per character",
        "rows": [asdict(row) for row in atlas.ledger_],
        "references": atlas.references_,
        "gold": gold,
    }
    _write_json(folder / "ledger.json", ledger)
    _write_json(folder / "timings.json", {"seconds": atlas.timings_, "jobs": atlas.n_jobs})
    _write_json(folder / RUN, run)
    return folder


def run_record(atlas: Atlas) -> dict[str, Any]:
    """Return all that the content of an atlas depends on."""
    import numba
    import numpy as np
    import scipy
    import sklearn

    packages = (np, scipy, numba, sklearn)
    arguments = atlas.get_params()
    for name in ("n_jobs", "memory", "workdir"):  # these change no byte
        arguments.pop(name)
    split = atlas.split_
    return {
        "format": FORMAT,
        "arguments": {**arguments, "random_state": atlas.seed_},
        "input": atlas.fingerprint_,
        "held_out": {"unit": split.unit, "of": split.n_units, "drawn": split.drawn.tolist()},
        "versions": {
            "kexue": __version__,
            "python": platform.python_version(),
            **{package.__name__: package.__version__ for package in packages},
        },
    }


def _write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
