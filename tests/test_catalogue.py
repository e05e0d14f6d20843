"""catid2.corpus.catalogue: own files give the corpus that ESCI's would, dirt is out or counted, real products pass."""

import csv
import hashlib
import json
import logging
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from catid2.config.base import validate
from catid2.config.catalogue import CatalogueConfig
from catid2.config.corpus import CorpusConfig
from catid2.config.simulate import SimulateConfig
from catid2.corpus.build import CorpusFiles, RawFiles, build_corpus
from catid2.corpus.catalogue.importing import QUERY_IDS, TAGS, ImportedFiles, OwnFiles, import_catalogue
from catid2.corpus.database import Resources
from catid2.corpus.esci import EXAMPLES, PRODUCTS, TEXT_COLUMNS
from catid2.corpus.esci_s import CATEGORY_PATHS, extract_categories
from catid2.corpus.tree import PLACEHOLDER
from catid2.plan.settings import Pipeline
from catid2.runtime.errors import InputError
from catid2.simulate import simulate
from workflow import ROOT, Project

FASHION = ROOT.parent / "shared" / "data" / "fashion_products.parquet"
SMALL = Resources("300MB", 1)
TABLES = ("products", "queries", "judgements", "categories")
SPLIT_AT = {"category_separator": ">", "tag_separator": "|"}
OWN_FIELDS = {"product_id": "id", "title": "name", "category": "path", "tags": "tags"}


def imported(folder: Path, own: OwnFiles, settings: dict, locale: str = "us") -> ImportedFiles:
    files = ImportedFiles(*(folder / "raw" / f"{name}.parquet" for name in ImportedFiles._fields))
    import_catalogue(own, locale, validate(CatalogueConfig, settings, "test"), files, SMALL)
    return files


def corpus(folder: Path, raw: RawFiles, locale: str = "us", **settings) -> dict[str, pa.Table]:
    """Return the tables of the corpus, and its stats under "stats"."""
    files = CorpusFiles(*(folder / f"{name}.parquet" for name in CorpusFiles._fields))
    stats = build_corpus(raw, locale, CorpusConfig(**settings), files, SMALL)
    return {name: pq.read_table(getattr(files, name)) for name in TABLES} | {"stats": stats}


def raw_of(files: ImportedFiles) -> RawFiles:
    return RawFiles(files.examples, files.products, files.category_paths)


