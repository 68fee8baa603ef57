"""Word vectors in files: ours, an atlas's, and the text format of word2vec."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kexue._core import InputError, atomic_path


def read_word_vectors(path: str | os.PathLike[str]) -> tuple[list[str], np.ndarray]:
    """Return words and their vectors.

    Parameters
    ----------
    path : path
        A file that `JoSE.save` wrote, ``vectors.safetensors`` of an atlas or its folder, or text
        in word2vec's format, UTF-8: a line with the number of words and of dimensions, then a
        line for each word.

    Returns
    -------
    words : list of str
    vectors : float32 array of shape (n_words, n_components)

    Raises
    ------
    InputError
        If the file is none of these.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "vectors.safetensors"
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist")
    return _read_tensors(file) if file.suffix == ".safetensors" else _read_text(file)


def _read_tensors(file: Path) -> tuple[list[str], np.ndarray]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "numpy") as tensors:
            about = tensors.metadata() or {}
            if "kexue" in about:  # JoSE's
                words = json.loads(tensors.get_tensor("words").tobytes())
                return list(map(str, words)), tensors.get_tensor("word_vectors")
            return json.loads(about["words"]), tensors.get_tensor("vectors")
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{file} holds no word vectors of kexue") from error


def _read_text(file: Path) -> tuple[list[str], np.ndarray]:
    words: list[str] = []
    number = 1
    with open(file, encoding="utf-8") as lines:
        try:
            n, dim = map(int, lines.readline().split())
            if dim < 1:
                raise ValueError("no dimension")
            vectors = np.empty((n, dim), np.float32)
            for number in range(2, n + 2):
                # the authors' program ends its lines with a blank
                word, *values = lines.readline().rstrip().rsplit(" ", dim)
                if len(values) != dim or " " in word:
                    raise ValueError("too few numbers, or too many")
                vectors[number - 2] = values
                if not np.isfinite(vectors[number - 2]).all():
                    raise ValueError("NaN or infinity")
                words.append(word)
            if lines.readline().strip():
                number += 1
                raise ValueError("more lines than were announced")
        except (ValueError, MemoryError) as error:
            raise InputError(
                f"{file}, line {number}: no text of word2vec's format, which has the number of "
                "words and of dimensions on its first line and then a word and its finite "
                "numbers a line"
            ) from error
    return words, vectors


def write_word2vec(path: str | os.PathLike[str], words: Iterable[Any], vectors: np.ndarray) -> None:
    """Write words and their vectors in the text format of word2vec, atomically.

    Raises
    ------
    InputError
        If a word is empty, holds white space, or is no Unicode, which the format cannot hold.
    """
    spelled = [str(word) for word in words]
    for word in spelled:
        if word.split() != [word]:
            wrong = "a blank is in it" if word else "it is empty"
            raise InputError(f"word2vec's format cannot hold the word {word!r}: {wrong}")
        if any("\ud800" <= character <= "\udfff" for character in word):
            raise InputError(f"word2vec's format cannot hold the word {word!r}: it is no Unicode")
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write("{} {}\n".format(*vectors.shape))
        for word, vector in zip(spelled, vectors, strict=True):
            file.write(f"{word} {' '.join(map(repr, vector.astype(float).tolist()))}\n")
