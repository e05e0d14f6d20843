"""The light retriever: a small Transformer decoder that reads a query's vector and writes its DocID, code by code.

The vectors come from an embedding view and are not trained, so nothing here reads text, and training takes minutes on
two CPU cores, where T5 needs a GPU. The light retriever serves to compare DocIDs with each other. It projects the
vector to one or a few tokens, followed by the codes; position l is scored with the softmax over that position's codes,
as in T5 (catid2.retriever.t5).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from catid2.retriever.continuing import continued_sizes
from catid2.runtime.complete import require_complete
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_json, require_file

if TYPE_CHECKING:
    from catid2.config.retriever import LightConfig

_TRAINED_ON = ("docid_sha256", "vectors_sha256")  # further keys of config.json


class Shape(NamedTuple):
    """The sizes of a model: the view's dimensions, the codes of each position, and those of LightConfig."""

    dims: int
    sizes: tuple[int, ...]
    d_model: int
    num_layers: int
    num_heads: int
    d_ff: int
    query_tokens: int
    dropout_rate: float


class QueryVectors(NamedTuple):
    """Vectors of Q queries, in place of their tokens (see catid2.search.decode.search)."""

    matrix: np.ndarray  # (Q, dims) float16

    @property
    def lengths(self) -> np.ndarray:
        """Ones (Q,): all queries have the same length, so any of them can share a batch."""
        return np.ones(len(self.matrix), np.int64)


class Block(nn.Module):
    """A decoder layer: causal self-attention, then a feed-forward layer, each after a layer norm."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.num_heads, self.dropout_rate = shape.num_heads, shape.dropout_rate
        self.attention_norm = nn.LayerNorm(shape.d_model)
        self.attention_in = nn.Linear(shape.d_model, 3 * shape.d_model)
        self.attention_out = nn.Linear(shape.d_model, shape.d_model)
        self.ff_norm = nn.LayerNorm(shape.d_model)
        self.ff = nn.Sequential(
            nn.Linear(shape.d_model, shape.d_ff), nn.GELU(), nn.Linear(shape.d_ff, shape.d_model)
        )

    def forward(
        self, hidden: Tensor, past: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the new states of n tokens (…, n, d), and the keys and values (…, H, t + n, D) of all tokens so far.

        Args:
            hidden: states of the newest tokens; exactly one if `past` is given.
            past: keys and values of the t tokens before, if any.
        """
        parts = self.attention_in(self.attention_norm(hidden)).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2) for part in parts)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=-2), torch.cat([past[1], value], dim=-2)
        context = functional.scaled_dot_product_attention(query, key, value, is_causal=past is None)
        hidden = hidden + self._dropout(self.attention_out(context.transpose(-3, -2).flatten(-2)))
        return hidden + self._dropout(self.ff(self.ff_norm(hidden))), (key, value)

    def _dropout(self, states: Tensor) -> Tensor:
        return functional.dropout(states, self.dropout_rate, self.training)