def write_csv(path: Path, rows: list[dict], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def shop(folder: Path, products: str, queries: str = "", judgements: str = "") -> OwnFiles:
    """Write the given texts as CSV files; without queries there are none."""
    texts = {"products": products, "queries": queries, "judgements": judgements}
    paths = {name: folder / f"{name}.csv" for name, text in texts.items() if text}
    for name, path in paths.items():
        path.write_text(texts[name], encoding="utf-8")
    return OwnFiles(**paths)


# --- the same corpus as by ESCI's files ---------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> RawFiles:
    folder = tmp_path_factory.mktemp("simulated")
    files = RawFiles(*(folder / f"{name}.parquet" for name in RawFiles._fields))
    sizes = {"es": {"products": 400, "queries": 80}}
    config = SimulateConfig.model_validate({"locales": sizes, "shared_share": 0})
    records = folder / "esci.json.zst"
    simulate(config, 3, files.examples, files.products, records)
    extract_categories(records, files.categories, SMALL)
    return files


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_simulated_data_as_own_files_give_the_corpus_that_escis_give(simulated, tmp_path, ending):
    want = corpus(tmp_path / "esci", simulated, "es")
    found = pq.read_table(simulated.categories).filter(pa.compute.field("state") == "usable").to_pylist()
    paths = {row["asin"]: row["path"] for row in sorted(found, key=lambda row: len(row["path"]))}
    rows = pq.read_table(simulated.products).to_pylist()
    examples = [row for row in pq.read_table(simulated.examples).to_pylist() if row["small_version"]]
    queries = {
        row["query_id"]: {"id": row["query_id"], "text": row["query"], "part": row["split"]}
        for row in examples
    }
    own = {
        "products": [
            {"id": row["product_id"]}
            | {field: row[column] for field, column in TEXT_COLUMNS.items()}
            | {"path": paths.get(row["product_id"])}
            for row in rows
        ],
        "queries": list(queries.values())[::-1],
        "judgements": [
            {"query": row["query_id"], "product": row["product_id"], "grade": "ICSE".index(row["esci_label"])}
            for row in examples
        ],
    }
    files = {name: tmp_path / f"{name}.{ending}" for name in own}
    for name, table in own.items():
        if ending == "parquet":
            pq.write_table(pa.Table.from_pylist(table), files[name])
        else:
            table = [
                row | ({"path": " / ".join(row["path"] or [])} if "path" in row else {}) for row in table
            ]
            write_csv(files[name], table, ";")
    settings = {
        "columns": {
            "products": {"product_id": "id", "category": "path"} | {field: field for field in TEXT_COLUMNS},
            "queries": {"query_id": "id", "query": "text", "split": "part"},
            "judgements": {"query_id": "query", "product_id": "product", "label": "grade"},
        },
        "category_separator": "/",
        "labels": {3: "E", 2: "S", 1: "C", 0: "I"},
        "csv_delimiter": ";",
    }
    assert not any("/" in name for path in paths.values() for name in path)
    raw = imported(tmp_path, OwnFiles(**files), settings, "es")
    got = corpus(tmp_path / "own", raw_of(raw), "es")
    for name in TABLES:
        assert got[name].equals(want[name]), name
        assert (tmp_path / f"own/{name}.parquet").read_bytes() == (
            tmp_path / f"esci/{name}.parquet"
        ).read_bytes()
    assert want["judgements"].num_rows > 500
    assert got["stats"]["tree"] == want["stats"]["tree"]
    every = corpus(tmp_path / "all", raw_of(raw), "es", documents="all")
    kept = {row["product_id"] for row in every["products"].to_pylist()}
    assert kept == {
        name for name, path in paths.items() if len(path) >= 3 and name in {r["product_id"] for r in rows}
    }
    assert kept > set(want["products"].column("product_id").to_pylist())
    assert every["stats"]["documents"] == len(kept)


# --- small catalogues ---------------------------------------------------------------------------------

PRODUCTS_CSV = (
    "id,name,path,tags\n"
    'b,"Red shoe, ""new""",Shoes > Red > Flat,red | shoe || red\n'
    'a,"Two\nlines",Shoes >  > Blue>Heel>High,\n'
    "10,Untagged,,blue\n"
    "é,,Shoes,\n"
)
QUERIES_CSV = "query_id,query\nq2,red shoe\nq10,blue\nlonely,nothing\n"
JUDGEMENTS_CSV = "query_id,product_id\nq2,b\nq10,a\nq10,gone\nq2,b\n"


def test_a_small_catalogue(tmp_path):
    own = shop(tmp_path, "\ufeff" + PRODUCTS_CSV, QUERIES_CSV, JUDGEMENTS_CSV)
    files = imported(tmp_path, own, {"columns": {"products": OWN_FIELDS}} | SPLIT_AT)
    paths = {row["asin"]: row for row in pq.read_table(files.category_paths).to_pylist()}
    assert [row["path"] for row in paths.values()] == [
        None,
        ["Shoes", "Blue", "Heel", "High"],
        ["Shoes", "Red", "Flat"],
        ["Shoes"],
    ]
    assert paths["a"]["blank_names"] == 1
    assert pq.read_table(files.tags).to_pylist() == [
        {"product_id": "10", "tags": ["blue"]},
        {"product_id": "b", "tags": ["red", "shoe", "red"]},
    ]
    assert pq.read_table(files.query_ids).to_pylist() == [
        {"query_id": 0, "own_id": "lonely"},
        {"query_id": 1, "own_id": "q10"},
        {"query_id": 2, "own_id": "q2"},
    ]
    made = corpus(tmp_path / "corpus", raw_of(files), documents="all", levels=1)
    assert made["products"].column("product_id").to_pylist() == ["a", "b", "é"]
    assert made["products"].column("title").to_pylist() == ["Two lines", 'Red shoe, "new"', None]
    assert made["queries"].select(["query_id", "query"]).to_pylist() == [
        {"query_id": 1, "query": "blue"},
        {"query_id": 2, "query": "red shoe"},
    ]
    pairs = made["judgements"].select(["query_id", "doc_id", "label"]).to_pylist()
    assert pairs == [{"query_id": 1, "doc_id": 0, "label": "E"}, {"query_id": 2, "doc_id": 1, "label": "E"}]
    dropped = made["stats"]["examples"]["dropped"]
    assert {reason: count for reason, count in dropped.items() if count} == {
        "no_product": 1,
        "repeated_row": 1,
    }
    assert made["stats"]["products"]["dropped"]["no_category"] == 1


def test_files_have_the_columns_of_escis(tmp_path, simulated):
    files = imported(
        tmp_path,
        shop(tmp_path, PRODUCTS_CSV, QUERIES_CSV, JUDGEMENTS_CSV),
        {"columns": {"products": OWN_FIELDS}} | SPLIT_AT,
    )
    for path, columns in ((files.examples, EXAMPLES), (files.products, PRODUCTS)):
        assert set(pq.read_schema(path).names) == set(columns)
    assert pq.read_schema(files.category_paths) == pa.schema(CATEGORY_PATHS)
    assert pq.read_schema(files.tags) == pa.schema(TAGS)
    assert pq.read_schema(files.query_ids) == pa.schema(QUERY_IDS)


def test_without_categories_and_queries_every_product_stays(tmp_path):
    own = shop(tmp_path, PRODUCTS_CSV)
    files = imported(tmp_path, own, {"columns": {"products": {"product_id": "id", "title": "name"}}})
    deepest = next(limit.le for limit in CorpusConfig.model_fields["levels"].metadata if hasattr(limit, "le"))
    assert len(PLACEHOLDER) == deepest
    for levels in (1, 3, deepest):
        made = corpus(tmp_path / str(levels), raw_of(files), documents="all", levels=levels)
        rows = made["products"].to_pylist()
        assert [row["product_id"] for row in rows] == ["10", "a", "b", "é"]
        assert {row[f"category_{level}"] for row in rows for level in range(1, levels + 1)} == {"all"}
        assert made["categories"].column("n_docs").to_pylist() == [4] * levels
        assert made["stats"]["path_is_a_placeholder"] == 4
        assert made["queries"].num_rows == made["judgements"].num_rows == 0
    assert pq.read_table(files.tags).num_rows == pq.read_table(files.query_ids).num_rows == 0
    with pytest.raises(InputError, match="no row of locale 'us'"):
        corpus(tmp_path / "judged", raw_of(files))


def splits(folder: Path, queries: dict[str, str], **settings) -> dict[str, str]:
    """Return the split of each query of {id: text}."""
    folder.mkdir()
    own = shop(folder, "id\np\n", "x", "x")
    write_csv(own.queries, [{"query_id": name, "query": text} for name, text in queries.items()])
    write_csv(own.judgements, [{"query_id": name, "product_id": "p"} for name in queries])
    files = imported(folder, own, {"columns": {"products": {"product_id": "id"}}} | settings)
    split = {row["query_id"]: row["split"] for row in pq.read_table(files.examples).to_pylist()}
    own_ids = {row["query_id"]: row["own_id"] for row in pq.read_table(files.query_ids).to_pylist()}
    return {own_ids[query_id]: part for query_id, part in split.items()}


def test_the_split_is_of_the_text_and_the_seed_alone(tmp_path):
    queries = {f"q{number}": f"red shoe {number}" for number in range(1000)}
    split = splits(tmp_path / "a", queries, test_share=0.3, split_seed=5)
    for name, part in split.items():
        number = int(hashlib.md5(f"5:{queries[name]}".encode()).hexdigest()[:13], 16) / 2**52
        assert part == ("test" if number < 0.3 else "train")
    assert list(split.values()).count("test") == pytest.approx(300, abs=45)
    fewer = {name: queries[name] for name in list(queries)[::-7]}
    some = splits(tmp_path / "b", fewer | {"another": "hat"}, test_share=0.3, split_seed=5)
    assert {name: part for name, part in some.items() if name != "another"}.items() <= split.items()
    assert splits(tmp_path / "c", queries, test_share=0.3) != split


def test_a_text_under_several_ids_is_of_one_split(tmp_path, caplog):
    written = ("Straße {} für  läufer", "STRASSE {} FÜR LÄUFER", "ｓｔｒａｓｓｅ\u3000{}\tfu\u0308r läufer ")
    days = {f"{day}-{n}": text.format(n) for day, text in enumerate(written) for n in range(60)}
    with caplog.at_level(logging.INFO):
        split = splits(tmp_path / "shop", days | {"alone": "hat"}, test_share=0.5)
    for number in range(60):
        assert len({split[f"{day}-{number}"] for day in range(3)}) == 1
    assert set(split.values()) == {"train", "test"}
    assert "180 queries whose text another has" in caplog.text


@pytest.mark.parametrize(
    ("ids", "numbers"),
    [
        (["7", "-3", "123456789012345678"], [7, -3, 123456789012345678]),
        (["7", "007"], [1, 0]),
        (["b", "7", "é", "B"], [2, 0, 3, 1]),
        (["-0", "1"], [0, 1]),
        (["1234567890123456789", "1"], [1, 0]),
    ],
)
def test_integers_stay_and_other_query_ids_are_numbered_bytewise(tmp_path, ids, numbers):
    splits(tmp_path / "shop", dict.fromkeys(ids, "text"))
    table = pq.read_table(tmp_path / "shop" / "raw" / "query_ids.parquet").to_pylist()
    assert {row["own_id"]: row["query_id"] for row in table} == dict(zip(ids, numbers, strict=True))


@pytest.mark.parametrize(
    ("grades", "labels"),
    [
        (pa.array([3, 0, 3]), {3: "E", 0: "I"}),
        (pa.array([3.0, 0.0, 3.0]), {3: "E", "0": "I"}),
        (pa.array(["3.0", "0", "3"]), {"3": "E", 0.0: "I"}),
        (pa.array(["Exact", "Irrelevant", "Exact"]).dictionary_encode(), {"Exact": "E", "Irrelevant": "I"}),
        (pa.array(["E", "I", "E"], pa.large_string()), None),
    ],
)
def test_grades_of_every_kind(tmp_path, grades, labels):
    own = OwnFiles(*(tmp_path / f"{name}.parquet" for name in OwnFiles._fields))
    pq.write_table(pa.table({"id": [3, 1, 2]}), own.products)
    pq.write_table(pa.table({"query_id": [5], "query": ["text"]}), own.queries)
    judged = {"query_id": [5] * 3, "product_id": ["1", "2", "3"], "grade": grades}
    pq.write_table(pa.table(judged), own.judgements)
    columns = {"products": {"product_id": "id"}, "judgements": {"label": "grade"}}
    files = imported(tmp_path, own, {"columns": columns, "labels": labels})
    assert pq.read_table(files.examples).column("esci_label").to_pylist() == ["E", "I", "E"]


def test_rows_of_a_long_csv_file_stay_in_order_and_are_counted_right(tmp_path):
    rows = [{"id": f"p{number * 7919 % 50_021}", "name": f"line\n{number}"} for number in range(40_000)]
    path = write_csv(tmp_path / "products.csv", rows)
    settings = {"columns": {"products": {"product_id": "id", "title": "name"}}}
    files = imported(tmp_path, OwnFiles(path), settings)
    table = pq.read_table(files.products)
    assert table.column("product_id").to_pylist() == [row["id"] for row in rows]
    assert table.column("product_title").to_pylist() == [row["name"] for row in rows]
    write_csv(path, [*rows, rows[5]])
    with pytest.raises(InputError, match="line 80002: 'p39595' is there twice, before in line 12"):
        imported(tmp_path, OwnFiles(path), settings)


# --- configuration, workflow and real products --------------------------------------------------------

DOCUMENT = (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8")
EXAMPLES_OF_DOCUMENT = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.S)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"products": "products.xlsx"}, "the ending of its name is not known, known are .parquet"),
        ({"queries": "queries.csv"}, "one is given without the other"),
        ({"locale": "es"}, "datasets.fashion.locale names 'us', known are es"),
        (
            {"columns": {"products": {"title": "title"}}},
            "missing key 'sources.shop.columns.products.product_id'",
        ),
        ({"labels": {3: "E"}}, "labels is given, but columns.judgements.label is not"),
        ({"labels": {True: "E"}}, "in quotes"),
        ({"csv_delimiter": '"'}, "pattern"),
        ({"test_share": 1}, "less than 1"),
    ],
)
def test_a_wrong_source_is_one_line(change, says):
    config = yaml.safe_load(yaml.safe_dump(EXAMPLES_OF_DOCUMENT[0]))
    config["sources"]["shop"] = config["sources"].pop("fashion") | change
    config["datasets"]["fashion"]["source"] = "shop"
    with pytest.raises(InputError, match=re.escape(says)) as caught:
        Pipeline(config, "mine.yaml")
    assert str(caught.value).startswith("mine.yaml: ")
    assert "\n" not in str(caught.value)


