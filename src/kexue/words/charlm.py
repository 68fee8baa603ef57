"""Words as states of a character n-gram model: where a character does not depend on the last."""

from __future__ import annotations

import numpy as np

from kexue.corpus.counting import count_code_points, encode_ids
from kexue.corpus.executors import Executor
from kexue.words import _cut_kernels as kernels
from kexue.words._tries import flat_trie


def segment(
    codes: np.ndarray,
    cuts: np.ndarray,
    joining: np.ndarray,
    *,
    max_length: int,
    memory: int | str = "2GB",
    n_jobs: int | None = None,
    executor: Executor = "thread",
) -> np.ndarray:
    """Segment a text by the position in its word that makes each character most probable.

    A character in state j is predicted from the j characters before it; state 0, predicted from
    none, begins a word. The states of greatest probability are found by dynamic programming.
    It takes a very large text: on two million characters it glues nearly everything.

    Parameters
    ----------
    codes, cuts, joining
        As for `kexue.words.nvbe.lattice`.
    max_length : int >= 2
        Number of states; words may be longer.
    memory, n_jobs, executor
        As for `kexue.corpus.count_ngrams`.

    Returns
    -------
    bool array of shape (n,)
        True where a token begins.

    References
    ----------
    kexue.fm, archives/3956.
    """
    counts = count_code_points(
        [codes],
        max_length,
        boundary=lambda distinct: ~joining[distinct],
        memory=memory,
        n_jobs=n_jobs,
        executor=executor,
    )
    last, children, _ = flat_trie(counts, max_length)
    log_given = [np.log(counts.levels[1].counts / counts.total)]
    for order in range(2, max_length + 1):
        context = counts.levels[order - 1].counts[counts.parents(order)]
        log_given.append(np.log(counts.levels[order].counts / context))
    begins = cuts.copy()
    ids = encode_ids(codes, counts.alphabet)
    kernels.cut_by_states(ids, children, last, np.concatenate(log_given), max_length, begins)
    return begins & cuts
