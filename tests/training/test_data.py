"""The order of rows: computed, not kept; the same for any workers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kexue._core import InputError
from kexue.training import IndexedData


def epochs(data, batch_size, steps, parts=1, mine=range(1)):
    return [
        [rows.tolist() for rows, _ in update]
        for update in data.parts(5, batch_size, steps, parts, mine)
    ]


@given(st.integers(1, 200), st.integers(0, 2**32 - 1), st.integers(0, 1000))
def test_each_row_once_per_epoch(n, seed, epoch):
    order = IndexedData(n, np.asarray).order(seed, epoch)
    assert sorted(order.tolist()) == list(range(n))


def test_orders_of_epochs_and_seeds_have_nothing_in_common():
    data = IndexedData(20_000, np.asarray)
    orders = [data.order(seed, epoch) for seed in range(3) for epoch in range(3)]
    for i, one in enumerate(orders):
        for other in orders[:i]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
            assert (one == other).sum() < 10  # one is expected by chance
        # nor has a row with its neighbour
        assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.03


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_nothing(num_workers):
    def collate(rows, rng):
        return torch.from_numpy(rows + rng.random(len(rows)))

    none = IndexedData(23, collate, random=True)
    some = IndexedData(23, collate, random=True, num_workers=num_workers)
    arguments = (5, 6, range(3, 11), 2, range(2))
    before = torch.get_rng_state()
    for ours, theirs in zip(none.parts(*arguments), some.parts(*arguments), strict=True):
        for (rows, batch), (other_rows, other_batch) in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(rows, other_rows)
            assert torch.equal(batch, other_batch)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("begin", [0, 1, 4, 5, 9])
def test_begins_anywhere(begin):
    data = IndexedData(23, np.asarray)
    assert epochs(data, 5, range(begin, 12)) == epochs(data, 5, range(12))[begin:]


@pytest.mark.parametrize(("processes", "accumulate"), [(1, 3), (2, 1), (2, 3), (4, 4)])
def test_processes_share_an_update(processes, accumulate):
    data = IndexedData(23, np.asarray)
    whole = epochs(data, 8, range(6))
    shares = [
        epochs(
            data, 8, range(6), processes * accumulate, range(p * accumulate, (p + 1) * accumulate)
        )
        for p in range(processes)
    ]
    for update, (rows,) in enumerate(whole):
        found = [part for share in shares for part in share[update]]
        assert all(found)
        assert [row for part in found for row in part] == rows


def test_keys_make_the_order_independent_of_the_storage():
    names = np.arange(100, 150)
    shuffled = np.random.default_rng(0).permutation(names)
    orders = [
        stored[IndexedData(50, np.asarray, key=lambda rows, s=stored: s[rows]).order(1, 2)]
        for stored in (names, shuffled)
    ]
    np.testing.assert_array_equal(*orders)


def test_takes_a_dataset_as_it_is():
    class Squares(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return {"i": i, "square": float(i * i)}

    batch = IndexedData.of(Squares()).collate(np.array([3, 1]))
    assert batch["i"].tolist() == [3, 1]
    assert batch["square"].tolist() == [9, 1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: IndexedData(0, print), InputError, "at least one row, got 0"),
        (lambda: IndexedData(2, print, key=lambda rows: rows * 0), InputError, "all different"),
        (lambda: IndexedData(2, print, key=lambda rows: rows * 0.5), InputError, "2 integers"),
        (lambda: IndexedData(2, print, num_workers=-1), InputError, "num_workers must be"),
        (lambda: IndexedData.of([]), TypeError, "got list"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
