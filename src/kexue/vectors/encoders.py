"""Sentence vectors from any pretrained language model, whitened if asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, clone

from kexue._core import InputError, check_choice, check_int, check_texts_argument, require
from kexue.vectors.whitening import Whitening

# hidden layers whose averages over the tokens are averaged; 0 is the embeddings
_LAYERS = {"first-last-avg": (1, -1), "last-avg": (-1,), "last2-avg": (-2, -1)}
_POOLINGS = ("first-last-avg", "last-avg", "cls", "pooler", "last2-avg")


class SentenceEncoder(BaseEstimator):
    """Sentence vectors from a pretrained language model of Hugging Face's format.

    A sentence is the average over its tokens, the model's own special tokens among them and
    padding not. Weights are not changed; they are loaded when first needed.

    Parameters
    ----------
    model : str, path or pair
        A folder, a name on their hub, or a loaded model and its tokenizer.
    pooling : {"first-last-avg", "last-avg", "cls", "pooler", "last2-avg"}
        Average over the first and the last hidden layer ("first" is the output of layer 1, not the
        embeddings), over the last, the last layer's first token, that token through the model's
        pooler, or the last two layers.
    layers : sequence of int, optional
        Instead of `pooling`: the hidden layers to average over, 0 the embeddings, -1 the last. The
        model runs as a whole, whichever are asked for.
    max_length : int
        Tokens of a text that are read.
    batch_size : int
        Texts to a batch; texts of similar length stand together.
    whitening : Whitening, optional
        Learned by `fit`, applied by `encode`. A fitted one is used as it is, until `fit`.

    Attributes
    ----------
    whitening_ : Whitening

    Examples
    --------
    >>> encoder = SentenceEncoder("bert-base-uncased", whitening=Whitening(256))
    >>> encoder.fit(sentences)  # doctest: +SKIP
    >>> encoder.encode(["A cat sat on a mat."]).shape  # doctest: +SKIP
    (1, 256)

    References
    ----------
    Su, Cao, Liu and Ou, Whitening sentence representations for better semantics and faster
    retrieval, arXiv 2103.15316. kexue.fm, archives/8321.
    """

    def __init__(
        self,
        model: Any,
        pooling: Literal["first-last-avg", "last-avg", "cls", "pooler", "last2-avg"] = (
            "first-last-avg"
        ),
        *,
        layers: Sequence[int] | None = None,
        max_length: int = 64,
        batch_size: int = 64,
        whitening: Whitening | None = None,
    ) -> None:
        self.model = model
        self.pooling = pooling
        self.layers = layers
        self.max_length = max_length
        self.batch_size = batch_size
        self.whitening = whitening

    def fit(self, texts: Iterable[str], y: None = None) -> SentenceEncoder:
        """Learn the whitening from sentences; without one, only check that the model loads.

        Whoever fits on the sentences of a test set, without their scores, has a transductive
        result: say so.

        Raises
        ------
        InputError
            As `encode` and `Whitening.fit` do.
        ImportError
            Without the extra ``language``.
        """
        vectors = self.raw_vectors(texts)
        # one of an earlier fit is not that of this one
        self.__dict__.pop("whitening_", None)
        if self.whitening is not None:
            self.whitening_ = clone(self.whitening).fit(vectors)
        return self

    def encode(self, texts: Iterable[str]) -> np.ndarray:
        """Return the vectors of sentences, float32 of shape (N, k).

        Raises
        ------
        InputError
            For no text, a bad parameter, a layer that the model lacks, or "pooler" for a model
            without one.
        NotFittedError
            If there is a whitening that has seen no rows.
        """
        whitening: Any = getattr(self, "whitening_", self.whitening)
        vectors = self.raw_vectors(texts)
        return vectors if whitening is None else np.asarray(whitening.transform(vectors))

    def similarity(self, a: str | Iterable[str], b: str | Iterable[str]) -> np.ndarray:
        """Return the cosine of every text in `a` with every one in `b`, shape (len(a), len(b))."""
        sides = [self.encode([side] if isinstance(side, str) else side) for side in (a, b)]
        first, second = (
            side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-30) for side in sides
        )
        return np.asarray(first @ second.T)

    def raw_vectors(self, texts: Iterable[str]) -> np.ndarray:
        """Return what `encode` does, before any whitening; of shape (N, width of the model)."""
        self._check_parameters()
        texts = _checked_texts(texts)
        torch = require("torch", extra="language", purpose="SentenceEncoder")
        model, tokenizer = self._load()
        # padding costs as much as text does
        order = np.argsort([-len(text) for text in texts], kind="stable").tolist()
        out: np.ndarray | None = None
        with torch.inference_mode():
            for start in range(0, len(order), self.batch_size):
                chosen = order[start : start + self.batch_size]
                batch = tokenizer(
                    [texts[i] for i in chosen], truncation=True, max_length=self.max_length,
                    padding=True, return_tensors="pt",
                ).to(model.device)  # fmt: skip
                rows = self._pool(model, batch).float().cpu().numpy()
                if out is None:
                    out = np.empty((len(texts), rows.shape[1]), np.float32)
                out[chosen] = rows
        assert out is not None  # there is at least one text
        return out

    def _pool(self, model: Any, batch: Any) -> Any:
        """Return the sentence vectors of a batch, of shape (B, d)."""
        by_token = self.layers is None and self.pooling in ("cls", "pooler")
        output = model(**batch, output_hidden_states=not by_token)
        if by_token and self.pooling == "cls":
            return output.last_hidden_state[:, 0]
        if by_token:
            pooled = getattr(output, "pooler_output", None)
            if pooled is None:
                raise InputError(
                    f"pooling='pooler' needs a model with a pooler, {type(model).__name__} has none"
                )
            return pooled
        states = output.hidden_states  # 1 + n_layers of (B, T, d)
        layers = _LAYERS[self.pooling] if self.layers is None else tuple(self.layers)
        for layer in layers:
            if not -len(states) <= layer < len(states):
                raise InputError(
                    f"layers must be in [{-len(states)}, {len(states) - 1}] for this model of "
                    f"{len(states) - 1} layers, got {layer}"
                )
        hidden = sum(states[layer] for layer in layers) / len(layers)  # (B, T, d)
        mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
        return (hidden * mask).sum(1) / mask.sum(1)

    def _load(self) -> tuple[Any, Any]:
        """Return model and tokenizer, loaded once."""
        if isinstance(self.model, list | tuple):
            return self.model[0].eval(), self.model[1]
        if getattr(self, "_loaded_from", None) != str(self.model):
            transformers = require("transformers", extra="language", purpose="SentenceEncoder")
            # weights of pickle would be a program from a stranger
            model, missing = transformers.AutoModel.from_pretrained(
                self.model, use_safetensors=True, output_loading_info=True
            )
            self._no_pooler = any("pooler" in name for name in missing["missing_keys"])
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.model)
            # models that write on have no such token; which one it is does not matter
            tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
            tokenizer.padding_side = "right"
            self._loaded = model.eval(), tokenizer
            self._loaded_from = str(self.model)
        if self._no_pooler and self.pooling == "pooler" and self.layers is None:
            raise InputError(f"pooling='pooler' needs weights for it, {self.model} has none")
        return self._loaded

    def __getstate__(self) -> dict[str, Any]:
        # a copy loads its own weights
        state = dict(super().__getstate__())
        for name in ("_loaded", "_loaded_from", "_no_pooler"):
            state.pop(name, None)
        return state

    def _check_parameters(self) -> None:
        check_choice("pooling", self.pooling, _POOLINGS)
        if self.layers is not None:
            if isinstance(self.layers, str) or not isinstance(self.layers, Sequence):
                raise TypeError(f"layers must be a sequence of int, got {self.layers!r}")
            if not len(self.layers):
                raise InputError("layers must name at least one layer, got none")
            for layer in self.layers:
                check_int("each of layers", layer)
        check_int("max_length", self.max_length, minimum=1)
        check_int("batch_size", self.batch_size, minimum=1)
        if self.whitening is not None and not isinstance(self.whitening, Whitening):
            raise TypeError(
                f"whitening must be a Whitening or None, got {type(self.whitening).__name__}"
            )
        pair = isinstance(self.model, list | tuple)
        if pair and (len(self.model) != 2 or not callable(self.model[0])):
            raise InputError("model must be a folder, a name, or a pair (model, tokenizer)")


def _checked_texts(texts: Iterable[str]) -> list[str]:
    check_texts_argument(texts)
    listed = list(texts)
    for i, text in enumerate(listed):
        if not isinstance(text, str):
            raise TypeError(f"texts must be of str, got {type(text).__name__} at {i}")
    if not listed:
        raise InputError("texts must hold at least one text, got none")
    return listed
