"""What the routes answer; the OpenAPI description has these models."""

from pydantic import BaseModel, Field


class Hit(BaseModel):
    """A product that was found."""

    product_id: str
    title: str = Field(description="empty if it has none")
    category: tuple[str, ...] = Field(description="names, coarse to fine")
    docid: tuple[int, ...]
    score: float = Field(description="to be compared within the list only")


class Found(BaseModel):
    """What a query finds."""

    hits: list[Hit] = Field(description="best first")
    milliseconds: float = Field(description="from the arrival of the request, its wait included")


class Product(BaseModel):
    """A product below a prefix."""

    product_id: str
    title: str


class Prefix(BaseModel):
    """The first codes of a DocID, and the products whose DocIDs begin with them."""

    codes: tuple[int, ...]
    products: int
    category: tuple[str, ...] = Field(
        description="names, coarse to fine: of the level that is as deep as the prefix, the category of most of them"
    )
    share: float = Field(description="of the products that are in this category")
    examples: list[Product] = Field(description="a few of those that the next code leaves out")


class Docid(BaseModel):
    """A DocID, or the beginning of one: its prefixes, the shortest first."""

    prefixes: list[Prefix]


class Served(BaseModel):
    """The index that is served."""

    dataset: str
    method: str
    seed: int
    products: int
    categories: dict[str, int] = Field(
        description="the categories of the first level: how many products each has"
    )


class Health(BaseModel):
    """Sign of life."""

    waiting: int = Field(description="requests that wait for a search")


class Refusal(BaseModel):
    """Why a request has no answer."""

    detail: str
