"""What datasets are built from: one model per kind of source, where its files are or how they are made."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from catid2.config.base import LARGEST_SEED, StageConfig, UserPath
from catid2.config.catalogue import CatalogueConfig, OwnFile
from catid2.config.simulate import SimulateConfig

Locale = Literal["us", "es", "jp"]


class EsciSource(StageConfig):
    """Amazon's files. A missing file is downloaded if its path is the default; another path must exist."""

    kind: Literal["esci"]
    examples: UserPath = Field(
        "resources/esci/shopping_queries_dataset_examples.parquet",
        description="ESCI judgements, parquet: a file, or a folder of parts",
    )
    products: UserPath = Field(
        "resources/esci/shopping_queries_dataset_products.parquet",
        description="ESCI products, parquet: a file, or a folder of parts",
    )
    esci_s: UserPath = Field("resources/esci_s/esci.json.zst", description="ESCI-S records, zstd JSON lines")


class EsciSampleSource(StageConfig):
    """Real rows of ESCI us in three small public files. A missing file is downloaded if its path is the default."""

    kind: Literal["esci_sample"]
    products: UserPath = Field(
        "resources/esci_sample/ubi_ecommerce_products.json.gz",
        description="products with ESCI-S category paths and ESCI query ids, gzip JSON lines",
    )
    judgements: UserPath = Field(
        "resources/esci_sample/esci_us_judgments.json",
        description="queries with all their judgements, JSON: the test queries",
    )
    pairs: UserPath = Field(
        "resources/esci_sample/esci.test.json",
        description="further queries with judgements, JSON: the train queries are those with products of the sample",
    )


class SimulatedSource(StageConfig):
    """Files in ESCI's format made by catid2.simulate. They test the code, not the paper's figures."""

    kind: Literal["simulated"]
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of the simulation")
    simulate: SimulateConfig = Field(SimulateConfig(), description="sizes and shares")


class CatalogueSource(CatalogueConfig):
    """Your own files, as docs/catalogue.md describes them."""

    kind: Literal["catalogue"]
    locale: Locale = Field(
        "us",
        description="locale of the datasets made from it; only a name for the language (us: English), as `bm25` and "
        "`views` choose tokenisers and encoders",
    )
    products: OwnFile = Field(description="one product per row")
    queries: OwnFile | None = Field(
        None,
        description="one query per row; null, together with `judgements`: DocIDs only, nothing to search or evaluate",
    )
    judgements: OwnFile | None = Field(None, description="one query and one product per row")

    def importing(self) -> str:
        """Return what import_catalogue runs with, as JSON."""
        return self.model_dump_json(include=set(CatalogueConfig.model_fields))

    @model_validator(mode="after")
    def _queries_are_judged(self) -> "CatalogueSource":
        if (self.queries is None) != (self.judgements is None):
            raise ValueError("queries and judgements: one is given without the other; name both or neither")
        return self


Source = Annotated[
    EsciSource | EsciSampleSource | SimulatedSource | CatalogueSource, Field(discriminator="kind")
]
