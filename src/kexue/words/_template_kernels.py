"""Kernels of sentence templates: nested paths of strong links, and the spans around them."""

import numpy as np
from numba import njit

from kexue.corpus._counting_kernels import find_child


@njit(cache=True, nogil=True, inline="always")
def _weight(left, right, indptr, partners, weights):
    """Return the weight of the link from word `left` to word `right`, 0 if there is none."""
    end = indptr[left + 1]
    place = find_child(partners, right, indptr[left], end)
    if place < end and partners[place] == right:
        return weights[place]
    return np.int64(0)


@njit(cache=True, nogil=True, inline="always")
def _heaviest_path(links, region, here, low, high, window, value, back):
    """Return where the heaviest path of a region ends, -1 if nothing in it is linked.

    ``back[i]`` receives the distance from word i to the one before it, 0 at the beginning.
    """
    best = -1
    for i in range(low, high):
        if region[i] != here:
            continue
        value[i] = 0
        back[i] = 0
        for d in range(1, min(window, i - low) + 1):
            if links[i, d - 1] > 0 and region[i - d] == here:
                total = value[i - d] + links[i, d - 1]
                if total > value[i]:
                    value[i] = total
                    back[i] = d
        if value[i] > 0 and (best < 0 or value[i] > value[best]):
            best = i
    return best


@njit(cache=True, nogil=True)
def nested_paths(ids, bounds, indptr, partners, weights, window, stretch, following, strength):
    """Take the heaviest path of strong links out of every sentence, then of what is left.

    What a path leaves is the words around it, which may still be linked across it, and each
    of its gaps: no two paths cross. Ties go to nearer words, then to the path that ends first.

    Parameters
    ----------
    ids : int32 array of shape (n,)
        Words.
    bounds : int64 array of shape (n_sentences + 1,)
        Where sentences begin, and the end of the last.
    indptr, partners, weights : int64, int32 and int64 arrays
        For each word the words strongly linked to its right, sorted, with positive weights.
    window : int
        Largest distance of linked words.
    stretch : int
        No path is longer, in positions; this bounds the work per word.
    following : int32 array of shape (n,)
        Receives the distance to the next word of the path, 0 at its end and off all paths.
    strength : int64 array of shape (n,)
        Receives the weight of that link.
    """
    links = np.empty((stretch, window), np.int64)
    region = np.empty(stretch, np.int32)
    value = np.empty(stretch, np.int64)
    back = np.empty(stretch, np.int32)
    todo = np.empty((2 * stretch + 2, 3), np.int32)
    for sentence in range(bounds.size - 1):
        for begin in range(bounds[sentence], bounds[sentence + 1], stretch):
            n = min(stretch, bounds[sentence + 1] - begin)
            for i in range(n):
                following[begin + i] = 0
                strength[begin + i] = 0
                region[i] = 0
                for d in range(1, min(window, i) + 1):
                    links[i, d - 1] = _weight(
                        ids[begin + i - d], ids[begin + i], indptr, partners, weights
                    )
            regions = 1
            waiting = 1
            todo[0, 0] = 0
            todo[0, 1] = 0
            todo[0, 2] = n
            while waiting:
                waiting -= 1
                here = todo[waiting, 0]
                low = todo[waiting, 1]
                high = todo[waiting, 2]
                i = _heaviest_path(links, region, here, low, high, window, value, back)
                if i < 0:
                    continue
                # what is around the path is looked at again
                waiting += 1
                region[i] = -1
                while back[i] > 0:
                    d = back[i]
                    if d > 1:
                        for j in range(i - d + 1, i):
                            if region[j] == here:
                                region[j] = regions
                        todo[waiting, 0] = regions
                        todo[waiting, 1] = i - d + 1
                        todo[waiting, 2] = i
                        waiting += 1
                        regions += 1
                    following[begin + i - d] = d
                    strength[begin + i - d] = links[i, d - 1]
                    i -= d
                    region[i] = -1


@njit(cache=True, nogil=True)
def enclosing_spans(bounds, following, begins, ends):
    """Find the gap, or else the sentence, around every word.

    Parameters
    ----------
    bounds : int64 array of shape (n_sentences + 1,)
    following : int32 array of shape (n,)
        Nested paths as `nested_paths` gives them.
    begins, ends : int64 arrays of shape (n,)
        Receive the bounds of the innermost gap of a path that the word lies in.
    """
    gaps = np.empty((64, 2), np.int64)
    for sentence in range(bounds.size - 1):
        gaps[0, 0] = bounds[sentence]
        gaps[0, 1] = bounds[sentence + 1]
        depth = 0
        for i in range(bounds[sentence], bounds[sentence + 1]):
            while gaps[depth, 1] <= i:
                depth -= 1
            begins[i] = gaps[depth, 0]
            ends[i] = gaps[depth, 1]
            if following[i] > 1:
                depth += 1
                if depth == gaps.shape[0]:
                    gaps = np.concatenate((gaps, np.empty_like(gaps)))
                gaps[depth, 0] = i + 1
                gaps[depth, 1] = i + following[i]
