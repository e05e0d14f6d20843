"""The retriever: T5 or mT5 with an additional token for each code of each DocID position.

Code k of position l is the token `<c_l_k>`; the tokens of a position are adjacent, so the scores of its codes are one
slice of the output layer. Position l is always one of K codes, so training and search use the softmax over these K,
without the 32,000 and more text tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from transformers import (
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
)

from catid2.pretrained.files import folder_to_read
from catid2.pretrained.loading import load_config, load_model, load_tokenizer
from catid2.retriever.continuing import continued_sizes
from catid2.retriever.t5_scorer import T5Scorer
from catid2.retriever.tokenizer import train_tokenizer
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_json

if TYPE_CHECKING:
    import numpy as np

    from catid2.config.retriever import RetrieverConfig, SmallT5
    from catid2.training.tokens import TokenBatch, TokenTable

log = logging.getLogger(__name__)

MODEL_TYPES = ("t5", "mt5")
# Keys of a retriever's config.json that search reads, and their types.
_LAYOUT = {
    "docid_sizes": list,
    "docid_first_tokens": list,
    "query_prefix": str,
    "max_query_tokens": int,
    "decoder_start_token_id": int,
    "pad_token_id": int,
    "vocab_size": int,
}


class DocIDRetriever(nn.Module):
    """T5 or mT5 with DocID tokens.

    Attributes:
        t5: the Hugging Face model; its config holds docid_sizes, docid_first_tokens, query_prefix and max_query_tokens,
            and once it is trained docid_sha256 (catid2.docids.table.Docids.digest).
        sizes: how many codes each position has; (L,).
        first_tokens: token id of code 0 of each position; (L,).
        start_token: first token of the decoder.
    """

    kind = "t5"

    def __init__(self, t5: PreTrainedModel):
        super().__init__()
        self.t5 = t5
        self.sizes: tuple[int, ...] = tuple(t5.config.docid_sizes)
        self.first_tokens: tuple[int, ...] = tuple(t5.config.docid_first_tokens)
        self.start_token: int = t5.config.decoder_start_token_id
        # T5 ties its output layer to the embeddings and scales the states before it; T5 1.1 and mT5 do not.
        self.scale = t5.config.d_model**-0.5 if getattr(t5.config, "scale_decoder_outputs", False) else 1.0
        self.register_buffer("_first_tokens", torch.tensor(self.first_tokens), persistent=False)

    @property
    def docid_sha256(self) -> str | None:
        """The sha256 of the DocIDs that the model was trained on (catid2.docids.table.Docids.digest)."""
        return getattr(self.t5.config, "docid_sha256", None)

    def batch(self, queries: TokenTable, rows: np.ndarray) -> TokenBatch:
        """Return the queries `rows` (B,), padded; on a GPU to a multiple of 8, as fused attention wants it."""
        multiple = 8 if self._first_tokens.is_cuda else 1
        return queries.batch(rows, self.t5.config.pad_token_id, multiple)

    def scorer(self) -> T5Scorer:
        """Return a CodeScorer for beam search."""
        return T5Scorer(self.t5, self.start_token, self.first_tokens, self.code_logits)

    def code_logits(self, hidden: torch.Tensor, position: int) -> torch.Tensor:
        """Return the logits of the codes of a position, (…, sizes[position]), from decoder states (…, d)."""
        first = self.first_tokens[position]
        return self.row_logits(hidden, slice(first, first + self.sizes[position]))

    def row_logits(self, hidden: torch.Tensor, rows: slice | torch.Tensor) -> torch.Tensor:
        """Return the logits of rows of the output layer, (…, len(rows)), from decoder states (…, d)."""
        return functional.linear(hidden * self.scale, self.t5.lm_head.weight[rows])

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, codes: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean over documents and positions of -log p(code | text, codes before).

        Args:
            input_ids: (B, S) text tokens.
            attention_mask: (B, S), 0 where padded.
            codes: (B, L) the DocIDs.
        """
        # To broadcast over heads and queries. Of a mask (B, S) Transformers asks the GPU whether it masks anything.
        mask = attention_mask[:, None, None, :].bool()
        states = self.t5.encoder(input_ids=input_ids, attention_mask=mask).last_hidden_state
        tokens = codes[:, :-1] + self._first_tokens[:-1]
        start = torch.full_like(codes[:, :1], self.start_token)
        hidden = self.t5.decoder(
            input_ids=torch.cat([start, tokens], dim=1),
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state  # (B, L, d)
        hidden = hidden * self.scale
        # One slice for all positions: the gradient of each slice is a matrix as large as the output layer.
        rows = self.t5.lm_head.weight[self.first_tokens[0] :][: sum(self.sizes)].split(self.sizes)
        losses = [
            functional.cross_entropy(
                functional.linear(hidden[:, position], rows[position]).float(), codes[:, position]
            )
            for position in range(len(self.sizes))
        ]
        return torch.stack(losses).mean()


def build_retriever(
    config: RetrieverConfig, sizes: Sequence[int], texts: Iterable[str], seed: int
) -> tuple[DocIDRetriever, PreTrainedTokenizerBase]:
    """Return the retriever before training, and its tokenizer: a pretrained T5 or mT5, or a small random T5.

    A pretrained one may be a trained retriever: then its DocID tokens go on.

    Args:
        config: which model.
        sizes: how many codes each DocID position has.
        texts: training data of a small model's tokenizer; a pretrained model has its own tokenizer.
        seed: of the random weights.

    Raises:
        InputError: the pretrained model cannot be loaded, is not a T5, or has DocID tokens that do not fit.
    """
    torch.manual_seed(seed)
    if config.pretrained is None:
        log.warning(
            "no pretrained weights: a small T5 starts from random weights, its tokenizer from this corpus"
        )
        tokenizer = train_tokenizer(texts, config.small.vocabulary)
        retriever = add_docid_tokens(small_t5(config.small, len(tokenizer)), tokenizer, sizes)
    else:
        folder = folder_to_read(config.pretrained_model)
        if "docid_sizes" in load_config(folder).to_dict():
            retriever, tokenizer = load_retriever(folder)
            retriever = _grow(retriever, tokenizer, continued_sizes(retriever.sizes, sizes, folder))
        else:
            model, tokenizer = load_pretrained(folder)
            retriever = add_docid_tokens(model, tokenizer, sizes)
    t5 = retriever.t5
    t5.config.query_prefix = config.query_task.prefix
    t5.config.max_query_tokens = config.max_query_tokens
    log.info(
        "%.1f million parameters, %d DocID tokens",
        sum(p.numel() for p in t5.parameters()) / 1e6,
        sum(retriever.sizes),
    )
    return retriever, tokenizer


def small_t5(config: SmallT5, vocabulary: int) -> T5ForConditionalGeneration:
    """Return a T5 with random weights for a tokenizer of `vocabulary` tokens made by catid2.retriever.tokenizer."""
    return T5ForConditionalGeneration(
        T5Config(
            vocab_size=vocabulary,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
            **config.model_dump(exclude={"vocabulary"}),
        )
    )


def load_pretrained(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the pretrained T5 or mT5 in a folder, with its tokenizer.

    Raises:
        InputError: the model cannot be loaded, lacks weights, or is of another kind.
    """
    kind = load_config(folder).model_type
    if kind not in MODEL_TYPES:
        raise InputError(folder, f"a {kind} model", f"name a model of type {' or '.join(MODEL_TYPES)}")
    tokenizer = load_tokenizer(folder)
    return load_model(AutoModelForSeq2SeqLM, folder, tokenizer), tokenizer


def add_docid_tokens(
    t5: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sizes: Sequence[int]
) -> DocIDRetriever:
    """Add a token for each code of each position to `tokenizer` and `t5`, in place; return the retriever.

    New rows are initialised as T5 initialises its embeddings (normal, standard deviation `initializer_factor`).

    Raises:
        InputError: the tokenizer already has some of these tokens.
    """
    first_tokens = []
    for position, size in enumerate(sizes):
        first_tokens.append(len(tokenizer))
        if tokenizer.add_tokens([f"<c_{position}_{code}>" for code in range(size)]) != size:
            raise InputError("pretrained", "already has DocID tokens", "name a model that has none")
    _enlarge(t5, max(len(tokenizer), t5.config.vocab_size), first_tokens[0])
    t5.config.docid_sizes = list(sizes)
    t5.config.docid_first_tokens = first_tokens
    if t5.config.decoder_start_token_id is None:
        t5.config.decoder_start_token_id = t5.config.pad_token_id
    # The pretrained model's generation settings (sampling, length penalty) must not affect beam search.
    t5.generation_config = GenerationConfig(
        decoder_start_token_id=t5.config.decoder_start_token_id,
        pad_token_id=t5.config.pad_token_id,
        eos_token_id=t5.config.eos_token_id,
    )
    return DocIDRetriever(t5)


def _grow(
    retriever: DocIDRetriever, tokenizer: PreTrainedTokenizerBase, sizes: tuple[int, ...]
) -> DocIDRetriever:
    """Return the retriever with `sizes`, which exceed its own in the last position at most."""
    t5, known = retriever.t5, retriever.sizes[-1]
    if sizes[-1] > known:
        tokenizer.add_tokens([f"<c_{len(sizes) - 1}_{code}>" for code in range(known, sizes[-1])])
        _enlarge(t5, max(len(tokenizer), t5.config.vocab_size), retriever.first_tokens[-1] + known)
        t5.config.docid_sizes = list(sizes)
    return DocIDRetriever(t5)


def _enlarge(t5: PreTrainedModel, vocabulary: int, first_new: int) -> None:
    """Resize embeddings and output layer to `vocabulary` rows; initialise the rows from `first_new` on.

    resize_token_embeddings would tie the output layer to the embeddings, also for T5 1.1 and mT5, where the two differ:
    the pretrained output layer would be lost.
    """
    tied = t5.lm_head.weight is t5.shared.weight
    old = t5.shared.weight.data
    std = t5.config.initializer_factor

    def enlarged(weight: torch.Tensor) -> nn.Parameter:
        new = torch.empty(vocabulary, weight.shape[1], dtype=weight.dtype).normal_(std=std)
        new[:first_new] = weight[:first_new]
        return nn.Parameter(new)

    t5.shared.weight = enlarged(old)
    t5.lm_head.weight = t5.shared.weight if tied else enlarged(t5.lm_head.weight.data)
    t5.shared.num_embeddings = t5.lm_head.out_features = vocabulary
    t5.set_input_embeddings(t5.shared)
    t5.config.vocab_size = vocabulary


def load_retriever(folder: str | Path) -> tuple[DocIDRetriever, PreTrainedTokenizerBase]:
    """Return retriever and tokenizer from a folder that train_retriever wrote.

    Raises:
        InputError: the folder is missing or incomplete, its model has no DocID tokens, or a weight is not finite.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "run train_retriever first")
    _require_layout(folder / "config.json")
    model, tokenizer = load_pretrained(folder)
    retriever = DocIDRetriever(model)
    for name, weights in model.named_parameters():
        if not weights.isfinite().all():
            what = f"its tensor {name!r} holds NaN or infinity"
            raise InputError(folder, what, "run train_retriever again")
    return retriever.eval(), tokenizer


def _require_layout(path: Path) -> None:
    """Raise InputError unless the config.json at `path` describes a valid layout of the DocID tokens."""
    content = read_json(path)
    remedy = "give the folder that train_retriever wrote"
    for key, kind in _LAYOUT.items():
        if not isinstance(content.get(key), kind):
            what = f"key {key!r} is missing" if key not in content else f"key {key!r} is {content[key]!r}"
            raise InputError(path, what, remedy)
    sizes, firsts = content["docid_sizes"], content["docid_first_tokens"]
    numbers = all(type(number) is int and number > 0 for number in [*sizes, *firsts])
    if not numbers or not sizes or len(sizes) != len(firsts):
        raise InputError(path, f"docid_sizes {sizes}, docid_first_tokens {firsts}", remedy)
    if max(first + size for first, size in zip(firsts, sizes, strict=True)) > content["vocab_size"]:
        raise InputError(path, "DocID tokens beyond vocab_size", remedy)
