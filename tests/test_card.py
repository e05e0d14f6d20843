"""The model card of an index: what it says about the data, and the figures of recall.tsv."""

import os
from pathlib import Path

import polars as pl
import pytest
import yaml
from index_case import index_config, write_index

from catid2.config.index import IndexSettings
from catid2.evaluation.table import ENDS, KEYS
from catid2.index.card import figures_of, model_card
from catid2.index.export import Parts, export_index
from catid2.index.folder import read_settings

LICENCES = {
    "esci": "apache-2.0",
    "esci_sample": "apache-2.0",
    "simulated": "apache-2.0",
    "catalogue": "unknown",
}


def settings(**changes: object) -> IndexSettings:
    return IndexSettings.model_validate(index_config().model_dump() | changes)


def header(card: str) -> dict:
    """Return what stands between the first two lines `---`."""
    start, block, _ = card.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(block)


def cells(card: str) -> dict[str, list[str]]:
    """Return the rows of all tables of a card: the first cell, and the others."""
    rows = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| ")]
    return {first: others for first, *others in rows}


@pytest.mark.parametrize("source", LICENCES)
def test_the_header_names_the_licence_of_the_data_and_the_kind_of_retriever(source):
    card = model_card(settings(source=source), "t5")
    assert header(card)["license"] == LICENCES[source]
    assert "t5" in header(card)["tags"]
    assert "results/tiny_us/catid2/seed0/index" in card


def test_other_settings_have_another_digest():
    def digest(**changes: object) -> str:
        return cells(model_card(settings(**changes), "t5"))["settings"][0]

    assert digest() == digest() != digest(method="tiger")


def write_recall(path: Path) -> None:
    """Write a table of two methods; catid2 has a row for its seed and one for the mean over seeds."""
    metrics = ("recall@10", "ndcg@10")
    rows = []
    for method, seed, low in (("catid2", "0", 0.1), ("catid2", "mean", 0.2), ("tiger", "0", 0.3)):
        for protocol in ("seen", "all"):
            row = dict.fromkeys([*KEYS, *(f"{metric}{end}" for metric in metrics for end in ENDS)])
            row |= {"dataset": "tiny_us", "method": method, "retriever": "t5", "seed": seed}
            row |= {"protocol": protocol, "labels": "ES", "n_queries": 20, "n_docs": 60}
            for place, metric in enumerate(metrics):
                value = low + 0.05 * place
                row |= {metric: value, f"{metric}_low": value - 0.02, f"{metric}_high": value + 0.03}
                row |= {f"{metric}_ceiling": 1.0}
            rows.append(row)
    pl.DataFrame(rows).write_csv(path, separator="\t")


def test_the_figures_are_those_of_the_method_and_seed(tmp_path):
    write_recall(tmp_path / "recall.tsv")
    figures = figures_of(tmp_path / "recall.tsv", "tiny_us", "catid2", 0)
    table = cells(model_card(settings(), "t5", figures))
    assert table["%"] == ["seen, ES (20 queries)", "all, ES (20 queries)"]
    assert table["recall@10"] == ["10.0 (8.0 to 13.0)"] * 2
    assert table["ndcg@10"] == ["15.0 (13.0 to 18.0)"] * 2
    assert figures_of(tmp_path / "recall.tsv", "tiny_us", "catid2", 1) == []


def test_an_index_has_the_card_of_its_description_and_figures_of_its_own_retriever(tmp_path):
    case = write_index(tmp_path, "light")
    card, recall = case.folder / "README.md", tmp_path / "recall.tsv"
    assert card.read_text("utf-8") == model_card(read_settings(case.folder), "light")
    assert "  README.md\n" in (case.folder / "SHA256SUMS").read_text("utf-8")
    write_recall(recall)
    trained = max(path.stat().st_mtime for path in case.retriever.iterdir())
    for seconds, has_figures in ((-1, False), (1, True)):
        os.utime(recall, (0, trained + seconds))
        export_index(case.config, Parts(case.retriever, None), case.corpus, case.folder, recall)
        assert ("| recall@10 | 10.0 " in card.read_text("utf-8")) == has_figures


def test_a_changed_index_says_so_instead_of_figures():
    card = model_card(settings(), "t5", changed=True)
    assert "`python -m catid2 add` has changed its products since" in card
    assert "None: none was measured since products were added or removed." in card
