"""What the report compares, derived from the configuration: datasets, methods, seeds, shared folders, settings."""

from pathlib import Path
from typing import Any

from catid2.config.report import Comparison, NamedDataset, ReportDataset, ReportMethod, ReportStudy
from catid2.config.stages import STAGES
from catid2.plan.files import SAMPLE_FILES
from catid2.plan.settings import Pipeline
from catid2.runtime.errors import InputError


def comparison(pipeline: Pipeline, study: str) -> Comparison:
    """Return the datasets and methods of `study`, the settings in which methods differ, and the other studies."""
    runs = pipeline.runs(study)
    methods = dict.fromkeys(method for method, _ in runs)
    seeds = {method: tuple(seed for name, seed in runs if name == method) for method in methods}
    defaults = _flat({stage: getattr(pipeline.config, stage).model_dump(mode="json") for stage in STAGES})
    datasets = tuple(
        ReportDataset(
            **_named(pipeline, dataset),
            methods=tuple(_method(pipeline, dataset, method, seeds[method], defaults) for method in methods),
            inputs=_inputs(pipeline, dataset),
        )
        for dataset in pipeline.study_datasets(study)
    )
    changed = {key for dataset in datasets for method in dataset.methods for key in method.changes}
    shown = {key: value for key, value in defaults.items() if key in changed}
    others = tuple(
        ReportStudy(
            name=name,
            datasets=tuple(
                NamedDataset(**_named(pipeline, dataset)) for dataset in pipeline.study_datasets(name)
            ),
            grids=bool(entry.grids),
        )
        for name, entry in pipeline.config.studies.items()
        if name != study
    )
    return Comparison(study=study, datasets=datasets, studies=others, defaults=shown)


def require_own_report(pipeline: Pipeline, table: str) -> None:
    """Check that a report made before compares no dataset that the configuration does not have.

    Args:
        pipeline: the configuration.
        table: its locales.tsv, which may be there or not.

    Raises:
        InputError: the report is another configuration's.
    """
    if not Path(table).is_file():
        return
    lines = Path(table).read_text("utf-8", errors="replace").splitlines()
    rows = [line for line in lines if not line.startswith("#")][1:]
    compared = dict.fromkeys(row.split("\t")[0] for row in rows)
    if others := [name for name in compared if name not in pipeline.config.datasets]:
        what = f"compares {', '.join(others)}, which {pipeline.where} does not have"
        page = Path(table).with_name("report.html")
        remedy = f"set report.folder in {pipeline.where}, or remove {table} and {page}"
        raise InputError(table, what, remedy)


def _named(pipeline: Pipeline, dataset: str) -> dict[str, Any]:
    return {
        "name": dataset,
        "locale": pipeline.config.datasets[dataset].locale,
        "simulated": pipeline.source(dataset).kind == "simulated",
        "sample": pipeline.source(dataset).kind == "esci_sample",
    }


def _method(
    pipeline: Pipeline, dataset: str, method: str, seeds: tuple[int, ...], defaults: dict[str, Any]
) -> ReportMethod:
    stages = pipeline.run_stages(dataset, method)
    settings = _flat(
        {stage: pipeline.stage(stage, dataset, method).model_dump(mode="json") for stage in stages}
    )
    shown = [stage for stage in pipeline.chain(dataset, method) if stage in ReportMethod.model_fields]
    owners = {stage: pipeline.owner(stage, dataset, method) for stage in shown}
    return ReportMethod(
        name=method,
        seeds=seeds,
        view=pipeline.method_view(method),
        changes={key: value for key, value in settings.items() if defaults.get(key) != value},
        **owners,
    )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values under dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _inputs(pipeline: Pipeline, dataset: str) -> dict[str, str]:
    """Return where the raw files come from: how they were simulated, or their checksums where those were checked."""
    source = pipeline.source(dataset)
    if source.kind == "simulated":
        return {"simulated files": f"catid2.simulate, seed {source.seed}"}
    unchecked = "as found on disk, no checksum known"
    if source.kind == "catalogue":
        return dict.fromkeys([source.products, source.queries, source.judgements], unchecked)
    if source.kind == "esci_sample":
        remote = pipeline.config.fetch_esci_sample
        checksums = {key: getattr(remote, key).sha256 for key in SAMPLE_FILES}
    else:
        fetch = pipeline.config.fetch_esci
        checksums = {"examples": fetch.examples.sha256, "products": fetch.products.sha256, "esci_s": None}
    inputs = {}
    for key, expected in checksums.items():
        path = getattr(source, key)
        downloaded = path == type(source).model_fields[key].default
        inputs[path] = f"sha256 {expected}" if downloaded and expected else unchecked
    return inputs
