"""The simulated raw files: their schema, their shares and dirt, and labels that follow from attributes."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from sklearn.feature_extraction.text import TfidfVectorizer

from catid2.config.simulate import LocaleSize, SimulateConfig
from catid2.runtime.errors import InputError
from catid2.simulate import files, simulate
from catid2.simulate.catalogue import ASKABLE, Catalogue, draw_catalogue, product_ids
from catid2.simulate.deck import Deck
from catid2.simulate.draws import Draws
from catid2.simulate.judgements import LABELS, Judgements, draw_judgements
from catid2.simulate.queries import draw_queries
from catid2.simulate.texts import TextMaker
from catid2.simulate.tree import Tree, build_tree, heading
from catid2.simulate.words import DEPARTMENTS, FAMILIES, LANGUAGES, LOCALES, SECTIONS, TYPES, VALUES

NAMES = ("examples.parquet", "products.parquet", "esci.json.zst")
TEXTS = ("product_title", "product_description", "product_bullet_point", "product_brand", "product_color")
SMALL = SimulateConfig(locales={locale: LocaleSize(products=150, queries=20) for locale in LOCALES})


class Raw(NamedTuple):
    """The three files, read back."""

    examples: list[dict]
    products: list[dict]
    records: list[dict]


def write(folder: Path, config: SimulateConfig, seed: int, **options) -> list[bytes]:
    paths = [folder / name for name in NAMES]
    simulate(config, seed, *paths, **options)
    return [path.read_bytes() for path in paths]


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Raw:
    """The default config, seed 0."""
    folder = tmp_path_factory.mktemp("raw")
    examples, products, records = write(folder, SimulateConfig(), 0)
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(records).decode().splitlines()
    tables = [pq.read_table(pa.BufferReader(table)).to_pylist() for table in (examples, products)]
    return Raw(*tables, [json.loads(line) for line in lines])


def share(flags) -> float:
    return float(np.mean(list(flags)))


# --- form -------------------------------------------------------------------------------------------


def test_the_tables_have_the_published_columns(tmp_path):
    write(tmp_path, SMALL, 0)
    text, number = pa.string(), pa.int64()
    assert dict(zip(*_columns(tmp_path / "examples.parquet"), strict=True)) == {
        "example_id": number,
        "query": text,
        "query_id": number,
        "product_id": text,
        "product_locale": text,
        "esci_label": text,
        "small_version": number,
        "large_version": number,
        "split": text,
    }
    names, types = _columns(tmp_path / "products.parquet")
    assert names == ["product_id", *TEXTS, "product_locale"]
    assert set(types) == {text}


def _columns(path: Path) -> tuple[list[str], list[pa.DataType]]:
    schema = pq.read_schema(path)
    return schema.names, schema.types


def test_values_are_those_of_esci(raw):
    assert {row["esci_label"] for row in raw.examples} == set("ESCI")
    assert {row["split"] for row in raw.examples} == {"train", "test"}
    assert {row["small_version"] for row in raw.examples} == {0, 1}
    assert {row["large_version"] for row in raw.examples} == {1}
    assert [row["example_id"] for row in raw.examples] == list(range(len(raw.examples)))
    assert {row["type"] for row in raw.records} == {"book", "product"}
    for record in raw.records[::50]:
        assert {
            "asin",
            "locale",
            "title",
            "category",
            "attrs",
            "bullets",
            "description",
            "info",
            "reviews",
        } <= set(record)
        assert isinstance(record["category"], list)


def test_keys_are_unique_and_refer(raw):
    products = Counter((row["product_id"], row["product_locale"]) for row in raw.products)
    assert max(products.values()) == 1
    pairs = Counter((row["query_id"], row["product_id"]) for row in raw.examples)
    assert max(pairs.values()) == 1
    assert {(row["product_id"], row["product_locale"]) for row in raw.examples} <= set(products)
    records = Counter(record["asin"] for record in raw.records)
    assert max(records.values()) == 1
    assert set(records) < {product for product, _ in products}
    facts = {
        (row["query_id"], row["query"], row["product_locale"], row["split"], row["small_version"])
        for row in raw.examples
    }
    assert len(facts) == len({row["query_id"] for row in raw.examples})
    assert len({(row["query"], row["product_locale"]) for row in raw.examples}) == len(facts)


def test_product_ids_are_one_to_one():
    numbers = np.arange(200_000)
    books = numbers % 14 == 0
    ids = product_ids(numbers, books)
    assert len(np.unique(ids)) == len(ids)
    assert {len(one) for one in ids[:1000]} == {10}
    assert all(one.isdigit() for one in ids[books][:1000])
    assert all(one.startswith(b"B0") for one in ids[~books][:1000])


# --- same seed, same bytes --------------------------------------------------------------------------


def test_bytes_depend_on_the_seed_and_not_on_the_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ROW_GROUP", 64)
    first = write(tmp_path, SMALL, 3, chunk=1000)
    for chunk in (7, 64, 100):
        assert write(tmp_path, SMALL, 3, chunk=chunk) == first
    for mine, others in zip(first, write(tmp_path, SMALL, 4), strict=True):
        assert mine != others
    groups = pq.ParquetFile(tmp_path / "products.parquet").metadata
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [64] * 7 + [2]


def test_one_product_can_be_made_without_the_others():
    draws = Draws(5)
    tree = build_tree(draws, SMALL)
    catalogue = draw_catalogue("us", SMALL, tree, draws, 0, None)
    maker = TextMaker(catalogue, SMALL, tree, draws)
    together = maker.texts(np.arange(150))
    for row in (0, 77, 149):
        alone = maker.texts(np.array([row]))
        assert [column.to_pylist() for column in alone] == [
            column.to_pylist()[row : row + 1] for column in together
        ]


def test_draws_are_uniform_and_streams_differ():
    draws, index = Draws(0), np.arange(50_000)
    first, second = draws.uniform("first", index), draws.uniform("second", index)
    for stream in (first, second, Draws(1).uniform("first", index)):
        counts = np.histogram(stream, bins=20, range=(0, 1))[0]
        assert np.abs(counts - 2500).max() < 5 * np.sqrt(2500)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.02
    np.testing.assert_array_equal(draws.uniform("first", index[[7, 3]]), first[[7, 3]])
    assert sorted(draws.permutation("order", 100)) == list(range(100))


# --- shares and dirt --------------------------------------------------------------------------------


@pytest.mark.parametrize("locale", LOCALES)
def test_fields_are_missing_as_often_as_in_esci(raw, locale):
    rows = [row for row in raw.products if row["product_locale"] == locale]
    assert len(rows) == 3000
    for column, expected in (
        ("product_description", 0.47),
        ("product_color", 0.28),
        ("product_bullet_point", 0.15),
        ("product_brand", 0.08),
    ):
        assert share(row[column] is None for row in rows) == pytest.approx(expected, abs=0.035), column
    assert all(row["product_title"] for row in rows)
    assert not any(row[column] == "" for row in rows for column in TEXTS)


def test_texts_hold_html_emoji_and_newlines(raw):
    described = [row["product_description"] for row in raw.products if row["product_description"]]
    assert share("<" in text for text in described) == pytest.approx(0.2, abs=0.03)
    bullets = [row["product_bullet_point"] for row in raw.products if row["product_bullet_point"]]
    assert share("\n" in text for text in bullets) > 0.9
    assert share("🟢" in text or "✅" in text for text in bullets) > 0.03


def test_a_share_of_the_ids_has_a_record_and_of_these_some_are_books(raw):
    ids = {row["product_id"] for row in raw.products}
    assert len(raw.records) / len(ids) == pytest.approx(0.915, abs=0.01)
    assert share(record["type"] == "book" for record in raw.records) == pytest.approx(0.07, abs=0.015)
    assert all(record["asin"].isdigit() == (record["type"] == "book") for record in raw.records)


def test_paths_have_no_to_seven_levels(raw):
    depths = Counter(len(record["category"]) for record in raw.records)
    assert set(depths) == set(range(8))
    for depth, expected in ((0, 0.04), (1, 0.025), (2, 0.05)):
        assert depths[depth] / len(raw.records) == pytest.approx(expected, abs=0.012)


def test_the_tree_is_broad_skewed_and_repeats_names(raw):
    paths = [
        tuple(record["category"])
        for record in raw.records
        if record["locale"] == "us" and len(record["category"]) > 2
    ]
    assert len({path[0] for path in paths}) >= 12
    assert len({path[:2] for path in paths}) >= 70
    assert len({path[:3] for path in paths}) >= 300
    sizes = sorted(Counter(path[:3] for path in paths).values(), reverse=True)
    assert sum(sizes[: len(sizes) // 5]) > 0.6 * len(paths)
    parents = defaultdict(set)
    for path in paths:
        for level in range(1, len(path)):
            parents[path[level]].add(path[:level])
    assert len(parents["Storage Boxes"]) > 1
    assert len(parents["Women"]) > 10


def test_ids_are_shared_between_locales_with_one_record(raw):
    locales = defaultdict(set)
    for row in raw.products:
        locales[row["product_id"]].add(row["product_locale"])
    for other in ("es", "jp"):
        shared = [product for product, found in locales.items() if {"us", other} <= found]
        assert len(shared) / 3000 == pytest.approx(0.03, abs=0.012)
    for record in raw.records:
        if len(locales[record["asin"]]) > 1:
            assert record["locale"] == "us"


def test_some_products_have_the_exact_text_of_another(raw):
    texts = Counter(tuple(row[column] for column in (*TEXTS, "product_locale")) for row in raw.products)
    again = sum(count - 1 for count in texts.values())
    assert again / len(raw.products) == pytest.approx(0.02, abs=0.008)


def test_some_records_are_large(raw):
    sizes = [len(json.dumps(record["reviews"], ensure_ascii=False).encode()) for record in raw.records]
    large = [size for size in sizes if size > 20_000]
    assert len(large) / len(sizes) == pytest.approx(0.002, abs=0.0015)
    assert np.mean(large) == pytest.approx(100_000, rel=0.1)


# --- queries and judgements -------------------------------------------------------------------------


@pytest.mark.parametrize("locale", LOCALES)
def test_queries_and_judgements_have_the_shares_asked_for(raw, locale):
    rows = [row for row in raw.examples if row["product_locale"] == locale]
    queries = {row["query_id"]: row for row in rows}.values()
    assert len(queries) == 900
    assert len(rows) / len(queries) == pytest.approx(16, rel=0.1)
    assert share(row["split"] == "test" for row in queries) == pytest.approx(0.3, abs=0.04)
    assert share(row["small_version"] for row in queries) == pytest.approx(0.9, abs=0.03)
    judged = {row["product_id"] for row in rows}
    assert len(judged) > 0.97 * 3000
    in_train = {row["product_id"] for row in rows if row["split"] == "train" and row["esci_label"] != "I"}
    tested = [row["product_id"] for row in rows if row["split"] == "test" and row["esci_label"] != "I"]
    assert share(product in in_train for product in tested) == pytest.approx(0.27, abs=0.05)


@pytest.fixture(scope="module")
def large() -> tuple[Tree, Catalogue, Judgements]:
    """A us catalogue with enough products of a type for most queries."""
    config = SimulateConfig(
        locales={"us": LocaleSize(products=60_000, queries=1500, judgements_per_query=18.7)}
    )
    draws = Draws(0)
    tree = build_tree(draws, config)
    catalogue = draw_catalogue("us", config, tree, draws, 0, None)
    judged = draw_judgements(catalogue, draw_queries(catalogue, config, tree, draws), config, tree, draws)
    return tree, catalogue, judged


def test_labels_have_their_shares_where_the_catalogue_is_large_enough(large):
    shares = np.bincount(large[2].label, minlength=4) / len(large[2].label)
    np.testing.assert_allclose(shares, [0.44, 0.34, 0.05, 0.17], atol=0.015)


@pytest.mark.parametrize(("labels", "real"), [("E", (0.922, 0.858, 0.795)), ("ES", (0.916, 0.849, 0.787))])
def test_what_is_relevant_follows_the_tree_as_little_as_in_esci(large, labels, real):
    """Share of a query's relevant products in its commonest node, per level; real: the 150 test queries of the sample.

    Over five seeds the simulated shares vary by .014. Substitutes of queries without attributes are siblings, so those
    of level 3 agree less than real ones.
    """
    tree, catalogue, judged = large
    department = dict(zip(tree.section.tolist(), tree.department.tolist(), strict=True))
    relevant = np.isin(judged.label, [LABELS.index(label) for label in labels])
    nodes = defaultdict(list)
    for query, product in zip(
        judged.query[relevant].tolist(), judged.product[relevant].tolist(), strict=True
    ):
        section = int(catalogue.section[product])
        nodes[query].append((department[section], section, int(tree.name[catalogue.type[product]])))
    shares = [
        [Counter(path[:level] for path in paths).most_common(1)[0][1] / len(paths) for level in (1, 2, 3)]
        for paths in nodes.values()
        if len(paths) > 1
    ]
    np.testing.assert_allclose(np.mean(shares, axis=0), real, atol=0.07)


def test_texts_follow_the_tree_as_much_as_in_esci(raw):
    """Share of a product's ten nearest neighbours by TF-IDF, without categories, that stand in its own node.

    Real: 2,420 products of the sample, as many as the demo has. Departments, level 1, share fewer words than real ones.
    """
    paths = {r["asin"]: r["category"][:3] for r in raw.records if len(r["category"]) > 2}
    rows = [r for r in raw.products if r["product_locale"] == "us" and r["product_id"] in paths]
    words = TfidfVectorizer(sublinear_tf=True).fit_transform(
        " ".join(row[column] or "" for column in TEXTS) for row in rows
    )
    some = np.arange(0, len(rows), 5)
    similar = (words[some] @ words.T).toarray()
    similar[np.arange(len(some)), some] = -1
    nearest = np.argpartition(-similar, 10, axis=1)[:, :10]
    for level, real in ((2, 0.714), (3, 0.627)):
        names = [tuple(paths[row["product_id"]][:level]) for row in rows]
        same = share(
            names[one] == names[other] for one, others in zip(some, nearest, strict=True) for other in others
        )
        assert same == pytest.approx(real, abs=0.16), level


@pytest.mark.parametrize("locale", LOCALES)
def test_labels_follow_from_type_and_attributes(raw, locale):
    """Recomputed from each product's type with the tables and the ESCI-S records, in words."""
    column = LOCALES.index(locale)
    department_names = {row["us"]: heading(row[locale]) for row in DEPARTMENTS}
    names = {row["us"]: heading(row[locale]) for row in SECTIONS}
    sections = {
        names[row["us"]]: (
            department_names[row["department"]],
            {heading(kind[locale]) for kind in TYPES if kind["section"] == row["us"]},
        )
        for row in SECTIONS
    }
    own_section = [names[row["section"]] for row in TYPES]
    complements = {names[row["us"]]: names[row["complement"]] for row in SECTIONS}
    draws, config = Draws(0), SimulateConfig()
    tree = build_tree(draws, config)
    us = draw_catalogue("us", config, tree, draws, 0, None)
    catalogue = us if locale == "us" else draw_catalogue(locale, config, tree, draws, 3000 * column, us)
    queries = draw_queries(catalogue, config, tree, draws)
    number = {text: n for n, text in enumerate(queries.text)}
    records = {r["asin"]: r for r in raw.records if r["locale"] == locale and len(r["category"]) > 2}
    slots = [LANGUAGES[locale].attribute_names[name] for name in ASKABLE]

    ids = product_ids(catalogue.identity, tree.is_book[catalogue.type]).astype(str)
    row_of = {product: n for n, product in enumerate(ids.tolist())}

    checked, elsewhere = Counter(), 0
    for row in raw.examples[::3]:
        if row["product_locale"] != locale or row["product_id"] not in records:
            continue
        query, record = number[row["query"]], records[row["product_id"]]
        kind = catalogue.type[row_of[row["product_id"]]]
        section, kind = own_section[kind], heading(TYPES[kind][locale])
        department = sections[section][0]
        assert record["category"][2] == kind
        elsewhere += record["category"][:2] != [department, section]
        asks = {
            slot: tree.brands[value][0] if slot == slots[-1] else tree.values[value].names[column]
            for slot, value in zip(slots, queries.asks[query], strict=True)
            if value >= 0
        }
        meets = all(record["attrs"].get(slot) == word for slot, word in asks.items())
        target = queries.target[query]
        if target < len({word.names[0] for word in tree.types}):
            wanted = heading(
                next(word for word, name in zip(tree.types, tree.name, strict=True) if name == target).names[
                    column
                ]
            )
            under = {name for name, (_, kinds) in sections.items() if wanted in kinds}
            matches, sibling = kind == wanted, section in under
        else:
            wanted = heading(tree.sections[target - tree.name.max() - 1].names[column])
            under = {wanted}
            matches, sibling = section == wanted, department == sections[wanted][0]
        complement = section in {complements[name] for name in under}
        otherwise = "C" if complement else "S" if sibling else "I"
        expected = ("E" if meets else "S") if matches else otherwise
        assert row["esci_label"] == expected, (row, record["category"], asks)
        checked[expected] += 1
    assert min(checked[label] for label in LABELS) > 100
    assert 0.05 < elsewhere / checked.total() < 0.25


