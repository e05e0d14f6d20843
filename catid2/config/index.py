"""Settings of export_index: what an index is made from, and how it is searched."""

from typing import Literal

from catid2.config.base import StageConfig
from catid2.config.bm25 import Bm25Config
from catid2.config.docids import DocidsConfig
from catid2.config.embed import View
from catid2.config.fuse import FuseConfig
from catid2.config.retrieve import RetrieveConfig


class IndexSettings(StageConfig):
    """The settings of a method that its index needs."""

    dataset: str
    method: str
    seed: int
    source: Literal["esci", "esci_sample", "simulated", "catalogue"]  # where the products come from
    view: View
    clean_html: bool = True  # the corpus's; so are texts of products that are added
    docids: DocidsConfig
    retrieve: RetrieveConfig
    bm25: Bm25Config
    fuse: FuseConfig
