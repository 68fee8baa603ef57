"""Recompute an atlas's ledger from its files and the text, sharing no code with kexue.atlas.

``python tests/atlas/recompute_ledger.py DIR TEXT`` prints both figures of every row; plain Python
throughout: dictionaries, Counters and sums. Only the classes of characters (which characters
form runs) are taken from kexue.
"""

import json
import lzma
import math
import sys
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path

import polars as pl
from safetensors import safe_open

from kexue.corpus.scripts import DIGIT, EXTENDING, JOINING, LETTER, character_classes

END = ""  # the token, and the character, that ends a document
CODE_POINTS = 0x110000


def recompute(folder: Path, documents: list[str]) -> dict[str, tuple[float, float, float | None]]:
    """Return in-sample, model and held-out bits per character of every row."""
    train, held_out = split(documents, json.loads((folder / "run.json").read_text())["held_out"])
    words = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["words"]
    tokenize = tokenizer(words)
    learned = [[*tokenize(text), END] for text in train]
    tokens = [token for document in learned for token in document]
    table = dict(pl.read_parquet(folder / "words.parquet").select("word", "count").iter_rows())
    assert table == Counter(tokens), "the written counts are those of the written tokenizer"
    of = classes(folder), exchanged(folder)
    fresh = [token for text in held_out for token in (*tokenize(text), END)] if held_out else None
    return ledger(train, tokens, held_out, fresh, of)


def split(documents, held_out):
    drawn = set(held_out["drawn"])
    if held_out["unit"] == "documents":
        assert held_out["of"] == len(documents)
        return (
            [text for i, text in enumerate(documents) if i not in drawn],
            [text for i, text in enumerate(documents) if i in drawn],
        )
    # blocks of 2,000 characters of the text in which every document has its end
    stream = [c for text in documents for c in (*text, END)]
    cuts = {i for i in range(0, len(stream), 2000) if stream[i] != END}
    edges = {i + 1 for i, c in enumerate(stream) if c == END} | cuts
    edges = sorted(edges - {0} | {len(stream)})
    assert held_out["of"] == len(edges)
    parts = {True: [], False: []}
    current, last = [], None
    for number, (a, b) in enumerate(zip([0, *edges[:-1]], edges, strict=True)):
        kind = number in drawn
        if current and kind != last:
            parts[last].append("".join(current))
            current = []
        last = kind
        closed = stream[b - 1] == END
        current += stream[a : b - 1] if closed else stream[a:b]
        if closed:
            parts[kind].append("".join(current))
            current = []
    return parts[False], parts[True]


def tokenizer(words):
    total = sum(words.values())
    price = {word: round(-math.log2(n / total) * 2**24) for word, n in words.items()}
    unknown = round(math.log2(2 * total) * 2**24)
    longest = max(map(len, words))
    kinds = character_classes()

    @cache
    def fold(character):
        form = unicodedata.normalize("NFKC", character)
        return form if len(form) == 1 else character

    def may_cut(text):
        n = len(text)
        kind = [int(kinds[ord(c)]) for c in text]
        return [
            i in (0, n)
            or (
                (kind[i] != kind[i - 1] or kind[i] not in (LETTER, DIGIT))
                and (kind[i] != EXTENDING or kind[i - 1] not in (JOINING, EXTENDING))
            )
            for i in range(n + 1)
        ]

    # a word of one atom is matched by one atom, a word of several by several
    compound = {word for word in price if any(may_cut(word)[1:-1])}

    def tokenize(text):
        n = len(text)
        folded = "".join(map(fold, text))
        cut = may_cut(text)
        best = [(0, 0, 0)] * (n + 1)  # cost, number of tokens, minus the length of the first
        for i in range(n - 1, -1, -1):
            if not cut[i]:
                continue
            atom = next(j for j in range(i + 1, n + 1) if cut[j])
            options = [(unknown + best[atom][0], 1 + best[atom][1], i - atom)]
            for j in range(i + 1, min(n, i + max(longest, 1)) + 1):
                word = folded[i:j]
                if cut[j] and word in price and (j == atom or word in compound):
                    options.append((price[word] + best[j][0], 1 + best[j][1], i - j))
            best[i] = min(options)
        i, tokens = 0, []
        while i < n:
            j = i - best[i][2]
            tokens.append(text[i:j])
            i = j
        return tokens

    return tokenize


def classes(folder):
    """Return {word: community} from the tree, at the level that the ledger names."""
    level = json.loads((folder / "ledger.json").read_text(encoding="utf-8"))["level"]
    with safe_open(folder / "vectors.safetensors", "np") as file:
        names = json.loads(file.metadata()["words"])
    of = {END: "end"}
    for line in (folder / "communities.tree").read_text(encoding="utf-8").split("\n"):
        if line and not line.startswith("#"):
            # the last number of a path is the place of the word in its community
            path = line.split(" ", 1)[0].split(":")[:-1]
            of[names[int(line.rsplit(" ", 1)[1])]] = tuple(path[:level])
    return of


def exchanged(folder):
    """Return {word: class} from the table of words."""
    table = pl.read_parquet(folder / "words.parquet").drop_nulls("class")
    return {END: "end"} | dict(table.select("word", "class").iter_rows())


