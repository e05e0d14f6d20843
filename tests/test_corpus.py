"""catid2.corpus.build: every rule against an oracle in plain Python, real rows, order of rows, and bad input."""

import csv
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from catid2.config.base import validate
from catid2.config.corpus import CorpusConfig
from catid2.corpus.build import CorpusFiles, RawFiles, build_corpus
from catid2.corpus.cleaning import clean_text, text_key
from catid2.corpus.database import Resources
from catid2.corpus.esci import EXAMPLES, TEXT_COLUMNS
from catid2.corpus.esci_s import extract_categories
from catid2.runtime.errors import InputError
from catid2.runtime.tables import CATEGORIES, JUDGEMENTS, QUERIES, products_columns, read_table

ROOT = Path(__file__).parents[1]
REAL_ROWS = ROOT.parent / "shared" / "data" / "esci_us_rows.csv"
SMALL = Resources("300MB", 1)
STRING_COLUMNS = [name for name, kind in EXAMPLES.items() if kind == "string"]

TEXTS = {  # raw → clean
    None: None,
    "": None,
    " \n\u3000": None,
    "<br/>": None,
    "plain": "plain",
    "  two\n\n lines\u00a0 here ": "two lines here",
    "<p>Soft<br>cotton</p>": "Soft cotton",
    "I <3 it, 2 < 3 > 1": "I <3 it, 2 < 3 > 1",
    "<style>p {color: red}</style>red<!-- no --> <SCRIPT>x<y</SCRIPT>": "red",
    "R&amp;D &lt;b&gt; &#39;x&#x27; &nbsp;&unknown; &registered": "R&D <b> 'x' &unknown; &registered",
    "bell\x07 and\x00 null\x85next": "bell and null next",
    "日本\u3000語 😀": "日本 語 😀",
}


@pytest.mark.parametrize("raw", TEXTS)
def test_cleaning(raw):
    clean = clean_text(raw)
    assert clean == TEXTS[raw]
    kept = clean_text(raw, markup=False)
    if raw and not set("<&") & set(raw):
        assert kept == clean
    elif raw:
        assert "".join(kept.split()) == "".join(raw.split()), (
            "without markup, nothing but white space changes"
        )


# --- raw files made up with every kind of dirt, and an oracle --------------------------------------------


class Raw:
    """Rows of the two parquet files and lines of ESCI-S."""

    def __init__(self, examples: list[dict], products: list[dict], lines: list[bytes]):
        self.examples, self.products, self.lines = examples, products, lines

    def shuffled(self, seed: int) -> "Raw":
        order = random.Random(seed)
        return Raw(*(order.sample(rows, len(rows)) for rows in (self.examples, self.products, self.lines)))

    def write(self, folder: Path) -> RawFiles:
        folder.mkdir(parents=True, exist_ok=True)
        files = RawFiles(
            *(folder / name for name in ("examples.parquet", "products.parquet", "paths.parquet"))
        )
        pq.write_table(pa.Table.from_pylist(self.examples), files.examples, row_group_size=100)
        schema = pa.schema(dict.fromkeys(self.products[0], pa.large_string()))
        pq.write_table(pa.Table.from_pylist(self.products, schema), files.products, row_group_size=50)
        source = folder / "esci.json.zst"
        source.write_bytes(zstandard.compress(b"\n".join(self.lines)))
        extract_categories(source, files.categories, SMALL)
        return files


def messy(seed: int) -> Raw:
    """About 2,000 examples, 300 products and 450 ESCI-S lines."""
    draw = random.Random(seed)
    ids = [f"{draw.choice('AbÉ0')}{number:03d}" for number in range(120)]
    locales = ["us", "es", "jp"]
    products = [
        {"product_id": name, "product_locale": locale}
        | {column: draw.choice(list(TEXTS)) for column in TEXT_COLUMNS.values()}
        for name in ids
        for locale in locales
        if draw.random() < 0.8
    ]
    products += draw.sample(products, 20)  # exact copies
    examples, number = [], 0
    for locale in locales:
        for _ in range(30):
            number += 1
            small = int(draw.random() < 0.7)
            query = {"query": f"  query\t{number} <b>", "query_id": number * 7, "product_locale": locale}
            query |= {
                "small_version": small,
                "large_version": 1,
                "split": draw.choice(["train", "train", "test"]),
            }
            judged = draw.sample(ids, draw.randint(1, 30))
            rows = [query | {"product_id": name, "esci_label": draw.choice("EEESSCI")} for name in judged]
            examples += rows + draw.choices(rows, k=draw.choice([0, 0, 2]))
    lines = []
    for name in ids:
        for _ in range(draw.choice([0, 1, 1, 2, 3, 12])):
            names = [
                draw.choice(["Home", " Home ", "Toys & Games", "本", "Other", None, ""]) for _ in range(9)
            ]
            category = draw.choice(
                [*(names[:depth] for depth in range(9)), "Home > Toys", [["Home"] * 3], None]
            )
            record = {"asin": name, "locale": draw.choice([*locales, *locales, None]), "category": category}
            lines.append(json.dumps(record, ensure_ascii=draw.random() < 0.5).encode())
    broken = [b'{"asin": "A000"', b'{"asin": "\xff", "category": ["A", "B", "C"]}', b"[]"]
    no_asin = [b'{"locale": "us", "category": ["A", "B", "C"]}']
    return Raw(examples, products, lines + broken + no_asin)


