"""A retriever in ONNX: encoder.onnx, decoder.onnx, and one file with the weights of both.

The encoder reads queries, scores position 0 and returns a state. The decoder extends beams by a code, scores the next
position and returns the new state. Both are traced from the retriever's own CodeScorer, so the arithmetic is the same.
docs/index.md describes inputs and outputs; catid2.index.onnx_scorer searches with them.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from catid2.index.onnx_scorer import DECODER, ENCODER, SIZES
from catid2.retriever.light import LightRetriever, LightScorer
from catid2.retriever.t5_scorer import T5Scorer
from catid2.runtime.errors import InputError
from catid2.runtime.writing import atomic
from catid2.training.tokens import TokenBatch

try:
    import onnx_ir
    import onnxscript  # noqa: F401 - torch.onnx needs it
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
except ModuleNotFoundError as error:
    raise InputError(error.name or "onnxscript", "not installed", "pip install 'catid2[onnx]'") from None

if TYPE_CHECKING:
    from catid2.retriever.t5 import DocIDRetriever

WEIGHTS = "weights.bin"
_INLINE = 1024  # bytes; smaller constants stay in their graph, for runtimes read shapes from them
_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default


class _Input(NamedTuple):
    """An input of a graph: an example, and the names of the axes that may have any size (in the example, 2 or more)."""

    example: Tensor
    axes: dict[int, str]


def export_onnx(retriever: DocIDRetriever | LightRetriever, output: Path) -> None:
    """Write a retriever to the folder `output`.

    Args:
        retriever: on the CPU, in eval mode.
        output: the folder; one that exists is replaced.

    Raises:
        InputError: the folder cannot be written.
    """
    if isinstance(retriever, LightRetriever):
        decoder: _Decoder = _LightDecoder(retriever)
        queries = {"vectors": _Input(torch.ones(2, retriever.shape.dims), {0: "queries"})}
    else:
        decoder = _T5Decoder(retriever)
        tokens = _Input(torch.ones((2, 5), dtype=torch.long), {0: "queries", 1: "length"})
        queries = {"input_ids": tokens, "attention_mask": tokens}
    encoder = _Encoder(retriever)
    with torch.no_grad():
        _, *tensors = encoder(*(query.example for query in queries.values()))
        state = _state(tensors)
        chosen = _Input(torch.zeros((2, 3), dtype=torch.long), {0: "queries", 1: "beams"})
        after = [f"next_{name}" for name in state if name.startswith("past")]
        graphs = {
            ENCODER: _graph(encoder, queries, ["scores", *state]),
            DECODER: _graph(decoder, {"codes": chosen, "origins": chosen} | state, ["scores", *after]),
        }
    with atomic(output) as folder:
        folder.mkdir()
        _share_weights(list(graphs.values()), folder)
        for name, graph in graphs.items():
            ClearMetadataAndDocStringPass()(graph)  # the lines of the sources, with paths of this machine
            graph.metadata_props[SIZES] = json.dumps(retriever.sizes)
            onnx_ir.save(graph, folder / name)


# --- what is traced ----------------------------------------------------------------------------------


class _Encoder(nn.Module):
    def __init__(self, retriever: DocIDRetriever | LightRetriever):
        super().__init__()
        self.retriever = retriever

    def forward(self, *queries: Tensor) -> tuple[Tensor, ...]:
        """Return the scores of position 0, (Q, 1, sizes[0]), and the state."""
        scorer = self.retriever.scorer()
        if isinstance(scorer, LightScorer):
            return scorer.start(*queries), *chain(*scorer.past)
        scores = scorer.start(TokenBatch(*queries))
        return scores, *chain(*scorer.self_cache), *chain(*scorer.cross_cache), scorer.cross_mask


class _Table:
    """A tensor with a row per position. Positions are unknown while a graph is traced, so an index must be a tensor."""

    def __init__(self, rows: Tensor):
        self.rows = rows

    def __getitem__(self, position: int) -> Tensor:
        return self.rows[torch.full((1,), position)]


class _Decoder(nn.Module):
    """One step of a search, at any position but 0; which one, the length of the past says."""

    def __init__(self, retriever: DocIDRetriever | LightRetriever, first_rows: Sequence[int]):
        super().__init__()
        self.retriever = retriever
        self.first_rows, self.sizes = _Table(torch.tensor(first_rows)), _Table(torch.tensor(retriever.sizes))

    def code_logits(self, states: Tensor, position: int) -> Tensor:
        """Return the logits of a position's codes, (…, max(sizes)): -inf for codes that the position lacks."""
        code = torch.arange(max(self.retriever.sizes))
        size = self.sizes[position]
        rows = self.first_rows[position] + torch.minimum(code, size - 1)
        return self.retriever.row_logits(states, rows).masked_fill(code >= size, float("-inf"))