def test_studies_leave_out_what_has_no_queries():
    config = EXAMPLES_OF_DOCUMENT[0]
    pipeline = Pipeline(config, "mine.yaml")
    assert pipeline.study_datasets("recall") == []
    assert pipeline.corpus("fashion").documents == "all"
    named = config | {"studies": {"recall": config["studies"]["recall"] | {"datasets": ["fashion"]}}}
    with pytest.raises(InputError, match=r"studies\.recall\.datasets names 'fashion', but .* has no queries"):
        Pipeline(named, "mine.yaml")
    with pytest.raises(InputError, match=r"datasets\.fashion: corpus\.documents is judged"):
        Pipeline(config | {"corpus": config["corpus"] | {"documents": "judged"}}, "mine.yaml")


def test_the_documents_examples_are_valid():
    import_settings = {"columns", "category_separator", "tag_separator", "labels", "test_share"}
    whole, source = EXAMPLES_OF_DOCUMENT
    pipeline = Pipeline(whole | {"sources": whole["sources"] | source["sources"]}, "docs/catalogue.md")
    assert import_settings <= set(json.loads(pipeline.config.sources["shop"].importing()))


def test_plans_of_a_catalogue(tmp_path):
    project = Project(tmp_path, stub=True)
    (project.folder / "config" / "fashion.yaml").write_text(yaml.safe_dump(EXAMPLES_OF_DOCUMENT[0]))
    config = ("--configfile", "config/fashion.yaml")
    done = project.snakemake("--dry-run", *config, check=False)
    assert "sources.fashion.products: no file" in done.stderr
    (project.folder / "fashion_products.parquet").write_text("a stand-in")
    planned = project.planned(*config)
    assert {job.split()[0] for job in planned} == {
        *("import_catalogue", "build_corpus", "embed", "train_rqvae", "assign_docids", "all")
    }
    done = project.snakemake("--dry-run", "results/fashion/recall.tsv", *config, check=False)
    assert "datasets.fashion: nothing to evaluate, sources.fashion has no queries; name its" in done.stderr


