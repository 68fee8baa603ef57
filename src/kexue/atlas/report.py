"""What the page of an atlas says, gathered from a fitted one."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import numpy as np

from kexue.atlas.page import Community, Page, WordTable
from kexue.corpus.texts import DOCUMENT_END, decode_codes

if TYPE_CHECKING:
    from kexue.atlas.atlas import Atlas

MAX_WORDS = 20_000
N_SAMPLES = 12
N_NEIGHBOURS = 10
WORD_LIKE = re.compile(r"[^\W_]")
METHODS = [
    (
        "Words",
        "Stretches of characters that are predictable inside and free at both ends, refined by "
        "hard EM until the most probable segmentation stands still.",
        "Magistry and Sagot, ACL 2012",
    ),
    (
        "Vectors",
        "Counts of the words that come right before and right after, as positive pointwise "
        "mutual information, reduced by a truncated SVD.",
        "Levy, Goldberg and Dagan, TACL 2015",
    ),
    (
        "Network",
        "Each word is linked to the words nearest to it by the cosine of their vectors.",
        "25 neighbours of cosine 0.3 or more",
    ),
    (
        "Communities",
        "The partition of the network in which a random walk has the shortest description.",
        "Rosvall and Bergstrom, PNAS 2008",
    ),
    (
        "Ledger",
        "Each row is a complete code for the same text; pairs of communities on held-out text "
        "are interpolated with their frequencies after Witten and Bell.",
        "The minimum entropy principle, kexue.fm archives 5448 to 7006",
    ),
]


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
        words=_words(atlas, shown),
        communities=_communities(atlas, shown["word"].to_list()),
        samples=_samples(atlas),
        gold=gold,
        methods=METHODS,
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
        "their frequencies (Witten and Bell)."
    )


def plain_notes(atlas: Atlas) -> list[str]:
    """Return what was learned, and what was not, in plain words."""
    rows = {row.name: row for row in atlas.ledger_}
    characters, words, communities = (rows[name] for name in ("characters", "words", "communities"))
    notes = [
        f"Knowing the words saves {characters.in_sample - words.in_sample:.2f} bits of the "
        f"{characters.in_sample:.2f} that a character costs by its frequency alone; knowing "
        "which communities follow each other saves "
        f"{words.in_sample - communities.in_sample:.2f} more."
    ]
    sizes = np.bincount(atlas.labels_, minlength=1)
    if sizes.max() < 2 or sizes.size < 2:
        notes.append(
            "The similarity network has no communities to speak of: too few words are frequent "
            "enough to be compared, and what the communities row saves it owes to single words."
        )
    if words.held_out is not None and communities.held_out is not None:
        assert characters.held_out is not None
        notes.append(_held_out_note(characters.held_out, words.held_out, communities.held_out))
    costs = communities.in_sample + communities.model
    spelled = characters.in_sample + characters.model
    verb = "pays" if costs < spelled else "does not pay"
    notes.append(
        f"With lexicon and partition written down too, the last row costs {costs:.2f} bits per "
        f"character against {spelled:.2f} for the characters and their alphabet: what was "
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


def _held_out_note(characters: float, words: float, communities: float) -> str:
    saved, more = characters - words, words - communities
    if saved > 0 and more > 0:
        return (
            f"On the held-out text both still save: words {saved:.2f} and communities "
            f"{more:.2f} bits per character."
        )
    losers = [name for name, gain in (("words", saved), ("communities", more)) if gain <= 0]
    return (
        f"On the held-out text the row of {' and '.join(losers)} loses: words save {saved:.2f} "
        f"and communities {more:.2f} bits per character there, so part of what was learned "
        "belongs to this text alone."
    )


def _words(atlas: Atlas, shown: object) -> WordTable:
    import polars as pl

    assert isinstance(shown, pl.DataFrame)
    row = {word: i for i, word in enumerate(shown["word"].to_list())}
    freedom = np.minimum(shown["left_entropy"].to_numpy(), shown["right_entropy"].to_numpy())
    neighbours: list[list[int]] = [[] for _ in range(shown.height)]
    graph = atlas.similarity_
    for place, word in enumerate(atlas.placed_words_):
        if word in row:
            links = slice(graph.indptr[place], graph.indptr[place + 1])
            nearest = graph.indices[links][np.argsort(-graph.data[links], kind="stable")]
            names = (atlas.placed_words_[i] for i in nearest)
            neighbours[row[word]] = [row[name] for name in names if name in row][:N_NEIGHBOURS]
    return WordTable(
        word=shown["word"].to_list(),
        count=shown["count"].to_list(),
        cohesion=shown["pmi"].to_list(),
        freedom=freedom.tolist(),
        bits_saved=shown["bits_saved"].to_list(),
        bits_net=shown["bits_net"].to_list(),
        community=(shown["community"].fill_null(0) - 1).to_list(),
        neighbours=neighbours,
    )


def _communities(atlas: Atlas, shown: list[str]) -> list[Community]:
    row = {word: i for i, word in enumerate(shown)}
    uses = atlas.train_.counts[atlas.placed_types_]
    members: list[list[int]] = [[] for _ in range(int(atlas.labels_.max(initial=-1)) + 1)]
    for place, label in enumerate(atlas.labels_.tolist()):  # most frequent words come first
        members[label].append(place)
    communities = []
    for index, places in enumerate(members):
        words = [atlas.placed_words_[place] for place in places]
        # a name is made of words; punctuation only names a community that has nothing else
        named = [word for word in words if WORD_LIKE.search(word)]
        named = named or [word for word in words if word.strip()] or ["white space"]
        total = int(uses[places].sum())
        communities.append(
            Community(
                index=index,
                label=named[:5],
                share=total / atlas.train_.ids.size,
                uses=total,
                size=len(places),
                members=[row[word] for word in words if word in row],
            )
        )
    return communities


def _samples(atlas: Atlas) -> list[list[tuple[str, int]]]:
    """Return sentences of 12 to 80 characters, drawn from the held-out text if there is any."""
    tokens = atlas.held_out_ or atlas.train_
    table = atlas.words_
    numbers = (table["community"].fill_null(0) - 1).to_list()
    community = dict(zip(table["word"].to_list(), numbers, strict=True))
    text = decode_codes(np.where(tokens.codes == DOCUMENT_END, 0x1E, tokens.codes))
    ends = [match.end() for match in re.finditer("[\x1e。！？]|[.!?](?=\\s)", text)]
    starts = [0, *ends[:-1]]
    spans = [
        (a, b)
        for a, b in zip(starts, ends, strict=True)
        if 12 <= len(text[a:b].strip(" \u3000\x1e")) <= 80
    ]
    if len(spans) > N_SAMPLES:
        rng = np.random.default_rng(atlas.seed_)
        spans = [spans[i] for i in np.sort(rng.permutation(len(spans))[:N_SAMPLES])]
    samples = []
    for a, b in spans:
        first, last = np.searchsorted(tokens.starts, (a, b))
        edges = tokens.starts[first : last + 1].tolist()
        pieces = [text[i:j] for i, j in itertools.pairwise(edges)]
        sample = [(piece, community.get(piece, -1)) for piece in pieces if piece != "\x1e"]
        while sample and not sample[0][0].strip():
            sample.pop(0)
        samples.append(sample)
    return samples


def _language(atlas: Atlas) -> str:
    """Return a language tag for fonts and hyphenation, by the most frequent script."""
    codes = atlas.train_.codes[: 10**6]
    if np.count_nonzero((codes >= 0x3040) & (codes <= 0x30FF)) > codes.size // 20:
        return "ja"
    if np.count_nonzero((codes >= 0x3400) & (codes <= 0x9FFF)) > codes.size // 3:
        return "zh"
    return "und"
