"""Measure training of a T5 retriever as a share of the rate at which the device multiplies matrices.

    python benchmarks/retriever_training.py --device cuda

The model has T5-base's shape and random weights. A step is that of catid2.training.loop: forward and backward under
bfloat16 autocast, the gradient's norm clipped, AdamW; reading batches and logging are left out. Operations are
those of the matrix products and attentions that PyTorch counts; the device's rate is that of a product of two
square matrices in bfloat16, several in a row: a single one is over before a GPU has reached its rate.
"""

from typing import NamedTuple

import torch
from measured import Measured, Size, from_command_line, medians
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config, T5ForConditionalGeneration

from catid2.retriever.t5 import DocIDRetriever, add_docid_tokens
from catid2.retriever.tokenizer import train_tokenizer

CODES = 256  # per position, of four
PRODUCTS = 10  # in a row


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


def benchmark(size: Size, device: str = "cpu") -> list[Measured]:
    """Return the rate of a training step next to that of a matrix product."""
    scale = SCALES[size]
    torch.manual_seed(0)
    retriever = t5(scale).to(device).train()
    optimizer = torch.optim.AdamW(retriever.parameters(), lr=1e-4, fused=True)
    ids = torch.randint(3, 300, (scale.examples, scale.tokens), device=device)
    codes = torch.randint(0, CODES, (scale.examples, 4), device=device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.split(":")[0], torch.bfloat16):
            loss = retriever(ids, torch.ones_like(ids), codes)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(retriever.parameters(), 1.0)
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()
    a, b, c = (torch.randn(scale.product, scale.product, device=device, dtype=torch.bfloat16) for _ in "abc")

    def products() -> None:
        for _ in range(PRODUCTS):
            torch.mm(a, b, out=c)

    seconds = medians({"step": step, "product": products}, scale.rounds, device)
    ours = counter.get_total_flops() / seconds["step"] / 1e12
    theirs = PRODUCTS * 2 * scale.product**3 / seconds["product"] / 1e12
    where = f"T5 {scale.layers}+{scale.layers} × {scale.width}, {scale.examples} × {scale.tokens} tokens, bfloat16"
    row = "training_gpu" if device.startswith("cuda") else ""
    name = f"product of {scale.product} × {scale.product}"
    return [Measured(row, "training of the retriever (more is better)", where, ours, "TFLOP/s", name, theirs)]


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
