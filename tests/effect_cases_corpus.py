"""What the settings of raw files change: the simulation, the import of a catalogue, and the corpus made of them."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import zstandard
from effect_corpus import FOLDER
from effects import Outputs, Seed, Settings, Table, below, row, stage
from test_corpus import SMALL, messy, outputs

from catid2.config import catalogue, simulate, sources
from catid2.config.corpus import CorpusConfig
from catid2.corpus.build import RawFiles, build_corpus
from catid2.corpus.catalogue.importing import ImportedFiles, OwnFiles, import_catalogue
from catid2.runtime.tables import TEXT_FIELDS
from catid2.simulate import simulate as simulated_files

# --- the corpus


@functools.cache
def raw() -> RawFiles:
    """Return raw files with every kind of dirt, in which a test query has the text of a train query."""
    rows = messy(0)
    own = [row for row in rows.examples if row["product_locale"] == "us" and row["small_version"]]
    asked = next(row["query"] for row in own if row["split"] == "train")
    repeated = next(row["query_id"] for row in own if row["split"] == "test")
    for example in rows.examples:
        if example["query_id"] == repeated:
            example["query"] = asked
    return rows.write(FOLDER / "raw")


@stage(CorpusConfig, {})
def corpus(config: CorpusConfig, folder: Path, seed: int) -> Outputs:
    """Build a corpus."""
    files = outputs(folder)
    build_corpus(raw(), "us", config, files, SMALL)
    products = pq.read_table(files.products).to_pylist()
    queries = {row["query_id"]: row["split"] for row in pq.read_table(files.queries).to_pylist()}
    pairs = pq.read_table(files.judgements).to_pylist()
    return {
        "documents": [row["product_id"] for row in products],
        "texts": [[row[field] for field in TEXT_FIELDS] for row in products],
        "paths": [[value for name, value in row.items() if "category" in name] for row in products],
        "top": [row["category_1"] for row in products],
        "queries": queries,
        "train queries": [query for query, split in queries.items() if split == "train"],
        "judgements": [
            (row["query_id"], products[row["doc_id"]]["product_id"], row["label"]) for row in pairs
        ],
        "seen": [row["seen"] for row in pairs],
    }


TABLES = [
    Table(
        CorpusConfig,
        [
            row("version", "small", "large", differs="queries, judgements"),
            row("levels", 1, 2, differs="documents, paths"),
            row("documents", "judged", "all", differs="documents", same="queries, judgements, seen"),
            row("labels", ["E", "S", "C"], ["E", "S"], differs="judgements", seen_labels=["E"]),
            row("seen_labels", ["E", "S", "C"], ["E"], differs="seen", same="documents, judgements, texts"),
            row(
                "drop_repeated_texts",
                False,
                True,
                differs="queries, judgements",
                same="documents, texts, train queries",
            ),
            row("clean_html", True, False, differs="texts", same="documents, paths, judgements"),
        ],
        corpus,
    )
]

# --- the simulation

TINY = {
    "locales": {"us": {"products": 120, "queries": 30, "judgements_per_query": 8}},
    "shared_share": 0,
    "big_record_share": 0,
}
TWO = {
    "locales": {"us": {"products": 120}, "es": {"products": 120, "queries": 10, "judgements_per_query": 4}}
}


@stage(simulate.SimulateConfig, TINY)
def simulated(config: simulate.SimulateConfig, folder: Path, seed: int) -> Outputs:
    """Simulate raw files."""
    paths = [folder / name for name in ("examples.parquet", "products.parquet", "esci.json.zst")]
    simulated_files(config, seed, *paths)
    examples, products = (pq.read_table(path).to_pylist() for path in paths[:2])
    text = zstandard.ZstdDecompressor().decompressobj().decompress(paths[2].read_bytes()).decode()
    records = [json.loads(line) for line in text.splitlines()]
    queries = {row["query_id"]: row for row in examples}.values()
    columns = ("title", "description", "bullet_point", "brand", "color")
    return {
        "ids": [row["product_id"] for row in products],
        **{name: [row[f"product_{name}"] for row in products] for name in columns},
        "locales": [row["product_locale"] for row in products],
        "queries": [row["query"] for row in queries],
        "splits": [row["split"] for row in queries],
        "small": [row["small_version"] for row in queries],
        "pairs": [(row["query_id"], row["product_id"]) for row in examples],
        "labels": [row["esci_label"] for row in examples],
        "paths": [row["category"] for row in records],
        "records": [row["asin"] for row in records],
        "reviews": [row["reviews"] for row in records],
    }


def labels(letter: str) -> Callable[[float], Settings]:
    """Return where a label's share stands; the others share the rest equally."""
    rest = [other for other in "ESCI" if other != letter]
    return lambda share: {letter: share} | dict.fromkeys(rest, (1 - share) / 3)


TEXTS = "title, description, bullet_point, brand, color"
CATALOGUE = f"ids, paths, records, {TEXTS}"

