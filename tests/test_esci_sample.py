"""The sample of ESCI: what becomes of its files, and the counts of the published ones."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from catid2.config.corpus import CorpusConfig
from catid2.corpus.build import CorpusFiles, RawFiles, build_corpus
from catid2.corpus.database import Resources
from catid2.corpus.esci import EXAMPLES_SCHEMA, PRODUCTS_SCHEMA, TEXT_COLUMNS
from catid2.corpus.esci_s import extract_categories
from catid2.corpus.esci_sample import FIRST_TRAIN_ID, SampleFiles, import_sample

ROOT = Path(__file__).parent.parent
NAMES = ("ubi_ecommerce_products.json.gz", "esci_us_judgments.json", "esci.test.json")
# `make sample` downloads the published files to the first of these.
FOLDERS = (ROOT / "resources" / "esci_sample", ROOT.parent / "shared" / "data" / "esci_mini")
PUBLISHED = [
    SampleFiles(*(folder / name for name in NAMES))
    for folder in FOLDERS
    if all((folder / name).is_file() for name in NAMES)
]
SMALL = Resources("300MB", 1)


def product(asin: str, path: list[str], *queries: str, **texts: str | None) -> dict[str, Any]:
    """Return a product as the file has it, with fields that nobody reads."""
    text = {
        "title": f"{asin} title",
        "description": "",
        "bullet_points": "a\nb",
        "brand": None,
        "color": "Red",
    }
    return (
        text | {"asin": asin, "_id": asin, "category": path, "query_id": list(queries), "price": None} | texts
    )


# 7 and 9 are test queries; 5 is one whose judgements nobody has published
PRODUCTS = [
    product("B1", ["Home", "Kitchen", "Pots"], "7", "5", title="Pot “A”"),
    product("B2", ["Home", "Kitchen", "Pans", "Woks"], "7", "9"),
    product("B3", ["Home", "Kitchen"], "9", description="short path"),
    product("B4", [], "9", brand="Acme"),
]
RATINGS = {
    "pot ": {"B1": "100.000", "B2": "10.000"},
    "pan": {"B2": "100.000", "B3": "1.000", "B4": "0.000"},
}
PAIRS = {
    "far away": [["B9", "E"]],
    "pan": [["B2", "E"], ["B8", "S"]],
    "wok pan": [["B2", "E"], ["B9", "S"], ["B1", "C"]],
}


def write(
    folder: Path,
    products: list[dict[str, Any]] = PRODUCTS,
    ratings: dict[str, dict[str, str]] = RATINGS,
    pairs: dict[str, list[list[str]]] = PAIRS,
) -> SampleFiles:
    """Write the files of a sample as they are published."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = SampleFiles(folder / "products.json.gz", folder / "judgements.json", folder / "pairs.json")
    sample.products.write_bytes(gzip.compress("".join(f"{json.dumps(row)}\n" for row in products).encode()))
    judged = [
        {"query": query, "ratings": [{"docId": asin, "rating": rating} for asin, rating in of_query.items()]}
        for query, of_query in ratings.items()
    ]
    sample.judgements.write_text(json.dumps({"name": "ESCI", "judgmentRatings": judged}))
    sample.pairs.write_text(json.dumps(pairs))
    return sample


def imported(sample: SampleFiles, folder: Path) -> tuple[dict[str, int], tuple[Path, Path, Path]]:
    """Return what is counted, and the files that are made."""
    folder.mkdir(exist_ok=True)
    files = (folder / "examples.parquet", folder / "products.parquet", folder / "esci.json.zst")
    return import_sample(sample, *files), files


def test_the_raw_files_hold_what_the_published_ones_say(tmp_path):
    counts, (examples, products, esci_s) = imported(write(tmp_path / "published"), tmp_path / "raw")
    assert counts == {
        "products": 4, "test queries": 2, "test pairs": 5, "train queries": 1, "train pairs": 2,
        "labels that two files give": 1,
    }  # fmt: skip
    assert pq.read_schema(examples) == EXAMPLES_SCHEMA
    rows = pq.read_table(examples).to_pylist()
    assert [row.pop("example_id") for row in rows] == [*range(7)]
    constant = {"product_locale": "us", "small_version": 1, "large_version": 1}
    wok = FIRST_TRAIN_ID + 2  # the third query of its file
    assert [row for row in rows if constant.items() <= row.items()] == [
        constant
        | {"query": query, "query_id": number, "product_id": asin, "esci_label": label, "split": split}
        for query, number, asin, label, split in [
            ("pot ", 7, "B1", "E", "test"),
            ("pot ", 7, "B2", "S", "test"),
            ("pan", 9, "B2", "E", "test"),
            ("pan", 9, "B3", "C", "test"),
            ("pan", 9, "B4", "I", "test"),
            ("wok pan", wok, "B2", "E", "train"),
            ("wok pan", wok, "B1", "C", "train"),
        ]
    ]
    assert pq.read_schema(products) == PRODUCTS_SCHEMA
    first, _, third, fourth = pq.read_table(products).to_pylist()
    assert first == {
        "product_id": "B1", "product_title": "Pot “A”", "product_description": None, "product_bullet_point": "a\nb",
        "product_brand": None, "product_color": "Red", "product_locale": "us",
    }  # fmt: skip
    assert (third["product_description"], fourth["product_brand"]) == ("short path", "Acme")
    records = [json.loads(line) for line in zstandard.decompress(esci_s.read_bytes()).decode().splitlines()]
    assert records == [
        {"type": "product", "locale": "us", "asin": row["asin"], "category": row["category"]}
        for row in PRODUCTS
    ]