class LightRetriever(nn.Module):
    """A decoder over codes on frozen vectors.

    Attributes:
        shape: the sizes of the model.
        sizes: how many codes each position has; (L,).
        trained_on: docid_sha256 (catid2.docids.table.Docids.digest) and vectors_sha256 (catid2.embedding.vectors) of
            the training data.
    """

    kind = "light"

    def __init__(self, shape: Shape, trained_on: dict[str, str]):
        super().__init__()
        self.shape, self.sizes, self.trained_on = shape, shape.sizes, trained_on
        self.first_codes = [sum(shape.sizes[:position]) for position in range(len(shape.sizes))]
        self.register_buffer("mean", torch.zeros(shape.dims))  # of the documents' unit vectors
        self.project = nn.Linear(shape.dims, shape.query_tokens * shape.d_model)
        self.codes = nn.Embedding(sum(shape.sizes), shape.d_model)
        self.positions = nn.Parameter(torch.empty(shape.query_tokens + len(shape.sizes) - 1, shape.d_model))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.num_layers))
        self.norm = nn.LayerNorm(shape.d_model)
        self.output = nn.Linear(shape.d_model, sum(shape.sizes))
        for table in (self.codes.weight, self.positions):
            nn.init.normal_(table, std=shape.d_model**-0.5)

    @property
    def docid_sha256(self) -> str:
        """The sha256 of the DocIDs that the model was trained on."""
        return self.trained_on["docid_sha256"]

    def batch(self, queries: QueryVectors, rows: np.ndarray) -> Tensor:
        """Return the vectors of the queries `rows` (B,): (B, dims) float32."""
        return torch.from_numpy(queries.matrix[rows].astype(np.float32))

    def scorer(self) -> LightScorer:
        """Return a CodeScorer for beam search."""
        return LightScorer(self)

    def query_states(self, vectors: Tensor) -> Tensor:
        """Return the tokens (…, query_tokens, d_model) of vectors (…, dims).

        Vectors are scaled to length 1 and the documents' mean is subtracted: encoders differ in scale, and many put
        all texts into a narrow cone.
        """
        centred = functional.normalize(functional.normalize(vectors, dim=-1) - self.mean, dim=-1)
        tokens = self.project(centred * self.shape.dims**0.5)
        return tokens.unflatten(-1, (self.shape.query_tokens, -1)) + self.positions[: self.shape.query_tokens]

    def code_states(self, codes: Tensor, position: int) -> Tensor:
        """Return the token (…, d_model) of each of the codes (…) of a position."""
        return (
            self.codes(codes + self.first_codes[position])
            + self.positions[self.shape.query_tokens + position]
        )

    def code_logits(self, states: Tensor, position: int) -> Tensor:
        """Return the logits (…, sizes[position]) of a position's codes, from the states (…, d_model) before it."""
        first = self.first_codes[position]
        return self.row_logits(states, slice(first, first + self.sizes[position]))

    def row_logits(self, states: Tensor, rows: slice | Tensor) -> Tensor:
        """Return the logits of rows of the output layer, (…, len(rows)), from the states (…, d_model)."""
        return functional.linear(self.norm(states), self.output.weight[rows], self.output.bias[rows])

    def forward(self, vectors: Tensor, codes: Tensor) -> Tensor:
        """Return the mean over documents and positions of -log p(code | vector, codes before).

        Args:
            vectors: (B, dims) of queries, or of the documents themselves.
            codes: (B, L) the DocIDs.
        """
        length = len(self.sizes)
        before = [self.code_states(codes[:, position], position) for position in range(length - 1)]
        hidden = torch.cat([self.query_states(vectors), *(states.unsqueeze(1) for states in before)], dim=1)
        for block in self.blocks:
            hidden, _ = block(hidden)
        hidden = hidden[:, -length:]  # the query's last token, and every code but the last
        losses = [
            functional.cross_entropy(self.code_logits(hidden[:, position], position), codes[:, position])
            for position in range(length)
        ]
        return torch.stack(losses).mean()


class LightScorer:
    """Scores the codes of DocIDs (see catid2.search.beam.CodeScorer); for one search at a time."""

    def __init__(self, retriever: LightRetriever):
        self.retriever = retriever
        self.position = 0
        self.past: list[Any] = []  # per layer keys and values of the tokens so far, (Q, B, H, t, D)

    def start(self, batch: Tensor) -> Tensor:
        """Read the vectors of the queries (Q, dims) and score position 0: (Q, 1, sizes[0])."""
        self.position = 0
        self.past = [None] * len(self.retriever.blocks)
        return self._score(self.retriever.query_states(batch).unsqueeze(1))

    def advance(self, codes: Tensor, origins: Tensor) -> Tensor:
        """Score the position after `codes`, which extend the beams `origins`; both (Q, B)."""
        query = torch.arange(origins.shape[0], device=origins.device).unsqueeze(1)
        self.past = [tuple(part[query, origins] for part in layer) for layer in self.past]
        self.position += 1
        return self._score(self.retriever.code_states(codes, self.position - 1).unsqueeze(2))

    def _score(self, hidden: Tensor) -> Tensor:
        """Run the decoder on the newest tokens (Q, B, n, d_model), and score the codes of `self.position`."""
        for layer, block in enumerate(self.retriever.blocks):
            hidden, self.past[layer] = block(hidden, self.past[layer])
        return self.retriever.code_logits(hidden[:, :, -1], self.position).log_softmax(dim=-1)


