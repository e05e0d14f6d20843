"""Settings of the rules that download: where the public files are, and how to check that they are complete."""

from pydantic import Field

from catid2.config.base import StageConfig

_ESCI = (
    "https://github.com/amazon-science/esci-data/raw/main/shopping_queries_dataset/shopping_queries_dataset"
)


class RemoteFile(StageConfig):
    """One file to download."""

    url: str = Field(pattern=r"^https?://", description="http(s) address")
    size: int | None = Field(None, gt=0, description="size in bytes; null: the server's Content-Length")
    sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256, lower-case hexadecimal; null: unknown, and the downloaded file is read once to check "
        "it",
    )


class FetchEsciConfig(StageConfig):
    """The two files of Amazon's Shopping Queries Dataset (Apache-2.0), as in its repository."""

    examples: RemoteFile = Field(
        RemoteFile(
            url=f"{_ESCI}_examples.parquet",
            size=51_286_808,
            sha256="4a735b693b4a424a6fc67f5be6e4c811495c488bbf66d02a602d308b2744263a",
        ),
        description="judged queries",
    )
    products: RemoteFile = Field(
        RemoteFile(
            url=f"{_ESCI}_products.parquet",
            size=1_108_857_465,
            sha256="25124442d064d64b26f74082d6fa09438d679efc0c183cf28d19064a2b65a265",
        ),
        description="products",
    )


class FetchEsciSConfig(StageConfig):
    """ESCI-S, category paths and more for the products of ESCI (Apache-2.0). Its authors publish no checksum."""

    esci_s: RemoteFile = Field(
        RemoteFile(url="https://esci-s.s3.amazonaws.com/esci.json.zst"), description="records, about 3.4 GB"
    )


class FetchEsciSampleConfig(StageConfig):
    """Three small files with rows of ESCI us, as published by the OpenSearch project and with MERGE (Apache-2.0)."""

    products: RemoteFile = Field(
        RemoteFile(
            url="https://raw.githubusercontent.com/opensearch-project/dashboards-search-relevance/"
            "15bc1794b638078c1b6e3f19153a5564dedc0747/server/sample_data/data/ubi_ecommerce_products.json.gz",
            size=3_128_785,
            sha256="cfd3b04e069033fa1561e2985260c83a3cb8344ee749554edfd0574a4aa14a49",
        ),
        description="products with category paths, gzip JSON lines",
    )
    judgements: RemoteFile = Field(
        RemoteFile(
            url="https://raw.githubusercontent.com/opensearch-project/opensearch-devops/"
            "0d469b6ff934c607e3442fcd1d7f400597fb4202/nightly-playground/sample-data/search-relevance/"
            "esci_us_judgments.json",
            size=568_806,
            sha256="3981436d88e42ef283b5d805c7fa7ec68cd9657584fbc96b3bcd8d51ad1ba708",
        ),
        description="judged queries, JSON",
    )
    pairs: RemoteFile = Field(
        RemoteFile(
            url="https://raw.githubusercontent.com/zhangfw123/MERGE/"
            "25b2b173a1d13b4427312ffa2c29159a1788ce60/data/esci/esci.test.json",
            size=2_612_942,
            sha256="1c9b92ebef72cc163a877ef7bcf558c1e6636b76320e2f6d480937561a544fd6",
        ),
        description="further judged queries, JSON",
    )
