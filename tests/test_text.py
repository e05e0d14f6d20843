"""Templates and words: what drops out, what is refused, how words of each script are cut."""

import re
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catid2.config.template import parse_template
from catid2.corpus.text import DocumentTexts, document_texts, tokenize
from catid2.runtime.errors import InputError
from catid2.runtime.tables import TEXT_FIELDS

TEMPLATE = "{category_path}. {title}. {brand} {color}. {bullets} {description}"


def product_table(*rows: dict) -> pa.Table:
    """Products with two category levels; fields left out are null."""
    names = ("product_id", *TEXT_FIELDS, "category_1", "category_2")
    columns = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}
    return pa.table({"doc_id": pa.array(range(len(rows)), pa.int32())} | columns)


FULL = {
    "title": "Trail shoe",
    "brand": "Acme",
    "color": "red",
    "bullets": "Light. Fast.",
    "description": "Runs  far.\n",
    "category_1": "Sport",
    "category_2": "Shoes",
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "Sport > Shoes. Trail shoe. Acme red. Light. Fast. Runs far."),
        ({"category_2": None}, "Sport. Trail shoe. Acme red. Light. Fast. Runs far."),
        ({"category_1": None, "category_2": None}, "Trail shoe. Acme red. Light. Fast. Runs far."),
        ({"brand": None, "color": None}, "Sport > Shoes. Trail shoe. Light. Fast. Runs far."),
        ({"title": "  ", "bullets": ""}, "Sport > Shoes. Acme red. Runs far."),
        (dict.fromkeys(FULL), ""),
    ],
)
def test_missing_fields_drop_out_with_the_text_that_follows(changes, expected):
    assert document_texts(product_table(FULL | changes), TEMPLATE, 1000) == [expected]


def test_opening_text_stays_and_characters_are_counted():
    assert document_texts(product_table(FULL), "passage: {title} / {color}", 1000) == [
        "passage: Trail shoe / red"
    ]
    assert document_texts(product_table(FULL), "passage: {title} / {color}", 15) == ["passage: Trail"]
    assert document_texts(product_table({"color": "x"}), "passage: {title}", 1000) == [""]


@given(st.lists(st.fixed_dictionaries({name: st.none() | st.text(max_size=5) for name in FULL}), min_size=1))
def test_texts_are_trimmed_and_hold_every_field_that_is_there(rows):
    for row, text in zip(rows, document_texts(product_table(*rows), TEMPLATE, 10_000), strict=True):
        assert text == " ".join(text.split())
        assert all(" ".join(value.split()) in text for value in row.values() if value)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{nope}", "unknown template field 'nope'"),
        ("{title", "expected '}'"),
        ("{title!r}", "carries a format"),
        ("{title:>10}", "carries a format"),
        ("{}", "unknown template field ''"),
        ("no field", "names no field"),
    ],
)
def test_templates_that_cannot_be_read_are_refused(template, message):
    with pytest.raises(ValueError, match=message):
        parse_template(template)


def test_a_level_the_products_lack_is_named():
    with pytest.raises(InputError, match="category_3"):
        document_texts(product_table(FULL), "{category_3}", 100)
    with pytest.raises(InputError, match="category_path"):
        document_texts(product_table(FULL).drop(["category_1", "category_2"]), "{category_path}", 100)


@pytest.mark.parametrize("rows_per_group", [1, 3, 7, 100])
def test_texts_are_those_of_the_whole_table_however_the_file_is_cut(tmp_path, rows_per_group):
    path = tmp_path / "products.parquet"
    table = product_table(*({**FULL, "title": f"shoe {row}"} for row in range(10)))
    pq.write_table(table, path, row_group_size=rows_per_group)
    expected = document_texts(table, TEMPLATE, 1000)
    texts = DocumentTexts(path, TEMPLATE, 1000)
    assert len(texts) == 10
    assert list(texts) == expected
    assert [texts[row] for row in (0, 9, -1, 4)] == [expected[row] for row in (0, 9, -1, 4)]
    for rows in (slice(0, 10), slice(2, 8), slice(5, 100), slice(7, 7), slice(None, None, 3), slice(-4, -1)):
        assert texts[rows] == expected[rows]
    with pytest.raises(IndexError):
        texts[10]


