"""The kernels of JoSE against its definition, one step and one draw at a time."""

import numpy as np
import pytest

from kexue.vectors import JoSE
from kexue.vectors._jose_kernels import merge_rows, step_joint, step_triple, train_documents
from kexue.vectors._jose_training import alias_table, keep_probabilities

DIM = 8


def unit_rows(rng, n, dim=DIM):
    rows = rng.standard_normal((n, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def moved(x, coefficient, direction):
    """Return x after a step along a direction, projected on the tangent plane of the sphere."""
    y = x + coefficient * (direction - (x @ direction) * x)
    return y / np.linalg.norm(y)


def sequential(u, n, v, margin, rate, paper):
    """The three steps one after another, all by the old values."""
    f, h = u @ v, n @ v
    if f - h >= margin:
        return u, n, v
    difference = u - n
    length = np.linalg.norm(difference) if paper else 1.0
    return (
        moved(u, rate * (1 - f), v),
        moved(n, -rate * (1 + h if paper else 2 * h), v),
        moved(v, rate * (1 - (f - h) / length), difference),
    )


@pytest.mark.parametrize("paper", [0, 1])
def test_the_fused_step_is_the_sequential_one(paper):
    rng = np.random.default_rng(0)
    negative = active = 0
    for u, n, v in unit_rows(rng, 30_000).reshape(-1, 3, DIM):
        rows, others = np.concatenate((u, n)), v.copy()
        lost = step_triple(
            rows, np.uint64(0), np.uint64(DIM), others, np.uint64(0), np.uint64(DIM), 0.15, 0.04,
            paper,
        )  # fmt: skip
        expected = sequential(u, n, v, 0.15, 0.04, paper)
        np.testing.assert_allclose((*rows.reshape(2, DIM), others), expected, rtol=0, atol=1e-12)
        assert lost == pytest.approx(max(0.15 - u @ v + n @ v, 0), abs=1e-12)
        active += lost > 0
        negative += lost > 0 and n @ v < 0
    assert active > 4000
    assert negative > 1000


def test_the_step_counts_norms_as_they_are():
    """Vectors a little off the sphere come back to it, instead of going further off."""
    rng = np.random.default_rng(1)
    u, n, v = unit_rows(rng, 3) * [[1.01], [0.98], [1.02]]
    n = v * 0.97 + 0.1 * n  # near v, so it is pushed hard
    rows, others = np.concatenate((u, n)), v.copy()
    step_triple(
        rows, np.uint64(0), np.uint64(DIM), others, np.uint64(0), np.uint64(DIM), 0.5, 0.3, 0
    )
    norms = np.linalg.norm([*rows.reshape(2, DIM), others], axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-12)


def joint_loss(u, n, v, d, margin):
    return max(0.0, margin - (u - n) @ (v + d))


def test_the_joint_step_goes_down_the_gradient():
    rng = np.random.default_rng(2)
    for u, n, v, d in unit_rows(rng, 400).reshape(-1, 4, DIM):
        rows = np.concatenate((u, n))
        contexts, documents = v.copy(), d.copy()
        zero, width = np.uint64(0), np.uint64(DIM)
        lost = step_joint(rows, zero, width, contexts, zero, documents, zero, width, 0.15, 1e-6)
        assert lost == pytest.approx(joint_loss(u, n, v, d, 0.15), abs=1e-12)
        if lost == 0:
            continue
        new = [*rows.reshape(2, DIM), contexts, documents]
        gradients = [-(v + d), v + d, -(u - n), -(u - n)]
        for x, y, g in zip((u, n, v, d), new, gradients, strict=True):
            tangent = g - (x @ g) * x
            length = 1 + x @ g / np.linalg.norm(g)
            np.testing.assert_allclose((y - x) / 1e-6, -length * tangent, atol=1e-4)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_gradient_on_the_sphere_by_finite_differences(which):
    rng = np.random.default_rng(3)
    for x in unit_rows(rng, 300).reshape(-1, 3, DIM):
        u, n, v = x
        if u @ v - n @ v > 0.1:
            continue
        gradient = [-v, v, -(u - n)][which]
        projected = gradient - (x[which] @ gradient) * x[which]
        along = rng.standard_normal(DIM)
        along -= (along @ x[which]) * x[which]

        def loss(t, x=x, along=along):
            y = x.copy()
            y[which] = x[which] + t * along
            y[which] /= np.linalg.norm(y[which])
            return 0.15 - y[0] @ y[2] + y[1] @ y[2]

        slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
        assert slope == pytest.approx(projected @ along, abs=1e-6)


class Draws:
    """The random numbers of the kernels, splitmix64, in Python's integers."""

    def __init__(self, seed, document, share, alias):
        self.share, self.alias = share.tolist(), alias.tolist()
        self.state = self.mixed(seed + document * 0x9E3779B97F4A7C15)

    @staticmethod
    def mixed(state):
        z = state % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    def bits(self):
        self.state += 0x9E3779B97F4A7C15
        return self.mixed(self.state)

    def below(self, n):
        return (self.bits() % 2**32) * n >> 32

    def word(self, *but):
        while True:
            bits = self.bits()
            drawn = (bits >> 32) * len(self.share) >> 32
            if bits % 2**32 >= self.share[drawn]:
                drawn = self.alias[drawn]
            if drawn not in but:
                return drawn


@pytest.mark.parametrize("paper", [0, 1])
def test_training_by_definition(paper):
    """Which words meet, with which negatives, in which order; and what is counted of it."""
    rng = np.random.default_rng(5)
    texts = [rng.integers(0, 7, size).tolist() for size in (6, 0, 1, 9)]
    counts = np.array([9, 5, 4, 3, 2, 2, 1])
    keep, (share, alias) = keep_probabilities(counts, 0.03), alias_table(counts)
    tables = [unit_rows(rng, n) for n in (7, 7, 4)]
    order, rates = np.array([3, 0, 2, 1]), np.array([0.04, 0.03, 0.02, 0.01], np.float32)
    window, negative, margin, seed = 3, 2, 0.15, 12345 << 32
    words, contexts, documents = (table.copy() for table in tables)
    counted, losses, read = np.zeros((2, 7), int), [], 0

    def meet(word, other, row, rate):
        old = words[word], words[other], row
        losses.append(max(0.0, margin - (old[0] - old[1]) @ row))
        words[word], words[other], row[:] = sequential(*old, margin, rate, paper)
        counted[0, [word, other]] += losses[-1] > 0
        return losses[-1] > 0

    for document, rate in zip(order.tolist(), rates.astype(float), strict=True):
        draws = Draws(seed, document, share, alias)
        kept = [word for word in texts[document] if draws.bits() % 2**32 <= keep[word]]
        read += len(kept)
        for i, word in enumerate(kept):
            reach = 1 + draws.below(window)
            for j in range(max(0, i - reach), min(len(kept), i + reach + 1)):
                for _ in range(negative if j != i else 0):
                    other = draws.word(word, kept[j])
                    counted[1, word] += meet(kept[j], other, contexts[word], rate)
            for _ in range(negative):
                meet(word, draws.word(word), documents[document], rate)
    assert 0 < len(losses) < 200
    assert 0 < read < 16
    found = [table.astype(np.float32) for table in tables]
    touched = np.zeros((2, 7), np.uint32)
    loss, n = train_documents(
        np.array([word for text in texts for word in text], np.int32),
        np.cumsum([0, *map(len, texts)]), order, rates,
        keep, share, alias, *(table.reshape(-1) for table in found), DIM, window, negative,
        np.float32(margin), 0, paper, np.uint64(seed), touched, np.zeros(1, np.uint8),
    )  # fmt: skip
    assert n == len(losses)
    assert loss == pytest.approx(sum(losses), rel=1e-5)
    np.testing.assert_array_equal(touched, counted)
    for ours, table in zip(found, (words, contexts, documents), strict=True):
        np.testing.assert_allclose(ours, table, atol=1e-5)


def test_negatives_are_drawn_by_counts():
    counts = np.array([1000, 200, 50, 3, 1])
    share, alias = alias_table(counts)
    own = share / 2**32
    drawn = own.copy()
    np.add.at(drawn, alias, 1 - own)
    np.testing.assert_allclose(drawn / 5, counts**0.75 / (counts**0.75).sum(), atol=1e-8)
    share, _ = alias_table(np.ones(7))
    np.testing.assert_array_equal(share, 2**32 - 1)


def test_frequent_words_are_thinned_out():
    counts = np.array([500, 499, 1])
    kept = keep_probabilities(counts, 0.01) / 2**32
    often = counts / 10
    np.testing.assert_allclose(kept, np.minimum((np.sqrt(often) + 1) / often, 1), rtol=1e-6)
    np.testing.assert_array_equal(keep_probabilities(counts, 0.0), 2**32 - 1)


def test_unfolding_a_merge():
    """One copy: its rows as they are. Two that went the same way: further than either."""
    rng = np.random.default_rng(0)
    base = unit_rows(rng, 4).astype(np.float32)
    goal = unit_rows(rng, 4).astype(np.float32)
    copy = base + 0.01 * (goal - base)
    copy /= np.linalg.norm(copy, axis=1, keepdims=True)
    touched = np.array([[3, 0, 5, 1], [0, 0, 5, 0]], np.uint32)
    merged = base.copy()
    merge_rows(merged, np.stack((copy, copy)), touched, 0.02, 0, 4)
    np.testing.assert_allclose(merged[[0, 3]], copy[[0, 3]], atol=1e-6)
    np.testing.assert_array_equal(merged[1], base[1])
    # 10 touches went 1 - 0.98**10 of the way, 5 went 1 - 0.98**5
    ratio = (1 - 0.98**10) / (1 - 0.98**5)
    expected = base[2] + ratio * (copy[2] - base[2])
    np.testing.assert_allclose(merged[2], expected / np.linalg.norm(expected), atol=1e-6)


def test_inference_by_definition():
    """The document part alone, from where its words point less where drawn words do."""
    rng = np.random.default_rng(6)
    texts = [[f"w{k}" for k in row] for row in rng.integers(0, 12, (40, 20)).tolist()]
    model = JoSE(16, epochs=8, random_state=0).fit(texts)
    document = texts[0]
    words = model.word_vectors_.astype(float)
    rows = [model.vocabulary_[word] for word in document]
    weights = model.counts_**0.75
    vector = words[rows].mean(axis=0) - weights @ words / weights.sum()
    vector /= np.linalg.norm(vector)
    moves = 0
    for epoch in range(8):
        # every epoch has draws of its own, the same for all documents
        draws = Draws((model._seed << 32) + epoch, 0, *alias_table(model.counts_))
        for row in rows:
            for _ in range(2):
                apart = words[row] - words[draws.word(row)]
                if (gap := apart @ vector) < 0.15:
                    vector = moved(vector, 0.04 * (1 - epoch / 8) * (1 - gap), apart)
                    moves += 1
    assert moves > 20
    np.testing.assert_allclose(model.transform([document])[0], vector, atol=1e-5)