def test_real_products(tmp_path):
    if not FASHION.is_file():
        pytest.skip(f"the real products are not at {FASHION}")
    source = EXAMPLES_OF_DOCUMENT[0]["sources"]["fashion"]
    settings = {key: value for key, value in source.items() if key in CatalogueConfig.model_fields}
    files = imported(tmp_path, OwnFiles(FASHION), settings)
    made = corpus(tmp_path / "corpus", raw_of(files), documents="all", levels=3)
    rows = {row["id"]: row for row in pq.read_table(FASHION).to_pylist()}
    paths = {
        name: [n.strip() for n in (row["category_full_path"] or "").split(">")] for name, row in rows.items()
    }
    got = {
        row["product_id"]: [row[f"category_{level}"] for level in (1, 2, 3)]
        for row in made["products"].to_pylist()
    }
    assert got == {name: path[:3] for name, path in paths.items() if len(path) >= 3}
    dropped = made["stats"]["products"]["dropped"]
    assert dropped["no_category"] == 8
    assert len(rows) == 2766 == len(got) + 8 + dropped["path_too_short"]
    tags = {row["product_id"]: row["tags"] for row in pq.read_table(files.tags).to_pylist()}
    assert tags == {
        name: [tag.strip() for tag in row["tags"].split("|") if tag.strip()]
        for name, row in rows.items()
        if row["tags"]
    }
