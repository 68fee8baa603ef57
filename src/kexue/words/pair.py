"""Words by strong pairs of characters, and the removal of words that their parts explain."""

from __future__ import annotations

import numpy as np

from kexue.corpus import _span_kernels as spans
from kexue.corpus.texts import DOCUMENT_END
from kexue.words.solidity import Spans
from kexue.words.tokenizer import Atoms, UnigramTokenizer

MIN_MUTUAL_INFORMATION = 1.0  # nats, per cut; see `without_redundant`
MIN_SHARE = 1e-7  # of all pieces


def without_redundant(
    words: Spans,
    *,
    min_share: float = MIN_SHARE,
    least: float = MIN_MUTUAL_INFORMATION,
    atoms: Atoms = "auto",
) -> Spans:
    r"""Give the counts of words that their parts explain to those parts.

    Joining k parts shortens the code of a text if their mutual information is above k - 1
    nats, to first order. So, the longest words first, each word w is segmented by the shorter
    ones into its most probable parts, and stays if
    :math:`\log p_w - \sum \log p_{parts} \geq (l_w - 1) \cdot least`, with :math:`l_w` its
    length in characters. All words of a length are judged by the same counts.

    Parameters
    ----------
    words : tuple of (symbols, offsets, counts)
        As `UnigramTokenizer.from_spans` takes them.
    min_share : float
        Words of a smaller share of all counts are dropped at once, single characters never.
    least : float
        Nats.

    Returns
    -------
    symbols, offsets, counts
        Of what stays, and of all single characters, each counted once more than it was.

    References
    ----------
    kexue.fm, archives/5476, and the package nlp-zero.
    """
    symbols, offsets, counts = _with_characters(*words)
    lengths = np.diff(offsets)
    alive = (lengths == 1) | (counts > min_share * counts.sum())
    for length in np.unique(lengths[alive])[::-1].tolist():
        if length == 1:
            break
        (judged,) = np.nonzero(alive & (lengths == length))
        (shorter,) = np.nonzero(alive & (lengths < length))
        owner, parts = _parts(symbols, offsets, counts, judged, shorter, atoms)
        log_total = np.log(counts[alive].sum())
        # what has no parts among the words, such as a run of digits, is explained by nothing
        logs = np.where(parts >= 0, np.log(counts[parts]) - log_total, -np.inf)
        information = np.log(counts[judged]) - log_total - np.bincount(owner, logs, judged.size)
        redundant = information < (length - 1) * least
        alive[judged[redundant]] = False
        given = np.where(redundant, counts[judged], 0)[owner]
        np.add.at(counts, parts[given > 0], given[given > 0])
    return *spans.gather_spans(symbols, offsets, np.flatnonzero(alive)), counts[alive]


def _with_characters(symbols: np.ndarray, offsets: np.ndarray, counts: np.ndarray) -> Spans:
    """Count every character once more, so that each is a word and each word has parts."""
    characters = np.unique(symbols)
    codes = np.concatenate((symbols, characters))
    starts = np.concatenate((offsets, offsets[-1] + 1 + np.arange(characters.size)))
    ids, first = spans.encode_spans(codes, starts)
    weights = np.concatenate((counts, np.ones(characters.size)))
    return *spans.gather_spans(codes, starts, first), np.bincount(ids, weights).astype(np.int64)


def _parts(
    symbols: np.ndarray,
    offsets: np.ndarray,
    counts: np.ndarray,
    judged: np.ndarray,
    shorter: np.ndarray,
    atoms: Atoms,
) -> tuple[np.ndarray, np.ndarray]:
    """Segment words by shorter ones; return each part's owner, by place, and its word or -1."""
    lexicon, edges = spans.gather_spans(symbols, offsets, shorter)
    tokenizer = UnigramTokenizer.from_spans(
        lexicon, edges, counts[shorter], atoms=atoms, normalize=None
    )
    words, places = spans.gather_spans(symbols, offsets, judged)
    text = np.insert(words, places[1:], DOCUMENT_END)  # each a document of its own
    starts = tokenizer.token_starts(text)
    # after the lexicon, whose entries are distinct, a part has the number of its entry
    both = np.concatenate((edges[:-1], edges[-1] + starts))
    ids, _ = spans.encode_spans(np.concatenate((lexicon, text)), both)
    ids, begins = ids[shorter.size :], starts[:-1]
    real = text[begins] != DOCUMENT_END
    owner = np.cumsum(~real) - ~real
    return owner[real], np.append(shorter, -1)[np.minimum(ids[real], shorter.size)]
