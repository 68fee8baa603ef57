"""The folder of an atlas: what is in it, and whether a folder may become one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kexue._core import InputError, atomic_path, leftovers, write_bytes, write_text
from kexue.atlas.stages import versions

if TYPE_CHECKING:
    from kexue.atlas.atlas import Atlas

FORMAT = "kexue-atlas-2"
RUN = "run.json"
STAGES = ".stages"
FILES = (
    "atlas.html",
    "tokenizer.json",
    "words.parquet",
    "vectors.safetensors",
    "communities.tree",
    "succession.tree",
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
        If `folder` is not an atlas, or the file is damaged.
    """
    check_atlas(folder)
    with _reading(folder / name) as path:
        return read_json(path)


def check_atlas(folder: Path) -> None:
    """Raise `InputError` unless `folder` is a finished atlas."""
    if is_atlas(folder):
        return
    try:
        other = str(read_json(folder / RUN).get("format")).startswith("kexue-atlas-")
    except (OSError, ValueError, AttributeError):
        other = False
    if other:
        raise InputError(f"{folder} is an atlas of another version of kexue; make it anew")
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
        _paths(atlas.paths_),
        atlas.word_flow_,
        names=atlas.placed_words_,
        codelength=atlas.codelength_,
    )
    (folder / "succession.tree").unlink(missing_ok=True)
    if atlas.succession_ is not None:
        tokens = atlas.train_
        write_tree(
            folder / "succession.tree",
            _paths(atlas.succession_.paths),
            tokens.counts / tokens.ids.size,
            names=tokens.spellings,
            codelength=atlas.succession_.codelength,
        )
    ledger = {
        "unit": "bits per character",
        "level": atlas.level_,
        "communities": int(atlas.labels_.max(initial=-1)) + 1,
        "codelength": atlas.codelength_,
        "rows": [asdict(row) for row in atlas.ledger_],
        "references": atlas.references_,
        "gold": gold,
    }
    _write_json(folder / "ledger.json", ledger)
    _write_json(folder / "timings.json", {"seconds": atlas.timings_, "jobs": atlas.n_jobs})
    _write_json(folder / RUN, run)
    atlas.forget_other_stages()
    return folder


def read_atlas(kind: type[Atlas], folder: Path) -> Atlas:
    """Return what `Atlas.load` does; the inverse of `write_atlas` for what the files hold.

    Raises
    ------
    InputError
        If `folder` is not an atlas, or one of its files is damaged.
    """
    import polars as pl

    from kexue.atlas.ledger import LedgerRow
    from kexue.atlas.levels import communities_at, path_array
    from kexue.graph import read_partition
    from kexue.vectors.files import read_word_vectors
    from kexue.words import UnigramTokenizer

    check_atlas(folder)
    with _reading(folder / RUN) as path:
        run = read_json(path)
        atlas = kind(**run["arguments"])
        atlas.seed_ = run["arguments"]["random_state"]
        atlas.fingerprint_ = run["input"]
        atlas.n_documents_, atlas.n_characters_ = run["documents"], run["characters"]
    with _reading(folder / "ledger.json") as path:
        ledger = read_json(path)
        atlas.level_ = ledger["level"]
        atlas.ledger_ = [LedgerRow(**row) for row in ledger["rows"]]
        atlas.references_ = ledger["references"]
        atlas.codelength_ = ledger["codelength"]
    with _reading(folder / "timings.json") as path:
        atlas.timings_ = read_json(path)["seconds"]
    with _reading(folder / "tokenizer.json") as path:
        atlas.tokenizer_ = UnigramTokenizer.load(path)
    with _reading(folder / "vectors.safetensors") as path:
        atlas.placed_words_, atlas.vectors_ = read_word_vectors(path)
    with _reading(folder / "communities.tree") as path:
        nodes = np.arange(len(atlas.placed_words_))
        atlas.paths_ = path_array(read_partition(path, nodes))
        atlas.labels_ = communities_at(atlas.paths_, atlas.level_)
    with _reading(folder / "words.parquet") as path:
        atlas.words_ = pl.read_parquet(path)
        names = pl.DataFrame({"word": pl.Series(atlas.placed_words_, dtype=pl.String)})
        placed = names.join(atlas.words_, on="word", how="left", maintain_order="left")
        atlas.word_flow_ = placed["flow"].to_numpy()
        if atlas.layout:
            atlas.positions_ = placed.select("x", "y").fill_null(float("nan")).to_numpy()
    return atlas


@contextmanager
def _reading(path: Path) -> Iterator[Path]:
    """Say which file of an atlas cannot be read as one."""
    from polars.exceptions import PolarsError

    try:
        yield path
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path.parent} is no whole atlas: {path.name} is missing") from error
    except (ValueError, KeyError, TypeError, PolarsError) as error:
        raise InputError(f"{path} is damaged, or of another version of kexue") from error


def run_record(atlas: Atlas) -> dict[str, Any]:
    """Return all that the content of an atlas depends on."""
    arguments = atlas.get_params()
    for name in ("n_jobs", "memory", "workdir", "executor"):  # these change no byte
        arguments.pop(name)
    split = atlas.split_
    return {
        "format": FORMAT,
        "arguments": {**arguments, "random_state": atlas.seed_},
        "input": atlas.fingerprint_,
        "documents": atlas.n_documents_,
        "characters": atlas.n_characters_,
        "placed": len(atlas.placed_words_),
        "held_out": {"unit": split.unit, "of": split.n_units, "drawn": split.drawn.tolist()},
        "versions": versions(),
    }


def _paths(paths: np.ndarray) -> Any:
    """Return the paths as tuples; no labels at all if there are none."""
    return [tuple(place for place in path if place >= 0) for path in paths.tolist()] or (
        np.zeros(0, np.int64)
    )


def _write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
