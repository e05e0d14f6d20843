"""The page's wins and losses by query equal the tables they are made from; it is read back as XML."""

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
from report_tree import ASKED, RELIEF, write_tree

from catid2.config.report import Comparison, ReportConfig
from catid2.report.inputs import read_comparison
from catid2.report.page import write_page
from catid2.runtime.errors import InputError

CONFIG = ReportConfig(categories=4, queries=6, query_documents=3)
METHODS = (*RELIEF, "bm25")


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> tuple[Path, Comparison]:
    results = tmp_path_factory.mktemp("results")
    return results, write_tree(results, locales=("us",))


@pytest.fixture(scope="module")
def section(tree, tmp_path_factory) -> ElementTree.Element:
    return made(*tree, tmp_path_factory.mktemp("page"), CONFIG)


def made(results: Path, comparison: Comparison, folder: Path, config: ReportConfig) -> ElementTree.Element:
    """Write the page and return its section."""
    path = folder / "report.html"
    write_page(path, results, comparison, config, read_comparison(results, comparison))
    found = re.search(r'<section id="queries">.*?</section>', path.read_text("utf-8"), re.DOTALL).group()
    return ElementTree.fromstring(found.replace("<br>", " "))


def cells(row: ElementTree.Element) -> list[str]:
    """Return the texts of a row; what stands small below a value comes after a |."""
    for small in row.iter("small"):
        small.text = f"|{small.text or ''}"
    found = [" ".join("".join(cell.itertext()).split()).replace("| ", "|") for cell in row]
    for small in row.iter("small"):
        small.text = small.text[1:]
    return found


def rows_of(table: ElementTree.Element) -> list[list[str]]:
    return [cells(row) for row in table.iter("tr")]


def measured(results: Path, protocol: str) -> pl.DataFrame:
    """Return recall@10 by query, a column per method, each the mean of its seeds; and what it is of."""
    table = pl.read_parquet(results / "demo_us" / "recall_per_query.parquet").filter(protocol=protocol)
    means = table.group_by("query_id", "method").agg(pl.mean("recall@10"), pl.first("n_relevant"))
    wide = means.pivot("method", index=["query_id", "n_relevant"], values="recall@10")
    texts = pl.read_parquet(results / "demo_us" / "corpus" / "queries.parquet").select("query_id", "query")
    return wide.join(texts, on="query_id").sort("query_id")


def points(difference: float) -> str:
    difference = round(difference, 9)  # the mean of three equal numbers is not always the number
    return f"{100 * difference:+.1f}".replace("-", "−") if difference else "0"


def test_wins_and_losses_are_counted_over_all_queries(tree, section):
    expected = [["against", "wins", "level", "losses", "mean difference, points"]]
    for protocol in ("seen", "all"):
        expected.append([f"protocol {protocol}, labels ES"])
        table = measured(tree[0], protocol)
        for method in METHODS[1:]:
            differences = table["catid2"] - table[method]
            counts = [(differences > 0).sum(), (differences == 0).sum(), (differences < 0).sum()]
            expected.append([method, *map(str, counts), points(differences.mean())])
    assert rows_of(next(section.iter("table"))) == expected


def test_the_table_of_queries_has_the_values_of_the_file(tree, section):
    tables = [table for table in section.iter("table") if "sortable" in table.get("class", "")]
    for protocol, table in zip(("seen", "all"), tables, strict=True):
        by_query = measured(tree[0], protocol)
        expected = [
            [
                row["query"],
                str(row["n_relevant"]),
                f"{100 * row['catid2']:.1f}",
                *(f"{100 * row[name]:.1f}|{points(row['catid2'] - row[name])}" for name in METHODS[1:]),
            ]
            for row in sorted(by_query.to_dicts(), key=lambda row: round(row["tiger"] - row["catid2"], 9))
        ]
        assert rows_of(table) == [["query", "relevant", *METHODS], *expected]
        for cell in table.iter("small"):
            sign = {"+": "above", "−": "below"}.get(cell.text[0], "")
            assert cell.get("class") == sign


