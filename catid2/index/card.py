"""README.md of an index: a model card, in the form that the Hugging Face hub reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from catid2.index.folder import versions
from catid2.runtime.checkpoint import fingerprint

if TYPE_CHECKING:
    from catid2.config.index import IndexSettings

CARD = "README.md"


class _Data(NamedTuple):
    """What a card says about a kind of source (catid2.config.sources)."""

    licence: str  # an identifier of the hub
    origin: str
    limit: str


_ESCI = "[ESCI-S](https://github.com/shuttie/esci-s) category paths. Both are under Apache-2.0."
_DATA = {
    "esci": _Data(
        "apache-2.0",
        f"Amazon's [Shopping Queries Dataset (ESCI)](https://github.com/amazon-science/esci-data), with {_ESCI}",
        "The products and queries are those of one shop.",
    ),
    "esci_sample": _Data(
        "apache-2.0",
        "Rows of [ESCI](https://github.com/amazon-science/esci-data) us, published by opensearch-project and "
        f"zhangfw123/MERGE, with {_ESCI}",
        "The sample is small and easy: nearly every product is judged for one of its queries.",
    ),
    "simulated": _Data(
        "apache-2.0",
        "Invented products, queries and judgements, made by catid2.simulate.",
        "The data is invented, so no figure says anything about real products.",
    ),
    "catalogue": _Data(
        "unknown",
        "A catalogue of the user's own. Add its origin and licence here and above before you publish the index.",
        "What the catalogue lacks, the retriever has not learnt.",
    ),
}
_RETRIEVERS = {
    "t5": "A T5 that reads the query as text; `retriever/` is a plain Hugging Face model.",
    "light": "A small Transformer decoder that reads the query's vector; `encoder/` makes the vector.",
}


def model_card(
    settings: IndexSettings,
    retriever: str,
    figures: Sequence[Mapping[str, Any]] = (),
    changed: bool = False,
) -> str:
    """Return the card of an index.

    Args:
        settings: of the index.
        retriever: its kind, t5 or light.
        figures: rows of recall.tsv for this method and seed, one per protocol and set of labels.
        changed: products were added or removed since, so figures do not hold.
    """
    dataset, method, seed = settings.dataset, settings.method, settings.seed
    data = _DATA[settings.source]
    none = "None: recall.tsv was not made yet, or has no row of this method and seed."
    then = ""
    if changed:
        none = "None: none was measured since products were added or removed."
        then = "; `python -m catid2 add` has changed its products since"
    made_with = ", ".join(f"{name} {version}" for name, version in versions().items())
    digest = fingerprint(settings.model_dump(mode="json"))
    return f"""\
---
license: {data.licence}
library_name: catid2
tags: [generative-retrieval, semantic-ids, product-search, {retriever}]
---

# {method} on {dataset}, seed {seed}

An index for product search by generative retrieval: products, an identifier (DocID) for each, and a retriever
that answers a query by writing DocIDs, code by code. {_RETRIEVERS[retriever]}
catid2 implements CAT-ID² ([arXiv 2511.01461](https://arxiv.org/abs/2511.01461)).

## Data

{data.origin}

## How it was made

    snakemake --cores all -- results/{dataset}/{method}/seed{seed}/index

with the configuration of the run (`--configfile`){then}.

| | |
|---|---|
| dataset, method, seed | {dataset}, {method}, {seed} |
| settings | in `index.json`, sha256 {digest} |
| versions | {made_with} |

## Figures

{_table(figures) if figures else none}

## Use

    python -m catid2 search FOLDER "red dress"

or in Python, `catid2.open_index("FOLDER").search(["red dress"], k=10)[0]`. `FOLDER` is this folder.
`SHA256SUMS` has the checksum of every file; opening the index checks them.

## Limits

- {data.limit}
- The retriever has learnt the DocIDs of the products that it was trained on, and of no others.
- Figures hold for the test queries of this dataset, with the labels and documents that the table names.
"""


def figures_of(recall: Path, dataset: str, method: str, seed: int) -> list[dict[str, Any]]:
    """Return the rows of recall.tsv for a method and seed; none if its study has another method or seed.

    Raises:
        InputError: as read_recall.
    """
    from catid2.evaluation.table import (
        read_recall,
    )  # it takes Polars, which an index without figures does not

    rows = read_recall(recall).rows(named=True)
    return [
        row for row in rows if (row["dataset"], row["method"], row["seed"]) == (dataset, method, str(seed))
    ]


def _table(figures: Sequence[Mapping[str, Any]]) -> str:
    """Return a table with a row per metric and a column per protocol and labels: percent and 95% interval."""
    metrics = [name for name in figures[0] if f"{name}_low" in figures[0]]
    columns = [f"{row['protocol']}, {row['labels']} ({row['n_queries']} queries)" for row in figures]
    lines = [["%", *columns], ["---"] * (len(columns) + 1)]
    for metric in metrics:
        cells = [
            f"{row[metric]:.1%} ({row[f'{metric}_low']:.1%} to {row[f'{metric}_high']:.1%})".replace("%", "")
            for row in figures
        ]
        lines.append([metric, *cells])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{figures[0]['n_docs']} documents; in brackets the interval over queries.\n\n{table}"
