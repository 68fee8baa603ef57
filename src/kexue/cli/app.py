"""Commands and their options; the work itself is imported when a command runs."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kexue.cli.console import (
    INTERRUPTED,
    exit_codes,
    interrupt_notes,
    print_ledger,
    print_pairs,
    say_compiling,
    stage_lines,
    summary_of_communities,
    trial_bar,
)

FORMATS = (".txt", ".text", ".md", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")

if TYPE_CHECKING:
    from kexue.corpus import Texts

app = typer.Typer(
    name="kexue",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Documents(str, Enum):  # noqa: UP042 - typer shows the plain values of a str enum
    """What one document is."""

    auto = "auto"
    lines = "lines"
    files = "files"
    records = "records"


class Vectors(str, Enum):  # noqa: UP042
    """Which word vectors."""

    ppmi = "ppmi"
    jose = "jose"


class Flow(str, Enum):  # noqa: UP042
    """Which random walk on a network."""

    undirected = "undirected"
    directed = "directed"
    recorded = "recorded"
    rawdir = "rawdir"


class Levels(str, Enum):  # noqa: UP042
    """How many levels of modules."""

    auto = "auto"
    two = "2"


class Quality(str, Enum):  # noqa: UP042
    """How long to search."""

    fast = "fast"
    best = "best"


Paths = Annotated[
    list[str],
    typer.Argument(
        help="Files, folders, patterns, or - for standard input: plain text, JSON Lines, CSV, "
        "TSV, Parquet; also .gz, .zst, .xz.",
        show_default=False,
    ),
]
OptionalPaths = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files, folders, patterns, or - for standard input: plain text, JSON Lines, CSV, "
        "TSV, Parquet; also .gz, .zst, .xz.",
        show_default=False,
    ),
]
Column = Annotated[str | None, typer.Option(help="Column of a table that holds the text.")]
DocumentsOption = Annotated[Documents, typer.Option(help="What one document is.")]
Errors = Annotated[str, typer.Option(help="What to do about undecodable bytes: strict or replace.")]
Encoding = Annotated[str, typer.Option(help="Encoding of the files.")]
MaxLength = Annotated[int, typer.Option(help="Longest word in scripts without blanks, 1 to 8.")]
Model = Annotated[
    Path | None,
    typer.Option(
        "--model",
        "-m",
        help="Folder of an atlas, or a tokenizer.json.",
        show_default="words are discovered",
    ),
]
Memory = Annotated[str, typer.Option(help="Most memory for counting.")]
Jobs = Annotated[
    int, typer.Option("--jobs", "-j", help="Threads or workers; -1 means all processors.")
]
ExecutorOption = Annotated[
    str,
    typer.Option(
        "--executor",
        help="Where words are counted and found: thread, process, dask (a cluster on this machine "
        "with so many jobs), or the address of a Dask scheduler, tcp://HOST:PORT.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no ledger.")]


def _version(value: bool) -> None:
    if value:
        from kexue import __version__

        typer.echo(f"kexue {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Learn structure from text and networks without labels; bits are the currency.

    Exit codes: 0 done, 1 the job failed, 2 bad usage or bad input.
    """