def test_what_the_script_sorts_by_are_numbers(section):
    """The script takes the small text of a cell, or else its whole text; the first column is text."""
    for table in section.iter("table"):
        if "sortable" not in table.get("class", ""):
            continue
        assert len(table.findall("thead/tr")) == len(table.findall("tbody")) == 1
        for row in table.findall("tbody/tr"):
            assert len(row) == len(table.find("thead/tr"))
            for cell in list(row)[1:]:
                small = cell.find("small")
                float((cell if small is None else small).text.replace("−", "-"))


def test_of_many_queries_those_won_or_lost_by_most_stand_in_the_table(tree, tmp_path):
    section = made(*tree, tmp_path, CONFIG.model_copy(update={"query_rows": 2, "queries": 0}))
    assert [part.find("summary").text for part in section.iter("details")] == [
        "2 of 8 queries, those won or lost by most: protocol seen, labels ES",
        "2 of 12 queries, those won or lost by most: protocol all, labels ES",
    ]
    for protocol, table in zip(("seen", "all"), list(section.iter("table"))[1:], strict=True):
        differences = measured(tree[0], protocol).select("query", pl.col("catid2") - pl.col("tiger"))
        best, worst = rows_of(table)[1:]
        assert dict(differences.iter_rows())[best[0]] == differences["catid2"].max()
        assert dict(differences.iter_rows())[worst[0]] == differences["catid2"].min()


def details(section: ElementTree.Element) -> dict[str, list[ElementTree.Element]]:
    """Return the two tables of each query that is shown in detail."""
    parts = [part for part in section.iter("details") if len(list(part.iter("table"))) == 2]
    return {part.find("summary/span").text: list(part.iter("table")) for part in parts}


def test_the_first_documents_of_each_method_are_those_of_its_run(tree, section):
    folder = tree[0] / "demo_us"
    products = pl.read_parquet(folder / "corpus" / "products.parquet")
    paths = products.select(pl.concat_str("^category_[1-3]$", separator=" › ")).to_series()
    judged = pl.read_parquet(folder / "corpus" / "judgements.parquet")
    labels = {(row["query_id"], row["doc_id"]): row["label"] for row in judged.to_dicts()}
    texts = pl.read_parquet(folder / "corpus" / "queries.parquet")
    shown = details(section)
    assert len(shown) == CONFIG.queries
    for text, (_, table) in shown.items():
        query = texts.filter(query=text)["query_id"].item()
        expected = [["rank", "label", "DocID", "document and its category"]]
        for method in METHODS:
            run = pl.read_parquet(folder / method / "seed0" / "run.parquet").filter(query_id=query)
            expected.append([method])
            for row in run.sort("rank").head(CONFIG.query_documents).to_dicts():
                doc = row["doc_id"]
                docid = docids(folder, method, doc) if method in RELIEF else ""
                product = f"{products['title'][doc]}|{paths[doc]}"
                expected.append([str(row["rank"]), labels.get((query, doc), "–"), docid, product])
        assert rows_of(table) == expected


def docids(folder: Path, method: str, doc: int) -> str:
    table = pl.read_parquet(folder / method / "seed0" / "docids.parquet").filter(doc_id=doc)
    return " ".join(map(str, table.select("^c_.*$").row(0)))


