"""Corpus of three locales at ESCI's size: this pipeline against a pandas merge script, in one run.

    python benchmarks/corpus_full_size.py --examples E.parquet --products P.parquet --esci-s esci.json.zst
    python benchmarks/corpus_full_size.py --work DIR     # simulates the raw files first (1.8M products; minutes)
    python benchmarks/corpus_full_size.py --size short   # what `make bench` measures

Prints one row per process: wall time, processor time and peak memory, then the ratios. The pandas script keeps
the same judgements and products and cleans text with the same function; it checks nothing and counts nothing. It
makes all locales in one process, which reads every file once and holds them all, or with `--each-locale` one locale
per process, as build_corpus does. It parses ESCI-S with `pandas.read_json` in chunks, or with `--lines json` line by
line with the standard library's json; either way it keeps only the columns needed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from measured import Measured, Size, show

ROOT = Path(__file__).parents[1]
LOCALES = ("us", "es", "jp")
ESCI_SIZES = {  # queries and products of the whole dataset, and the share of queries in its small version
    "us": {"products": 1_215_854, "queries": 97_346, "judgements_per_query": 18.7, "small_share": 0.3066},
    "es": {"products": 259_973, "queries": 15_180, "judgements_per_query": 23.5, "small_share": 0.5302},
    "jp": {"products": 339_098, "queries": 18_126, "judgements_per_query": 24.6, "small_share": 0.5741},
}
# By what the sizes above are divided.
SHRINK: dict[Size, int] = {"tiny": 1000, "short": 1, "full": 1}
OUTPUTS = {
    "products": "products.parquet",
    "queries": "queries.parquet",
    "judgements": "judgements.parquet",
    "categories": "categories.parquet",
    "stats": "stats.json",
}


class Cost(NamedTuple):
    """What a process took."""

    wall: float  # s
    processor: float  # s, user and system
    peak: float  # GB, resident


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("examples", "products", "esci-s"):
        parser.add_argument(f"--{name}", type=Path, help="raw file; all three or none")
    parser.add_argument("--work", type=Path, help="folder for what is made (default: a temporary one)")
    parser.add_argument(
        "--lines", choices=("pandas", "json"), default="pandas", help="reader of the pandas script"
    )
    parser.add_argument("--memory-limit", default="2GB", help="DuckDB's memory (default: 2GB)")
    parser.add_argument("--each-locale", action="store_true", help="run the pandas script once per locale")
    parser.add_argument("--pandas-locales", nargs="+", help="only run the pandas script, in this process")
    parser.add_argument(
        "--size", choices=SHRINK, help="measure as `make bench` does; the other options do not count"
    )
    arguments = parser.parse_args()
    if arguments.size:
        print(*map(show, benchmark(arguments.size)), sep="\n")
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        raw = (arguments.examples, arguments.products, arguments.esci_s)
        if not any(raw):
            raw = simulate(work / "raw")
        if arguments.pandas_locales:
            merge_with_pandas(*raw, work / "pandas", arguments.pandas_locales, arguments.lines)
        else:
            groups = [[locale] for locale in LOCALES] if arguments.each_locale else [list(LOCALES)]
            compare(*raw, work, groups, arguments.lines, arguments.memory_limit)


def benchmark(size: Size, device: str = "cpu") -> list[Measured]:
    """Return wall time and peak memory of the corpora of all locales, and of es alone, beside pandas."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        raw = simulate(work / "raw", SHRINK[size])
        ours = pipeline(*raw, work, "2GB")
        extraction, es = ours["extract_categories"], ours["build_corpus es"]
        pairs = [
            ("all locales", total(ours), "pandas, one process", pandas(*raw, work, LOCALES)),
            ("es alone", total({"": extraction, "es": es}), "pandas", pandas(*raw, work, ["es"])),
        ]
        if size == "full":
            each = {locale: pandas(*raw, work, [locale]) for locale in LOCALES}
            pairs.append(("all locales", total(ours), "pandas, a process per locale", total(each)))
    products = sum(sizes["products"] for sizes in ESCI_SIZES.values()) // SHRINK[size]
    measured = []
    for which, own, name, other in pairs:
        where = f"{which} of {products} products"
        measured += [
            Measured("corpus_time", "corpus", where, own.wall, "s", name, other.wall),
            Measured("corpus_memory", "corpus, peak memory", where, own.peak, "GB", name, other.peak),
        ]
    return measured