def corpus(files: tuple[Path, Path, Path], folder: Path) -> tuple[dict[str, Any], CorpusFiles]:
    """Return stats.json and the files of a corpus of all documents with three levels."""
    examples, products, esci_s = files
    paths = folder / "paths.parquet"
    extract_categories(esci_s, paths, SMALL)
    made = CorpusFiles(*(folder / name for name in CorpusFiles._fields))
    config = CorpusConfig(documents="all", levels=3)
    return build_corpus(RawFiles(examples, products, paths), "us", config, made, SMALL), made


@pytest.mark.filterwarnings("ignore")
def test_a_corpus_is_made_of_them(tmp_path):
    _, raw = imported(write(tmp_path / "published"), tmp_path / "raw")
    stats, made = corpus(raw, tmp_path)
    documents = pq.read_table(made.products).to_pylist()
    assert [(row["product_id"], row["category_3"]) for row in documents] == [("B1", "Pots"), ("B2", "Pans")]
    assert {why: n for why, n in stats["products"]["dropped"].items() if n} == {
        "no_category": 1,
        "path_too_short": 1,
    }
    assert stats["queries"] == {"all": 3, "test": 2, "train": 1}


def test_the_same_files_give_the_same_bytes(tmp_path):
    sample = write(tmp_path / "published")
    made = [[path.read_bytes() for path in imported(sample, tmp_path / name)[1]] for name in ("one", "two")]
    assert made[0] == made[1]


@pytest.mark.skipif(
    not PUBLISHED, reason=f"the published files are not in {FOLDERS[0]}; `make sample` gets them"
)
def test_the_published_files_give_the_counts_that_are_known(tmp_path):
    counts, raw = imported(PUBLISHED[0], tmp_path / "raw")
    assert counts == {
        "products": 6764, "test queries": 150, "test pairs": 6678, "train queries": 660, "train pairs": 1510,
        "labels that two files give": 1534,
    }  # fmt: skip
    rows = pq.read_table(raw[0], columns=["query_id", "product_id", "esci_label", "split"]).to_pylist()
    labels = {
        split: dict(Counter(row["esci_label"] for row in rows if row["split"] == split))
        for split in ("test", "train")
    }
    assert labels == {
        "test": {"E": 3389, "S": 1898, "C": 305, "I": 1086},
        "train": {"E": 752, "S": 697, "C": 61},
    }
    # of a test query ESCI judges exactly the products that list its id
    judged: dict[int, set[str]] = {}
    for row in rows:
        if row["split"] == "test":
            judged.setdefault(row["query_id"], set()).add(row["product_id"])
    listing: dict[int, set[str]] = {}
    for line in gzip.decompress(PUBLISHED[0].products.read_bytes()).splitlines():
        of_product = json.loads(line)
        for query_id in map(int, of_product["query_id"]):
            listing.setdefault(query_id, set()).add(of_product["asin"])
    assert judged == {query_id: listing[query_id] for query_id in judged}
    assert max(listing) < FIRST_TRAIN_ID
    assert len(judged) == 150

    stats, _ = corpus(raw, tmp_path)
    assert stats["documents"] == 6446
    dropped = {why: n for why, n in stats["products"]["dropped"].items() if n}
    assert dropped == {"path_too_short": 66, "no_category": 252}
    assert [level["nodes"] for level in stats["tree"]] == [33, 190, 495]
    assert stats["tree"][2]["median_documents"] == 2
    assert stats["queries"] == {"all": 756, "test": 150, "train": 606}
    assert round(stats["labels"]["E+S"]["test_pairs"] / 150, 1) == 33.6
    assert stats["labels"]["E+S"]["seen_test_queries"] == 99


def test_texts_of_every_field_arrive_in_their_column(tmp_path):
    fields = {"title": "t", "description": "d", "bullet_points": "b", "brand": "m", "color": "c"}
    sample = write(tmp_path / "published", [*PRODUCTS, product("B5", [], **fields)])
    [row] = pq.read_table(imported(sample, tmp_path)[1][1]).slice(4).to_pylist()
    assert [row[column] for column in TEXT_COLUMNS.values()] == [*"tmcbd"]
