"""What is said of an atlas in plain words, and the modules above its communities."""

from types import SimpleNamespace

import numpy as np
import pytest

from kexue.atlas.ledger import LedgerRow
from kexue.atlas.report import _held_out_note, _modules, _succession_note
from kexue.atlas.succession import Succession


@pytest.mark.parametrize(
    ("top", "says"),
    [
        ([0, 0, 1, 1], "has 2 communities (3.00 bits per word without communities, 2.50 with"),
        ([0, 0, 0, 1], "no communities to speak of: one of them holds 75% of the text (3.00"),
        ([0, 0, 0, 0], "no communities to speak of: one of them holds 100% of the text"),
    ],
)
def test_whether_succession_has_communities(top, says):
    network = Succession(None, np.array(top)[:, None], 2.5, 3.0)
    tokens = SimpleNamespace(counts=np.array([4, 4, 4, 4]), spellings=["a", "b", "c", "d"])
    assert says in _succession_note(SimpleNamespace(succession_=network, train_=tokens))


@pytest.mark.parametrize(
    ("prices", "says"),
    [
        ([5, 4, 3, 2.5], "every step still saves: words 1.00, communities 1.00 and exchange 0.50 "),
        ([5, 4, 4, 3], "the step to communities loses: words 1.00, communities 0.00 and exchange"),
        ([5, 6, 4, 5], "the step to words and exchange loses: words -1.00, communities 2.00 and"),
    ],
)
def test_which_steps_lose_on_held_out_text(prices, says):
    names = ["characters", "words", "communities", "exchange"]
    rows = [LedgerRow(n, "", p, 0.0, p) for n, p in zip(names, prices, strict=True)]
    assert says in _held_out_note(rows)


def test_modules_are_what_holds_communities():
    """A community that ends above the level of the ledger is no module of others."""
    atlas = SimpleNamespace(
        level_=2,
        paths_=np.array([[0, 0], [0, 1], [1, -1], [1, -1]]),
        placed_types_=np.arange(4),
        placed_words_=["one", "two", "three", "..."],
        train_=SimpleNamespace(counts=np.array([4, 3, 2, 1]), ids=np.zeros(20)),
    )
    (module,) = _modules(atlas)
    assert module.path == (1,)
    assert (module.label, module.share, module.size) == (["one", "two"], 0.35, 2)