class Oracle:
    """The rules once more, by plain loops over plain rows."""

    def __init__(self, raw: Raw, locale: str, config: CorpusConfig):
        self.config, self.locale, self.examples = config, locale, raw.examples
        self.catalogue = {row["product_id"]: row for row in raw.products if row["product_locale"] == locale}
        self.pair_fate, self.judged = Counter(), {}
        for row in raw.examples:
            key = row["query_id"], row["product_id"]
            if row["product_locale"] != locale:
                self.pair_fate["other_locale"] += 1
            elif not row[f"{config.version}_version"]:
                self.pair_fate["other_version"] += 1
            elif row["esci_label"] not in config.labels:
                self.pair_fate["label_not_kept"] += 1
            elif key in self.judged:
                self.pair_fate["repeated_row"] += 1
            else:
                self.judged[key] = row
        seen = {
            row["product_id"]
            for row in self.judged.values()
            if row["split"] == "train" and row["esci_label"] in config.seen_labels
        }
        records = self.records(raw.lines)
        wanted = {product for _, product in self.judged}
        self.product_fate, self.paths, self.record_locales = Counter(), {}, Counter()
        self.product_fate["repeated_row"] = sum(
            row["product_locale"] == locale for row in raw.products
        ) - len(self.catalogue)
        for row in raw.products:
            self.product_fate["other_locale"] += row["product_locale"] != locale
        for product in self.catalogue:
            why = "not_judged" if product not in wanted else self.without_path(records.get(product, []))
            if why:
                self.product_fate[why] += 1
            else:
                record_locale, self.paths[product] = self.choose(records[product])
                self.record_locales[record_locale] += 1
        self.doc_id = {
            name: number for number, name in enumerate(sorted(self.paths, key=lambda name: name.encode()))
        }
        self.judgements = []
        for (query, product), row in self.judged.items():
            if product not in self.catalogue:
                self.pair_fate["no_product"] += 1
            elif product not in self.doc_id:
                self.pair_fate[self.without_path(records.get(product, []))] += 1
            else:
                doc = self.doc_id[product]
                self.judgements.append((query, doc, row["esci_label"], row["split"], product in seen))
        self.judgements.sort()

    def records(self, lines: list[bytes]) -> dict[str, list[tuple[str | None, list[str]]]]:
        """Return (locale, path) of every record, by asin; the path is empty if there is none."""
        records: dict[str, list] = {}
        for line in lines:
            try:
                record = json.loads(line.decode())
            except ValueError:
                continue
            if not isinstance(record, dict) or not record.get("asin"):
                continue
            names = record["category"] if isinstance(record["category"], list) else []
            if any(not isinstance(name, str | None) for name in names):
                names = []
            path = [name.strip() for name in names if name and name.strip()]
            records.setdefault(record["asin"], []).append((record["locale"], path))
        return records

    def choose(self, records: list) -> tuple[str | None, list[str]]:
        """Enough levels, then own locale, then locale by name, then the longest path, then the first by name."""

        def preference(record: tuple) -> tuple:
            locale, path = record
            enough = len(path) >= self.config.levels
            by_name = locale or "~"  # without a locale comes last
            return not enough, locale != self.locale, by_name, -len(path), [name.encode() for name in path]

        return min(records, key=preference)

    def without_path(self, records: list) -> str | None:
        if not records:
            return "no_esci_s_record"
        _, path = self.choose(records)
        if not path:
            return "no_category"
        return "path_too_short" if len(path) < self.config.levels else None


