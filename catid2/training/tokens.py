"""Tokenised texts, stored in a flat array and padded batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from catid2.runtime.gpu import send
from catid2.runtime.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CHUNK = 10_000  # texts tokenised at once, so that few Python lists exist at a time


class TokenBatch(NamedTuple):
    """Tokenised texts, padded at the end; both (B, S) int64."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor

    def to(self, device: torch.device) -> TokenBatch:
        """Return the batch on `device`."""
        return TokenBatch(*(send(tensor, device) for tensor in self))


class TokenTable(NamedTuple):
    """The concatenated tokens of N texts: text i is flat[offsets[i] : offsets[i + 1]]."""

    flat: np.ndarray  # int32
    offsets: np.ndarray  # (N + 1,) int64

    @property
    def lengths(self) -> np.ndarray:
        """Tokens per text, (N,)."""
        return np.diff(self.offsets)

    def batch(self, rows: np.ndarray, pad_token: int, multiple: int = 1) -> TokenBatch:
        """Return the texts `rows` (B,), padded to the longest of them, or to the next multiple of its length."""
        lengths = self.offsets[rows + 1] - self.offsets[rows]
        columns = np.arange(-(-lengths.max() // multiple) * multiple)
        mask = columns < lengths[:, None]
        index = np.where(mask, self.offsets[rows][:, None] + columns, 0)
        ids = np.where(mask, self.flat[index], pad_token).astype(np.int64)
        return TokenBatch(torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64)))


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], prefix: str, max_tokens: int
) -> TokenTable:
    """Return the tokens of `prefix` + each text, cut to `max_tokens` including the end token."""
    parts, lengths = [np.zeros(0, np.int32)], [0]
    for start in Progress(range(0, len(texts), CHUNK), desc="tokenise", unit=" chunks of texts"):
        chunk = [prefix + text for text in texts[start : start + CHUNK]]
        rows = tokenizer(chunk, truncation=True, max_length=max_tokens, return_attention_mask=False)[
            "input_ids"
        ]
        parts.append(np.fromiter((token for row in rows for token in row), np.int32))
        lengths.extend(len(row) for row in rows)
    return TokenTable(np.concatenate(parts), np.cumsum(lengths, dtype=np.int64))


def join(tables: Sequence[TokenTable]) -> TokenTable:
    """Concatenate tables."""
    starts = np.cumsum([0] + [len(table.flat) for table in tables[:-1]])
    offsets = [table.offsets[:-1] + start for table, start in zip(tables, starts, strict=True)]
    end = [sum(len(table.flat) for table in tables)]
    return TokenTable(np.concatenate([table.flat for table in tables]), np.concatenate([*offsets, end]))
