"""The page's section of studies: recall of each, and what its grids say."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from catid2.evaluation.table import metrics_among, read_recall
from catid2.report.grid_figures import grids_svg
from catid2.report.inputs import one_per_method
from catid2.report.panels import recall_svg
from catid2.report.sections import label, table_rows

if TYPE_CHECKING:
    from catid2.config.report import Comparison, NamedDataset, ReportConfig, ReportStudy


def studies_section(results: Path, comparison: "Comparison", config: "ReportConfig") -> list[dict[str, Any]]:
    """Return, per study other than the page's own, the figures and the table of each dataset.

    Of several protocols and sets of labels the last is shown; the study's table has all. Where settings are varied,
    the figure has the points and not the methods.

    Raises:
        InputError: a table is missing or incomplete.
    """
    return [
        {
            "name": study.name,
            "datasets": [_dataset(results, dataset, study, config) for dataset in study.datasets],
        }
        for study in comparison.studies
    ]


def _dataset(
    results: Path, dataset: "NamedDataset", study: "ReportStudy", config: "ReportConfig"
) -> dict[str, Any]:
    path = results / dataset.name / f"{study.name}.tsv"
    rows = one_per_method(path, read_recall(path).to_dicts())
    protocol, labels = rows[-1]["protocol"], rows[-1]["labels"]
    rows = [row for row in rows if (row["protocol"], row["labels"]) == (protocol, labels)]
    figures: list[Markup]
    if study.grids:
        grids = path.with_name(f"{study.name}_grids.tsv")
        figures = grids_svg(grids, study.name, config.metric, protocol)
    else:
        order = {row["method"]: place for place, row in enumerate(rows)}
        figures = [recall_svg(f"{dataset.name}-{study.name}", label(dataset), rows, order)]
    return {
        "name": label(dataset),
        "kind": f"protocol {protocol}, labels {labels}",
        "figures": figures,
        "metrics": metrics_among(rows[0]),
    } | table_rows(rows)