def outputs(folder: Path) -> CorpusFiles:
    return CorpusFiles(
        *(folder / f"{name}.{'json' if name == 'stats' else 'parquet'}" for name in CorpusFiles._fields)
    )


@pytest.fixture(scope="module")
def raw_files(tmp_path_factory) -> tuple[Raw, RawFiles]:
    raw = messy(0)
    return raw, raw.write(tmp_path_factory.mktemp("raw"))


@pytest.mark.parametrize(
    ("locale", "settings"),
    [
        ("us", {}),
        ("es", {}),
        ("jp", {"version": "large", "levels": 1, "clean_html": False}),
        ("es", {"labels": ["E", "S"], "seen_labels": ["E"], "levels": 5}),
    ],
)
def test_every_rule_against_the_oracle(tmp_path, raw_files, locale, settings):
    raw, files = raw_files
    config = validate(CorpusConfig, settings, "test")
    out = outputs(tmp_path / "out")
    stats = build_corpus(files, locale, config, out, SMALL)
    want = Oracle(raw, locale, config)
    assert want.judgements, "the made-up files leave something"

    judgements = read_table(out.judgements, JUDGEMENTS).to_pylist()
    assert [tuple(row.values()) for row in judgements] == want.judgements

    queries = read_table(out.queries, QUERIES).to_pylist()
    of_query = {row["query_id"]: row for row in raw.examples}
    assert queries == [
        {"query_id": query, "query": f"query {query // 7} <b>", "split": of_query[query]["split"]}
        for query in sorted({row[0] for row in want.judgements})
    ]

    nodes = read_table(out.categories, CATEGORIES).to_pylist()
    documents = read_table(out.products, products_columns(config.levels)).to_pylist()
    assert [row["doc_id"] for row in documents] == list(range(len(documents)))
    assert {row["product_id"]: row["doc_id"] for row in documents} == want.doc_id
    for row in documents:
        raw_row = want.catalogue[row["product_id"]]
        for field, column in TEXT_COLUMNS.items():
            text = raw_row[column]
            assert row[field] == (TEXTS[text] if config.clean_html else clean_text(text, markup=False))
        path, parent = want.paths[row["product_id"]], -1
        for level in range(1, config.levels + 1):
            node = nodes[row[f"category_id_{level}"]]
            assert row[f"category_{level}"] == node["name"] == path[level - 1]
            assert (node["level"], node["parent"]) == (level, parent)
            parent = node["node"]
    held = Counter(row[f"category_id_{level}"] for row in documents for level in range(1, config.levels + 1))
    assert {node["node"]: node["n_docs"] for node in nodes} == held

    assert json.loads(out.stats.read_text(encoding="utf-8")) == json.loads(json.dumps(stats))
    assert Counter(stats["examples"]["dropped"]) == want.pair_fate
    assert Counter(stats["products"]["dropped"]) == want.product_fate
    for name, rows in (("examples", raw.examples), ("products", raw.products), ("esci_s", raw.lines)):
        account = stats[name]
        assert account["rows"] == account["kept"] + sum(account["dropped"].values()) == len(rows), name
    assert stats["esci_s"]["dropped"]["broken_line"] == 2
    assert stats["esci_s"]["dropped"]["no_asin"] == 2
    check_counts(stats, want, documents)


def check_counts(stats: dict, want: Oracle, documents: list[dict]) -> None:
    """Compare the counts of the corpus with counts of the oracle's rows."""
    assert stats["documents"] == len(documents)
    for split in ("train", "test"):
        labels = Counter(label for _, _, label, of_split, _ in want.judgements if of_split == split)
        assert stats["judgements"][split] == labels | {"all": labels.total()}
        assert stats["queries"][split] == len({row[0] for row in want.judgements if row[3] == split})
    for labels in ("E+S+C", "E+S"):
        test = [row for row in want.judgements if row[3] == "test" and row[2] in labels.split("+")]
        found = stats["labels"][labels]
        assert (found["test_pairs"], found["test_queries"]) == (len(test), len({row[0] for row in test}))
        seen = [row for row in test if row[4]]
        assert (found["seen_test_pairs"], found["seen_test_queries"]) == (
            len(seen),
            len({row[0] for row in seen}),
        )
    queries = {query for query, product in want.judged if product in want.catalogue}
    assert stats["before_categories"]["queries"]["all"] == len(queries)
    asked = {
        row["query_id"]
        for row in want.examples
        if row["product_locale"] == want.locale and row[f"{want.config.version}_version"]
    }
    assert stats["queries_without_documents"] == len(asked - {row[0] for row in want.judgements})
    depths = Counter(str(len(path)) for path in want.paths.values())
    assert stats["documents_by_depth"] == depths
    assert stats["path_repeats_a_name"] == sum(len(set(path)) < len(path) for path in want.paths.values())
    elsewhere = want.record_locales.total() - want.record_locales[want.locale]
    assert 0 < elsewhere == stats["path_of_another_locale"]
    for field, column in TEXT_COLUMNS.items():
        raw = [want.catalogue[row["product_id"]][column] for row in documents]
        clean = [row[field] for row in documents]
        assert stats["text"][field]["missing"] == raw.count(None)
        assert stats["text"][field]["missing"] + stats["text"][field]["emptied"] == clean.count(None)
        changed = [one for one, other in zip(clean, raw, strict=True) if one is not None and one != other]
        assert stats["text"][field]["changed"] == len(changed)
    for level in stats["tree"]:
        nodes = Counter(tuple(path[: level["level"]]) for path in want.paths.values())
        assert (level["nodes"], level["most_documents"]) == (len(nodes), max(nodes.values()))