def test_texts_are_checked_before_one_is_asked_for(tmp_path):
    path = tmp_path / "products.parquet"
    table = product_table(FULL, {})
    pq.write_table(table.take([1, 0]), path)
    with pytest.raises(InputError, match="doc_id is not"):
        DocumentTexts(path, TEMPLATE, 1000)
    pq.write_table(table.slice(0, 0), path)
    with pytest.raises(InputError, match="no products"):
        DocumentTexts(path, TEMPLATE, 1000)
    pq.write_table(table, path)
    with pytest.raises(InputError, match="category_3"):
        DocumentTexts(path, "{category_3}", 1000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("iPhone13用ケース", ["iphone13", "用ケ", "ケー", "ース"]),
        (
            "ｉＰｈｏｎｅ １００％ ﾚﾃﾞｨｰｽ",
            ["iphone", "100", "レデ", "ディ", "ィー", "ース"],
        ),  # full and half width
        ("時々・靴", ["時々", "靴"]),
        ("Niño's T-shirt, XL", ["niño", "s", "t", "shirt", "xl"]),
        ("한국어 pen", ["한국", "국어", "pen"]),
        ("…", []),
    ],
)
def test_words_with_pairs_of_characters_where_there_are_no_spaces(text, words):
    assert tokenize(text, "words_cjk_bigrams") == words


@given(st.text(alphabet=st.characters(max_codepoint=0x2FF)))
def test_both_tokenizers_agree_on_scripts_with_spaces(text):
    assert tokenize(text, "words") == tokenize(text, "words_cjk_bigrams")


def test_plain_words_keep_a_japanese_run_whole():
    assert tokenize("赤い 靴下", "words") == ["赤い", "靴下"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी किताब, लाल जूता", ["हिन्दी", "किताब", "लाल", "जूता"]),
        ("தமிழ் புத்தகம்", ["தமிழ்", "புத்தகம்"]),
        ("বাংলা বই", ["বাংলা", "বই"]),
        ("كِتَابٌ جَدِيدٌ", ["كِتَابٌ", "جَدِيدٌ"]),
        ("סֵפֶר חָדָשׁ", ["סֵפֶר", "חָדָשׁ"]),
        ("เสื้อยืดผู้ชาย สีแดง", ["เสื้อยืดผู้ชาย", "สีแดง"]),  # no spaces between its words
        ("เสื้อยืด\u200bผู้ชาย", ["เสื้อยืด", "ผู้ชาย"]),  # unless someone puts zero-width ones there
        ("İstanbul", ["i̇stanbul"]),  # lower-cased to an i and a combining dot
        ("m̃ x́y", ["m̃", "x́y"]),  # no precomposed letters
        ("ක්\u200dෂණ ක්ෂණ", ["ක්ෂණ", "ක්ෂණ"]),  # with and without the joiner of a ligature
        ("cotton ́ shirt", ["cotton", "shirt"]),  # a mark without a letter is no word
        ("❤️ size 1️⃣ dress", ["size", "1", "dress"]),  # of emoji only digits
    ],
)
def test_combining_marks_belong_to_their_word(text, words):
    expected = [unicodedata.normalize("NFKC", word) for word in words]
    assert tokenize(text, "words") == expected
    assert tokenize(text, "words_cjk_bigrams") == expected


@given(st.text(alphabet=st.characters(exclude_categories=["M", "Cs", "Cn"])))
def test_texts_without_marks_are_cut_as_by_the_regular_expressions_of_python(text):
    normal = unicodedata.normalize("NFKC", text).lower()
    if not any(unicodedata.category(character).startswith("M") for character in normal):
        assert tokenize(text, "words") == re.findall(r"\w+", normal)


def test_a_combining_mark_between_kana_does_not_join_their_runs():
    assert tokenize("か\u309aく", "words_cjk_bigrams") == ["か", "く"]  # no precomposed kana
    assert tokenize("は\u3099な", "words_cjk_bigrams") == ["ばな"]  # composed first
