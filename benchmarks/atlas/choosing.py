"""How the atlas's vectors were chosen: ``python -m benchmarks.atlas.choosing``.

Prints, for the demo corpus, how many bits per character the communities row saves in sample and
held out, for each window and each weight of the singular values.
"""

from kexue.atlas import Atlas, atlas
from kexue.atlas.demo import load_demo


def main() -> None:
    """Print one line for each setting."""
    texts = ["".join(words) for words in load_demo()]
    for window in (1, 2, 5):
        for exponent in (0.0, 0.5, 1.0):
            atlas.WINDOW, atlas.EXPONENT = window, exponent
            rows = {row.name: row for row in Atlas(random_state=0).fit(texts).ledger_}
            words, communities = rows["words"], rows["communities"]
            print(
                f"window {window}, exponent {exponent}: "
                f"{words.in_sample - communities.in_sample:.3f} in sample, "
                f"{words.held_out - communities.held_out:.3f} held out",
                flush=True,
            )


if __name__ == "__main__":
    main()
