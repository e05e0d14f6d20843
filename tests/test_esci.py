"""catid2.corpus.esci: what is read of clean and dirty raw files, and that damage is one line naming the place."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from catid2.corpus import esci_s
from catid2.corpus.database import Resources, connect
from catid2.corpus.esci import EXAMPLES, PRODUCTS, check_columns, load_examples, load_products
from catid2.corpus.esci_s import CATEGORY_PATHS, check_whole_zstd, extract_categories
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_table

SMALL = Resources("200MB", 1)


def compress(content: bytes, **options) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(content)


# --- ESCI-S -------------------------------------------------------------------------------------------

LINES = [  # (line, state, path, names removed because they are blank)
    (b'{"asin": "A1", "locale": "US", "category": ["B", "C"]}', "usable", ["B", "C"], 0),
    (b'{"asin": "A2", "category": [" A \\u00a0 & \\t B", "C\\u0000"]}', "usable", ["A & B", "C"], 0),
    (b'{"asin": "A3", "category": ["B", null, "", " \\n", "C"]}', "usable", ["B", "C"], 3),
    (b'{"asin": "A4", "category": ["B", "B", "C", "B"]}', "usable", ["B", "B", "C", "B"], 0),
    (json.dumps({"asin": "A5", "category": ["x"] * 3000}).encode(), "usable", ["x"] * 3000, 0),
    ('{"asin": "A6", "category": ["本", "É"]}'.encode(), "usable", ["本", "É"], 0),
    (b'{"category": ["B"], "x": {"asin": 7}, "asin": "A7"}\r', "usable", ["B"], 0),
    (
        json.dumps({"asin": "A8", "category": ["B"], "reviews": ["y" * 5_000_000]}).encode(),
        "usable",
        ["B"],
        0,
    ),
    (b'{"asin": "B1", "category": []}', "no_category", None, 0),
    (b'{"asin": "B2", "category": null}', "no_category", None, 0),
    (b'{"asin": "B3"}', "no_category", None, 0),
    (b'{"asin": "B4", "category": [" ", null]}', "no_category", None, 2),
    (b'{"asin": "C1", "category": "B > C"}', "bad_category", None, 0),
    (b'{"asin": "C2", "category": {"1": "B"}}', "bad_category", None, 0),
    (b'{"asin": "C3", "category": ["B", 3]}', "bad_category", None, 0),
    (b'{"asin": "C4", "category": ["B", ["C"]]}', "bad_category", None, 0),
    (b'{"asin": "C5", "category": ' + b"[" * 5000 + b"]" * 5000 + b"}", "bad_category", None, 0),
    (b'{"type": "product", "category": ["B"]}', "no_asin", ["B"], 0),
    (b'{"asin": 12, "category": ["B"]}', "no_asin", ["B"], 0),
    (b'{"asin": " ", "category": ["B"]}', "no_asin", ["B"], 0),
    (b'{"asin": "D1", "category": ["B"', "broken_line", None, 0),
    (b'{"asin": "D2", "category": ["B"]} more', "broken_line", None, 0),
    (b'{"asin": "E1", "category": ["B"]} {"asin": "E2"}', "broken_line", None, 0),
    (b'{"asin": "F1", "category": ["B\xff"]}', "bad_category", None, 0),
    (b'{"asin": "F2", "category": ["B\\ud83d"]}', "bad_category", None, 0),
    (b'{"asin": "F3", "locale": "\\udc00", "category": ["B"]}', "usable", ["B"], 0),
    (b'{"asin": "F4\\ud83d", "category": ["B"]}', "no_asin", ["B"], 0),
    (b'{"asin": "G1", "category": ["B"], "reviews": ["cut \\ud83d"]}', "usable", ["B"], 0),
    (b'{"asin": "G2", "category": ["B"], "reviews": ["caf\xe9"]}', "usable", ["B"], 0),
    (b'{"asin": "G3", "category": ["B"], "reviews": ["a\x01b\x00c"]}', "usable", ["B"], 0),
    (b'{"asin": "G4", "category": ["B"], "price": NaN, "stars": [Infinity, -Infinity]}', "usable", ["B"], 0),
    (b'{"asin": "G5", "category": ["B"], "category": ["C"]}', "usable", ["B"], 0),
    (b'{"asin": "G6", "category": ["B"], "category": ["C"], "x": "\\udc00"}', "usable", ["B"], 0),
    (b'{"asin": "H1", "category": ["\xe2\x80\x8b", "&nbsp;", "B &amp; C"]}', "usable", ["B &amp; C"], 2),
    (b'["asin"]', "broken_line", None, 0),
    (b'"asin"', "broken_line", None, 0),
    (b"null", "broken_line", None, 0),
    (b"{}", "broken_line", None, 0),
]


def test_every_kind_of_line(tmp_path):
    source, target = tmp_path / "esci.json.zst", tmp_path / "out" / "paths.parquet"
    blank = b"\n\n   \n"  # lines without anything are not counted
    source.write_bytes(compress(b"\n".join(line for line, *_ in LINES) + blank))
    states = extract_categories(source, target, SMALL)
    assert sum(states.values()) == len(LINES)
    rows = read_table(target, {name: CATEGORY_PATHS[name] for name in ("state", "blank_names")}).num_rows
    assert rows == len(LINES)
    by_asin = {row["asin"]: row for row in pq.read_table(target).to_pylist() if row["asin"]}
    for line, state, path, blank_names in LINES:
        if state in ("broken_line", "no_asin"):
            continue
        row = by_asin.pop(re.search(rb'"asin": "(\w+)"', line)[1].decode())
        assert (row["state"], row["path"], row["blank_names"]) == (state, path, blank_names), line[:80]
    assert by_asin == {}
    for state in states:
        assert states[state] == sum(1 for line in LINES if line[1] == state), state
    locales = dict(
        zip(*(pq.read_table(target).column(name).to_pylist() for name in ("asin", "locale")), strict=True)
    )
    assert (locales["A1"], locales["A2"]) == ("us", None)


def test_pieces_that_end_within_characters_and_batches_of_several_parts_change_nothing(tmp_path, monkeypatch):
    source, outputs = tmp_path / "esci.json.zst", [tmp_path / "usual.parquet", tmp_path / "pieces.parquet"]
    lines = [line for line, *_ in LINES if len(line) < 1000]
    source.write_bytes(compress(b"\n".join([*lines, b"caf\xc3"])))
    extract_categories(source, outputs[0], SMALL)
    monkeypatch.setattr(esci_s, "_BYTES_PER_PIECE", 5)
    monkeypatch.setattr(esci_s, "_RECORDS_PER_TASK", 5)
    extract_categories(source, outputs[1], SMALL)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.slow
def test_order_and_threads_do_not_change_a_byte(tmp_path):
    lines = [line for line, *_ in LINES] * 40
    outputs = set()
    for number, (content, threads) in enumerate([(lines, 1), (lines[::-1], 1), (lines[7:] + lines[:7], 2)]):
        source, target = tmp_path / "esci.json.zst", tmp_path / f"{number}.parquet"
        source.write_bytes(compress(b"\n".join(content)))
        extract_categories(source, target, Resources("500MB", threads))
        outputs.add(target.read_bytes())
    assert len(outputs) == 1


GOOD = b"\n".join(b'{"asin": "A%d", "category": ["B", "C"], "x": "%d"}' % (i, i * 7919) for i in range(20000))


@pytest.mark.parametrize(
    "options", [{}, {"write_checksum": True}, {"write_content_size": False}, {"level": 19}]
)
def test_a_whole_zstd_file_passes_and_any_cut_of_it_does_not(tmp_path, options):
    path = tmp_path / "x.zst"
    skippable = (0x184D2A53).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"hello"
    whole = (
        compress(GOOD, **options) + skippable + compress(b"\0" * 10**6, **options) + compress(b"", **options)
    )
    path.write_bytes(whole)
    assert check_whole_zstd(path) == path
    frames = (len(compress(GOOD, **options)), len(skippable), len(compress(b"\0" * 10**6, **options)))
    boundaries = {sum(frames[:i]) for i in range(1, 4)}  # cut between frames: a whole, shorter file
    for length in {1, 3, 6, len(whole) // 3, len(whole) // 2, len(whole) - 5, len(whole) - 1} - boundaries:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut short|no zstd frame"):
            check_whole_zstd(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (GOOD, "no zstd frame at byte 0"),
        (compress(GOOD)[:-9], "cut short at"),
        (compress(GOOD) + b"garbage", "no zstd frame at byte"),
        (compress(b""), "no line is a record with a category (it is empty)"),
        (
            compress(b'{"asin": "A1",\n"category": ["B"]}'),
            "no line is a record with a category (2 broken_line)",
        ),
        (compress(b'{\n"asin": "A1", "category": ["B"]}\n{"asin": A2}'), "not JSON after 1 records"),
        (compress(b'[{"asin": "A", "x": "' + b"y" * 70_000_000 + b'"}]'), "not JSON after 0 records"),
        (compress(b'{"asin": "A", "x": "' + b"y" * 70_000_000 + b'"}\n' + GOOD), "line 1 has more than"),
        (compress(GOOD)[:40] + bytes(40) + compress(GOOD)[80:], "cannot be decompressed"),
    ],
)
def test_an_unusable_file_is_one_line_and_leaves_nothing(tmp_path, content, message):
    source, target = tmp_path / "esci.json.zst", tmp_path / "paths.parquet"
    source.write_bytes(content)
    with pytest.raises(InputError) as error:
        extract_categories(source, target, SMALL)
    assert str(error.value).startswith(f"{source}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["esci.json.zst"]


def test_resources_that_make_no_sense_or_do_not_suffice(tmp_path):
    with pytest.raises(InputError, match=r"^--memory-limit, --threads: "), connect(Resources("much")):
        pass
    with pytest.raises(InputError, match=r"^--memory-limit, --threads: "), connect(Resources(threads=0)):
        pass
    with (
        pytest.raises(InputError, match=r"^--temp-dir .*none: no such folder"),
        connect(Resources(temp_dir=tmp_path / "none")),
    ):
        pass
    source = tmp_path / "esci.json.zst"
    source.write_bytes(compress(GOOD))
    with pytest.raises(InputError, match=r"^--memory-limit 2MB: .*give more memory"):
        extract_categories(source, tmp_path / "paths.parquet", Resources("2MB", 1))


RECORDS = [
    {"asin": f"A{number}", "category": ["É", f"{number}"], "reviews": ["x" * 999]} for number in range(9000)
]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("\n".join(map(json.dumps, RECORDS)), {"level": 1}),
        ("\ufeff" + "\r\n".join(map(json.dumps, RECORDS)) + "\r\n", {"level": 1}),
        (json.dumps(RECORDS, ensure_ascii=False), {"level": 1}),
        ("\n" + json.dumps(RECORDS, indent=2), {"level": 1}),
        ("\n".join(json.dumps(record, indent=1) for record in RECORDS), {"level": 1}),
    ],
    ids=["lines", "byte order mark", "array", "pretty array", "pretty records"],
)
def test_the_same_records_however_they_are_laid_out(tmp_path, text, options):
    source, target = tmp_path / "esci.json.zst", tmp_path / "paths.parquet"
    source.write_bytes(compress(text.encode(), **options))
    states = extract_categories(source, target, SMALL)
    assert {state: count for state, count in states.items() if count} == {"usable": len(RECORDS)}
    rows = pq.read_table(target).to_pylist()
    assert {row["asin"]: row["path"] for row in rows} == {row["asin"]: row["category"] for row in RECORDS}


@pytest.mark.parametrize("window_log", [27, 28, 31])
def test_windows_of_any_length(tmp_path, window_log):
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log, enable_ldm=True)
    stream = zstandard.ZstdCompressor(
        compression_params=parameters
    ).compressobj()  # of a length not told before
    path = tmp_path / "esci.json.zst"
    path.write_bytes(stream.compress(GOOD) + stream.flush())
    assert zstandard.get_frame_parameters(path.read_bytes()).window_size == 2**window_log
    assert extract_categories(path, tmp_path / "paths.parquet", SMALL)["usable"] == 20000


# --- examples and products ----------------------------------------------------------------------------

EXAMPLE = {
    "example_id": 1,
    "query": "shoe",
    "query_id": 5,
    "product_id": "P1",
    "product_locale": "us",
    "esci_label": "E",
    "small_version": 1,
    "large_version": 1,
    "split": "train",
}
PRODUCT = {name: "x" for name in PRODUCTS} | {"product_id": "P1", "product_locale": "us"}


def write(path, rows: list[dict]) -> str:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"esci_label": "Exact"}, "column 'esci_label', row 1: 'Exact'; allowed are E, S, C, I"),
        ({"esci_label": None}, "column 'esci_label', row 1: null; allowed are E, S, C, I"),
        ({"product_locale": "de"}, "column 'product_locale', row 1: 'de'; allowed are us, es, jp"),
        ({"split": "valid"}, "column 'split', row 1: 'valid'; allowed are train, test"),
        ({"small_version": 2}, "column 'small_version', row 1: '2'; allowed are 0, 1"),
        ({"large_version": None}, "column 'large_version', row 1: null; allowed are 0, 1"),
        ({"query_id": None}, "column 'query_id', row 1: null"),
        ({"product_id": None}, "column 'product_id', row 1: null"),
        ({"query": "\u3000\t"}, "column 'query', row 1: '\\u3000\\t'; every row needs one"),
        ({"query": "boot"}, "query_id 5 has two values of 'query': 'boot' in row 1, 'shoe' in row 0"),
        ({"split": "test"}, "query_id 5 has two values of 'split': 'test' in row 1, 'train' in row 0"),
        (
            {"product_id": "P1", "esci_label": "I"},
            "query_id 5, product_id 'P1' has two values of 'label': 'E' in row 0, 'I' in row 1",
        ),
    ],
)
def test_a_wrong_value_in_examples_names_its_row(tmp_path, change, message):
    path = write(tmp_path / "e.parquet", [EXAMPLE, EXAMPLE | {"product_id": "P2"} | change, EXAMPLE])
    with connect(SMALL) as connection, pytest.raises(InputError) as error:
        load_examples(connection, path, "us", "small")
    assert str(error.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"product_locale": "de"}, "column 'product_locale', row 1: 'de'; allowed are us, es, jp"),
        ({"product_id": ""}, "column 'product_id', row 1: ''; every row needs one"),
        ({"product_color": None}, "product 'P1' of locale 'us' has different content in rows 0 and 1"),
    ],
)
def test_a_wrong_value_in_products_names_its_row(tmp_path, change, message):
    path = write(tmp_path / "p.parquet", [PRODUCT, PRODUCT | change])
    with connect(SMALL) as connection, pytest.raises(InputError) as error:
        load_products(connection, path, "us")
    assert str(error.value).startswith(f"{path}: {message}")


def test_a_locale_without_rows(tmp_path):
    examples = write(tmp_path / "e.parquet", [EXAMPLE, EXAMPLE | {"product_locale": "jp"}])
    products = write(tmp_path / "p.parquet", [PRODUCT])
    with connect(SMALL) as connection:
        with pytest.raises(InputError, match=r"no row of locale 'es'; it has jp, us$"):
            load_examples(connection, examples, "es", "small")
        with pytest.raises(InputError, match=r"no row of locale 'es'; it has us$"):
            load_products(connection, products, "es")


def test_one_id_in_several_locales_is_several_products(tmp_path):
    other = PRODUCT | {"product_locale": "es", "product_title": "y"}
    path = write(tmp_path / "p.parquet", [other, PRODUCT, other, PRODUCT, PRODUCT])
    with connect(SMALL) as connection:
        assert load_products(connection, path, "us") == {"es": 2, "us": 3}
        assert connection.execute("FROM product").fetchall() == [("P1", 1, 3)]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_strings_and_integers_of_any_kind_are_read(tmp_path, kind):
    columns = {
        name: pa.array([EXAMPLE[name]], pa.int8() if wanted == "integer" else pa.string())
        for name, wanted in EXAMPLES.items()
    }
    columns = {
        name: column.cast(kind) if column.type == pa.string() else column for name, column in columns.items()
    }
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    with connect(SMALL) as connection:
        load_examples(connection, tmp_path / "e.parquet", "us", "large")
        assert connection.execute("FROM example").fetchall() == [(0, 5, "shoe", "P1", "E", "train")]


def test_wrong_columns(tmp_path):
    path = tmp_path / "e.parquet"
    with pytest.raises(InputError, match="no such file"):
        check_columns(path, EXAMPLES)
    write(path, [{name: value for name, value in EXAMPLE.items() if name != "split"}])
    with pytest.raises(InputError, match="column 'split' is missing; it has example_id, query"):
        check_columns(path, EXAMPLES)
    write(path, [EXAMPLE | {"query_id": 5.5}])
    with pytest.raises(InputError, match="column 'query_id' is double, not integer"):
        check_columns(path, EXAMPLES)
    write(path, [PRODUCT | {"product_color": None}])  # null throughout: pandas writes the type null
    check_columns(path, PRODUCTS)
    write(path, [PRODUCT | {"product_id": None}])
    with pytest.raises(InputError, match="column 'product_id' is null, not string"):
        check_columns(path, PRODUCTS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a complete parquet file"):
        check_columns(path, PRODUCTS)


def test_damage_inside_a_parquet_file(tmp_path):
    path = write(tmp_path / "e.parquet", [EXAMPLE | {"product_id": f"P{i * 7919}"} for i in range(5000)])
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(3)
    content = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset
    for position in range(start + 100, start + chunk.total_compressed_size // 2):
        content[position] ^= 0x5A
    path.write_bytes(content)
    with connect(SMALL) as connection, pytest.raises(InputError, match="cannot be read"):
        load_examples(connection, path, "us", "small")


def test_text_that_is_no_utf8(tmp_path):
    columns = {name: pa.array([value]) for name, value in PRODUCT.items()}
    columns["product_id"] = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    with connect(SMALL) as connection, pytest.raises(InputError, match=r"cannot be read .*UTF"):
        load_products(connection, tmp_path / "p.parquet", "us")