def test_the_order_of_raw_rows_and_the_threads_do_not_change_a_byte(tmp_path, raw_files):
    raw, files = raw_files
    corpora = []
    for number, (source, resources) in enumerate(
        [
            (files, SMALL),
            (raw.shuffled(1).write(tmp_path / "1"), SMALL),
            (raw.shuffled(2).write(tmp_path / "2"), Resources("300MB", 2)),
        ]
    ):
        out = outputs(tmp_path / f"out{number}")
        build_corpus(source, "us", CorpusConfig(), out, resources)
        corpora.append({path.name: path.read_bytes() for path in out})
    assert corpora[1] == corpora[0]
    assert corpora[2] == corpora[0]


def test_test_queries_with_the_text_of_a_train_query_are_counted_and_left_out_if_asked(tmp_path, capsys):
    asked = [  # query_id, text, split, products
        (1, "Straße shoe", "train", "ab"),
        (2, " STRASSE\u3000ｓｈｏｅ", "test", "bc"),
        (3, "strasse shoe hat", "test", "ad"),
        (4, "strasse shoe", "test", "x"),  # of no product that is there
        (5, "lamp", "train", "x"),
        (6, "lamp", "test", "a"),  # the train query with its text is not in the corpus
        (7, "rug", "test", "e"),
        (8, "RUG", "test", "e"),  # both in test
    ]
    examples = [
        {
            "query": text,
            "query_id": query_id,
            "product_id": product,
            "product_locale": "us",
            "esci_label": "E",
        }
        | {"small_version": 1, "large_version": 1, "split": split}
        for query_id, text, split, products in asked
        for product in products
    ]
    texts = dict.fromkeys(TEXT_COLUMNS.values(), "text")
    products = [{"product_id": name, "product_locale": "us"} | texts for name in "abcde"]
    paths = [
        {"type": "product", "locale": "us", "asin": name, "category": ["A", "B", "C"]} for name in "abcde"
    ]
    files = Raw(examples, products, [json.dumps(path).encode() for path in paths]).write(tmp_path)
    found = {}
    for dropped in (False, True):
        out = outputs(tmp_path / str(dropped))
        stats = build_corpus(files, "us", CorpusConfig(drop_repeated_texts=dropped), out, SMALL)
        assert stats["test_texts_in_train"] == {"queries": 1, "judgements": 2}
        warning = "examples.parquet: 1 of 5 test queries have the text of a train query; set corpus.drop_repeated_texts"
        assert (warning in capsys.readouterr().err) == (not dropped)
        assert stats["documents"] == 5  # c, that only query 2 judges, stays
        account = stats["examples"]
        assert account["rows"] == account["kept"] + sum(account["dropped"].values()) == len(examples)
        assert account["dropped"]["text_in_train"] == (2 if dropped else 0)
        assert account["dropped"]["no_product"] == 2
        found[dropped] = (read_table(out.queries, QUERIES), read_table(out.judgements, JUDGEMENTS))
        for table in found[dropped]:
            assert set(table["query_id"].to_pylist()) == {1, 3, 6, 7, 8} | ({2} if not dropped else set())
    for kept, every in zip(found[True], found[False], strict=True):
        assert kept.equals(every.filter(pa.compute.field("query_id") != 2))