def test_a_relevant_document_has_its_rank_or_where_the_beams_lost_it(tree, section):
    folder = tree[0] / "demo_us"
    products = pl.read_parquet(folder / "corpus" / "products.parquet")["title"].to_list()
    texts = pl.read_parquet(folder / "corpus" / "queries.parquet")
    judged = pl.read_parquet(folder / "corpus" / "judgements.parquet").filter(
        pl.col("label").is_in(["E", "S"])
    )
    runs = {method: pl.read_parquet(folder / method / "seed0" / "run.parquet") for method in METHODS}
    lost = 0
    for text, (table, _) in details(section).items():
        query = texts.filter(query=text)["query_id"].item()
        relevant = judged.filter(query_id=query)["doc_id"].to_list()
        head, *rows, last = rows_of(table)
        assert head == ["relevant document", "label", *METHODS]
        for protocol in ("seen", "all"):
            values = measured(tree[0], protocol).filter(query_id=query)
            if len(values):
                title = f"recall@10, {protocol}, ES: {values['n_relevant'].item()} relevant"
                assert rows.pop(0) == [title, "", *(f"{100 * values[name].item():.1f}" for name in METHODS)]
        assert len(rows) == min(len(relevant), 2 * CONFIG.query_documents)
        left = {method: {"listed": 0} for method in METHODS}
        for doc in relevant:
            [shown] = [row[2:] for row in rows if row[0].startswith(products[doc])]
            for method, cell in zip(METHODS, shown, strict=True):
                rank = runs[method].filter(query_id=query, doc_id=doc)["rank"].to_list()
                if rank:
                    left[method]["listed"] += 1
                    assert cell == (
                        f"{rank[0]}|{docids(folder, method, doc)}" if method in RELIEF else str(rank[0])
                    )
                elif method == "bm25":
                    assert cell == "–"
                else:
                    end = pl.read_parquet(folder / method / "seed0" / "beam_trace.parquet")
                    end = end.filter(query_id=query, doc_id=doc, kept=False).row(0, named=True)
                    at = f"lost at {end['position']}"
                    left[method][at] = left[method].get(at, 0) + 1
                    rank = f"{end['rank']:,} of {end['candidates']:,}"
                    assert cell == f"{at}|{rank}|{docids(folder, method, doc)}"
                    lost += 1
        summaries = [
            " ".join([f"{found.pop('listed')} listed", *(f"{n} {at}" for at, n in sorted(found.items()))])
            for found in left.values()
        ]
        assert last == [f"of all {len(relevant)} relevant documents", "", *summaries]
    assert lost > 10
    for cell in section.iter("td"):
        text = "".join(cell.itertext())
        if position := re.match("lost at ([0-9])", text):
            code = cell.find("small/code")
            assert len((code.text or "").split()) == int(position[1]) - 1
            assert len(code.find("s").text.split()) >= 1


def test_the_heading_of_a_query_has_its_metric(tree, section):
    parts = [
        part.find("summary") for part in section.iter("details") if part.find("summary/span") is not None
    ]
    for part in parts:
        [protocol] = re.findall(r"^recall@10, (seen|all), ES: ", part.find("small").text)
        values = measured(tree[0], protocol).filter(query=part.find("span").text).row(0, named=True)
        expected = ", ".join(f"{method} {100 * values[method]:.1f}" for method in METHODS)
        assert part.find("small").text.endswith(f", ES: {expected}")
    assert len(parts) == CONFIG.queries


def test_text_is_text(tree, section):
    assert not list(section.iter("script"))
    assert ASKED in {"".join(cell.itertext()) for cell in section.iter("th")}


def test_a_query_in_detail_is_linked_from_the_tables(section):
    links = {link.get("href") for link in section.iter("a")}
    assert links == {f"#{table.get('id')}" for table, _ in details(section).values()}


def test_methods_without_docids_need_no_trace(tree, tmp_path):
    results, comparison = tree
    shutil.copytree(results / "demo_us", tmp_path / "demo_us")
    for trace in tmp_path.rglob("beam_trace.parquet"):
        trace.unlink()
    methods = [
        method.model_copy(update={"rqvae": None, "docids": None, "retriever": None})
        for method in comparison.datasets[0].methods
    ]
    us = comparison.datasets[0].model_copy(update={"methods": tuple(methods)})
    section = made(tmp_path, Comparison(datasets=(us,)), tmp_path, CONFIG)
    assert details(section)
    assert not [code for code in section.iter("code") if code.text]


def test_a_trace_of_other_queries_is_refused(tree, tmp_path):
    results, comparison = tree
    shutil.copytree(results / "demo_us", tmp_path / "demo_us")
    path = tmp_path / "demo_us" / "tiger" / "seed0" / "beam_trace.parquet"
    pl.read_parquet(path).filter(pl.col("query_id") == 0).write_parquet(path, use_pyarrow=True)
    with pytest.raises(InputError, match=r"tiger/seed0/beam_trace.parquet: .*run trace_beams again"):
        made(tmp_path, comparison, tmp_path, CONFIG)