@app.command()
def atlas(
    paths: OptionalPaths = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder.", show_default="the input's name + -atlas"),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Use the demo corpus (extra `demo`) and score its words.")
    ] = False,
    column: Column = None,
    documents: DocumentsOption = Documents.auto,
    encoding: Encoding = "utf-8",
    errors: Errors = "strict",
    max_length: MaxLength = 4,
    min_count: Annotated[int, typer.Option(help="Rarer words get no vector.")] = 5,
    vectors: Annotated[
        Vectors, typer.Option(help="ppmi: words of one kind are near; jose: of one topic.")
    ] = Vectors.ppmi,
    succession: Annotated[
        bool, typer.Option("--succession", help="Communities of which word follows which, too.")
    ] = False,
    layout: Annotated[bool, typer.Option("--map/--no-map", help="Draw the map of words.")] = True,
    memory: Memory = "2GB",
    jobs: Jobs = -1,
    executor: ExecutorOption = "thread",
    seed: Annotated[int, typer.Option(help="Another seed draws another held-out part.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Use finished stages of an earlier run.")
    ] = True,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    quiet: Quiet = False,
) -> None:
    """Turn raw text into its words, their communities and an entropy ledger, on one page."""
    with exit_codes():
        from kexue._core import InputError

        if demo == bool(paths):
            raise InputError("give either files to read or --demo")
        from kexue.atlas.files import check_folder, check_same_text, is_atlas, write_atlas

        gold = None
        folder = output or Path(_default_folder(paths or ["demo"]))
        check_folder(folder)
        if demo:
            from kexue.atlas.demo import load_demo
            from kexue.corpus import as_texts

            gold = load_demo()
            texts = as_texts(["".join(words) for words in gold])
        else:
            texts = _read(paths or [], column, documents, encoding, errors)
        if resume and is_atlas(folder):
            check_same_text(folder, texts.fingerprint())
        from kexue.atlas import Atlas

        with _workers(executor) as workers, stage_lines(quiet, layout) as progress:
            model = Atlas(
                max_length=max_length,
                min_count=min_count,
                vectors=vectors.value,
                succession=succession,
                layout=layout,
                random_state=seed,
                n_jobs=jobs,
                memory=memory,
                workdir=folder,
                executor=workers,
            ).fit(texts, fresh=not resume, progress=progress)
        score = None
        if gold is not None:
            from kexue.words import segmentation_score

            score = segmentation_score(model.tokenizer_.transform(texts), gold)
        name = (
            "People's Daily, January 1998" if demo else folder.resolve().name.removesuffix("-atlas")
        )
        write_atlas(model, folder, name, score)
        page = folder / "atlas.html"
        if not quiet:
            print_ledger(model.ledger_, model.references_)
            if score is not None:
                typer.echo(
                    f"\nwords against gold: F1 {100 * score['f1']:.1f}, "
                    f"precision {100 * score['precision']:.1f}, "
                    f"recall {100 * score['recall']:.1f}"
                )
            typer.echo(
                f"\nread {model.n_characters_:,} characters in {model.n_documents_:,} documents of "
                f"{len(texts.sources):,} source{'s' * (len(texts.sources) != 1)}\npage: {page}"
            )
        if open_page:
            typer.launch(page.resolve().as_uri())


@app.command()
def words(
    paths: Paths,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A .parquet, .csv, .tsv or .jsonl file.",
            show_default="TSV, or the first rows to a terminal",
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="A .json file for the tokenizer, for `kexue segment`.", show_default="none"
        ),
    ] = None,
    column: Column = None,
    documents: DocumentsOption = Documents.auto,
    encoding: Encoding = "utf-8",
    errors: Errors = "strict",
    max_length: MaxLength = 4,
    min_count: Annotated[
        int | None, typer.Option(help="Least uses of a joined word.", show_default="1 or 2 by size")
    ] = None,
    penalty: Annotated[
        str, typer.Option(help="Price of a word, nats, or mdl: found in the text.")
    ] = "-5",
    memory: Memory = "2GB",
    jobs: Jobs = -1,
    executor: ExecutorOption = "thread",
) -> None:
    """Find the words of a text and what each is worth, most bits saved first.

    Columns: word, count; pmi, bits by which the word is likelier than its characters one by one;
    entropies of the words to its left and right, bits; bits_saved, its share in what words
    save over characters; bits_net, that less the price of its entry in the lexicon.
    """
    with exit_codes():
        from kexue.cli.words import check_output, read_penalty, write_words

        check_output(output, tokenizer)
        from kexue.words import WordDiscoverer

        with _workers(executor) as workers:
            model = WordDiscoverer(
                max_length=max_length,
                min_count="auto" if min_count is None else min_count,
                penalty=read_penalty(penalty),
                memory=memory,
                n_jobs=jobs,
                executor=workers,
            ).fit(_read(paths, column, documents, encoding, errors))
        # blanks and the end of a document are tokens too, but nobody looks for them in a list
        table = model.words_.filter(model.words_["word"].str.strip_chars() != "")
        if tokenizer is not None:
            model.tokenizer_.save(tokenizer)
        write_words(table, output)


