"""How well a segmentation agrees with gold words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate, pairwise

from kexue._core import InputError, check_texts_argument


def segmentation_score(
    pred: Iterable[Sequence[str]],
    gold: Iterable[Sequence[str]],
    *,
    vocabulary: Collection[str] | None = None,
) -> dict[str, float]:
    """Score segmented texts by the rule of the SIGHAN bakeoffs: every token counts.

    A predicted word is right if a gold word has the same two ends. Punctuation, digits and
    letters count like all else.

    Parameters
    ----------
    pred, gold : iterables of sequences of str
        Tokens of each text; the tokens of both sides must spell the same characters.
    vocabulary : collection of str, optional
        Known words. If given, ``"oov_recall"`` is the share found of the gold words
        outside of it.

    Returns
    -------
    dict of str to float
        ``precision``, ``recall``, ``f1`` of words; ``boundary_f1`` of the positions between
        tokens, inside texts; ``oov_recall`` if a vocabulary was given.

    Raises
    ------
    InputError
        If the two sides differ in number of texts or in characters; both are named.

    Examples
    --------
    >>> score = segmentation_score([["ab", "c"]], [["a", "b", "c"]])
    >>> round(score["precision"], 3), round(score["recall"], 3), round(score["f1"], 3)
    (0.5, 0.333, 0.4)
    """
    pred, gold = list(pred), list(gold)
    for name, texts in (("pred", pred), ("gold", gold)):
        for text in texts:
            check_texts_argument(text, name=f"each text of {name}")
    if len(pred) != len(gold):
        raise InputError(f"pred has {len(pred)} texts and gold has {len(gold)}; give one for each")
    hits = n_pred = n_gold = boundary_hits = boundary_pred = boundary_gold = unseen = found = 0
    for number, (ours, theirs) in enumerate(zip(pred, gold, strict=True)):
        if "".join(ours) != "".join(theirs):
            raise InputError(
                f"text {number}: pred and gold spell different characters: "
                f"{''.join(ours)[:40]!r} and {''.join(theirs)[:40]!r}"
            )
        if "" in ours or "" in theirs:
            raise InputError(f"text {number}: tokens must not be empty")
        edges_ours, edges_theirs = _edges(ours), _edges(theirs)
        spans = set(pairwise(edges_ours))
        right = [span in spans for span in pairwise(edges_theirs)]
        hits += sum(right)
        n_pred += len(ours)
        n_gold += len(theirs)
        boundary_hits += len(set(edges_ours[1:-1]) & set(edges_theirs[1:-1]))
        boundary_pred += max(0, len(ours) - 1)
        boundary_gold += max(0, len(theirs) - 1)
        if vocabulary is not None:
            outside = [r for r, word in zip(right, theirs, strict=True) if word not in vocabulary]
            unseen += len(outside)
            found += sum(outside)
    score = {
        "precision": hits / n_pred if n_pred else 0.0,
        "recall": hits / n_gold if n_gold else 0.0,
        "f1": 2 * hits / (n_pred + n_gold) if n_pred + n_gold else 0.0,
        "boundary_f1": (
            2 * boundary_hits / (boundary_pred + boundary_gold)
            if boundary_pred + boundary_gold
            else 1.0
        ),
    }
    if vocabulary is not None:
        score["oov_recall"] = found / unseen if unseen else 0.0
    return score


def _edges(tokens: Sequence[str]) -> list[int]:
    return list(accumulate(map(len, tokens), initial=0))
