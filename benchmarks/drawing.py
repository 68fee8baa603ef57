"""What the figures of the documentation have in common: fonts, colours, headings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# those of src/kexue/_core/page.css
PAPER, LINE, SOFT, INK = "#fdfcf9", "#d9d4c8", "#5f5b53", "#1d1b18"
BLUE, ORANGE, GREEN, RED = "#1f61b1", "#ecab45", "#008565", "#c5502e"
FAMILIES = ("Liberation Sans", "Arial", "DejaVu Sans", "Noto Sans CJK SC")
FONT = {
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


def data_folder() -> Path:
    return Path(os.environ.get("KEXUE_DATA", ROOT.parent / "shared" / "data"))


@contextmanager
def styled() -> Iterator[Any]:
    """Give matplotlib's ``pyplot`` in the style of the documentation, drawing to files only."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.font_manager import get_font_names

    known = set(get_font_names())
    with plt.rc_context({**FONT, "font.family": [name for name in FAMILIES if name in known]}):
        yield plt


def heading(axes: Any, title: str, subtitle: str, *, size: float = 8) -> None:
    """Write a title over the axes, and under it a line of `size` points."""
    for text, height, style in (
        (title, 26, {"fontsize": 11, "fontweight": "bold"}),
        (subtitle, 11, {"color": SOFT, "fontsize": size}),
    ):
        axes.annotate(
            text, (0, 1), (0, height), "axes fraction", "offset points",
            annotation_clip=False, **style,
        )  # fmt: skip