@app.command()
def segment(
    paths: OptionalPaths = None,
    model: Annotated[
        Path, typer.Option("--model", "-m", help="Folder of an atlas, or a tokenizer.json.")
    ] = ...,  # type: ignore[assignment]
    separator: Annotated[
        str, typer.Option("--separator", "--sep", help="Put between words.")
    ] = " ",
    ids: Annotated[bool, typer.Option("--ids", help="Write the ids of words and bytes.")] = False,
    column: Column = None,
    documents: DocumentsOption = Documents.auto,
    encoding: Encoding = "utf-8",
    errors: Errors = "strict",
) -> None:
    """Write texts with their words apart, one document a line, to standard output.

    Lines of standard input are written as soon as they have come, and every line is one, empty
    ones too. Of files, empty lines are no documents; a line end inside a document becomes a blank.
    """
    with exit_codes():
        from kexue.cli.segmenting import segment_stream

        segment_stream(
            paths or ["-"],
            model,
            separator,
            ids=ids,
            options=_reading(column, documents, encoding, errors),
        )


@app.command()
def parse(
    paths: OptionalPaths = None,
    learn: Annotated[
        list[str] | None,
        typer.Option(
            "--learn",
            "-l",
            help="Text to learn templates from; may be given several times.",
            show_default="the text itself",
        ),
    ] = None,
    model: Model = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Print the templates, most bits saved first.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One tree a line, as JSON.")] = False,
    window: Annotated[int, typer.Option(help="Largest distance of linked words.")] = 5,
    min_count: Annotated[int, typer.Option(help="Least uses of a template.")] = 5,
    min_pmi: Annotated[float, typer.Option(help="PMI above which words are linked, nats.")] = 2.0,
    column: Column = None,
    documents: DocumentsOption = Documents.auto,
    encoding: Encoding = "utf-8",
    errors: Errors = "strict",
    jobs: Jobs = -1,
) -> None:
    """Learn sentence templates such as "[X] of [X]" and write the tree of every sentence.

    Sentences end at punctuation. A line of a tree is a template; what fills its slots is indented
    under it, words that no template covers stand for themselves, and a + is a row of several.
    """
    with exit_codes():
        from kexue.cli.parsing import write_trees

        write_trees(
            paths=paths or ["-"],
            learn=learn or [],
            model=model,
            window=window,
            min_count=min_count,
            min_pmi=min_pmi,
            listed=listed,
            as_json=as_json,
            jobs=jobs,
            options=_reading(column, documents, encoding, errors),
        )


@app.command("vectors")
def word_vectors(
    paths: Paths,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A .safetensors file (words, contexts, documents), or a .txt or .vec one (words, "
            "in word2vec's format).",
        ),
    ],
    model: Model = None,
    blanks: Annotated[
        bool,
        typer.Option(
            "--blanks",
            help="Words are what stands between blanks, with the punctuation that touches them.",
        ),
    ] = False,
    components: Annotated[int, typer.Option(help="Dimension of the vectors.")] = 100,
    window: Annotated[int, typer.Option(help="Largest distance of a neighbour.")] = 5,
    epochs: Annotated[int, typer.Option(help="Passes over the text.")] = 10,
    min_count: Annotated[int, typer.Option(help="Rarer words get no vector.")] = 5,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same bits for any number of threads.")
    ] = False,
    column: Column = None,
    documents: DocumentsOption = Documents.auto,
    encoding: Encoding = "utf-8",
    errors: Errors = "strict",
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 0,
    jobs: Jobs = -1,
    quiet: Quiet = False,
) -> None:
    """Learn vectors of words and documents on the unit sphere (JoSE).

    Words are discovered in the text, of scripts with blanks too, and punctuation stands apart.
    Nothing is lower-cased, here or by --blanks. Documents stay in the order of the input.
    """
    with exit_codes():
        from kexue._core import InputError
        from kexue.cli.vectors import check_output, report, write_vectors

        check_output(output)
        if blanks and model is not None:
            raise InputError("--blanks and --model both say what a word is; give one of them")
        jose = write_vectors(
            _read(paths, column, documents, encoding, errors),
            output,
            model=model,
            blanks=blanks,
            jobs=jobs,
            options={
                "n_components": components,
                "window": window,
                "epochs": epochs,
                "min_count": min_count,
                "deterministic": deterministic,
                "random_state": seed,
            },
        )
        if not quiet:
            report(jose, output)


