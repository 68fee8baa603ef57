"""Places of words on a map: neighbours by cosine stay neighbours in the plane (UMAP).

UMAP is compiled anew in every process, which takes longer than the layout. So a process of its own
does that while words are found and grouped, and then waits for them.
"""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from scipy import sparse

N_NEIGHBORS = 15
MOST_LAID_OUT = 20_000  # UMAP takes its time; the other words go between their neighbours
FEWEST = 50
# Modules are found where this process finds them, whatever lies in the working directory
START = "import sys; sys.path[:] = sys.argv[1:]; from kexue.atlas.layout import main; main()"

Plane = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]


def lay_out(
    vectors: np.ndarray, nearest: sparse.csr_array, worth: np.ndarray, seed: int, plane: Plane
) -> np.ndarray:
    """Return a place in the plane for each word.

    The 20,000 words of most worth are laid out by UMAP (McInnes, Healy and Melville 2018), the
    others at the mean of their neighbours among these.

    Parameters
    ----------
    vectors : float32 array of shape (n_words, n_components)
    nearest : csr_array of shape (n_words, n_words)
        Cosines of each word's nearest neighbours.
    worth : float64 array of shape (n_words,)
    seed : int
    plane : callable
        `umap_plane`, here or elsewhere, see `plane_beside`.

    Returns
    -------
    float32 array of shape (n_words, 2)
        NaN for words without neighbours that have a place, and for all if fewer than 50 have one.
    """
    places = np.full((len(worth), 2), np.nan, np.float32)
    linked = np.diff(nearest.indptr) > 0
    ranked = np.argsort(-worth, kind="stable")
    chosen = np.sort(ranked[linked[ranked]][:MOST_LAID_OUT])
    if chosen.size < FEWEST:
        return places
    near = nearest_lists(nearest[chosen][:, chosen].tocsr(), min(N_NEIGHBORS, chosen.size - 1))
    places[chosen] = plane(vectors[chosen], *near, seed)
    chosen = chosen[~np.isnan(places[chosen, 0])]  # UMAP places no word that it cannot link
    others = np.flatnonzero(linked & np.isnan(places[:, 0]))
    toward = nearest[others][:, chosen]
    weight = np.asarray(toward.sum(axis=1)).ravel()
    between = toward @ places[chosen].astype(np.float64)
    some = weight > 0
    places[others[some]] = (between[some] / weight[some, None]).astype(np.float32)
    return places


def nearest_lists(nearest: sparse.csr_array, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest words of each and their distances, as UMAP takes them.

    Itself first; -1 and infinity where there are fewer.
    """
    n = nearest.shape[0]
    indices = np.full((n, k), -1, np.int64)
    distances = np.full((n, k), np.inf, np.float32)
    indices[:, 0], distances[:, 0] = np.arange(n), 0.0
    row_of = np.repeat(np.arange(n), np.diff(nearest.indptr))
    order = np.lexsort((nearest.indices, -nearest.data, row_of))
    rank = 1 + np.arange(order.size) - nearest.indptr[row_of]
    kept = rank < k
    order, rank = order[kept], rank[kept]
    indices[row_of[order], rank] = nearest.indices[order]
    distances[row_of[order], rank] = np.maximum(1.0 - nearest.data[order], 0.0)
    return indices, distances


def umap_plane(
    vectors: np.ndarray, indices: np.ndarray, distances: np.ndarray, seed: int
) -> np.ndarray:
    """Return the plane of UMAP for neighbours that are known, on one thread."""
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("ignore")  # that neighbours given beforehand cannot be searched
        from umap import UMAP

        model = UMAP(
            n_neighbors=indices.shape[1],
            metric="cosine",
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(indices, distances, None),
        )
        return np.asarray(model.fit_transform(vectors), np.float32)


@contextmanager
def plane_beside(wanted: bool) -> Iterator[Plane]:
    """Give `umap_plane`; if `wanted`, in another process that compiles it meanwhile."""
    if not wanted:
        yield umap_plane
        return
    process = subprocess.Popen(
        [sys.executable, "-c", START, *(entry for entry in sys.path if isinstance(entry, str))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

    def plane(*arrays: Any) -> np.ndarray:
        sent = io.BytesIO()
        np.savez(sent, *arrays)
        answer, errors = process.communicate(sent.getvalue())
        begin = answer.find(np.lib.format.MAGIC_PREFIX)  # after what others may have printed
        if process.returncode or begin < 0:
            said = errors.decode(errors="replace").strip().rsplit("\n", 1)[-1]
            raise RuntimeError(f"the layout of the map failed: {said or process.returncode}")
        return np.asarray(np.load(io.BytesIO(answer[begin:])))

    try:
        yield plane
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


def main() -> None:
    """Compile UMAP on a small example, then answer one question from standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    angles = np.linspace(0.0, 6.0, 64)
    ring = np.column_stack((np.cos(angles), np.sin(angles))).astype(np.float32)
    cosines = ring @ ring.T
    np.fill_diagonal(cosines, 0.0)
    umap_plane(ring, *nearest_lists(sparse.csr_array(np.maximum(cosines, 0.0)), N_NEIGHBORS), 0)
    question = sys.stdin.buffer.read()
    if question:
        with np.load(io.BytesIO(question)) as arrays:
            vectors, indices, distances, seed = (arrays[f"arr_{k}"] for k in range(4))
        places = umap_plane(vectors, indices, distances, int(seed))
        sys.stdout.flush()
        np.save(sys.stdout.buffer, places)
