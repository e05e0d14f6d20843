"""T5 and mT5 as a CodeScorer: the decoder runs for all beams of a query at once.

`generate` repeats the encoder's states, and the keys and values of every cross-attention layer, for each beam. Here the
beams of a query are the rows of one attention product, so keys and values exist once per query. Self-attention, which
differs between beams, covers at most L positions. Of the output layer only the rows of the position's codes are read.
Weights and arithmetic are those of the model's own layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedModel
    from transformers.models.t5.modeling_t5 import T5Attention

    from catid2.training.tokens import TokenBatch


class T5Scorer:
    """Scores the codes of DocIDs (see catid2.search.beam.CodeScorer); for one search at a time.

    Args:
        t5: the Hugging Face model.
        start_token: first token of the decoder.
        first_tokens: token id of code 0 of each position; (L,).
        code_logits: maps decoder states (…, d) and a position to the logits of the position's codes, (…, K).
    """

    def __init__(
        self,
        t5: PreTrainedModel,
        start_token: int,
        first_tokens: Sequence[int],
        code_logits: Callable[[torch.Tensor, int], torch.Tensor],
    ):
        self.encoder, self.decoder = t5.encoder, t5.decoder
        self.start_token, self.first_tokens, self.code_logits = start_token, first_tokens, code_logits
        self.position = 0
        # Keys and values of each layer
        self.self_cache: list[tuple[torch.Tensor, torch.Tensor]] = []  # (Q, B, H, t, D)
        self.cross_cache: list[tuple[torch.Tensor, torch.Tensor]] = []  # (Q, H, S, D)
        self.cross_mask = torch.empty(0)

    def start(self, batch: TokenBatch) -> torch.Tensor:
        """Encode the queries and score position 0: (Q, 1, K_0)."""
        states = self.encoder(batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        self.position = 0
        self.self_cache = []
        self.cross_cache = []
        for block in self.decoder.block:
            attention = block.layer[1].EncDecAttention
            self.cross_cache.append(
                (_heads(attention, attention.k(states)), _heads(attention, attention.v(states)))
            )
        mask = torch.zeros_like(batch.attention_mask, dtype=states.dtype)
        mask = mask.masked_fill(batch.attention_mask == 0, torch.finfo(states.dtype).min)
        self.cross_mask = mask[:, None, None, :]  # (Q, 1, 1, S), broadcast over heads and beams
        start = torch.full((states.shape[0], 1), self.start_token, device=states.device)
        return self._score(start)

    def advance(self, codes: torch.Tensor, origins: torch.Tensor) -> torch.Tensor:
        """Score the position after `codes`, which extend the beams `origins`; both (Q, B)."""
        first = torch.arange(origins.shape[0], device=origins.device) * self.self_cache[0][0].shape[1]
        index = origins + first.unsqueeze(1)
        self.self_cache = [
            tuple(states.flatten(0, 1)[index] for states in layer)  # (Q, B, H, t, D)
            for layer in self.self_cache
        ]
        self.position += 1
        return self._score(codes + self.first_tokens[self.position - 1])

    def _score(self, tokens: torch.Tensor) -> torch.Tensor:
        """Run the decoder on the next token of each beam, (Q, B), and score the codes of `self.position`."""
        hidden = self.decoder.embed_tokens(tokens)  # (Q, B, d)
        bias = self._relative_bias()  # (H, t + 1)
        for layer, block in enumerate(self.decoder.block):
            hidden = hidden + self._self_attention(layer, block.layer[0], hidden, bias)
            hidden = hidden + self._cross_attention(layer, block.layer[1], hidden)
            hidden = block.layer[2](hidden)
        hidden = self.decoder.final_layer_norm(hidden)
        return self.code_logits(hidden, self.position).float().log_softmax(dim=-1)

    def _relative_bias(self) -> torch.Tensor:
        """Return the position bias (H, t + 1) of the newest token; all layers use that of the first."""
        attention = self.decoder.block[0].layer[0].SelfAttention
        length = self.position + 1
        return attention.compute_bias(length, length)[0, :, -1]

    def _self_attention(
        self, layer: int, module: torch.nn.Module, hidden: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        attention = module.SelfAttention
        normed = module.layer_norm(hidden)
        shape = (*hidden.shape[:2], attention.n_heads, 1, attention.key_value_proj_dim)
        query, key, value = (part(normed).view(shape) for part in (attention.q, attention.k, attention.v))
        if self.position:
            keys, values = self.self_cache[layer]
            key, value = torch.cat([keys, key], dim=3), torch.cat([values, value], dim=3)
            self.self_cache[layer] = (key, value)
        else:
            self.self_cache.append((key, value))
        # One query against at most L keys: products and sums are faster than a batched matrix product.
        weights = (query * key).sum(-1) + bias  # (Q, B, H, t + 1)
        weights = weights.softmax(dim=-1)
        context = (weights.unsqueeze(-1) * value).sum(3)  # (Q, B, H, D)
        return attention.o(context.flatten(2))

    def _cross_attention(self, layer: int, module: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
        attention = module.EncDecAttention
        query = _heads(attention, attention.q(module.layer_norm(hidden)))  # (Q, H, B, D)
        keys, values = self.cross_cache[layer]
        context = functional.scaled_dot_product_attention(
            query, keys, values, attn_mask=self.cross_mask.to(query.dtype), scale=1.0
        )
        return attention.o(context.transpose(1, 2).flatten(2))


def _heads(attention: T5Attention, states: torch.Tensor) -> torch.Tensor:
    """Split (Q, n, H·D) into heads, (Q, H, n, D)."""
    return states.view(*states.shape[:2], attention.n_heads, attention.key_value_proj_dim).transpose(1, 2)
