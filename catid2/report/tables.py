"""results/locales.tsv: one row per dataset, method, protocol and labels, so that locales can be compared."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from catid2.report.inputs import DatasetTables, DocidStatistics
from catid2.report.sections import docid_layers
from catid2.runtime.tsv import write_tsv

DEFINITIONS = (
    "metrics, their intervals (_low, _high), p values (_p, _p_holm, against the dataset's first method), ceilings: as",
    "in the dataset's own table, whose definitions follow; the mean over `seeds` runs where there are several.",
    "collisions_before, collisions_after: 1 - distinct DocIDs / documents, before and after the repair; moved:",
    "share of documents whose codes the repair changed; perplexity_l: codes of layer l in effective use,",
    "exp(entropy), before the repair. Means over the seeds; empty for methods without DocIDs.",
)


def locale_rows(datasets: list[DatasetTables]) -> list[dict[str, Any]]:
    """Return the rows of locales.tsv; perplexity has as many columns as the deepest DocID has layers."""
    layers = docid_layers(datasets)
    rows = []
    for tables in datasets:
        dataset = tables.dataset
        for row in tables.recall:
            names = {"dataset": dataset.name, "locale": dataset.locale, "simulated": dataset.simulated}
            measured = {key: value for key, value in row.items() if key not in ("dataset", "seed", "seeds")}
            seeds = {"method": measured.pop("method"), "seeds": row["seeds"]}
            rows.append(
                names | seeds | measured | docid_columns(tables.docids.get(row["method"], []), layers)
            )
    return rows


def docid_columns(runs: list[DocidStatistics], layers: int) -> dict[str, float | None]:
    """Return the columns about DocIDs, means over the runs; all None without runs."""
    columns: dict[str, float | None] = {
        name: float(np.mean([getattr(run, name) for run in runs])) if runs else None
        for name in ("collisions_before", "collisions_after", "moved")
    }
    for layer in range(layers):
        values = [run.perplexity[layer] for run in runs if layer < len(run.perplexity)]
        columns[f"perplexity_{layer + 1}"] = float(np.mean(values)) if values else None
    return columns


def write_locales(path: str | Path, datasets: list[DatasetTables]) -> None:
    """Write locales.tsv, complete or not at all."""
    definitions = list(dict.fromkeys(line for tables in datasets for line in tables.definitions))
    table = pl.DataFrame(locale_rows(datasets), infer_schema_length=None)
    write_tsv(path, (*DEFINITIONS, *definitions), table)