def build_light(
    config: LightConfig, sizes: Sequence[int], documents: np.ndarray, trained_on: dict[str, str], seed: int
) -> LightRetriever:
    """Return a model before training; `seed` draws its weights, and the mean of `documents` (N, dims) centres vectors.

    With `config.pretrained` it has weights and mean of that retriever; only the rows of codes that this one does not
    know are drawn.

    Raises:
        InputError: the retriever of `config.pretrained` cannot be loaded, or has another shape.
    """
    own = config.model_dump(include=set(Shape._fields))
    torch.manual_seed(seed)
    shape = Shape(documents.shape[1], tuple(sizes), **own)
    if config.pretrained_model:
        return _continued(Path(config.pretrained_model.folder), shape, trained_on)
    model = LightRetriever(shape, trained_on)
    total = torch.zeros(documents.shape[1], dtype=torch.float64)
    for start in range(0, len(documents), 65_536):
        part = torch.from_numpy(documents[start : start + 65_536].astype(np.float32))
        total += functional.normalize(part, dim=1).double().sum(0)
    model.mean.copy_(total / len(documents))
    return model


def _continued(folder: Path, shape: Shape, trained_on: dict[str, str]) -> LightRetriever:
    """Return a model of this shape with the weights of the retriever in `folder`."""
    if not is_light(folder):
        raise InputError(folder, "not a light retriever", "give the folder of one")
    old = load_light(folder)
    shape = shape._replace(sizes=continued_sizes(old.sizes, shape.sizes, folder))
    for name, known, wanted in zip(Shape._fields, old.shape, shape, strict=True):
        if known != wanted and name not in ("sizes", "dropout_rate"):
            remedy = "give the settings and the view that it was trained with, or train from random weights"
            raise InputError(folder, f"its {name} is {known}, here it would be {wanted}", remedy)
    model = LightRetriever(shape, trained_on)
    weights = old.state_dict()
    for name, tensor in model.state_dict().items():
        tensor[: len(weights[name])] = weights[name]
    return model


def describe(model: LightRetriever) -> dict[str, Any]:
    """Return the content of a model's config.json."""
    return {"model_type": model.kind} | model.shape._asdict() | model.trained_on


def is_light(retriever: Path) -> bool:
    """Return whether a folder holds a light retriever; InputError if the folder is missing or incomplete."""
    if not retriever.is_dir():
        raise InputError(retriever, "no such folder", "run train_retriever first")
    require_complete(retriever)
    return read_json(retriever / "config.json").get("model_type") == LightRetriever.kind


def load_light(folder: Path) -> LightRetriever:
    """Return the model from a folder that train_retriever wrote, in eval mode.

    Raises:
        InputError: a file is missing or damaged, the two do not fit together, or a weight is not finite.
    """
    path, weights = folder / "config.json", require_file(folder / "model.safetensors")
    content, remedy = read_json(path), "run train_retriever again"
    for key in (*Shape._fields, *_TRAINED_ON):
        if key not in content:
            raise InputError(path, f"key {key!r} is missing", remedy)
    shape = Shape(**{key: content[key] for key in Shape._fields})
    if not _can_be_built(shape):
        raise InputError(path, f"does not describe a light retriever ({shape})", remedy)
    model = LightRetriever(
        shape._replace(sizes=tuple(shape.sizes)), {key: content[key] for key in _TRAINED_ON}
    )
    try:
        model.load_state_dict(load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        what = f"not the weights that config.json describes ({' '.join(str(error).split())[:200]})"
        raise InputError(weights, what, remedy) from None
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise InputError(weights, f"its tensor {name!r} holds NaN or infinity", remedy)
    return model.eval()


def _can_be_built(shape: Shape) -> bool:
    """Return whether a Shape read from a file is valid."""
    if not isinstance(shape.sizes, list) or not shape.sizes or not isinstance(shape.dropout_rate, float):
        return False
    counts = [
        *shape.sizes,
        *(getattr(shape, name) for name in Shape._fields if name not in ("sizes", "dropout_rate")),
    ]
    return all(type(count) is int and count > 0 for count in counts) and shape.d_model % shape.num_heads == 0
