"""Score codes with ONNX Runtime and the graphs of catid2.index.onnx_export, for beam_search."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from torch import Tensor, from_numpy

from catid2.runtime.errors import InputError
from catid2.runtime.tables import require_file
from catid2.training.tokens import TokenBatch

try:
    import onnxruntime
except ModuleNotFoundError:
    raise InputError("onnxruntime", "not installed", "pip install 'catid2[onnx]'") from None

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
SIZES = "sizes"  # in the metadata of both graphs: how many codes each position has, a JSON list


class OnnxScorer:
    """Scores the codes of DocIDs (see catid2.search.beam.CodeScorer) on the CPU; for one search at a time.

    Args:
        folder: written by export_onnx.

    Attributes:
        sizes: how many codes each position has; (L,).

    Raises:
        InputError: a graph is missing.
    """

    def __init__(self, folder: str | Path):
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(
                require_file(Path(folder) / name), providers=["CPUExecutionProvider"]
            )
            for name in (ENCODER, DECODER)
        )
        self.sizes: tuple[int, ...] = tuple(
            json.loads(self._encoder.get_modelmeta().custom_metadata_map[SIZES])
        )
        self._position = 0
        self._state: list[np.ndarray] = []

    def start(self, batch: TokenBatch | Tensor) -> Tensor:
        """Read queries, as tokens (T5) or vectors (light), and score position 0: (Q, 1, sizes[0])."""
        tensors = batch if isinstance(batch, TokenBatch) else (batch,)
        self._position = 0
        scores, *self._state = _run(self._encoder, [tensor.numpy() for tensor in tensors])
        return from_numpy(scores)

    def advance(self, codes: Tensor, origins: Tensor) -> Tensor:
        """Score the position after `codes`, which extend the beams `origins`; both (Q, B)."""
        self._position += 1
        scores, *past = _run(self._decoder, [codes.numpy(), origins.numpy(), *self._state])
        self._state[: len(past)] = past  # what T5 keeps of the query comes after the past, and stays
        return from_numpy(scores[..., : self.sizes[self._position]])


def _run(session: onnxruntime.InferenceSession, inputs: list[np.ndarray]) -> list[np.ndarray]:
    names = [each.name for each in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))
