"""Settings of `import_catalogue`: what the columns of your files are called, and what their values mean."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from catid2.config.base import LARGEST_SEED, Label, StageConfig, UserPath

Column = Annotated[str, Field(min_length=1)]
Format = Literal["parquet", "csv", "json"]
CsvQuoting = Literal["double", "backslash", "none"]

_TEXTS: dict[str, Format] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "json", ".ndjson": "json", ".json": "json",
}  # fmt: skip
ENDINGS: dict[str, Format] = (
    {".parquet": "parquet", ".pq": "parquet"}
    | _TEXTS
    | {f"{ending}.gz": kind for ending, kind in _TEXTS.items()}
)


def named_format(name: str) -> Format | None:
    """Return the format of a file of a catalogue by the ending of its name, in any case; None if it has none."""
    return next((kind for ending, kind in ENDINGS.items() if name.lower().endswith(ending)), None)


def _has_a_format(path: str) -> str:
    if named_format(path) is None:
        raise ValueError(f"the ending of its name is not known, known are {', '.join(ENDINGS)}")
    return path


def _is_a_tab(delimiter: Any) -> Any:
    r"""Without quotes, or in single ones, YAML takes `\t` for two characters."""
    return "\t" if delimiter == "\\t" else delimiter


OwnFile = Annotated[UserPath, AfterValidator(_has_a_format)]


class ProductColumns(StageConfig):
    """Columns of the products file; a field without a column is empty in every product."""

    product_id: Column = Field(description="strings or integers, unique")
    title: Column | None = Field(None, description="name of the product")
    brand: Column | None = Field(None, description="brand")
    color: Column | None = Field(None, description="colour")
    bullets: Column | None = Field(None, description="bullet points, one text")
    description: Column | None = Field(None, description="description")
    category: Column | None = Field(
        None,
        description="category path from the top down: a list of names, or a text that `category_separator` splits; "
        "null: the catalogue has no categories, and every product gets the path all > all > …",
    )
    tags: Column | None = Field(
        None, description="a list of names, or a text that `tag_separator` splits; written to tags.parquet"
    )


class QueryColumns(StageConfig):
    """Columns of the queries file."""

    query_id: Column = Field("query_id", description="strings or integers, unique")
    query: Column = Field("query", description="text of the query")
    split: Column | None = Field(
        None, description="`train` or `test`; null: a share `test_share` of the queries goes to test"
    )


class JudgementColumns(StageConfig):
    """Columns of the judgements file."""

    query_id: Column = Field("query_id", description="a query_id of the queries file")
    product_id: Column = Field("product_id", description="a product_id of the products file")
    label: Column | None = Field(
        None, description="E, S, C or I, or what `labels` maps to these; null: every judgement is E"
    )


class CatalogueColumns(StageConfig):
    """The names of the columns in your files."""

    products: ProductColumns = Field(description="columns of the products file")
    queries: QueryColumns = Field(QueryColumns(), description="columns of the queries file")
    judgements: JudgementColumns = Field(JudgementColumns(), description="columns of the judgements file")


class CatalogueConfig(StageConfig):
    """How to read a catalogue that is not ESCI."""

    columns: CatalogueColumns = Field(description="names of the columns")
    category_separator: Column | None = Field(
        None,
        description="splits a category path that is one text, such as ` > `; white space around names is removed",
    )
    path_separator: str | None = Field(
        None,
        description="separates several category paths of one product, such as `, `. The longest path is taken, or "
        "the first of several equally long ones. `''`: a text is one path. null: the same, but a text that looks "
        "like several paths is an error",
    )
    tag_separator: Column | None = Field(None, description="splits tags that are one text, such as `,`")
    labels: dict[Annotated[str, Field(coerce_numbers_to_str=True)], Label] | None = Field(
        None,
        min_length=1,
        description="maps labels or grades of the judgements file to ESCI labels, such as {3: E, 2: S, 0: I} or "
        "{Exact: E, Partial: S, Irrelevant: I}; null: they are E, S, C, I already",
    )
    test_share: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="share of the queries that go to test if the queries have no `split`. A query's split depends "
        "only on its text and the seed: it does not change when other queries are added or removed, and ids with "
        "the same text have the same split",
    )
    split_seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of that split")
    csv_delimiter: Annotated[str, BeforeValidator(_is_a_tab), Field(pattern=r'^[^"\r\n\x00]$')] | None = (
        Field(
            None,
            description="separates the fields of CSV files; null: the first of comma, tab, semicolon and vertical "
            "bar that gives the header all columns",
        )
    )
    csv_quoting: CsvQuoting | None = Field(
        None,
        description="how a quote inside quotes is written in CSV files: `double` (twice) or `backslash` (after a "
        "backslash); `none`: quotes are part of the text. null: the first of these with which the complete file can "
        "be read; `none` only in files with tabs",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_flags_as_labels(cls, values: Any) -> Any:
        """YAML reads a bare `yes` or `no` as a flag."""
        labels = values.get("labels") if isinstance(values, dict) else None
        if isinstance(labels, dict) and any(isinstance(label, bool) for label in labels):
            raise ValueError("labels: a bare yes, no, true or false is no text in YAML; put it in quotes")
        return values

    @model_validator(mode="after")
    def _settings_have_columns(self) -> "CatalogueConfig":
        products, judgements = self.columns.products, self.columns.judgements
        for key, place, column in (
            ("category_separator", "products.category", products.category),
            ("path_separator", "products.category", products.category),
            ("tag_separator", "products.tags", products.tags),
            ("labels", "judgements.label", judgements.label),
        ):
            if getattr(self, key) is not None and column is None:
                raise ValueError(f"{key} is given, but columns.{place} is not")
        return self
