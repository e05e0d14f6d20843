"""Settings of `simulate_esci`: raw files with the columns, the shares and the dirt of ESCI and ESCI-S."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from catid2.config.base import StageConfig

Share = Annotated[float, Field(ge=0, le=1)]


class LocaleSize(StageConfig):
    """How much of one locale to make. The defaults are the demo's."""

    products: int = Field(3000, ge=100, description="rows of the products file")
    queries: int = Field(900, ge=10, description="distinct queries")
    judgements_per_query: float = Field(
        16, ge=4, description="mean number of judged products per query (ESCI: us 18.7, es 23.5, jp 24.6)"
    )
    small_share: Share = Field(0.9, description="share of the queries with small_version 1 (ESCI: us .307)")


class LabelShares(StageConfig):
    """Shares of the four labels among the judgements; they sum to 1. The defaults are those of ESCI's small version.

    In a small catalogue some queries have too few exact products. They get fewer judgements, most of them not E.
    """

    E: Share = Field(0.44, description="exact: the type and every attribute asked for")
    S: Share = Field(
        0.34,
        description="substitute: the type without an attribute asked for, or a sibling where these are too few",
    )
    C: Share = Field(0.05, description="complement: from the section that goes with the one asked for")
    I: Share = Field(0.17, description="irrelevant: anything else")  # noqa: E741

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        if abs(self.E + self.S + self.C + self.I - 1) > 1e-6:
            raise ValueError("the four shares must sum to 1")
        return self


class NullShares(StageConfig):
    """Shares of the products without a field. The defaults are those of 485 real us rows."""

    description: Share = Field(0.47, description="no product_description")
    color: Share = Field(0.28, description="no product_color")
    bullets: Share = Field(0.15, description="no product_bullet_point")
    brand: Share = Field(0.08, description="no product_brand")


class DepthShares(StageConfig):
    """Shares of the ESCI-S records whose category path is cut; the others have 3 to 7 levels."""

    none: Share = Field(0.04, description="an empty list")
    one: Share = Field(0.025, description="only the department")
    two: Share = Field(0.05, description="department and section")

    @model_validator(mode="after")
    def _leave_some(self) -> Self:
        if self.none + self.one + self.two >= 1:
            raise ValueError("the three shares must leave some whole paths")
        return self


class SimulateConfig(StageConfig):
    """What `simulate_esci` makes; the defaults are the demo's (three locales, about 9,000 products)."""

    locales: dict[Literal["us", "es", "jp"], LocaleSize] = Field(
        default_factory=lambda: {"us": LocaleSize(), "es": LocaleSize(), "jp": LocaleSize()},
        min_length=1,
        description="size of each locale",
    )
    labels: LabelShares = Field(LabelShares(), description="shares of the labels")
    nulls: NullShares = Field(NullShares(), description="shares of the missing fields")
    cut_paths: DepthShares = Field(DepthShares(), description="shares of the short category paths")
    test_share: float = Field(
        0.3, gt=0, lt=1, description="share of the queries in the test split (ESCI small: .30)"
    )
    seen_share: Share = Field(
        0.27, description="share of the test judgements whose product is also judged in train (ESCI es: .27)"
    )
    record_share: Share = Field(
        0.915, description="share of the ids that have an ESCI-S record (README of esci-s)"
    )
    book_share: Share = Field(0.07, description="share of the products that are books (README of esci-s)")
    shared_share: Share = Field(
        0.03, description="share of the es and jp products that share their id with a us product"
    )
    duplicate_share: Share = Field(
        0.02, description="share of the products with exactly the same text as another product"
    )
    zipf_exponent: float = Field(
        1.1,
        ge=0,
        description="skew of departments, of the sections of a department and of the types of a section: weight "
        "rank^-exponent",
    )
    second_section_share: Share = Field(
        0.25,
        description="share of the product types of which a quarter of the products stand in a second section of the "
        "department (6.8% of the exact products of 144 real us queries do)",
    )
    second_department_share: Share = Field(
        0.3,
        description="share of the product types of which a quarter of the products stand in a second department "
        "(7.6% of the exact products of 144 real us queries do)",
    )
    head_share: Share = Field(0.2, description="share of the queries that name a section, not a type")
    title_share: Share = Field(0.45, description="probability that an attribute is in the title")
    synonym_share: Share = Field(
        0.4, description="probability that a word of a query is the synonym of a product's word"
    )
    html_share: Share = Field(
        0.2, description="share of the descriptions with HTML (150 of 485 real us rows contain '<')"
    )
    filler_sentences: float = Field(
        3,
        ge=0,
        le=20,
        description="mean number of sentences without information in a description; about half as many bullet points",
    )
    topical_share: Share = Field(
        1.0,
        description="share of the phrases of these sentences that go with the section or the type, so that texts of a "
        "node resemble each other (of the ten nearest neighbours of 2,420 real us rows, 73% stand in the same node of "
        "level 2 and 64% in that of level 3, even without the categories' names)",
    )
    reviews: float = Field(1, ge=0, le=20, description="mean number of reviews of an ESCI-S record")
    big_record_share: Share = Field(0.002, description="share of the ESCI-S records with very many reviews")
    big_record_bytes: int = Field(100_000, ge=0, description="size of the reviews of such a record in bytes")

    @model_validator(mode="after")
    def _enough_to_share(self) -> Self:
        if "us" in self.locales:
            for locale, size in self.locales.items():
                if locale != "us" and self.shared_share * size.products * 1.2 > self.locales["us"].products:
                    raise ValueError(f"shared_share: {locale} needs more ids than us has products")
        return self