@app.command()
def similar(
    vectors: Annotated[
        Path,
        typer.Argument(help="A file of `kexue vectors`, a folder of an atlas, or word2vec text."),
    ],
    words: Annotated[list[str], typer.Argument(help="Words.", show_default=False)],
    number: Annotated[int, typer.Option("--number", "-n", help="How many words for each.")] = 10,
) -> None:
    """Print the words whose vectors have the largest cosines with a word's.

    If one of the words is unknown, nothing is printed for the others.
    """
    with exit_codes():
        from kexue._core import check_int
        from kexue.cli.vectors import write_similar

        check_int("--number", number, minimum=1)
        write_similar(vectors, words, number)


@app.command()
def communities(
    graph: Annotated[
        str,
        typer.Argument(
            help="Edge list (source, target and maybe weight), .parquet table, Pajek .net, or - "
            "for an edge list on standard input."
        ),
    ],
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            help="A .tree, .clu, .json or .html file; may be given several times.",
            show_default="a tree, printed",
        ),
    ] = None,
    levels: Annotated[
        Levels, typer.Option(help="As many levels as save bits, or two.")
    ] = Levels.auto,
    flow: Annotated[Flow, typer.Option(help="Which random walk.")] = Flow.undirected,
    teleport: Annotated[float, typer.Option(help="Probability of teleportation.")] = 0.15,
    markov_time: Annotated[float, typer.Option(help="More than 1: larger communities.")] = 1.0,
    regularized: Annotated[
        bool, typer.Option("--regularized", help="Allow for links that nobody observed.")
    ] = False,
    weight: Annotated[
        bool, typer.Option("--weight/--no-weight", help="Whether a third column is the weight.")
    ] = True,
    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header", help="Whether the first line is one.", show_default="guessed"
        ),
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option(help="A .tree or .clu file to begin with.", show_default="none"),
    ] = None,
    trials: Annotated[int, typer.Option(help="Trials, of which the best is kept.")] = 1,
    quality: Annotated[Quality, typer.Option(help="How long a trial goes on.")] = Quality.fast,
    seed: Annotated[int, typer.Option(help="Seed of the first trial.")] = 0,
    jobs: Jobs = -1,
    quiet: Quiet = False,
) -> None:
    """Find the communities of a network, and communities within them, by the map equation.

    Ctrl-C ends the trials; the best that had finished is written.
    """
    with exit_codes():
        from kexue._core import InputError
        from kexue.graph import Infomap, format_tree, read_graph

        suffixes = (".tree", ".clu", ".json", ".html")
        for path in output or []:
            if path.suffix not in suffixes:
                raise InputError(f"-o must name a .tree, .clu, .json or .html file, got {path}")
            if not os.access(path.parent, os.W_OK):
                raise InputError(f"-o: {path.parent} is not a folder that can be written to")
        network = read_graph(
            sys.stdin.buffer if graph == "-" else graph,
            directed=flow is not Flow.undirected,
            weight=weight,
            header=header,
        )
        model = Infomap(
            levels="auto" if levels is Levels.auto else 2,
            flow=flow.value,
            teleport=teleport,
            markov_time=markov_time,
            regularized=regularized,
            n_init=trials,
            quality=quality.value,
            random_state=seed,
            n_jobs=jobs,
        )
        if not quiet:
            say_compiling()
        try:
            with trial_bar(quiet) as progress, interrupt_notes() as notes:
                model.fit(network, initial=initial, progress=progress)
        except KeyboardInterrupt:
            typer.echo("kexue: interrupted: no search had finished, nothing is written", err=True)
            raise typer.Exit(INTERRUPTED) from None
        if not quiet:
            for line in summary_of_communities(model):
                typer.echo(line, err=True)
        for path in output or []:
            if path.suffix == ".html":
                model.to_html(path, title="standard input" if graph == "-" else Path(graph).name)
            else:
                model.write(path)
        if not output:
            sys.stdout.write(
                format_tree(
                    model.paths_,
                    model.flow_,
                    model.network_.names,
                    node_ids=model.network_.node_ids,
                    codelength=model.codelength_,
                )
            )
        if notes:
            typer.echo(f"kexue: {notes[0]}", err=True)
            raise typer.Exit(INTERRUPTED)


