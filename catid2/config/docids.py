"""Settings of `assign_docids`: where codes come from, and how documents that share them get DocIDs of their own."""

from typing import Literal

from pydantic import Field

from catid2.config.base import StageConfig
from catid2.config.schemes import AnyScheme, RqvaeScheme


class DocidsConfig(StageConfig):
    """How documents get codes, and how codes become unique."""

    scheme: AnyScheme = Field(
        RqvaeScheme(),
        description="`kind` says where codes come from; its settings are in the same mapping. Another kind replaces "
        "the complete mapping.",
    )
    repair: Literal["transport", "sinkhorn", "digit", "sinkhorn_loop", "none"] = Field(
        "transport",
        description="transport: balanced transport with capacity one, solved exactly; always unique, same length "
        "(ours). sinkhorn: the same with Sinkhorn's iterations, rounded; always unique, same length (CAT-ID² section "
        "3). digit: one more position that numbers the documents of an ID (TIGER). sinkhorn_loop: the rounds of "
        "LC-Rec and LETTER, may leave collisions. none: the codes as they are. Schemes that do not quantise are "
        "unique as they are, and nothing is repaired.",
    )
    allow_collisions: bool = Field(
        False,
        description="Write DocIDs that several documents share, for inspection only: they cannot be searched, because "
        "a path of the trie must name one document. Otherwise assign_docids stops with an error when sinkhorn_loop or "
        "none leaves collisions.",
    )
    sinkhorn_epsilon: float = Field(
        0.003,
        gt=0,
        description="sinkhorn, sinkhorn_loop: entropic regularisation, in units of half the range of the squared "
        "distances of the documents that are spread together (LC-Rec: 0.003).",
    )
    sinkhorn_iterations: int = Field(
        50,
        ge=1,
        description="sinkhorn, sinkhorn_loop: Sinkhorn iterations for the documents that are spread together "
        "(LC-Rec: 50).",
    )
    sinkhorn_rounds: int = Field(
        20, ge=1, description="sinkhorn_loop: passes over all documents that still collide (LC-Rec: 20)."
    )