def corpus_of_paths(paths: dict[str, list[str]]) -> Raw:
    """Products that one query wants, by their names the category path of each."""
    products, lines, examples = [], [], []
    for product, path in paths.items():
        key = {"product_id": product, "product_locale": "us"}
        products.append(key | dict.fromkeys(TEXT_COLUMNS.values(), "text"))
        lines.append(
            json.dumps({"type": "product", "locale": "us", "asin": product, "category": path}).encode()
        )
        query = {"query": "q", "query_id": 1, "esci_label": "E", "small_version": 1, "large_version": 1}
        examples.append(key | query | {"split": "test"})
    return Raw(examples, products, lines)


def test_categories_have_the_most_frequent_of_their_spellings(tmp_path):
    paths = {
        "a": ["Home", "x", "y"],
        "b": ["HOME", "x", "z"],
        "c": ["Home", "x", "y"],
        "d": ["Toys", "x", "y"],
    }
    out = outputs(tmp_path)
    stats = build_corpus(corpus_of_paths(paths).write(tmp_path), "us", CorpusConfig(), out, SMALL)
    table = read_table(out.products, products_columns(3))
    assert table["category_1"].to_pylist() == ["Home", "Home", "Home", "Toys"]
    assert stats["spellings_merged"] == {"nodes": 1, "documents_respelled": 1}


@pytest.mark.parametrize(("names", "level"), [(["All", "{}", "b"], "1"), (["{}", "B", "C"], None)])
def test_a_level_with_one_node_is_warned_of(tmp_path, capsys, names, level):
    paths = {product: [name.format(product) for name in names] for product in "abcd"}
    files = corpus_of_paths(paths).write(tmp_path)
    build_corpus(files, "us", CorpusConfig(), outputs(tmp_path), SMALL)
    warning = (
        f"warning: {files.categories}: all products lie in one node at level {level} of the category tree"
    )
    assert (warning in capsys.readouterr().err) == (level is not None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Red Shoe", "red shoe"),
        (" red\t\u3000shoe\n", "red shoe"),
        ("ｒｅｄ ｓｈｏｅ", "red shoe"),
        ("ﾚﾃﾞｨｰｽ", "レディース"),
        ("STRASSE", "straße"),
        ("cafe\u0301", "CAFÉ"),
        ("ΣΟΦΟΣ", "σοφος"),
        ("ﬁne", "FINE"),
        ("red\x00shoe", "red shoe"),
    ],
)
def test_texts_of_one_key(one, other):
    assert text_key(one) == text_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("red shoe", "redshoe"), ("niño", "nino"), ("shoe", "shoes"), ("a-b", "a b")]
)
def test_texts_of_different_keys(one, other):
    assert text_key(one) != text_key(other)


@given(st.text())
def test_a_key_is_its_own_key(text):
    assert text_key(text_key(text)) == text_key(text)


# --- real rows ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL_ROWS.exists(), reason=f"the real ESCI rows are not at {REAL_ROWS}")
def test_real_rows(tmp_path):
    with REAL_ROWS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    integers = [name for name, kind in EXAMPLES.items() if kind == "integer"]
    examples = [
        {name: row[name] for name in STRING_COLUMNS} | {n: int(row[n]) for n in integers} for row in rows
    ]
    columns = ["product_id", "product_locale", *TEXT_COLUMNS.values()]
    products = [{name: row[name] or None for name in columns} for row in rows]
    depth = {row["product_id"]: number % 5 for number, row in enumerate(rows)}  # 0..4 levels
    category = {name: [f"level {i}" for i in range(1, levels + 1)] for name, levels in depth.items()}
    lines = [
        json.dumps({"type": "product", "locale": "us", "asin": name, "category": path}).encode()
        for name, path in category.items()
    ]
    out = outputs(tmp_path / "out")
    stats = build_corpus(Raw(examples, products, lines).write(tmp_path), "us", CorpusConfig(), out, SMALL)
    kept = [row for row in rows if depth[row["product_id"]] >= 3]
    assert stats["examples"]["rows"] == stats["products"]["rows"] == len(rows) == 485
    assert stats["documents"] == stats["examples"]["kept"] == len(kept)
    assert stats["examples"]["dropped"]["no_category"] == sum(levels == 0 for levels in depth.values())
    assert stats["products"]["dropped"]["path_too_short"] == sum(
        levels in (1, 2) for levels in depth.values()
    )
    assert stats["queries"]["train"] == len({row["query_id"] for row in kept})
    assert stats["judgements"]["train"] == {"E": len(kept), "all": len(kept)}
    assert stats["queries"]["test"] == 0
    documents = pq.read_table(out.products).to_pylist()
    assert [row["product_id"] for row in documents] == sorted(row["product_id"] for row in kept)
    raw = {row["product_id"]: row for row in kept}
    for row in documents:
        for field, column in TEXT_COLUMNS.items():
            assert (row[field] is None) == (not raw[row["product_id"]][column].strip())
            assert row[field] is None or ("<br" not in row[field].lower() and "\n" not in row[field])


