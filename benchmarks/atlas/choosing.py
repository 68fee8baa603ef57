"""How the atlas's vectors were chosen: ``python -m benchmarks.atlas.choosing``.

Prints how many bits per character the communities and the exchange save in sample and held out:
for PPMI with each window and each weight of the singular values, and for JoSE with each window.
On the demo corpus; files that are named are read too.
"""

import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from kexue.atlas import Atlas, placing
from kexue.atlas.demo import load_demo


def main() -> None:
    """Print one line for each setting."""
    corpora: dict[str, Any] = {"demo": ["".join(words) for words in load_demo()]}
    for path in sys.argv[1:]:
        corpora[path] = Path(path)
    for name, texts in corpora.items():
        for window in (1, 2, 5):
            for exponent in (0.0, 0.5, 1.0):
                with patch.multiple(placing, WINDOW=window, EXPONENT=exponent):
                    report(f"{name}: PPMI, window {window}, exponent {exponent}", texts, "ppmi")
        for n_iter in (5, 2, 1):
            with patch.object(placing, "N_ITER", n_iter):
                report(f"{name}: PPMI, {n_iter} power iterations", texts, "ppmi")
        for window in (1, 2, 5):
            with patch.object(placing, "JOSE_WINDOW", window):
                report(f"{name}: JoSE, window {window}", texts, "jose")


def report(setting: str, texts: Any, vectors: Any) -> None:
    """Print what the last two rows of the ledger save over the words."""
    atlas = Atlas(vectors=vectors, random_state=0, n_jobs=2, layout=False).fit(texts)
    rows = {row.name: row for row in atlas.ledger_}
    words = rows["words"]
    saved = [
        f"{name} {words.in_sample - rows[name].in_sample:.3f} in sample, "
        f"{words.held_out - rows[name].held_out:.3f} held out"
        for name in ("communities", "exchange")
    ]
    print(f"{setting}, level {atlas.level_}: {'; '.join(saved)}", flush=True)


if __name__ == "__main__":
    main()
