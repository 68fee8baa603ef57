"""The folder of an atlas: what is in it, and whether a folder may become one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kexue._core import InputError, atomic_path, leftovers, write_bytes, write_text
from kexue.atlas.stages import versions

if TYPE_CHECKING:
    from kexue.atlas.atlas import Atlas

FORMAT = "kexue-atlas-1"
RUN = "run.json"
STAGES = ".stages"
FILES = (
    "atlas.html",
    "tokenizer.json",
    "words.parquet",
    "vectors.safetensors",
    "communities.tree",
    "ledger.json",
    "timings.json",
    RUN,
)


def check_folder(folder: Path) -> None:
    """Raise `InputError` unless `folder` is new, empty, or an atlas (a half-made one too)."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder to write the atlas to")
    if not folder.is_dir():
        return
    ours = {*FILES, STAGES} | {path.name for name in FILES for path in leftovers(folder / name)}
    foreign = sorted({path.name for path in folder.iterdir()} - ours)
    if foreign and not is_atlas(folder):
        listed = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise InputError(f"{folder} holds something else ({listed}); name an empty or new folder")


def check_same_text(folder: Path, fingerprint: str) -> None:
    """Raise `InputError` if `folder` is the finished atlas of a text of another fingerprint."""
    if is_atlas(folder) and read_json(folder / RUN).get("input") != fingerprint:
        raise InputError(
            f"{folder} holds the atlas of another text; name another folder with -o, or give "
            "--fresh to replace it"
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
    check_atlas(folder)
    return read_json(folder / name)


def check_atlas(folder: Path) -> None:
    """Raise `InputError` unless `folder` is a finished atlas."""
    if not is_atlas(folder):
        raise InputError(f"{folder} is not an atlas: there is no {RUN} of kexue atlas in it")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_atlas(
    atlas: Atlas, folder: Path, title: str, gold: dict[str, float] | None = None
) -> Path:
    """Write every file of an atlas; ``run.json`` comes last and says that all are there."""
    from safetensors.numpy import save

    from kexue.atlas.page import render_page
    from kexue.atlas.report import describe
    from kexue.graph import write_tree

    check_folder(folder)
    # from here on the folder is no finished atlas until the last file is written
    (folder / RUN).unlink(missing_ok=True)
    for name in FILES:
        for path in leftovers(folder / name):
            path.unlink()
    run = run_record(atlas)
    facts = [(name, str(value)) for name, value in {**run["arguments"], **run["versions"]}.items()]
    facts.append(("sha256 of the documents", run["input"]))
    # a name of a file need not be text
    title = title.encode("utf-8", "replace").decode("utf-8")
    write_text(folder / "atlas.html", render_page(describe(atlas, title, facts, gold)))
    atlas.tokenizer_.save(folder / "tokenizer.json")
    with atomic_path(folder / "words.parquet") as temporary, open(temporary, "wb") as file:
        atlas.words_.write_parquet(file)
    words = json.dumps(atlas.placed_words_)
    write_bytes(
        folder / "vectors.safetensors", save({"vectors": atlas.vectors_}, metadata={"words": words})
    )
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
    atlas.forget_other_stages()
    return folder


def run_record(atlas: Atlas) -> dict[str, Any]:
    """Return all that the content of an atlas depends on."""
    arguments = atlas.get_params()
    for name in ("n_jobs", "memory", "workdir"):  # these change no byte
        arguments.pop(name)
    split = atlas.split_
    return {
        "format": FORMAT,
        "arguments": {**arguments, "random_state": atlas.seed_},
        "input": atlas.fingerprint_,
        "documents": atlas.n_documents_,
        "characters": atlas.n_characters_,
        "held_out": {"unit": split.unit, "of": split.n_units, "drawn": split.drawn.tolist()},
        "versions": versions(),
    }


def _write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
