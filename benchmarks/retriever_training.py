"""Measure training of a T5 retriever as a share of the rate at which the device multiplies matrices.

    python benchmarks/retriever_training.py --device cuda

The model has T5-base's shape and random weights. A step is one of catid2.training.loop, in bfloat16 on a GPU, first
with the blocks as they are written, then compiled. Operations are those of the matrix products and attentions that
PyTorch counts; the device's rate is that of a product of two square matrices in bfloat16.
"""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from measured import Measured, Size, bfloat16_rate, from_command_line, medians, timed
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config, T5ForConditionalGeneration

from catid2.config.retriever import RetrieverConfig
from catid2.retriever.t5 import DocIDRetriever, add_docid_tokens
from catid2.retriever.tokenizer import train_tokenizer
from catid2.runtime.gpu import compile_blocks
from catid2.training.distributed import Group
from catid2.training.loop import Training
from catid2.training.tokens import TokenTable

CODES = 256  # per position, of four


class Scale(NamedTuple):
    """The model and the batch."""

    width: int
    layers: int
    vocabulary: int
    examples: int
    tokens: int
    product: int  # rows and columns of the matrices
    rounds: int


SCALES: dict[Size, Scale] = {
    "tiny": Scale(64, 1, 400, 4, 8, 256, 1),
    "short": Scale(768, 12, 32_100, 256, 128, 8192, 10),
    "full": Scale(768, 12, 32_100, 512, 128, 8192, 30),
}


class RandomTexts(Training):
    """Training on random texts of one length; each step has the same examples."""

    def __init__(self, scale: Scale, device: torch.device):
        generator = np.random.default_rng(0)
        ends = np.arange(scale.examples + 1) * scale.tokens
        self.texts = TokenTable(generator.integers(3, 300, ends[-1]).astype(np.int32), ends)
        self.codes = torch.from_numpy(generator.integers(0, CODES, (scale.examples, 4)))
        self.examples = np.arange(scale.examples)[None]
        steps = SimpleNamespace(steps=1000)  # of an epoch
        super().__init__(RetrieverConfig(), t5(scale), steps, 0, Group(device=device))

    def batch(self, rows: np.ndarray) -> dict[str, Tensor]:
        """Return the texts, padded, and their target DocIDs, as RetrieverTraining does."""
        return self.model.batch(self.texts, rows)._asdict() | {"codes": self.codes[torch.from_numpy(rows)]}

    def validate(self) -> dict[int, float]:
        """Return nothing: it is the steps that are measured."""
        return {}

    def write(self, folder: Path) -> None:
        """Write nothing."""

    def take_step(self) -> None:
        """Take a step."""
        self.descend(self.examples)


def benchmark(size: Size, device: str = "cpu") -> Iterator[Measured]:
    """Yield the rate of a training step next to that of a matrix product, and how long its blocks are compiled."""
    scale = SCALES[size]
    torch.manual_seed(0)
    training = RandomTexts(scale, torch.device(device))
    theirs, product = bfloat16_rate(scale.product, 3, device), f"product of {scale.product} × {scale.product}"
    with FlopCounterMode(display=False) as counter:
        training.take_step()
    operations = counter.get_total_flops() / 1e12
    gpu = device.startswith("cuda")
    where = f"T5 {scale.layers}+{scale.layers} × {scale.width}, {scale.examples} × {scale.tokens} tokens"
    where += f", {operations:.3g} TFLOP"

    def rate(row: str, what: str) -> Measured:
        seconds = medians({"": training.take_step}, scale.rounds, device)[""]
        return Measured(row, what, where, operations / seconds, "TFLOP/s", product, theirs)

    yield rate("", "training of the retriever, not compiled (more is better)")
    compile_blocks(training.model.t5, training.group.device)
    first, second = timed(training.take_step, device).seconds, timed(training.take_step, device).seconds
    yield Measured(
        "compile_gpu" if gpu else "", "first step, with compiling", where, first, "s", "second", second
    )
    yield rate("training_gpu" if gpu else "", "training of the retriever (more is better)")
    if gpu:
        gib = torch.cuda.max_memory_allocated() / 2**30
        yield Measured("", "peak memory of training", where, gib, "GiB")


def t5(scale: Scale) -> DocIDRetriever:
    """Return a T5 of the scale's shape with random weights and the DocID tokens added."""
    config = T5Config(
        vocab_size=scale.vocabulary,
        d_model=scale.width,
        d_ff=4 * scale.width,
        num_heads=scale.width // 64,
        num_layers=scale.layers,
        decoder_start_token_id=0,
    )
    tokenizer = train_tokenizer([], 300)
    tokenizer.add_tokens([f"<text_{i}>" for i in range(scale.vocabulary - len(tokenizer))])
    return add_docid_tokens(T5ForConditionalGeneration(config), tokenizer, [CODES] * 4)


if __name__ == "__main__":
    from_command_line(__doc__, benchmark)
