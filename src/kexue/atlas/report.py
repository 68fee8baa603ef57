"""What the page of an atlas says, gathered from a fitted one."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import numpy as np

from kexue.atlas.levels import communities_at
from kexue.atlas.page import Community, Module, Page, WordTable
from kexue.atlas.sentences import examples, sentence_bounds, spelled

if TYPE_CHECKING:
    import polars as pl

    from kexue.atlas.atlas import Atlas
    from kexue.atlas.ledger import LedgerRow

MAX_WORDS = 20_000
N_SAMPLES = 12
N_NEIGHBOURS = 10
MOST_OF_THE_TEXT = 0.5
WORD_LIKE = re.compile(r"[^\W_]")
EXAMPLE_CHARACTERS = 200_000
WORDS = (
    "Words",
    "Stretches of characters that are predictable inside and free at both ends, refined by "
    "hard EM until the most probable segmentation stands still.",
    "Magistry and Sagot, ACL 2012",
)
VECTORS = {
    "ppmi": (
        "Vectors",
        "Counts of the words that come right before and right after, as positive pointwise "
        "mutual information, reduced by a truncated SVD.",
        "Levy, Goldberg and Dagan, TACL 2015",
    ),
    "jose": (
        "Vectors",
        "Words and documents on a sphere, trained to be near the words around them.",
        "Meng et al., NeurIPS 2019",
    ),
}
NETWORK = (
    "Network",
    "Each word is linked to the words nearest to it by the cosine of their vectors.",
    "25 neighbours of cosine 0.3 or more",
)
COMMUNITIES = (
    "Communities",
    "The partition of the network, in as many levels as it takes, in which a random walk has the "
    "shortest description; the ledger uses the level that codes the text kept back best.",
    "Rosvall and Bergstrom, PLoS ONE 2011",
)
EXCHANGE = (
    "Exchange",
    "Starting from the communities, each word moves to the class that leaves neighbouring classes "
    "the most mutual information, until little changes.",
    "Kneser and Ney, Eurospeech 1993",
)
MAP = (
    "Map",
    "The words in the plane, so that the nearest neighbours of each stay near.",
    "McInnes, Healy and Melville, UMAP, 2018",
)
LEDGER = (
    "Ledger",
    "Each row is a complete code for the same text; pairs of communities on held-out text "
    "are interpolated with their frequencies after Witten and Bell.",
    "The minimum entropy principle, kexue.fm archives 5448 to 7006",
)


def describe(
    atlas: Atlas, title: str, facts: list[tuple[str, str]], gold: dict[str, float] | None
) -> Page:
    """Return the page of a fitted atlas."""
    tokens = atlas.train_
    table = atlas.words_
    word_like = table.filter(
        (table["word"].str.len_chars() > 1) & (table["word"].str.strip_chars() != "")
    )
    # punctuation is coded like all else, but nobody looks it up in a list of words
    shown = table.filter(table["word"].str.contains(r"[\p{L}\p{N}]")).head(MAX_WORDS)
    number = {word: k for k, word in enumerate(tokens.spellings)}
    types = np.array([number[word] for word in shown["word"].to_list()], np.int64)
    bounds, example = examples(tokens, types, EXAMPLE_CHARACTERS)
    methods = [WORDS, VECTORS[atlas.vectors], NETWORK, COMMUNITIES, EXCHANGE, MAP, LEDGER]
    if not atlas.layout:
        methods.remove(MAP)
    return Page(
        title=title,
        documents=atlas.n_documents_,
        characters=atlas.n_characters_,
        tokens=int(tokens.ids.size),
        words_found=word_like.height,
        held_out_rule=held_out_rule(atlas),
        ledger=atlas.ledger_,
        references=atlas.references_,
        notes=plain_notes(atlas),
        words=_words(atlas, shown, example.tolist()),
        communities=_communities(atlas, shown["word"].to_list()),
        modules=_modules(atlas),
        sentences=spelled(tokens, bounds),
        samples=_samples(atlas),
        gold=gold,
        methods=methods,
        facts=facts,
        lang=_language(atlas),
    )


def held_out_rule(atlas: Atlas) -> str:
    """Return one sentence on what was kept back and how it is coded."""
    split = atlas.split_
    if not split.drawn.size:
        return "The text is too short to keep a tenth of it back, so nothing is held out."
    unit = "documents" if split.unit == "documents" else "blocks of 2,000 characters"
    return (
        f"Held out: {split.drawn.size:,} of {split.n_units:,} {unit}, drawn at random, from which "
        "nothing was learned. A word never seen there is spelled out after an escape symbol whose "
        "probability is the share of words used once; pairs of communities are interpolated with "
        "their frequencies (Witten and Bell). Where documents are lines of longer texts, the lines "
        "around a held-out one were learned from, and it seems cheaper than a new text would be."
    )


def plain_notes(atlas: Atlas) -> list[str]:
    """Return what was learned, and what was not, in plain words."""
    rows = {row.name: row for row in atlas.ledger_}
    characters, words, communities, exchange = (
        rows[name] for name in ("characters", "words", "communities", "exchange")
    )
    notes = [
        f"Knowing the words saves {characters.in_sample - words.in_sample:.2f} bits of the "
        f"{characters.in_sample:.2f} that a character costs by its frequency alone; knowing "
        "which communities follow each other saves "
        f"{words.in_sample - communities.in_sample:.2f} more, and moving words between them to "
        "where they predict their neighbours best another "
        f"{communities.in_sample - exchange.in_sample:.2f}."
    ]
    sizes = np.bincount(atlas.labels_, minlength=1)
    if sizes.max() < 2 or sizes.size < 2:
        notes.append(
            "The similarity network has no communities to speak of: too few words are frequent "
            "enough to be compared, and what the communities row saves it owes to single words."
        )
    if exchange.held_out is not None:
        notes.append(_held_out_note([characters, words, communities, exchange]))
    if atlas.succession_ is not None:
        notes.append(_succession_note(atlas))
    costs = exchange.in_sample + exchange.model
    spelled_out = characters.in_sample + characters.model
    verb = "pays" if costs < spelled_out else "does not pay"
    notes.append(
        f"With lexicon and partition written down too, the last row costs {costs:.2f} bits per "
        f"character against {spelled_out:.2f} for the characters and their alphabet: what was "
        f"learned {verb} for itself on a text of this size, the frequencies of words and "
        "characters, which are not charged, left aside."
    )
    best = min(atlas.references_, key=lambda name: atlas.references_[name])
    bits = atlas.references_[best]
    verdict = (
        f"{best} is better at mere compression: it writes the same text in {bits:.2f} bits per "
        f"character all told, against these {costs:.2f}"
        if bits < costs
        else f"For comparison, {best} writes the same text in {bits:.2f} bits per character"
    )
    notes.append(f"{verdict}. It does so by repeating long stretches, and names no word.")
    return notes


def _held_out_note(rows: list[LedgerRow]) -> str:
    """Return what each row saves on the text kept back, from the second on."""
    names = [row.name for row in rows[1:]]
    gains = [(a.held_out or 0.0) - (b.held_out or 0.0) for a, b in itertools.pairwise(rows)]
    each = " and ".join(
        f"{name} {gain:.2f}" for name, gain in zip(names, gains, strict=True)
    ).replace(" and ", ", ", len(names) - 2)
    losers = [name for name, gain in zip(names, gains, strict=True) if gain <= 0]
    if not losers:
        return f"On the held-out text every step still saves: {each} bits per character."
    return (
        f"On the held-out text the step to {' and '.join(losers)} loses: {each} bits per character "
        "saved there, so part of what was learned belongs to this text alone."
    )


def _succession_note(atlas: Atlas) -> str:
    """Return whether the network of which word follows which has communities."""
    network = atlas.succession_
    assert network is not None
    uses = np.bincount(network.paths[:, 0], atlas.train_.counts)
    share = float(uses.max() / uses.sum())
    bits = f"{network.one_level:.2f} bits per word without communities, {network.codelength:.2f}"
    if share > MOST_OF_THE_TEXT or uses.size < 2:
        return (
            "The network of succession, of which word follows which, has no communities to speak "
            f"of: one of them holds {share:.0%} of the text ({bits} with them)."
        )
    leading = [
        " ".join(_leading_words(atlas, np.flatnonzero(network.paths[:, 0] == community)))
        for community in range(min(3, uses.size))
    ]
    return (
        f"The network of succession, of which word follows which, has {uses.size:,} communities "
        f"({bits} with them); the largest holds {share:.0%} of the text. The first are of "
        f"{'; '.join(leading)}."
    )


def _leading_words(atlas: Atlas, types: np.ndarray) -> list[str]:
    tokens = atlas.train_
    ranked = types[np.argsort(-tokens.counts[types], kind="stable")]
    words = (tokens.spellings[k] for k in ranked.tolist())
    return list(itertools.islice((word for word in words if word.strip()), 4))


def _words(atlas: Atlas, shown: pl.DataFrame, example: list[int]) -> WordTable:
    row = {word: i for i, word in enumerate(shown["word"].to_list())}
    freedom = np.minimum(shown["left_entropy"].to_numpy(), shown["right_entropy"].to_numpy())
    community = dict(zip(atlas.placed_words_, atlas.labels_.tolist(), strict=True))
    neighbours: list[list[int]] = [[] for _ in range(shown.height)]
    graph = atlas.similarity_
    for place, word in enumerate(atlas.placed_words_):
        if word in row:
            links = slice(graph.indptr[place], graph.indptr[place + 1])
            nearest = graph.indices[links][np.argsort(-graph.data[links], kind="stable")]
            names = (atlas.placed_words_[i] for i in nearest)
            neighbours[row[word]] = [row[name] for name in names if name in row][:N_NEIGHBOURS]
    nowhere: list[None] = [None] * shown.height
    return WordTable(
        word=shown["word"].to_list(),
        count=shown["count"].to_list(),
        cohesion=shown["pmi"].to_list(),
        freedom=freedom.tolist(),
        bits_saved=shown["bits_saved"].to_list(),
        bits_net=shown["bits_net"].to_list(),
        community=[community.get(word, -1) for word in row],
        neighbours=neighbours,
        x=shown["x"].to_list() if atlas.layout else nowhere,
        y=shown["y"].to_list() if atlas.layout else nowhere,
        example=example,
    )


def _communities(atlas: Atlas, shown: list[str]) -> list[Community]:
    row = {word: i for i, word in enumerate(shown)}
    groups = _groups(atlas, atlas.level_)
    return [
        Community(
            index=index,
            path=path,
            label=_name(atlas, places),
            share=uses / atlas.train_.ids.size,
            uses=uses,
            size=len(places),
            members=[row[w] for w in (atlas.placed_words_[i] for i in places) if w in row],
        )
        for index, (path, places, uses) in enumerate(groups)
    ]


def _modules(atlas: Atlas) -> list[Module]:
    return [
        Module(path, _name(atlas, places), uses / atlas.train_.ids.size, len(places))
        for level in range(1, atlas.level_)
        for path, places, uses in _groups(atlas, level)
        if atlas.paths_[places[0], level] >= 0
    ]


def _groups(atlas: Atlas, level: int) -> list[tuple[tuple[int, ...], list[int], int]]:
    """Return the path, the words by falling use, and the tokens of each module at a level.

    Modules that end above the level are among them, as they are in `Atlas.labels_`.
    """
    labels = communities_at(atlas.paths_, level)
    uses = atlas.train_.counts[atlas.placed_types_]
    order = np.argsort(labels, kind="stable")  # most frequent words come first already
    bounds = np.flatnonzero(np.diff(labels[order])) + 1
    groups = []
    for places in np.split(order, bounds) if order.size else []:
        path = tuple(place + 1 for place in atlas.paths_[places[0], :level].tolist() if place >= 0)
        groups.append((path, places.tolist(), int(uses[places].sum())))
    return groups


def _name(atlas: Atlas, places: list[int]) -> list[str]:
    """Return the most frequent words; punctuation only where there is nothing else."""
    words = (atlas.placed_words_[place] for place in places)
    named = list(itertools.islice((word for word in words if WORD_LIKE.search(word)), 5))
    others = (atlas.placed_words_[place] for place in places[:5])
    return named or [word for word in others if word.strip()] or ["white space"]


def _samples(atlas: Atlas) -> list[list[tuple[str, int]]]:
    """Return sentences of 12 to 80 characters, drawn from the held-out text if there is any."""
    tokens = atlas.held_out_ or atlas.train_
    community = dict(zip(atlas.placed_words_, atlas.labels_.tolist(), strict=True))
    bounds = sentence_bounds(tokens, 12, 80)
    if len(bounds) > N_SAMPLES:
        rng = np.random.default_rng(atlas.seed_)
        bounds = bounds[np.sort(rng.permutation(len(bounds))[:N_SAMPLES])]
    samples = []
    for a, b in bounds.tolist():
        words = [tokens.spellings[kind] for kind in tokens.ids[a:b].tolist()]
        samples.append([(word, community.get(word, -1)) for word in words])
    return samples


def _language(atlas: Atlas) -> str:
    """Return a language tag for fonts and hyphenation, by the most frequent script."""
    codes = atlas.train_.codes[: 10**6]
    if np.count_nonzero((codes >= 0x3040) & (codes <= 0x30FF)) > codes.size // 20:
        return "ja"
    if np.count_nonzero((codes >= 0x3400) & (codes <= 0x9FFF)) > codes.size // 3:
        return "zh"
    return "und"