TABLES += [
    Table(
        simulate.SimulateConfig,
        [
            row("locales", {"us": TINY["locales"]["us"]}, TWO["locales"], differs="locales, ids"),
            row("labels", labels("E")(0.1), labels("E")(0.4), differs="labels, pairs", same=CATALOGUE),
            row("nulls", {"color": 0.0}, {"color": 1.0}, differs="color", same="ids, title, paths"),
            row("cut_paths", {"none": 0.0}, {"none": 0.5}, differs="paths", same=f"ids, records, {TEXTS}"),
            row("test_share", 0.3, 0.6, differs="splits", same=CATALOGUE),
            row("seen_share", 0.0, 0.9, differs="pairs", same=CATALOGUE),
            row("record_share", 0.9, 0.5, differs="records", same=f"ids, queries, {TEXTS}"),
            row("book_share", 0.0, 0.9, differs="ids, title, paths"),
            row("shared_share", 0.0, 0.5, differs="ids, records", same="locales", **TWO),
            row("duplicate_share", 0.0, 0.5, differs="title, description", same="locales"),
            row("zipf_exponent", 0.0, 2.0, differs="title, paths", same="locales"),
            row("second_section_share", 0.0, 1.0, differs="paths", same="ids, title, records, pairs, labels"),
            row(
                "second_department_share",
                0.0,
                1.0,
                differs="paths",
                same="ids, title, records, pairs, labels",
            ),
            row("head_share", 0.0, 0.9, differs="queries", same=CATALOGUE),
            row("title_share", 0.0, 0.9, differs="title", same="ids, brand, color, paths, queries"),
            row("synonym_share", 0.0, 0.9, differs="queries", same="ids, brand, paths"),
            row("html_share", 0.0, 0.9, differs="description", same="ids, title, paths, queries"),
            row(
                "filler_sentences",
                0.0,
                5.0,
                differs="description, bullet_point",
                same="ids, title, paths, queries",
            ),
            row(
                "topical_share",
                0.0,
                1.0,
                differs="description, bullet_point",
                same="ids, title, paths, queries, labels",
            ),
            row("reviews", 0, 3, differs="reviews", same=f"{CATALOGUE}, queries"),
            row("big_record_share", 0, 0.5, differs="reviews", same=CATALOGUE, big_record_bytes=5000),
            row("big_record_bytes", 5000, 9000, differs="reviews", same=CATALOGUE, big_record_share=0.5),
        ],
        simulated,
    ),
    Table(
        simulate.LocaleSize,
        [
            row("products", 120, 140, differs="ids", same=""),
            row("queries", 30, 40, differs="queries", same=CATALOGUE),
            row("judgements_per_query", 8, 12, differs="pairs", same=f"{CATALOGUE}, queries"),
            row("small_share", 0.2, 0.8, differs="small", same=f"{CATALOGUE}, queries, pairs"),
        ],
        simulated,
        lambda changes: {"locales": {"us": changes}},
    ),
    Table(
        simulate.LabelShares,
        [row(letter, 0.1, 0.4, differs="labels", same=CATALOGUE) for letter in "ESCI"],
        simulated,
        lambda changes: {"labels": next(labels(letter)(share) for letter, share in changes.items())},
    ),
    Table(
        simulate.NullShares,
        [
            row("description", 0.0, 0.9, differs="description", same="ids, brand, color, paths"),
            row("color", 0.0, 0.9, differs="color", same="ids, title, brand, paths"),
            row("bullets", 0.0, 0.9, differs="bullet_point", same="ids, brand, color, paths"),
            row("brand", 0.0, 0.9, differs="brand", same="ids, color, paths"),
        ],
        simulated,
        below("nulls"),
    ),
    Table(
        simulate.DepthShares,
        [
            row(depth, 0.0, 0.5, differs="paths", same=f"ids, records, queries, {TEXTS}")
            for depth in ("none", "one", "two")
        ],
        simulated,
        below("cut_paths"),
    ),
]

# --- your own catalogue

PRODUCTS = """id,other id,name,other name,brand,color,bullets,description,path,other path,tags
1,2,red shoe,new shoe,acme,red,soft,for feet,Shoes > Red > Flat,Shoes > Red,red|soft
2,1,blue lamp,old lamp,bolt,blue,bright,for rooms,Home > Lamps; Home > Lamps > Blue,Home > Lamps,blue
"""
QUERIES = "query_id,other id,query,other query,split,other split\n" + "".join(
    f"{number},{19 - number},query {number},text {number},{'train' if number % 2 else 'test'},"
    f"{'train' if number % 3 else 'test'}\n"
    for number in range(20)
)
JUDGEMENTS = "query_id,other query,product_id,other product,label,other label\n" + "".join(
    f"{number},{19 - number},{1 + number % 2},{2 - number % 2},{'ES'[number % 2]},{'CI'[number % 2]}\n"
    for number in range(20)
)
COLUMNS = {
    "products": {"product_id": "id", "title": "name", "category": "other path", "tags": "tags"},
    "queries": {},
    "judgements": {},
}
OWN = {"columns": COLUMNS, "category_separator": ">", "tag_separator": "|"}
PATHS = {"columns": {"products": COLUMNS["products"] | {"category": "path"}}}