@app.command()
def info(
    folder: Annotated[Path, typer.Argument(help="Folder of an atlas.")],
) -> None:
    """Say what an atlas was made of and print its ledger."""
    with exit_codes():
        from kexue.atlas import LedgerRow
        from kexue.atlas.files import RUN, read_atlas_file

        run = read_atlas_file(folder, RUN)
        ledger = read_atlas_file(folder, "ledger.json")
        print_pairs(
            [
                ("documents", f"{run['documents']:,}"),
                ("characters", f"{run['characters']:,}"),
                ("words with a vector", f"{run['placed']:,}"),
                ("communities", f"{ledger['communities']:,} at level {ledger['level']}"),
                ("sha256", run["input"]),
                ("held out", f"{len(run['held_out']['drawn'])} of {run['held_out']['of']} "
                 f"{run['held_out']['unit']}"),
                *run["arguments"].items(),
                *run["versions"].items(),
            ]
        )  # fmt: skip
        typer.echo()
        print_ledger([LedgerRow(**row) for row in ledger["rows"]], ledger["references"])
        if ledger["gold"]:
            typer.echo(f"\nwords against gold: F1 {100 * ledger['gold']['f1']:.1f}")


@contextmanager
def _workers(executor: str) -> Iterator[Any]:
    """Yield what the library takes: the name of an executor, or a client of a scheduler."""
    from kexue._core import check_choice
    from kexue.corpus.executors import check_executor, connected

    if "://" in executor:
        with connected(executor) as client:
            yield client
    else:
        check_choice("--executor", executor, ("thread", "process", "dask", "tcp://HOST:PORT"))
        check_executor(executor)
        yield executor


def _read(
    paths: list[str], column: str | None, documents: Documents, encoding: str, errors: str
) -> Texts:
    from kexue.corpus import read_texts

    return read_texts(paths, **_reading(column, documents, encoding, errors))


def _reading(
    column: str | None, documents: Documents, encoding: str, errors: str
) -> dict[str, Any]:
    """Return the options of `read_texts`, which checks them."""
    return {
        "column": column,
        "documents": documents.value,
        "encoding": encoding,
        "errors": errors,
    }


def _default_folder(paths: list[str]) -> str:
    """Return the first input's name without its suffixes, and ``-atlas``."""
    if paths[0] == "-":
        return "stdin-atlas"
    name = Path(paths[0]).resolve().name
    for suffixes in ((".gz", ".zst", ".xz"), FORMATS):
        for suffix in suffixes:
            name = name.removesuffix(suffix)
    return f"{''.join('_' if c in '*?[]' else c for c in name) or 'text'}-atlas"


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        # what is printed is text of any language, whatever the locale
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")
    app()
