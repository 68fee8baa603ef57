"""Word vectors in files: ours, an atlas's, and the text format of word2vec."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from kexue._core import InputError


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
    with open(file, encoding="utf-8") as lines:
        try:
            n, dim = map(int, lines.readline().split())
            vectors = np.empty((n, dim), np.float32)
            for row in range(n):
                word, *values = lines.readline().rstrip("\n").rsplit(" ", dim)
                words.append(word)
                vectors[row] = values
        except (ValueError, MemoryError) as error:
            raise InputError(
                f"{file}, line {len(words) + 1}: no text of word2vec's format, which has the "
                "number of words and of dimensions on its first line and then a word a line"
            ) from error
    return words, vectors


def nearest_words(
    words: list[str], vectors: np.ndarray, row: int, n: int
) -> list[tuple[str, float]]:
    """Return the `n` words of largest cosine with the word in a row, without it."""
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors[row] / np.maximum(lengths * lengths[row], np.finfo(np.float32).tiny)
    cosines[row] = -np.inf
    best = np.argsort(-cosines, kind="stable")[: min(n, len(words) - 1)]
    return [(words[k], float(cosines[k])) for k in best.tolist()]