class _T5Decoder(_Decoder):
    def __init__(self, retriever: DocIDRetriever):
        super().__init__(retriever, retriever.first_tokens)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the scores of the next position, (Q, B, max(sizes)), and the new past."""
        codes, origins, *state = inputs
        scorer = T5Scorer(self.retriever.t5, self.retriever.start_token, self.first_rows, self.code_logits)
        layers, pairs = len(scorer.decoder.block), _pairs(state)
        scorer.self_cache, scorer.cross_cache, scorer.cross_mask = pairs[:layers], pairs[layers:], state[-1]
        scorer.position = state[0].shape[3] - 1
        return scorer.advance(codes, origins), *chain(*scorer.self_cache)


class _LightDecoder(_Decoder):
    """Takes the place of the retriever of a LightScorer."""

    def __init__(self, retriever: LightRetriever):
        super().__init__(retriever, retriever.first_codes)
        self.blocks = retriever.blocks

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the scores of the next position, (Q, B, max(sizes)), and the new past."""
        codes, origins, *state = inputs
        scorer = LightScorer(self)
        scorer.past = _pairs(state)
        scorer.position = state[0].shape[3] - self.retriever.shape.query_tokens
        return scorer.advance(codes, origins), *chain(*scorer.past)

    def code_states(self, codes: Tensor, position: int) -> Tensor:
        """Return the token (…, d_model) of each of the codes (…) of a position."""
        place = _Table(self.retriever.positions)[self.retriever.shape.query_tokens + position]
        return self.retriever.codes(codes + self.first_rows[position]) + place


def _pairs(tensors: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return keys and values of each layer."""
    return list(zip(tensors[::2], tensors[1::2], strict=False))  # the mask, if any, is left over


def _state(tensors: Sequence[Tensor]) -> dict[str, _Input]:
    """Return the state as inputs: of each layer the past, (Q, B, H, t, D), then what T5 keeps of the query."""
    names = [f"{part}_{layer}" for layer in range(len(tensors)) for part in ("key", "value")]
    past = [tensor.repeat(1, 4, 1, 2, 1) for tensor in tensors if tensor.ndim == 5]
    inputs = {
        f"past_{name}": _Input(tensor, {0: "queries", 1: "parents", 3: "past"})
        for name, tensor in zip(names, past, strict=False)
    }
    kept = tensors[len(past) :]  # T5: of each layer the query's keys and values, then its mask
    for name, tensor in zip(names, kept[:-1], strict=False):
        inputs[f"cross_{name}"] = _Input(tensor, {0: "queries", 2: "length"})
    if kept:
        inputs["cross_mask"] = _Input(kept[-1], {0: "queries", 3: "length"})
    return inputs


# --- graphs ------------------------------------------------------------------------------------------


def _graph(module: nn.Module, inputs: dict[str, _Input], outputs: list[str]) -> onnx_ir.Model:
    """Trace a module."""
    dims = {name: torch.export.Dim(name) for each in inputs.values() for name in each.axes.values()}
    axes = [{axis: dims[name] for axis, name in each.axes.items()} for each in inputs.values()]
    examples = tuple(each.example.clone() for each in inputs.values())  # one tensor twice would be one input
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about themselves
        traced = torch.export.export(module.eval(), examples, dynamic_shapes=(tuple(axes),))
        # torch.onnx knows attention of four axes; the light retriever's has five.
        table = torch.export.default_decompositions()
        traced = traced.run_decompositions({_ATTENTION: table[_ATTENTION]})
        program = torch.onnx.export(
            traced,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=tuple(axes),
            dynamo=True,
            verbose=False,
        )
    return program.model


def _share_weights(graphs: Sequence[onnx_ir.Model], folder: Path) -> None:
    """Move the weights of all graphs to one file, which holds those that two graphs have once."""
    places: dict[tuple, list[onnx_ir.Value]] = {}
    for graph in graphs:
        for value in graph.graph.initializers.values():
            tensor = value.const_value
            if tensor.nbytes > _INLINE:
                content = hashlib.sha256(tensor.tobytes()).digest()
                places.setdefault((content, tensor.dtype, tuple(tensor.shape)), []).append(value)
    weights = onnx_ir.external_data.convert_tensors_to_external(
        [values[0].const_value for values in places.values()], folder, WEIGHTS
    )
    for values, weight in zip(places.values(), weights, strict=True):
        for value in values:
            value.const_value = weight
