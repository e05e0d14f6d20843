"""A dual encoder: one encoder for queries and documents, trained with in-batch negatives.

The loss is that of Dense Passage Retrieval (Karpukhin et al., EMNLP 2020, section 3): the negative log-likelihood of
the relevant document among all documents of the batch. docs/method.md lists the differences.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertConfig, BertModel, PreTrainedModel, PreTrainedTokenizerBase

from catid2.embedding.encoders import TransformerEncoder, pool
from catid2.retriever.tokenizer import train_tokenizer
from catid2.training.distributed import Group, gather, gather_with_gradient
from catid2.training.tokens import TokenBatch

if TYPE_CHECKING:
    from catid2.config.dual_encoder import DualEncoderConfig, SmallBert

log = logging.getLogger(__name__)


class DualEncoder(nn.Module):
    """An encoder with its loss.

    Args:
        encoder: of queries and documents.
        config: pooling, normalisation and temperature.
        pairs: (P, 2) int64, the relevant (query, document) pairs.
        group: this process and its peers.
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        config: DualEncoderConfig,
        pairs: np.ndarray,
        group: Group = Group(),  # noqa: B008
    ):
        super().__init__()
        self.encoder, self.settings, self.group = encoder, config, group
        self.n_documents = int(pairs[:, 1].max()) + 1
        keys = torch.from_numpy(np.unique(pairs[:, 0] * self.n_documents + pairs[:, 1]))
        self.register_buffer("relevant", keys, persistent=False)  # (P,) sorted

    def vectors(self, batch: TokenBatch) -> Tensor:
        """Return the vectors of tokenised texts, (B, d) float32."""
        states = self.encoder(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask
        ).last_hidden_state
        vectors = pool(states, batch.attention_mask.bool(), self.settings.pooling)
        return functional.normalize(vectors, dim=1) if self.settings.normalize else vectors

    def forward(
        self,
        query_ids: Tensor,
        query_mask: Tensor,
        document_ids: Tensor,
        document_mask: Tensor,
        query: Tensor,
        document: Tensor,
    ) -> Tensor:
        """Return the mean loss of this rank's pairs; its mean over the ranks is the loss of the batch.

        Args:
            query_ids: (b, S) tokens of the queries.
            query_mask: (b, S), 0 where padded.
            document_ids: (b, T) tokens of their documents.
            document_mask: (b, T), 0 where padded.
            query: (b,) number of the query, as in `pairs`.
            document: (b,) doc_id.
        """
        queries = self.vectors(TokenBatch(query_ids, query_mask))
        own = self.vectors(TokenBatch(document_ids, document_mask))
        total = len(own) * self.group.world_size
        documents = gather_with_gradient(own, total, self.group)  # (B, d)
        key = query[:, None] * self.n_documents + gather(document, total, self.group)  # (b, B)
        place = torch.searchsorted(self.relevant, key).clamp(max=len(self.relevant) - 1)
        return in_batch_loss(
            queries @ documents.T / self.settings.temperature,
            self.relevant[place] == key,
            self.group.rank * len(own),
        )


def in_batch_loss(scores: Tensor, relevant: Tensor, first: int = 0) -> Tensor:
    """Return the mean over queries of -log p(own document | the batch's documents).

    Other documents that are relevant to the query are not among its negatives.

    Args:
        scores: (b, B) of each query with each document of the batch.
        relevant: (b, B) bool, whether the document is relevant to the query.
        first: column of the first query's own document; those of the other queries follow.
    """
    own = torch.arange(first, first + len(scores), device=scores.device)
    others = relevant.scatter(1, own[:, None], False)
    return functional.cross_entropy(scores.masked_fill(others, float("-inf")), own)


def build_encoder(
    config: DualEncoderConfig, texts: Iterable[str], seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return an encoder before fine-tuning, and its tokenizer: pretrained, or a small random BERT.

    Args:
        config: which encoder.
        texts: training data of a small encoder's tokenizer; a pretrained encoder has its own tokenizer.
        seed: of the random weights.

    Raises:
        InputError: the pretrained encoder cannot be loaded, or reads fewer than `max_tokens` tokens.
    """
    torch.manual_seed(seed)
    if config.pretrained is None:
        log.warning(
            "no pretrained weights: a small BERT starts from random weights, its tokenizer from this corpus"
        )
        tokenizer = train_tokenizer(texts, config.small.vocabulary)
        encoder: PreTrainedModel = _small_bert(config.small, len(tokenizer), config.max_tokens)
    else:
        settings = config.view(config.pretrained).encoder.model_copy(update={"revision": config.revision})
        loaded = TransformerEncoder(settings, torch.device("cpu"), batch_tokens=1)
        encoder, tokenizer = loaded.model, loaded.tokenizer
    for name, parameter in encoder.named_parameters():
        # BERT's pooler comes after the states that are pooled here, so it would get no gradient.
        if name.startswith("pooler."):
            parameter.requires_grad_(False)
    log.info("%.1f million parameters", sum(p.numel() for p in encoder.parameters()) / 1e6)
    return encoder, tokenizer


def _small_bert(config: SmallBert, vocabulary: int, max_tokens: int) -> BertModel:
    return BertModel(
        BertConfig(
            vocab_size=vocabulary,
            pad_token_id=0,
            max_position_embeddings=max_tokens,
            attention_probs_dropout_prob=config.hidden_dropout_prob,
            **config.model_dump(exclude={"vocabulary"}),
        )
    )