def simulate(folder: Path, shrink: int = 1) -> tuple[Path, Path, Path]:
    """Make raw files with ESCI's numbers of products, queries and judgements, unless they are there.

    `shrink` divides the numbers of products and queries.
    """
    folder.mkdir(parents=True, exist_ok=True)
    raw = {
        "--examples": folder / "examples.parquet",
        "--products": folder / "products.parquet",
        "--esci-s": folder / "esci.json.zst",
    }
    if not all(path.exists() for path in raw.values()):
        options = [str(part) for option in raw.items() for part in option]
        counts = ("products", "queries")
        locales = {
            locale: sizes | {name: sizes[name] // shrink for name in counts}
            for locale, sizes in ESCI_SIZES.items()
        }
        run("scripts/simulate_esci.py", "--config", json.dumps({"locales": locales}), *options)
    return tuple(raw.values())


def compare(
    examples: Path,
    products: Path,
    esci_s: Path,
    work: Path,
    groups: list[list[str]],
    lines: str,
    memory_limit: str,
) -> None:
    """Run this pipeline's processes and one of pandas per group of locales, and print what they cost."""
    raw = (examples, products, esci_s, work)
    ours = pipeline(*raw, memory_limit)
    theirs = {f"pandas {' '.join(group)}": pandas(*raw, group, lines) for group in groups}
    print(f"{'process':<24}{'wall s':>10}{'processor s':>14}{'peak GB':>10}")
    sums = total(ours), total(theirs)
    for name, cost in (ours | {"this pipeline": sums[0]} | theirs | {"pandas": sums[1]}).items():
        print(f"{name:<24}{cost.wall:>10.1f}{cost.processor:>14.1f}{cost.peak:>10.2f}")
    wall, processor, peak = (other / own for own, other in zip(*sums, strict=True))
    print(f"{'pandas / this pipeline':<24}{wall:>10.1f}{processor:>14.1f}{peak:>10.1f}")


def pipeline(examples: Path, products: Path, esci_s: Path, work: Path, memory_limit: str) -> dict[str, Cost]:
    """Run this pipeline's processes one after another."""
    paths = work / "category_paths.parquet"
    limit = ("--memory-limit", memory_limit)
    costs = {
        "extract_categories": run(
            "scripts/extract_categories.py", "--esci-s", esci_s, "--output", paths, *limit
        )
    }
    for locale in LOCALES:
        outputs = [f"--{name}-out={work / locale / file}" for name, file in OUTPUTS.items()]
        raw = ("--examples", examples, "--products", products, "--category-paths", paths)
        costs[f"build_corpus {locale}"] = run(
            "scripts/build_corpus.py", "--locale", locale, *raw, *outputs, *limit
        )
    return costs


def pandas(
    examples: Path, products: Path, esci_s: Path, work: Path, locales: Sequence[str], lines: str = "pandas"
) -> Cost:
    """Run the pandas script for some locales in a process."""
    raw = ("--examples", examples, "--products", products, "--esci-s", esci_s, "--work", work)
    return run("benchmarks/corpus_full_size.py", *raw, "--lines", lines, "--pandas-locales", *locales)


def total(costs: dict[str, Cost]) -> Cost:
    """Return the cost of processes that run one after another."""
    wall, processor, peak = zip(*costs.values(), strict=True)
    return Cost(sum(wall), sum(processor), max(peak))


def run(script: str, *options: str | Path) -> Cost:
    """Run a script of the project in a process of its own; return what it took."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, ROOT / script, *options])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{script} failed")
    # Linux counts ru_maxrss in KiB
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9)


# --- the alternative ----------------------------------------------------------------------------------


def merge_with_pandas(
    examples: Path, products: Path, esci_s: Path, work: Path, locales: list[str], lines: str
) -> None:
    """Write documents, queries and judgements of `locales` with pandas: read, filter, merge, clean, write."""
    import pandas as pd

    from catid2.corpus.cleaning import clean_text
    from catid2.corpus.esci import TEXT_COLUMNS

    records = read_records(esci_s, lines)
    records = records[records["category"].map(len, na_action="ignore").fillna(0) >= 3]
    records = records.drop_duplicates(["asin", "locale"])
    judged = pd.read_parquet(examples)
    judged = judged[(judged["small_version"] == 1) & judged["product_locale"].isin(locales)]
    catalogue = pd.read_parquet(products)
    catalogue = catalogue.merge(
        judged[["product_id", "product_locale"]].drop_duplicates(), on=["product_id", "product_locale"]
    )
    catalogue = catalogue.merge(
        records, left_on=["product_id", "product_locale"], right_on=["asin", "locale"], how="inner"
    )
    for locale in locales:
        documents = catalogue[catalogue["product_locale"] == locale].sort_values(
            "product_id", ignore_index=True
        )
        documents["doc_id"] = documents.index
        for column in TEXT_COLUMNS.values():
            documents[column] = [
                clean_text(text if isinstance(text, str) else None) for text in documents[column]
            ]
        for level in range(3):
            documents[f"category_{level + 1}"] = documents["category"].str[level]
            path = documents["category"].map(lambda names, depth=level + 1: tuple(names[:depth]))
            documents[f"category_id_{level + 1}"] = path.factorize()[0]
        judgements = judged[judged["product_locale"] == locale]
        judgements = judgements.merge(documents[["product_id", "doc_id"]], on="product_id")
        trained = judgements[
            (judgements["split"] == "train") & judgements["esci_label"].isin(["E", "S", "C"])
        ]
        judgements["seen"] = judgements["doc_id"].isin(trained["doc_id"])
        queries = judgements[["query_id", "query", "split"]].drop_duplicates().sort_values("query_id")
        folder = work / locale
        folder.mkdir(parents=True, exist_ok=True)
        documents.drop(columns=["category", "asin", "locale"]).to_parquet(folder / "products.parquet")
        queries.to_parquet(folder / "queries.parquet")
        judgements.sort_values(["query_id", "doc_id"]).to_parquet(folder / "judgements.parquet")
        print(f"pandas {locale}: {len(documents)} documents, {len(judgements)} judgements", file=sys.stderr)


def read_records(esci_s: Path, lines: str):  # -> pandas.DataFrame
    """Return asin, locale and category of every ESCI-S record."""
    import io

    import pandas as pd
    import zstandard

    columns = ["asin", "locale", "category"]
    with esci_s.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        if lines == "pandas":
            chunks = pd.read_json(
                io.TextIOWrapper(stream, "utf-8"), lines=True, chunksize=20_000, dtype=False
            )
            # without the copy every chunk's reviews stay in memory
            return pd.concat([chunk[columns].copy() for chunk in chunks], ignore_index=True)
        records = map(json.loads, io.BufferedReader(stream, 2**20))
        return pd.DataFrame([[record.get(name) for name in columns] for record in records], columns=columns)


if __name__ == "__main__":
    main()