@pytest.mark.parametrize("locale", LOCALES)
def test_every_attribute_is_said_somewhere_in_the_text(raw, locale):
    synonyms = {row[locale]: row[f"{locale}_other"] for row in VALUES}
    texts = {
        (r["product_id"], r["product_locale"]): " ".join(r[c] or "" for c in TEXTS[:3]).lower()
        for r in raw.products
    }
    brand = LANGUAGES[locale].attribute_names["brand"]
    for record in raw.records:
        if record["locale"] == locale:
            text = texts[record["asin"], locale]
            for slot, word in record["attrs"].items():
                if slot != brand:
                    assert word.lower() in text or synonyms[word].lower() in text, (record["asin"], word)


@pytest.mark.parametrize("locale", LOCALES)
def test_words_alone_do_not_find_what_is_relevant(raw, locale):
    titles = {
        (row["product_id"], row["product_locale"]): row["product_title"].lower() for row in raw.products
    }
    exact = [row for row in raw.examples if row["product_locale"] == locale and row["esci_label"] == "E"]
    missing = [
        any(word not in titles[row["product_id"], locale] for word in row["query"].split()) for row in exact
    ]
    assert 0.3 < share(missing) < 0.9


def test_a_deck_is_dealt_evenly():
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 6, size=40)
    deck = Deck(np.arange(40), keys)
    dealt = np.zeros(40, dtype=int)
    for _ in range(3):
        asked, count = rng.integers(0, 7, size=30), rng.integers(0, 12, size=30)
        hand, product = deck.deal(asked, count)
        np.testing.assert_array_equal(keys[product], asked[hand])
        for one in range(30):
            mine = product[hand == one]
            assert len(set(mine)) == len(mine) == min(count[one], (keys == asked[one]).sum())
        dealt += np.bincount(product, minlength=40)
        for key in range(6):
            assert np.ptp(dealt[keys == key]) <= 1


