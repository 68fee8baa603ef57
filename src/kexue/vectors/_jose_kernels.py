"""Kernels of spherical text embedding: draws, and the step of three unit vectors at once.

Rows of a table lie one after another in a flat array. Random numbers are a function of seed and
document, so that a document is read alike on whatever thread its turn comes.
"""

import numpy as np
from numba import njit

_ONE = np.uint64(1)  # unsigned offsets: no index counts from the end
_HALF, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@njit(cache=True, nogil=True, inline="always")
def _mixed(state):
    """Return 64 random bits of a state that goes up by `_GOLDEN` (splitmix64)."""
    z = (state ^ (state >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True, inline="always")
def _draw(state, share, alias, word, centre):
    """Return a word drawn from the table of Walker's aliases, neither `word` nor `centre`."""
    other = word
    while other in (word, centre):
        state += _GOLDEN
        bits = _mixed(state)
        other = ((bits >> _HALF) * np.uint64(share.size)) >> _HALF
        if (bits & _LOW) >= share[other]:
            other = np.uint64(alias[other])
    return other, state


@njit(cache=True, nogil=True, fastmath=True)
def step_triple(rows, u, n, others, v, dim, margin, rate, paper):
    r"""Move a centre u towards v, a drawn centre n away from it, and v towards u and from n.

    All three by their old values, on the sphere, if :math:`u v - n v` is below `margin`. Their new
    norms follow from the six inner products, so that one sweep reads and one writes. The norms of
    the old vectors count as they are: taken for 1, the error of the vector that is pushed away
    would grow at every touch.

    Parameters
    ----------
    rows, others : float arrays
        Tables; `others` may be the same kind of table or that of the documents.
    u, n, v : uint64
        Where the rows begin.
    dim : uint64
    margin, rate : floats of the same type
    paper : int
        0: the steps of the authors' code, which push n by twice its cosine; 1: the paper's rule.

    Returns
    -------
    float
        How far the margin is missed, 0 if it is not.
    """
    real = rows.dtype.type
    f = real(0)
    h = real(0)
    for k in range(dim):
        c = others[v + k]
        f += rows[u + k] * c
        h += rows[n + k] * c
    gap = f - h
    if gap >= margin:
        return real(0)
    q = real(0)
    uu = real(0)
    nn = real(0)
    vv = real(0)
    for k in range(dim):
        a = rows[u + k]
        b = rows[n + k]
        c = others[v + k]
        q += a * b
        uu += a * a
        nn += b * b
        vv += c * c
    one = real(1)
    two = real(2)
    apart = uu + nn - two * q
    # each becomes x' = (1 - by * cosine) x + by * direction, then has norm 1
    u_by = rate * (one - f)
    n_by = -rate * (one + h if paper else two * h)
    v_by = rate * (one - (gap / np.sqrt(apart) if paper else gap))
    u_own = one - u_by * f
    n_own = one - n_by * h
    v_own = one - v_by * gap
    u_scale = one / np.sqrt(u_own * u_own * uu + two * u_own * u_by * f + u_by * u_by * vv)
    n_scale = one / np.sqrt(n_own * n_own * nn + two * n_own * n_by * h + n_by * n_by * vv)
    v_scale = one / np.sqrt(v_own * v_own * vv + two * v_own * v_by * gap + v_by * v_by * apart)
    u_own *= u_scale
    u_by *= u_scale
    n_own *= n_scale
    n_by *= n_scale
    v_own *= v_scale
    v_by *= v_scale
    for k in range(dim):
        a = rows[u + k]
        b = rows[n + k]
        c = others[v + k]
        rows[u + k] = u_own * a + u_by * c
        rows[n + k] = n_own * b + n_by * c
        others[v + k] = v_own * c + v_by * (a - b)
    return margin - gap


@njit(cache=True, nogil=True, fastmath=True)
def step_joint(rows, u, n, contexts, v, documents, d, dim, margin, rate):
    r"""Move all four vectors of the paper's loss :math:`\max(0, m - (u - n)(v + d))`.

    By the paper's rule, all by their old values.

    Returns
    -------
    float
        The loss before the step.
    """
    real = rows.dtype.type
    f = real(0)  # u, n and their difference with v + d, v and d
    h = real(0)
    v_gap = real(0)
    d_gap = real(0)
    both = real(0)
    apart = real(0)
    for k in range(dim):
        a = rows[u + k]
        b = rows[n + k]
        s = contexts[v + k] + documents[d + k]
        f += a * s
        h += b * s
        v_gap += (a - b) * contexts[v + k]
        d_gap += (a - b) * documents[d + k]
        both += s * s
        apart += (a - b) * (a - b)
    loss = margin - (f - h)
    if loss <= 0:
        return real(0)
    one = real(1)
    both = np.sqrt(both)
    apart = np.sqrt(apart)
    u_by = rate * (one - f / both)
    n_by = -rate * (one + h / both)
    v_by = rate * (one - v_gap / apart)
    d_by = rate * (one - d_gap / apart)
    uu = real(0)
    nn = real(0)
    vv = real(0)
    dd = real(0)
    for k in range(dim):
        a = rows[u + k]
        b = rows[n + k]
        c = contexts[v + k]
        e = documents[d + k]
        rows[u + k] = a + u_by * (c + e - f * a)
        rows[n + k] = b + n_by * (c + e - h * b)
        contexts[v + k] = c + v_by * (a - b - v_gap * c)
        documents[d + k] = e + d_by * (a - b - d_gap * e)
        uu += rows[u + k] * rows[u + k]
        nn += rows[n + k] * rows[n + k]
        vv += contexts[v + k] * contexts[v + k]
        dd += documents[d + k] * documents[d + k]
    uu = one / np.sqrt(uu)
    nn = one / np.sqrt(nn)
    vv = one / np.sqrt(vv)
    dd = one / np.sqrt(dd)
    for k in range(dim):
        rows[u + k] *= uu
        rows[n + k] *= nn
        contexts[v + k] *= vv
        documents[d + k] *= dd
    return loss


@njit(cache=True, nogil=True)
def train_documents(
    tokens,
    offsets,
    order,
    rates,
    keep,
    share,
    alias,
    centres,
    contexts,
    documents,
    dim,
    window,
    negative,
    margin,
    joint,
    paper,
    seed,
    touched,
    stop,
):
    """Train on documents, one after another.

    Parameters
    ----------
    tokens : int32 array of shape (n_tokens,)
    offsets : int64 array of shape (n_documents + 1,)
    order : int64 array of shape (n,)
        The documents to be read.
    rates : float32 array of shape (n,)
        The learning rate of each of them.
    keep : uint32 array of shape (n_words,)
        Probability that an occurrence is kept, times 2**32.
    share, alias : uint32 arrays of shape (n_words,)
        What negatives are drawn from, see `alias_table`.
    centres, contexts : float32 arrays of shape (n_words * dim,)
    documents : float32 array of shape (n_documents * dim,)
    dim, window, negative : int
    margin : float32
    joint : int
        1 for the paper's one loss, 0 for one of words and one of documents.
    paper : int
        See `step_triple`.
    seed : uint64
    touched : uint32 array of shape (2, n_words) or (2, 0)
        Receives how often the rows of both tables were moved.
    stop : uint8 array of shape (1,)
        No more documents are read once this is not 0.

    Returns
    -------
    loss : float
        Sum over all draws.
    n : int
        How many draws.
    """
    width = np.uint64(dim)
    longest = 0
    for document in order:
        longest = max(longest, offsets[document + 1] - offsets[document])
    kept = np.empty(longest, np.uint64)
    counting = touched.shape[1] > 0
    loss = 0.0
    n = 0
    for place in range(order.size):
        if stop[0]:
            break
        document = order[place]
        rate = rates[place]
        state = _mixed(seed + np.uint64(document) * _GOLDEN)
        size = np.uint64(0)
        for i in range(offsets[document], offsets[document + 1]):
            word = tokens[i]
            state += _GOLDEN
            if (_mixed(state) & _LOW) <= keep[word]:
                kept[size] = np.uint64(word)
                size += _ONE
        d = np.uint64(document) * width
        for i in range(size):
            word = kept[i]
            v = word * width
            state += _GOLDEN
            reach = _ONE + (((_mixed(state) & _LOW) * np.uint64(window)) >> _HALF)
            low = i - reach if i > reach else np.uint64(0)
            high = min(i + reach + _ONE, size)
            for j in range(low, high):
                if j == i:
                    continue
                centre = kept[j]
                u = centre * width
                for _ in range(negative):
                    other, state = _draw(state, share, alias, word, centre)
                    drawn = other * width
                    if joint:
                        lost = step_joint(
                            centres, u, drawn, contexts, v, documents, d, width, margin, rate
                        )
                    else:
                        lost = step_triple(
                            centres, u, drawn, contexts, v, width, margin, rate, paper
                        )
                    loss += lost
                    n += 1
                    if counting and lost > 0:
                        touched[0, centre] += 1
                        touched[0, other] += 1
                        touched[1, word] += 1
            if not joint:
                for _ in range(negative):
                    other, state = _draw(state, share, alias, word, word)
                    lost = step_triple(
                        centres, v, other * width, documents, d, width, margin, rate, paper
                    )
                    loss += lost
                    n += 1
                    if counting and lost > 0:
                        touched[0, word] += 1
                        touched[0, other] += 1
    return loss, n


@njit(cache=True, nogil=True, fastmath=True)
def infer_documents(
    tokens, offsets, begin, end, rates, share, alias, centres, dim, negative, margin, seed, found
):
    """Train the vectors of documents `begin` to `end`, the words standing still.

    Parameters
    ----------
    rates : float32 array of shape (n_epochs,)
    found : float32 array of shape (n_documents, dim)
        Where they begin, and the result. Documents of no token stay as they are.
    """
    for document in range(begin, end):
        vector = found[document]
        for epoch in range(rates.size):
            # the same draws for every document: none hangs on those beside it
            state = _mixed(seed + np.uint64(epoch))
            rate = rates[epoch]
            for i in range(offsets[document], offsets[document + 1]):
                word = np.uint64(tokens[i])
                u = centres[word]
                for _ in range(negative):
                    other, state = _draw(state, share, alias, word, word)
                    drawn = centres[other]
                    gap = np.float32(0)
                    for k in range(dim):
                        gap += (u[k] - drawn[k]) * vector[k]
                    if gap >= margin:
                        continue
                    by = rate * (np.float32(1) - gap)
                    own = np.float32(1) - by * gap
                    norm = np.float32(0)
                    for k in range(dim):
                        vector[k] = own * vector[k] + by * (u[k] - drawn[k])
                        norm += vector[k] * vector[k]
                    norm = np.float32(1) / np.sqrt(norm)
                    for k in range(dim):
                        vector[k] *= norm


@njit(cache=True, nogil=True, fastmath=True)
def merge_rows(base, copies, touched, rate, begin, end):
    """Let the rows of a table go where the rows of its copies went.

    A row that was touched n times has gone the share ``1 - (1 - rate)**n`` of its way, so that few
    touches add up and many do not: the mean of the moves, by touches, is lengthened by what all
    touches together are to one copy's.

    Parameters
    ----------
    base : float32 array of shape (n_words, dim)
        What the copies were before; receives the merged rows, of norm 1.
    copies : float32 array of shape (n_copies, n_words, dim)
    touched : uint32 array of shape (n_copies, n_words)
    rate : float
    begin, end : int
        The rows to be merged.
    """
    dim = base.shape[1]
    move = np.empty(dim, np.float32)
    for row in range(begin, end):
        total = 0
        gone = 0.0
        for copy in range(copies.shape[0]):
            n = touched[copy, row]
            total += n
            gone += n * (1.0 - (1.0 - rate) ** n)
        if total == 0:
            continue
        longer = (1.0 - (1.0 - rate) ** total) * total / gone
        move[:] = 0
        for copy in range(copies.shape[0]):
            if touched[copy, row]:
                weight = np.float32(longer * touched[copy, row] / total)
                for k in range(dim):
                    move[k] += weight * (copies[copy, row, k] - base[row, k])
        norm = np.float32(0)
        for k in range(dim):
            base[row, k] += move[k]
            norm += base[row, k] * base[row, k]
        norm = np.float32(1) / np.sqrt(norm)
        for k in range(dim):
            base[row, k] *= norm
