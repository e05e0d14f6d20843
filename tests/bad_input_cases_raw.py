"""Broken raw files: ESCI, ESCI-S and the category paths extracted from it."""

import json

import breakage as b
import pyarrow as pa
from bad_inputs import ESCI_S, EXAMPLES, PATHS, PRODUCTS, Case

GOOD = json.dumps({"asin": "A", "locale": "es", "category": ["a", "b", "c"]}).encode()
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"

CASES = [
    # --- ESCI: judgements
    Case(
        "examples gone", "build_corpus", b.gone(EXAMPLES),
        ("examples.parquet: no such file", "correct the path"),
    ),
    Case(
        "examples cut", "build_corpus", b.cut(EXAMPLES),
        ("examples.parquet: not a complete parquet", "download"),
    ),
    Case(
        "examples are text", "build_corpus", b.content(EXAMPLES, b"query,id\n"),
        ("examples.parquet: not a complete",),
    ),
    Case(
        "examples a folder", "build_corpus", b.nothing,
        ("resources: its parts are in folders", "as one file"), {"--examples": "resources"},
    ),
    Case(
        "examples a pointer", "build_corpus", b.content(EXAMPLES, POINTER),
        ("examples.parquet: a git-lfs pointer", "`git lfs pull`"),
    ),
    Case(
        "examples no label", "build_corpus", b.without(EXAMPLES, "esci_label"),
        ("'esci_label' is missing", "it has"),
    ),
    Case(
        "examples renamed", "build_corpus", b.renamed(EXAMPLES, "query_id", "id"),
        ("'query_id' is missing", "id,"),
    ),
    Case(
        "examples id is float", "build_corpus", b.typed(EXAMPLES, "query_id", pa.float64()),
        ("'query_id' is double, not integer", "write it with that type"),
    ),
    Case(
        "examples query null", "build_corpus", b.value(EXAMPLES, "query", 3, None),
        ("'query', row 3: null",),
    ),
    Case(
        "examples id null", "build_corpus", b.value(EXAMPLES, "query_id", 4, None),
        ("'query_id', row 4: null",),
    ),
    Case(
        "examples blank id", "build_corpus", b.value(EXAMPLES, "product_id", 5, " \t"),
        ("'product_id', row 5",),
    ),
    Case(
        "unknown label", "build_corpus", b.value(EXAMPLES, "esci_label", 6, "X"),
        ("row 6: 'X'", "E, S, C, I"),
    ),
    Case(
        "unknown locale", "build_corpus", b.value(EXAMPLES, "product_locale", 2, "de"),
        ("row 2: 'de'", "us, es, jp"),
    ),
    Case(
        "unknown split", "build_corpus", b.value(EXAMPLES, "split", 7, "Test"),
        ("row 7: 'Test'", "train, test"),
    ),
    Case("unknown version", "build_corpus", b.value(EXAMPLES, "small_version", 8, 2), ("row 8: '2'", "0, 1")),
    Case("no rows", "build_corpus", b.empty(EXAMPLES), ("no row of locale 'es'", "it has no rows")),
    Case(
        "other locale", "build_corpus", b.nothing,
        ("no row of locale 'us'", "it has es"), {"--locale": "us"},
    ),
    Case(
        "query with two texts", "build_corpus", b.value(EXAMPLES, "query", 13, "another"),
        ("examples.parquet: query_id", "two values of 'query'", "in row 13", "keep one"),
    ),
    Case(
        "query in both splits", "build_corpus", b.repeated(EXAMPLES, 13, product_id="X", split="train"),
        ("two values of 'split'", "keep one"),
    ),
    Case(
        "pair with two labels", "build_corpus",
        b.repeated(EXAMPLES, 13, esci_label="I"),
        ("two values of 'label': 'C' in row 13, 'I'", "keep one"),
    ),
    # --- ESCI: products
    Case(
        "products cut", "build_corpus", b.cut(PRODUCTS, 0.9),
        ("products.parquet: not a complete parquet", "download"),
    ),
    Case(
        "products no title", "build_corpus", b.without(PRODUCTS, "product_title"),
        ("'product_title' is missing",),
    ),
    Case(
        "product ids are numbers", "build_corpus", b.typed(PRODUCTS, "product_id", pa.int64()),
        ("'product_id' is int64, not string",),
    ),
    Case(
        "product id null", "build_corpus", b.value(PRODUCTS, "product_id", 9, None),
        ("'product_id', row 9: null",),
    ),
    Case(
        "product locale null", "build_corpus", b.value(PRODUCTS, "product_locale", 1, None),
        ("row 1: null",),
    ),
    Case(
        "product with two titles", "build_corpus", b.repeated(PRODUCTS, 2, product_title="another"),
        ("has different content in rows 2 and 400", "keep one"),
    ),
    Case(
        "products of other files", "build_corpus",
        b.table(PRODUCTS, lambda t: t.set_column(0, "product_id", pa.array([f"Z{i}" for i in range(len(t))]))),
        ("examples.parquet: no judgement of locale 'es' is left", "no_product", "belong together"),
    ),
    # --- ESCI-S
    Case(
        "records cut", "extract_categories", b.cut(ESCI_S),
        ("esci.json.zst: cut short at", "download it again"),
    ),
    Case(
        "records a pointer", "extract_categories", b.content(ESCI_S, POINTER),
        ("esci.json.zst: a git-lfs pointer", "`git lfs pull`"),
    ),
    Case(
        "records a folder", "extract_categories", b.nothing,
        ("resources: a folder, not a file",), {"--esci-s": "resources"},
    ),
    Case("records empty", "extract_categories", b.content(ESCI_S, b""), ("esci.json.zst: an empty file",)),
    Case(
        "records not zstd", "extract_categories", b.content(ESCI_S, GOOD),
        ("no zstd frame at byte 0", "compress"),
    ),
    Case(
        "records are not JSON", "extract_categories", b.records(ESCI_S, [b"a,b", b"c"]),
        ("no line is a record with a category (2 broken_line)", "asin, locale and category"),
    ),
    Case(
        "records without path", "extract_categories", b.records(ESCI_S, [b'{"asin": "A", "category": "Toys"}']),
        ("esci.json.zst: no line is a record", "1 bad_category"),
    ),
    Case(
        "memory limit", "extract_categories", b.nothing,
        ("--memory-limit", "2GB"), {"--memory-limit": "much"},
    ),
    Case(
        "temp folder", "extract_categories", b.nothing,
        ("--temp-dir none: no such folder",), {"--temp-dir": "none"},
    ),
    Case("paths cut", "build_corpus", b.cut(PATHS), ("category_paths.parquet: not a complete parquet file",)),
    Case(
        "paths of another shape", "build_corpus", b.without(PATHS, "state"),
        ("category_paths.parquet: not a table of category paths", "run extract_categories"),
    ),
    Case(
        "paths: state", "build_corpus", b.value(PATHS, "state", 3, "fine"),
        ("category_paths.parquet: column 'state', row 3: 'fine'", "run extract_categories"),
    ),
    Case(
        "paths: empty", "build_corpus", b.empty(PATHS),
        ("no judgement of locale 'es' is left", "no_esci_s_record"),
    ),
    Case(
        "paths: a null name", "build_corpus", b.value(PATHS, "path", 0, ["a", None, "c", "d"]),
        ("category_paths.parquet: column 'path', row 0", "run extract_categories"),
    ),
]  # fmt: skip
