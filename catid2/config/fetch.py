"""Settings of `fetch_esci` and `fetch_esci_s`: where the public files are, and how to check that they are complete."""

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
