"""Tables below lines that say what the columns are."""

import polars as pl
import pytest

from catid2.runtime.tsv import write_tsv

TABLE = pl.DataFrame({"name": ["Bücher", None], "n": [3, 4], "share": [2 / 3, None]})


@pytest.mark.parametrize(
    ("digits", "share"),
    [({}, "0.6666666666666666"), ({"significant": 2}, "0.67"), ({"decimals": 3}, "0.667")],
)
def test_a_table_stands_below_its_header_with_the_digits_asked_for(tmp_path, digits, share):
    write_tsv(tmp_path / "a.tsv", ["name: a shelf", "share: › none"], TABLE, **digits)
    text = (tmp_path / "a.tsv").read_bytes().decode()
    assert text == f"# name: a shelf\n# share: › none\nname\tn\tshare\nBücher\t3\t{share}\n\t4\t\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tsv"]


def test_digits_are_significant_or_after_the_point(tmp_path):
    table = pl.DataFrame({"share": [123.456, 0.00123456, 0.5]})
    write_tsv(tmp_path / "a.tsv", [], table, significant=4)
    assert (tmp_path / "a.tsv").read_text() == "share\n123.5\n0.001235\n0.5\n"
    write_tsv(tmp_path / "a.tsv", [], table, decimals=4)
    assert (tmp_path / "a.tsv").read_text() == "share\n123.4560\n0.0012\n0.5000\n"
