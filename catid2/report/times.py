"""The page's section of times: what the stages of each method took, and how long a query waits."""

import re
from pathlib import Path
from typing import Any

from catid2.report.inputs import read_tsv
from catid2.report.time_figures import times_svgs

# Columns of efficiency.tsv, and what the page calls them; those of latencies come after them.
SHOWN = {
    "wall_s": "wall, s",
    "cpu_s": "CPU, s",
    "peak_rss_mib": "memory, MiB",
}
LATENCY = re.compile("batch([0-9]+)_(p[0-9]+)_ms")


def times_section(results: Path, datasets: list[str]) -> list[dict[str, Any]]:
    """Return, per dataset, two panels and a row per method and stage; columns that are empty in all rows are left out.

    Raises:
        InputError: a table is missing, or lacks a column.
    """
    sections = []
    for dataset in datasets:
        path = results / dataset / "efficiency.tsv"
        table = read_tsv(path, ("method", "stage", "owner", *SHOWN))
        latencies = [name for name in table.columns if name.startswith("batch")]
        titles = SHOWN | {name: LATENCY.sub(r"\2, batches of \1, ms", name) for name in latencies}
        kept = [name for name in titles if table[name].null_count() < table.height]
        sections.append(
            {
                "name": dataset,
                "figures": times_svgs(path),
                "columns": [titles[name] for name in kept],
                "rows": [
                    {
                        "method": row["method"],
                        "stage": row["stage"]
                        + ("" if row["owner"] == row["method"] else f" ({row['owner']})"),
                        "cells": ["–" if row[name] is None else f"{row[name]:.4g}" for name in kept],
                    }
                    for row in table.to_dicts()
                ],
            }
        )
    return sections