def entropy_bits(counts):
    total = sum(counts.values())
    return sum(n * math.log2(total / n) for n in counts.values())


def gamma(length):
    return 2 * (length.bit_length() - 1) + 1


def ledger(train, tokens, held_out, fresh, of):
    letters = Counter(c for text in train for c in (*text, END))
    n = letters.total()
    counts = Counter(tokens)
    spelled = {w: sum(math.log2(n / letters[c]) for c in w) for w in counts if len(w) > 1}
    lexicon = sum(bits + gamma(len(word)) for word, bits in spelled.items())
    alphabet = len(letters) * math.log2(CODE_POINTS)
    in_sample = [math.log2(len(letters)), entropy_bits(letters) / n, entropy_bits(counts) / n]
    model = [alphabet, alphabet, alphabet + lexicon]
    unseen = held_out_bits(letters, counts, held_out, fresh) if held_out else [None] * 3
    for classes_ in of:
        walk = [classes_.get(token, "rare") for token in tokens]
        pairs = Counter(zip([walk[-1], *walk[:-1]], walk, strict=True))
        members = Counter(walk)
        conditional = entropy_bits(pairs) - entropy_bits(members)  # of a class, given the last
        inside = entropy_bits(counts) - entropy_bits(members)  # of a word, given its class
        in_sample.append((conditional + inside) / n)
        placed = [c for word, c in classes_.items() if word != END]
        partition = len(placed) * math.log2(max(1, len(set(placed))))
        model.append(alphabet + lexicon + partition)
        unseen.append(
            held_out_by_class(letters, counts, pairs, members, classes_, held_out, fresh)
            if held_out
            else None
        )
    names = ["alphabet", "characters", "words", "communities", "exchange"]
    return {
        name: (a, b / n, c) for name, a, b, c in zip(names, in_sample, model, unseen, strict=True)
    }


class Unseen:
    """Prices of what the training part may not hold."""

    def __init__(self, letters):
        self.letters, n = letters, letters.total()
        self.new = math.log2(CODE_POINTS + 1 - len(letters))
        self.escape = (sum(k == 1 for k in letters.values()) + 1) / (n + 2)

    def uniform(self, c):
        return math.log2(len(self.letters) + 1) + (0 if c in self.letters else self.new)

    def coded(self, c):
        if c in self.letters:
            return -math.log2((1 - self.escape) * self.letters[c] / self.letters.total())
        return self.new - math.log2(self.escape)

    def spelled(self, word):
        return gamma(max(1, len(word))) + sum(map(self.coded, word or [END]))


def held_out_bits(letters, counts, held_out, fresh):
    m = counts.total()
    price = Unseen(letters)
    text = [c for document in held_out for c in (*document, END)]
    e = (sum(k == 1 for k in counts.values()) + 1) / (m + 2)
    words = sum(
        -math.log2((1 - e) * counts[w] / m) if w in counts else price.spelled(w) - math.log2(e)
        for w in fresh
    )
    bits = [sum(map(price.uniform, text)), sum(map(price.coded, text)), words]
    return [total / len(text) for total in bits]


def held_out_by_class(letters, counts, pairs, members, of, held_out, fresh):
    m = counts.total()
    price = Unseen(letters)
    once = sum(k == 1 for w, k in counts.items() if w not in of)
    rare_e = (once + 1) / (members["rare"] + 2)
    followers = Counter(before for before, _ in pairs)
    walk = [of.get(w, "rare") if w in counts else "rare" for w in fresh]
    bits = 0.0
    for before, here, w in zip([walk[-1], *walk[:-1]], walk, fresh, strict=True):
        share = (members[here] + (here == "rare")) / (m + 1)
        weight = max(1, followers[before])
        chance = (pairs[before, here] + weight * share) / (members[before] + weight)
        bits -= math.log2(chance)
        if w not in counts:
            bits += price.spelled(w) - math.log2(rare_e)
        else:
            known = (1 - rare_e) if here == "rare" else 1.0
            bits -= math.log2(known * counts[w] / members[here])
    return bits / sum(len(document) + 1 for document in held_out)


def differences(folder: Path, documents: list[str]) -> dict[str, float]:
    """Return the largest difference from ``ledger.json`` in every row."""
    written = {row["name"]: row for row in json.loads((folder / "ledger.json").read_text())["rows"]}
    found = recompute(folder, documents)
    return {
        name: max(
            abs((a or 0) - (b or 0))
            for a, b in zip(
                figures, [written[name][k] for k in ("in_sample", "model", "held_out")], strict=True
            )
        )
        for name, figures in found.items()
    }


if __name__ == "__main__":
    folder, source = Path(sys.argv[1]), sys.argv[2]
    if source == "--demo":
        from kexue.atlas.demo import load_demo

        lines = ["".join(words) for words in load_demo()]
    else:
        opener = lzma.open if source.endswith(".xz") else open
        with opener(source, "rt", encoding="utf-8") as file:
            lines = [line.rstrip("\n") for line in file if line.rstrip("\n")]
    for name, figures in recompute(folder, lines).items():
        print(name, *figures)
    print("largest differences", differences(folder, lines))
