"""Text vectors from a pretrained transformer encoder (T5, mT5, BERT, E5, …).

A batch has texts of similar length and a budget of tokens, so little padding is computed, and long texts need no more
memory than short ones. Pooling ignores padding: a text's vector does not depend on its batch, except for rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, AutoModel, AutoModelForTextEncoding

from catid2.pretrained.files import folder_to_read, identity
from catid2.pretrained.loading import load_config, load_model, load_tokenizer
from catid2.runtime.complete import require_complete
from catid2.runtime.errors import InputError
from catid2.runtime.gpu import send
from catid2.runtime.progress import Progress

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from catid2.config.embed import HfEncoder
    from catid2.embedding.sentence_modules import SentenceModules


class TransformerEncoder:
    """A pretrained encoder on one device: float32 on a CPU, bfloat16 on a GPU.

    Attributes:
        identity: the commit on the hub, or a sha256 of the files of the user's own folder.

    Raises:
        InputError: the model cannot be loaded, lacks weights, or reads fewer than `max_tokens` tokens.
    """

    def __init__(self, config: HfEncoder, device: torch.device, batch_tokens: int):
        folder = folder_to_read(config.pretrained_model)
        self.config = config
        self.device = device
        self.batch_tokens = batch_tokens
        require_complete(folder)  # of a folder that train_dual_encoder wrote
        loaded = load_config(folder)
        self.tokenizer = load_tokenizer(folder)
        model = _load(folder, loaded, self.tokenizer)
        modules = _load_modules(folder) if config.pooling == "modules" else None
        # T5 has relative positions and no such limit; RoBERTa's table of positions is longer than what it can use.
        positions = getattr(loaded, "max_position_embeddings", None)
        if positions and config.max_tokens > min(positions, self.tokenizer.model_max_length):
            limit = min(positions, self.tokenizer.model_max_length)
            raise InputError(
                folder, f"max_tokens {config.max_tokens}, it reads {limit}", f"set {limit} or less"
            )
        self.model = model.eval().to(device)
        if device.type == "cuda":
            in_bfloat16(self.model)
        self.modules = None if modules is None else modules.eval().to(device)
        self.identity = identity(folder)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> np.ndarray:
        """Return the vectors of `texts`: (N, d) float16, in their order; `progress` counts them, or a new one.

        A text without tokens (empty, with a tokenizer that adds none) gets the zero vector. A component outside the
        range of float16 becomes inf; the caller reports it, because it knows the row's name.
        """
        prefixed = [self.config.prefix + text for text in texts]
        tokens = self.tokenizer(
            prefixed,
            truncation=True,
            max_length=self.config.max_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        if progress is None:
            progress = Progress(desc="embed", total=len(texts), unit=" texts")
        batches = list(token_batches([len(ids) for ids in tokens], self.batch_tokens))
        parts = []
        for rows in batches:
            parts.append(self._encode_batch([tokens[row] for row in rows]))
            progress.update(len(rows))
        # Read at the end, so that no batch waits for the one before.
        return torch.cat(parts).cpu().numpy()[np.argsort(np.concatenate(batches))]

    @torch.inference_mode()
    def _encode_batch(self, tokens: list[list[int]]) -> torch.Tensor:
        lengths = torch.tensor([max(len(ids), 1) for ids in tokens])
        # Any token will do as padding, because it is masked; some tokenizers define no padding token.
        padding = self.tokenizer.pad_token_id or 0
        ids = pad_sequence(
            [torch.tensor(row or [padding]) for row in tokens], batch_first=True, padding_value=padding
        )  # (B, T)
        mask = torch.arange(ids.shape[1]) < lengths[:, None]  # (B, T)
        empty = torch.tensor([not row for row in tokens])
        ids, mask, empty = (send(part, self.device) for part in (ids, mask, empty))
        states = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        if self.modules is None:
            vectors = pool(states, mask, self.config.pooling)
        else:
            vectors = self.modules(states.float(), mask)
        if self.config.normalize:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        return vectors.masked_fill(empty[:, None], 0.0).half()


def in_bfloat16(model: nn.Module) -> None:
    """Round the weights of a model to bfloat16, in place, and not its buffers: rotary frequencies need their digits."""
    for weights in model.parameters():
        weights.data = weights.data.bfloat16()


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: Literal["mean", "cls"]) -> torch.Tensor:
    """Return the vectors (B, d) float32 of texts, from the states (B, T, d) of their tokens and the mask (B, T)."""
    states = states.float()
    if pooling == "cls":
        return states[:, 0]
    weights = mask[:, :, None].float()
    return (states * weights).sum(1) / weights.sum(1)


def token_batches(lengths: Sequence[int], budget: int) -> Iterator[np.ndarray]:
    """Yield row numbers batch by batch, longest texts first; a batch has at most `budget` tokens when padded.

    The longest texts come first, so that a budget too large for the device fails at once. A text longer than the
    budget is a batch of its own.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def _load(folder: Path, loaded: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Return the encoder of the model, with pretrained weights for every parameter that pooling uses."""
    automatic = AutoModelForTextEncoding if type(loaded) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel
    # Many checkpoints lack the pooler. It comes after the states that are pooled here, so it is not used.
    model = load_model(automatic, folder, tokenizer, optional=("pooler.",))
    return model.get_encoder() if model.config.is_encoder_decoder and automatic is AutoModel else model


def _load_modules(folder: Path) -> SentenceModules:
    try:
        from catid2.embedding.sentence_modules import load_sentence_modules
    except ImportError:
        raise InputError(
            "sentence-transformers", "not installed", "pip install 'catid2[baselines]'"
        ) from None
    return load_sentence_modules(folder)