@stage(catalogue.CatalogueConfig, OWN, "cell")
def imported(config: catalogue.CatalogueConfig, folder: Path, seed: int, cell: str = "soft") -> Outputs:
    """Import a catalogue from CSV files; `cell` is one of them."""
    own = {}
    for name, text in {"products": PRODUCTS, "queries": QUERIES, "judgements": JUDGEMENTS}.items():
        own[name] = folder / f"{name}.csv"
        own[name].write_text(text.replace("soft,for", f"{cell},for"))
    files = ImportedFiles(*(folder / f"raw-{name}.parquet" for name in ImportedFiles._fields))
    import_catalogue(OwnFiles(**own), "us", config, files, SMALL)
    products, examples = (pq.read_table(path).to_pylist() for path in (files.products, files.examples))
    return {
        **{
            name: [row[f"product_{name}"] for row in products]
            for name in ("id", "title", "brand", "color", "description")
        },
        "bullets": [row["product_bullet_point"] for row in products],
        "paths": sorted(
            (row["asin"], row["path"]) for row in pq.read_table(files.category_paths).to_pylist()
        ),
        "tags": [row["tags"] for row in pq.read_table(files.tags).to_pylist()],
        **{
            name: sorted({(row["query_id"], row[column]) for row in examples})
            for name, column in {
                "queries": "query",
                "splits": "split",
                "pairs": "product_id",
                "labels": "esci_label",
            }.items()
        },
    }


def columns(table: str) -> Callable[[Settings], Settings]:
    """Return where the columns of a file stand."""
    return lambda changes: {"columns": {table: changes}}


FIELDS = ("brand", "color", "bullets", "description")
EVERYTHING = "id, title, brand, color, bullets, description, paths, tags, queries, splits, pairs, labels"


def but(*names: str) -> str:
    """Return the other outputs of an import."""
    return ", ".join(name for name in EVERYTHING.split(", ") if name not in names)


TABLES += [
    Table(
        sources.CatalogueSource,
        [
            row(
                "columns",
                COLUMNS,
                COLUMNS
                | {
                    "products": {
                        "product_id": "id",
                        "title": "other name",
                        "category": "other path",
                        "tags": "tags",
                    }
                },
                differs="title",
                same=but("title"),
            ),
            row(
                "category_separator",
                " > ",
                "d > ",
                differs="paths",
                same=but("paths"),
                **PATHS | {"path_separator": ""},
            ),
            row("path_separator", "; ", "", differs="paths", same=but("paths"), **PATHS),
            row("tag_separator", "|", "t|", differs="tags", same=but("tags")),
            row(
                "labels",
                {"E": "E", "S": "S"},
                {"E": "C", "S": "S"},
                differs="labels",
                same=but("labels"),
                columns={"judgements": {"label": "label"}},
            ),
            row("test_share", 0.2, 0.7, differs="splits", same=but("splits")),
            row("split_seed", 0, 1, differs="splits", same=but("splits")),
            row("csv_delimiter", None, ";", differs="error"),
            row(
                "csv_quoting",
                "double",
                "backslash",
                "none",
                differs="bullets",
                same=but("bullets"),
                columns={"products": {"bullets": "bullets"}},
                cell=r'"so\\ft"',
            ),
        ],
        imported,
    ),
    Table(
        catalogue.CatalogueColumns,
        [
            row(
                "products",
                COLUMNS["products"],
                COLUMNS["products"] | {"title": "other name"},
                differs="title",
                same=but("title"),
            ),
            row("queries", {}, {"query": "other query"}, differs="queries", same=but("queries", "splits")),
            row("judgements", {}, {"label": "label"}, differs="labels", same=but("labels")),
        ],
        imported,
        below("columns"),
    ),
    Table(
        catalogue.ProductColumns,
        [
            row("product_id", "id", "other id", differs="id", same=but("id", "paths", "tags")),
            row("title", "name", "other name", differs="title", same=but("title")),
            *(row(field, None, field, differs=field, same=but(field)) for field in FIELDS),
            row("category", "other path", "name", differs="paths", same=but("paths")),
            row("tags", "tags", "name", differs="tags", same=but("tags")),
        ],
        imported,
        columns("products"),
    ),
    Table(
        catalogue.QueryColumns,
        [
            row("query_id", "query_id", "other id", differs="queries", same="id, title, paths, pairs"),
            row("query", "query", "other query", differs="queries", same=but("queries", "splits")),
            row("split", None, "split", "other split", differs="splits", same=but("splits")),
        ],
        imported,
        columns("queries"),
    ),
    Table(
        catalogue.JudgementColumns,
        [
            row("query_id", "query_id", "other query", differs="pairs", same="id, title, paths, labels"),
            row("product_id", "product_id", "other product", differs="pairs", same=but("pairs")),
            row("label", None, "label", "other label", differs="labels", same=but("labels")),
        ],
        imported,
        columns("judgements"),
    ),
]

SEEDS = [Seed("simulation", simulated, differs="title", script="simulate_esci")]