# --- bad input ------------------------------------------------------------------------------------------


def command(files: RawFiles, out: CorpusFiles, locale: str = "us", config: str = "{}") -> list[str]:
    return [
        sys.executable,
        str(ROOT / "scripts" / "build_corpus.py"),
        *("--config", config, "--locale", locale, "--memory-limit", "300MB", "--threads", "1"),
        *("--examples", str(files.examples), "--products", str(files.products)),
        *("--category-paths", str(files.categories)),
        *(f"--{name}-out={path}" for name, path in out._asdict().items()),
    ]


def test_the_script_writes_all_files(tmp_path, raw_files):
    _, files = raw_files
    out = outputs(tmp_path / "a" / "b")
    done = subprocess.run(command(files, out, "es", '{"levels": 2}'), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    examples, products, summary = done.stderr.splitlines()
    assert examples.startswith(f"warning: {files.examples}: ")
    assert products.startswith(f"warning: {files.products}: ")
    assert summary.endswith(" category nodes")
    assert sorted(out.products.parent.iterdir()) == sorted(out)
    assert json.loads(out.stats.read_text())["config"]["levels"] == 2


@pytest.mark.parametrize("fault", ["config", "products cut"])
def test_the_script_says_one_line_and_leaves_nothing(tmp_path, raw_files, fault):
    _, files = raw_files
    out = outputs(tmp_path / "out")
    config, message = "{}", f"error: {tmp_path / 'cut.parquet'}: not a complete parquet file"
    if fault == "config":
        config, message = '{"level": 2}', "error: --config: unknown key 'level'; did you mean 'levels'?"
    else:
        (tmp_path / "cut.parquet").write_bytes(files.products.read_bytes()[:-100])
        files = files._replace(products=tmp_path / "cut.parquet")
    done = subprocess.run(command(files, out, config=config), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert list(out.products.parent.glob("*")) == []


def test_nothing_left_is_an_error_that_says_why(tmp_path, raw_files):
    _, files = raw_files
    out = outputs(tmp_path / "out")
    with pytest.raises(
        InputError, match=r"corpus\.levels is 9, but no category path has so many names \(\d+ have 1"
    ):
        build_corpus(files, "us", CorpusConfig(levels=9), out, SMALL)
    empty = tmp_path / "category_paths.parquet"
    pq.write_table(pq.read_table(files.categories).slice(0, 0), empty)
    says = r"no judgement of locale 'us' is left \(\d+ other_locale, .*no_esci_s_record\)"
    with pytest.raises(InputError, match=says):
        build_corpus(files._replace(categories=empty), "us", CorpusConfig(), out, SMALL)
    assert not out.products.parent.exists()


def test_category_paths_of_another_making(tmp_path, raw_files):
    _, files = raw_files
    for path, message in (
        (files.products, "not a table of category paths"),
        (tmp_path / "none.parquet", "no such file"),
    ):
        with pytest.raises(InputError, match=message):
            build_corpus(files._replace(categories=path), "us", CorpusConfig(), outputs(tmp_path), SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_text_is_found_before_anything_is_in_place(tmp_path, raw_files):
    raw, _ = raw_files
    once = {(row["product_id"], row["product_locale"]): row for row in raw.products}
    files = Raw(raw.examples, list(once.values()), raw.lines).write(tmp_path)
    chunk = pq.ParquetFile(files.products).metadata.row_group(0).column(2)
    content = bytearray(files.products.read_bytes())
    for position in range(chunk.dictionary_page_offset, chunk.data_page_offset):
        content[position] ^= 0x5A
    files.products.write_bytes(content)
    out = outputs(tmp_path / "out")
    with pytest.raises(InputError, match=r"products.parquet: cannot be read"):
        build_corpus(files, "us", CorpusConfig(), out, SMALL)
    assert list(out.products.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": ["E", "X"]}, "labels.1"),
        ({"labels": ["E", "E"]}, "each value may stand there once"),
        ({"labels": ["E"]}, "seen_labels holds S, C, which labels leaves out"),
        ({"levels": 0}, "levels"),
        ({"version": "medium"}, "version"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(InputError, match=message):
        validate(CorpusConfig, settings, "config.yaml")
