"""results/report.html: one page without anything that a browser would have to fetch, readable without scripts."""

import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jinja2
from markupsafe import Markup

from catid2.report import panels, sections
from catid2.report.inputs import MAIN_COUNTS, DatasetTables, read_catalogue, read_docids
from catid2.report.provenance import package_versions
from catid2.report.queries import Compared, queries_section
from catid2.report.studies import studies_section
from catid2.report.svg import printable
from catid2.report.times import times_section
from catid2.runtime.writing import atomic

if TYPE_CHECKING:
    from catid2.config.report import Comparison, ReportConfig


def write_page(
    path: str | Path,
    results: Path,
    comparison: "Comparison",
    config: "ReportConfig",
    datasets: list[DatasetTables],
    commit: str | None = None,
    day: date | None = None,
) -> None:
    """Write the page, complete or not at all; the same tables, commit and day give the same bytes.

    Args:
        path: the page to write.
        results: the folder that holds a folder per dataset.
        comparison: what is compared.
        config: what is shown.
        datasets: the tables of `comparison`, as read by `inputs.read_comparison`.
        commit: of the code, for the page's provenance.
        day: when the page was made; None leaves it out.

    Raises:
        InputError: a file that the page needs is missing or incomplete.
    """
    page = page_content(results, comparison, config, datasets, commit)
    html = render(page | {"files": _files(Path(path).parent, results, comparison), "day": day})
    with atomic(path) as aside:
        aside.write_text(html, encoding="utf-8")


def render(page: dict[str, Any]) -> str:
    """Return the page as HTML; all text is escaped, and characters that HTML forbids are replaced."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("catid2.report", "."),
        autoescape=True,
        finalize=_printable,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html.j2").render(page=page)


def _printable(value: Any) -> Any:
    """Return what the template shows of a value; figures are markup and have been cleaned."""
    return value if isinstance(value, Markup) else printable(str(value))


def page_content(
    results: Path,
    comparison: "Comparison",
    config: "ReportConfig",
    datasets: list[DatasetTables],
    commit: str | None,
) -> dict[str, Any]:
    """Return what the template shows, except the day and the files that it links to."""
    summary = sections.summary(datasets, config.metric)  # which refuses a metric that there is not
    maps, examples, queries = _document_sections(results, comparison, config, datasets)
    return {
        "title": "DocIDs and recall by locale"
        + ("" if comparison.study == "recall" else f": {comparison.study}"),
        "simulated": _of_kind(comparison, "simulated"),
        "sample": _of_kind(comparison, "sample"),
        "summary": summary,
        "recall": sections.recall_section(datasets),
        "definitions": list(dict.fromkeys(line for tables in datasets for line in tables.definitions)),
        "quality": sections.quality_section(datasets),
        "layers": sections.docid_layers(datasets),
        "maps": maps,
        "level": config.category_level,
        "training": sections.training_section(results, datasets, config),
        "dropped": sections.dropped_section(datasets),
        "queries": queries,
        "examples": examples,
        "studies": studies_section(results, comparison, config),
        "metric": config.metric,
        "stable_share": config.stable_share,
        "times": times_section(results, [d.dataset.name for d in datasets]) if config.efficiency else [],
        "settings": sections.settings_section(datasets, comparison.defaults),
        "datasets": [tables.dataset.name for tables in datasets],
        "counts": sections.counts_section(datasets, MAIN_COUNTS),
        "all_counts": sections.counts_section(datasets),
        "views": sections.views_section(results, datasets),
        "provenance": _provenance(comparison, commit),
    }


def _files(folder: Path, results: Path, comparison: "Comparison") -> dict[str, str]:
    """Return the tables that the page shows a part of: names, and links from the page's `folder`."""
    names = [
        f"{dataset.name}/{comparison.study}{end}"
        for dataset in comparison.datasets
        for end in (".tsv", "_per_query.parquet")
    ]
    return {name: Path(os.path.relpath(results / name, folder)).as_posix() for name in names}


def _of_kind(comparison: "Comparison", kind: Literal["simulated", "sample"]) -> list[str]:
    """Return the names of the datasets on the page whose data are of that kind."""
    shown = [*comparison.datasets, *(dataset for study in comparison.studies for dataset in study.datasets)]
    return list(dict.fromkeys(dataset.name for dataset in shown if getattr(dataset, kind)))


def _document_sections(
    results: Path, comparison: "Comparison", config: "ReportConfig", datasets: list[DatasetTables]
) -> tuple[list[dict[str, Any]], ...]:
    """Return the sections made from single documents, of the first seed.

    They are the layers, the examples of the first method, and wins and losses by query where methods are compared.
    """
    maps, examples, queries = [], [], []
    for tables in datasets:
        dataset = tables.dataset
        folder = results / dataset.name
        shared = sections.shared_results(dataset, "docids")
        compared = len(dataset.methods) > 1
        if not shared and not compared:
            continue
        catalogue = read_catalogue(folder / "corpus")
        figures, of_methods = [], {}
        for place, (methods, owner) in enumerate(shared):
            docids = read_docids(results / owner / "docids.parquet", len(catalogue.titles))
            of_methods |= dict.fromkeys(methods, docids)
            statistics = tables.docids[methods[0]][0]
            figure = panels.layer_figure(", ".join(methods), statistics, docids, catalogue, config)
            figures.append(panels.layers_svg(dataset.name, figure))
            if place == 0 and config.examples:
                examples.append(sections.examples_section(tables, methods[0], docids, catalogue, config))
        if shared:
            maps.append({"name": sections.label(dataset), "figures": figures})
        if compared:
            by_query = Compared(folder, dataset, of_methods, catalogue)
            queries.append(queries_section(by_query, comparison.study, config))
    return maps, examples, queries


def _provenance(comparison: "Comparison", commit: str | None) -> dict[str, str]:
    rows = {"commit": commit or "not a git checkout"}
    rows["packages (where the page was written)"] = ", ".join(
        f"{k} {v}" for k, v in package_versions().items()
    )
    for dataset in comparison.datasets:
        seeds = "; ".join(f"{method.name}: {', '.join(map(str, method.seeds))}" for method in dataset.methods)
        rows[f"{dataset.name}: seeds"] = seeds
        for name, value in dataset.inputs.items():
            rows[f"{dataset.name}: {name}"] = value
    return rows
