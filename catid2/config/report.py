"""The report: how much of each table is drawn, and the description of what is compared.

`ReportConfig` is the stage's part of the config file. `Comparison` comes from the workflow: which datasets, methods and
seeds there are, and whose folder holds the results that they share.
"""

from typing import Any

from pydantic import Field

from catid2.config.base import StageConfig
from catid2.config.evaluate import Metric


class ReportConfig(StageConfig):
    """What the page shows, and where it is written. Nothing here changes a number in locales.tsv."""

    folder: str = Field(
        "results",
        pattern=r"^results(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$",
        description="folder of locales.tsv and report.html. A report that compares other datasets is not replaced: "
        "give one of the two configurations another folder, such as `results/demo`",
    )
    metric: Metric = Field(
        "recall@10",
        description="the metric that the page's summary, its wins and losses and figures of grids show",
    )
    stable_share: float = Field(
        0.9,
        gt=0,
        le=1,
        description="points that reach this share of the best value of their grid are marked as stable",
    )
    category_level: int = Field(
        1,
        ge=1,
        description="level of the category tree in the figure of categories by code; 1 is the coarsest",
    )
    categories: int = Field(
        9,
        ge=2,
        le=20,
        description="number of categories in that figure, the largest first; the others are drawn as one",
    )
    prefix_length: int = Field(2, ge=1, description="positions that the DocIDs of one example share")
    examples: int = Field(3, ge=0, description="shared prefixes shown per dataset")
    example_products: int = Field(5, ge=2, description="products shown per shared prefix")
    queries: int = Field(
        10,
        ge=0,
        description="queries shown in detail per dataset: those that the first method wins or loses by most, against "
        "each other method and in each protocol in turn",
    )
    query_documents: int = Field(
        5, ge=1, description="documents of each method shown per query; relevant ones twice as many"
    )
    query_rows: int = Field(
        200,
        ge=0,
        description="rows of the table of queries per protocol; of more queries those that are won or lost by most",
    )
    efficiency: bool = Field(
        False,
        description="show the times of the stages (efficiency.tsv and its figure); the page then differs from run "
        "to run",
    )
    curve_points: int = Field(
        100, ge=2, description="points drawn per training curve; longer histories are thinned evenly"
    )


class ReportMethod(StageConfig):
    """One method of one dataset."""

    name: str  # as in recall.tsv
    seeds: tuple[int, ...] = Field((0,), min_length=1)  # of its runs
    view: str | None = None  # embedding view that its ID scheme or search reads, if any
    # The methods whose folders hold its RQ-VAE, DocIDs and retriever; None: it has none.
    rqvae: str | None = None
    docids: str | None = None
    retriever: str | None = None
    changes: dict[str, Any] = Field({})  # settings that differ from the defaults, as stage.key: value


class NamedDataset(StageConfig):
    """One locale of one source."""

    name: str  # of the folder results/{name}
    locale: str  # of ESCI: us, es or jp
    simulated: bool  # then the figures test only the code
    sample: bool = False  # then they are the published sample of ESCI, not all of it


class ReportDataset(NamedDataset):
    """A dataset, and what was run on it."""

    methods: tuple[ReportMethod, ...] = Field(min_length=1)  # in the order of the study, the reference first
    inputs: dict[str, str] = Field({})  # raw files and their sha256, or how they were simulated


class ReportStudy(StageConfig):
    """Another study that the page shows."""

    name: str  # its tables are results/{dataset}/{name}.tsv
    datasets: tuple[NamedDataset, ...] = Field(min_length=1)  # in the order of the configuration
    grids: bool = False  # it varies settings, so there is {name}_grids.tsv


class Comparison(StageConfig):
    """What one report compares."""

    study: str = "recall"  # the tables are results/{dataset}/{study}.tsv
    datasets: tuple[ReportDataset, ...]  # in the order of the page; without any there is no report
    studies: tuple[ReportStudy, ...] = ()  # others, in the order of the page
    defaults: dict[str, Any] = Field({})  # of each setting that some method changes, as stage.key: value
