"""Broken files of the sample of ESCI; each case writes complete ones and puts a fault into one of them."""

import json
from collections.abc import Callable
from pathlib import Path

import breakage as b
from bad_inputs import SAMPLE, Case
from test_esci_sample import PAIRS, PRODUCTS, RATINGS, product, write


def sample(**changes: object) -> Callable[[Path], None]:
    """Write the files of a sample, some with other content."""

    def write_all(folder: Path) -> None:
        write(folder / SAMPLE, **changes)

    return write_all


def judged(*queries: tuple[str, list[tuple[str, str]]]) -> Callable[[Path], None]:
    """Write the files of a sample whose judgements are these: queries, and their products with ratings."""
    entries = [
        {"query": query, "ratings": [{"docId": asin, "rating": rating} for asin, rating in ratings]}
        for query, ratings in queries
    ]
    content = json.dumps({"judgmentRatings": entries}).encode()
    return b.all_of(sample(), b.content(f"{SAMPLE}/judgements.json", content))


RULE = "import_esci_sample"
CASES = [
    Case(
        "sample gone", RULE, b.all_of(sample(), b.gone(f"{SAMPLE}/pairs.json")),
        ("pairs.json: no such file",),
    ),
    Case(
        "sample products no gzip", RULE, b.all_of(sample(), b.content(f"{SAMPLE}/products.json.gz", b"{}")),
        ("products.json.gz: not a complete gzip file", "download it again"),
    ),
    Case(
        "sample products cut", RULE, b.all_of(sample(), b.cut(f"{SAMPLE}/products.json.gz")),
        ("products.json.gz: not a complete gzip file", "download it again"),
    ),
    Case(
        "sample products other fields", RULE, sample(products=[PRODUCTS[0], {"asin": "B2"}]),
        ("products.json.gz: line 2: title: Field required", "download it again"),
    ),
    Case(
        "sample judgements no JSON", RULE, b.all_of(sample(), b.cut(f"{SAMPLE}/judgements.json")),
        ("judgements.json: Invalid JSON", "download it again"),
    ),
    Case(
        "sample other rating", RULE, sample(ratings=RATINGS | {"pan": {"B2": "5.000"}}),
        ("judgements.json: judgmentRatings: 1: ratings: 0: rating: Input should be '100.000'", "download it again"),
    ),
    Case("sample of no products", RULE, sample(products=[]), ("products.json.gz: no products", "download it again")),
    Case(
        "sample of no queries", RULE, sample(ratings={}, pairs={"far away": [["B9", "E"]]}),
        ("judgements.json: no queries", "of one sample"),
    ),
    Case(
        "sample product twice", RULE, sample(products=[*PRODUCTS, PRODUCTS[1] | {"title": "another"}]),
        ("products.json.gz: product 'B2' is there twice", "keep one"),
    ),
    Case(
        "sample query twice", RULE, judged(("pan", [("B2", "100.000")]), ("pan", [("B3", "1.000")])),
        ("judgements.json: query 'pan' is there twice", "keep one"),
    ),
    Case(
        "sample product rated twice", RULE, judged(("pan", [("B2", "100.000"), ("B3", "1.000"), ("B2", "0.000")])),
        ("judgements.json: query 'pan', product 'B2' is there twice", "keep one"),
    ),
    Case(
        "sample query id twice", RULE, judged(("pan", [("B3", "1.000")]), ("Pan", [("B4", "100.000")])),
        ("judgements.json: a test query with id 9 is there twice", "keep one"),
    ),
    Case(
        "sample pair twice", RULE, sample(pairs=PAIRS | {"wok pan": [["B2", "E"], ["B2", "E"]]}),
        ("pairs.json: query 'wok pan', product 'B2' is there twice", "keep one"),
    ),
    *(
        Case(
            f"sample query id {number}", RULE, sample(products=[*PRODUCTS[:3], product("B4", [], "9", number)]),
            (f"products.json.gz: line 4: query_id: 1: Input should be {rule}", "download it again"),
        )
        for number, rule in (
            ("-1", "greater than or equal to 0"), ("1000000", "less than 1000000"), ("9" * 30, "less than 1000000"),
        )
    ),
    Case(
        "sample product missing", RULE, sample(products=PRODUCTS[:3]),
        ("judgements.json: query 'pan' has product 'B4'", "of one sample"),
    ),
    Case(
        "sample no common id", RULE, sample(products=[*PRODUCTS[:3], product("B4", [], "8")]),
        ("judgements.json: the products of query 'pan' list 0 query ids in common", "of one sample"),
    ),
    Case(
        "sample two common ids", RULE, sample(ratings=RATINGS | {"both": {"B1": "100.000"}}),
        ("judgements.json: the products of query 'both' list 2 query ids in common", "of one sample"),
    ),
    Case(
        "sample two labels", RULE, sample(pairs=PAIRS | {"pan": [["B2", "S"]]}),
        ("pairs.json: query 'pan', product 'B2': label S, elsewhere E", "keep one"),
    ),
    Case(
        "sample other label", RULE, sample(pairs={"pan": [["B2", "exact"]]}),
        ("pairs.json: pan: 0: 1: Input should be 'E', 'S', 'C' or 'I'",),
    ),
    Case(
        "sample no address", "fetch_esci_sample", b.nothing,
        ("--config", "pairs.url"), {"--config": '{"pairs": {"url": "ftp://x"}}'},
    ),
]  # fmt: skip
