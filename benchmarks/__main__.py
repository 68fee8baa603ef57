"""Run benchmarks: ``python -m benchmarks [room.method ...]``.

Prints each comparison, appends it to ``benchmarks/results.jsonl`` with the versions of all
packages involved, writes ``benchmarks/RESULTS.md`` from the newest rows, and exits with 1 if a
bar is missed. Nothing else should run on the machine meanwhile: only ratios within one run mean
anything, and other work spoils even those.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# one thread for everybody, before any package reads it; ours is given n_jobs
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[_variable] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from benchmarks.measuring import Row  # noqa: E402

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.jsonl"
PAGE = HERE / "RESULTS.md"
READMES = ("README.md", "README.zh.md")
MARKS = ("<!-- ratios -->", "<!-- /ratios -->")
PACKAGES = ("kexue", "numpy", "numba", "scipy", "scikit-learn", "polars", "torch")


def main() -> int:
    """Run the named benchmarks, or all."""
    known = {
        f"{path.parent.name}.{path.stem.removeprefix('bench_')}": path
        for path in sorted(HERE.glob("*/bench_*.py"))
    }
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="room.method", help=", ".join(known))
    parser.add_argument("--page-only", action="store_true", help="only write RESULTS.md anew")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        parser.error(f"unknown {', '.join(unknown)}; choose from {', '.join(known)}")
    data = Path(os.environ.get("KEXUE_DATA", HERE.parents[1] / "shared" / "data"))
    missed = 0
    if not arguments.page_only:
        for name in arguments.names or known:
            missed += run(name, known[name], data)
    write_page()
    return 1 if missed else 0


def run(name: str, path: Path, data: Path) -> int:
    """Run one benchmark; return how many bars were missed."""
    module = importlib.import_module(f"benchmarks.{path.parent.name}.{path.stem}")
    print(f"\n{name}: {module.__doc__.splitlines()[0]}", flush=True)
    missed = 0
    began = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    for row in module.measure(data):
        print(f"  {describe(row)}", flush=True)
        missed += row.passed is False
        record = {
            "benchmark": name,
            "date": dt.date.today().isoformat(),
            "run": began,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": {package: installed(package) for package in PACKAGES},
            "python": platform.python_version(),
            **asdict(row),
        }
        with open(RESULTS, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return missed


def describe(row: Row) -> str:
    """Return one line on a comparison."""
    verdict = {True: "ok", False: "MISSED", None: ""}[row.passed]
    bar = f" (bar {row.bar:g})" if row.bar else ""
    bar += f" (limit {row.limit:g} {row.unit})" if row.limit is not None else ""
    text = (
        f"{row.name}: ours {row.ours:.4g} {row.unit}, {row.peer_name} {row.peer:.4g} "
        f"-> {row.ratio:.1f}x{bar} {verdict}"
    )
    if row.quality_ours is not None:
        peer = "-" if row.quality_peer is None else f"{row.quality_peer:.6g}"
        text += f"; {row.quality} {row.quality_ours:.6g} against {peer}"
    return text


def installed(package: str) -> str:
    """Return the version of a package, or "absent"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def write_page() -> None:
    """Write RESULTS.md and the README's ratios from the newest run of each benchmark."""
    if not RESULTS.exists():
        return
    newest: dict[tuple[str, str, str], dict] = {}
    runs: dict[str, str] = {}
    for line in RESULTS.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        name, run = record["benchmark"], record.get("run", "")  # of earlier days: any
        if runs.setdefault(name, run) != run:
            newest = {key: row for key, row in newest.items() if key[0] != name}
            runs[name] = run
        newest[name, record["name"], record["peer_name"].split()[0]] = record
    lines = [
        "# Results",
        "",
        "Written by `python -m benchmarks` from `results.jsonl`; do not edit. Both sides of a row",
        "ran in the same process or run, warm, on as many threads as the row says, the peer set",
        "up as its documentation advises. The ratio is the peer's figure over ours, so above 1 is",
        "a win and below 1 a loss; medians of five runs, of three where one takes over ten",
        "seconds. Machines differ: only ratios carry over.",
    ]
    for benchmark in dict.fromkeys(key[0] for key in newest):
        rows = [record for key, record in newest.items() if key[0] == benchmark]
        last = rows[-1]
        versions = ", ".join(f"{k} {v}" for k, v in last["versions"].items())
        lines += ["", f"## {benchmark}", ""]
        lines += ["| what | ours | peer | ratio | bar | quality: ours | peer |", "|" + "---|" * 7]
        lines += [table_row(record) for record in rows]
        notes = dict.fromkeys(r["note"] for r in rows if r["note"])
        lines += ["", *(f"- {note}" for note in notes)] if notes else []
        lines += ["", f"{last['date']}, {last['machine']}, Python {last['python']}; {versions}."]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in READMES:
        write_ratios(HERE.parent / name, list(newest.values()))


def write_ratios(readme: Path, records: list[dict]) -> None:
    """Write the ratios into the README, between its two marks."""
    rows = ["| | against | ratio | quality: ours | theirs |", "|" + "---|" * 5]
    for record in records:
        row = as_row(record)
        if not row.readme:
            continue
        ours, theirs = number(row.quality_ours), number(row.quality_peer)
        quality = f"{ours} {row.quality.split(',')[0]}".strip()
        rows.append(f"| {row.name} | {row.peer_name} | {row.ratio:.1f} | {quality} | {theirs} |")
    before, rest = readme.read_text(encoding="utf-8").split(MARKS[0])
    _, after = rest.split(MARKS[1])
    table = "\n".join(["", *rows, ""])
    readme.write_text(before + MARKS[0] + table + MARKS[1] + after, encoding="utf-8")


def table_row(record: dict) -> str:
    """Return a line of a Markdown table."""
    row = as_row(record)
    asked = [] if row.bar is None else [f">= {row.bar:g}" if row.bar else "quality"]
    asked += [] if row.limit is None else [f"ours <= {row.limit:g}"]
    verdict = ["met" if row.passed else "**missed**"] if asked else []
    bar = " ".join([*asked, *verdict])
    return (
        f"| {row.name} | {row.ours:.4g} {row.unit} | {row.peer_name}: {row.peer:.4g} {row.unit} "
        f"| **{row.ratio:.1f}** | {bar} | {number(row.quality_ours)} {row.quality} "
        f"| {number(row.quality_peer)} |"
    )


def as_row(record: dict) -> Row:
    """Return the row of a record."""
    # records of earlier days lack the newer fields
    return Row(**{name: record[name] for name in Row.__dataclass_fields__ if name in record})


def number(value: float | None) -> str:
    """Return a figure for a table, blank for None."""
    return "" if value is None else f"{value:.6g}"


if __name__ == "__main__":
    sys.exit(main())