# --- words and settings -----------------------------------------------------------------------------


def test_the_tables_of_words_refer_to_each_other():
    sections = {row["us"] for row in SECTIONS}
    assert len(sections) == len(SECTIONS)
    assert {row["department"] for row in SECTIONS} == {row["us"] for row in DEPARTMENTS}
    assert {row["section"] for row in TYPES} == sections
    assert {row["complement"] for row in SECTIONS} <= sections
    assert not any(row["complement"] == row["us"] for row in SECTIONS)
    assert {row["family"] for row in SECTIONS} == FAMILIES.keys()
    assert {group for groups in FAMILIES.values() for group in groups} - {""} == {
        row["group"] for row in VALUES
    }
    assert all(
        cell for table in (DEPARTMENTS, SECTIONS, TYPES, VALUES) for row in table for cell in row.values()
    )


def test_the_languages_have_phrases_for_the_same_things():
    for name, *phrases in zip(LANGUAGES["us"]._fields, *LANGUAGES.values(), strict=True):
        assert len({type(phrase) for phrase in phrases}) == 1
        if isinstance(phrases[0], dict) and name != "in_title":
            assert len({tuple(phrase) for phrase in phrases}) == 1


def test_more_queries_than_the_words_give_are_refused_and_nothing_is_written(tmp_path):
    config = SimulateConfig(
        locales={"us": LocaleSize(products=100, queries=12_000)}, synonym_share=0, nulls={"brand": 1}
    )
    with pytest.raises(InputError, match=r"locales.us.queries: the words give only \d+ distinct queries"):
        write(tmp_path, config, 0)
    assert list(tmp_path.iterdir()) == []


def test_the_script_writes_what_the_function_writes_and_says_errors_in_one_line(tmp_path):
    expected = write(tmp_path, SMALL, 2)
    script = Path(__file__).parent.parent / "scripts" / "simulate_esci.py"
    outputs = [tmp_path / "out" / name for name in NAMES]

    def run(config: str) -> subprocess.CompletedProcess:
        options = zip(("--examples", "--products", "--esci-s"), map(str, outputs), strict=True)
        command = [
            sys.executable,
            str(script),
            "--config",
            config,
            "--seed",
            "2",
            *(part for pair in options for part in pair),
        ]
        return subprocess.run(command, capture_output=True, text=True)

    done = run(SMALL.model_dump_json())
    assert done.returncode == 0, done.stderr
    assert [path.read_bytes() for path in outputs] == expected
    wrong = run('{"labels": {"E": 0.9}}')
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: --config: key 'labels': the four shares must sum to 1")
    assert len(wrong.stderr.splitlines()) == 1
