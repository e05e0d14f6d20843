"""Time the encoder of `embed`, whose batches hold texts of similar length, beside batches in the catalogue's order.

    python benchmarks/encoder_batches.py [--device cuda]

The texts are of simulated products, the model is a T5 encoder with random weights (small on a CPU, of T5-base's
shape on a GPU), saved to a temporary folder with a tokenizer made from the texts. The alternative is the usual loop:
64 documents at a time, padded to the longest of them. Both must give the same vectors. The encoder's rate is that of
its matrix products and attentions on a full batch of equal lengths, without the tokenizer.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from measured import Measured, Size, bfloat16_rate, from_command_line, medians, timed
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config, T5ForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

from catid2.config.embed import HfEncoder
from catid2.config.simulate import LocaleSize, SimulateConfig
from catid2.embedding.documents import Batching
from catid2.embedding.encoders import TransformerEncoder, token_batches
from catid2.retriever.tokenizer import train_tokenizer
from catid2.runtime.gpu import compile_blocks, uncompiled
from catid2.simulate import simulate

ESCI_US = 386_392  # documents, as the paper counts them
BATCH = 64  # documents of the alternative
SMALL = {"d_model": 128, "d_kv": 32, "d_ff": 512, "num_heads": 4, "num_layers": 2}
BASE = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_heads": 12, "num_layers": 12}


class Scale(NamedTuple):
    """How much is measured."""

    documents: int
    vocabulary: int
    product: int  # rows and columns of the matrices


SCALES: dict[Size, Scale] = {
    "tiny": Scale(200, 400, 256),
    "short": Scale(4096, 8000, 8192),
    "full": Scale(16_384, 8000, 8192),
}
LENGTH = 80  # tokens of a text of the full batch: the mean of ESCI us


def product_texts(documents: int) -> list[str]:
    """Return the texts of simulated products: title, brand, bullet points, description; some are short."""
    config = SimulateConfig(locales={"us": LocaleSize(products=documents, queries=max(10, documents // 100))})
    with tempfile.TemporaryDirectory() as folder:
        examples, products, records = (Path(folder) / name for name in ("e.parquet", "p.parquet", "s.zst"))
        simulate(config, 0, examples, products, records)
        table = pq.read_table(products)
    names = ("product_title", "product_brand", "product_bullet_point", "product_description")
    columns = [table.column(name).to_pylist() for name in names]
    return [" ".join(part for part in parts if part) for parts in zip(*columns, strict=True)]


def random_encoder(
    folder: Path, texts: list[str], shape: dict[str, int], vocabulary: int, device: str
) -> TransformerEncoder:
    """Return the encoder of `embed`, as for a large catalogue, for a T5 with random weights, saved in `folder`."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(texts[:20_000], vocabulary)
    tokenizer.save_pretrained(folder)
    T5ForConditionalGeneration(T5Config(vocab_size=len(tokenizer), **shape)).save_pretrained(folder)
    config = HfEncoder(model=str(folder), max_tokens=256)
    budget = Batching().tokens if device.startswith("cuda") else 8192
    encoder = TransformerEncoder(config, torch.device(device), budget)
    compile_blocks(encoder.model, encoder.device)
    return encoder


@torch.inference_mode()
def in_order(encoder: TransformerEncoder, texts: list[str]) -> np.ndarray:
    """Return the vectors of the texts, (N, d) float16: 64 at a time as they come, mean pooling."""
    vectors = []
    for start in range(0, len(texts), BATCH):
        tokens = encoder.tokenizer(
            texts[start : start + BATCH], truncation=True, max_length=256, padding=True, return_tensors="pt"
        ).to(encoder.device)
        states = encoder.model(tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
        weights = tokens.attention_mask[:, :, None].float()
        vectors.append(((states.float() * weights).sum(1) / weights.sum(1)).half().cpu().numpy())
    return np.concatenate(vectors)


def padding(lengths: np.ndarray, batches: Iterable[np.ndarray]) -> float:
    """Return which share of the tokens of padded batches is padding, in %."""
    padded = sum(len(rows) * lengths[rows].max() for rows in batches)
    return 100 * (1 - lengths.sum() / padded)


@torch.inference_mode()
def rate(encoder: TransformerEncoder, rounds: int) -> float:
    """Return at how many TFLOP/s the encoder computes a full batch."""
    ids = torch.full((encoder.batch_tokens // LENGTH, LENGTH), 5, device=encoder.device)
    mask = torch.ones_like(ids)
    with uncompiled(encoder.device), FlopCounterMode(display=False) as counter:
        encoder.model(input_ids=ids, attention_mask=mask)
    call = {"": lambda: encoder.model(input_ids=ids, attention_mask=mask)}
    return counter.get_total_flops() / medians(call, rounds, encoder.device.type)[""] / 1e12


def benchmark(size: Size, device: str = "cpu") -> Iterator[Measured]:
    """Yield the time per document and the share of padding; on a GPU the time for ESCI us, and the encoder's rate."""
    scale, gpu = SCALES[size], device.startswith("cuda")
    disable_progress_bar()
    texts = product_texts(scale.documents)
    shape, name = (BASE, "T5-base") if gpu else (SMALL, "T5 2 × 128")
    with tempfile.TemporaryDirectory() as folder:
        encoder = random_encoder(Path(folder), texts, shape, scale.vocabulary, device)
        encoder.encode(texts[:BATCH]), in_order(encoder, texts[:BATCH])
        ours = timed(lambda: encoder.encode(texts), device)
        theirs = timed(lambda: in_order(encoder, texts), device)
    np.testing.assert_allclose(
        ours.result, theirs.result, rtol=5e-2 if gpu else 5e-3, atol=2e-2 if gpu else 2e-3
    )
    tokens = encoder.tokenizer(texts, truncation=True, max_length=256)["input_ids"]
    lengths = np.array([len(row) for row in tokens])
    order = np.arange(len(texts))
    budget = padding(lengths, token_batches(lengths, encoder.batch_tokens))
    usual = padding(lengths, (order[start : start + BATCH] for start in range(0, len(order), BATCH)))
    where = f"{name}, {len(texts)} documents of {lengths.mean():.0f} tokens"
    alternative = f"batches of {BATCH} in order"
    each, other = (1e3 * part.seconds / len(texts) for part in (ours, theirs))
    yield Measured("", "encoder", where, each, "ms/document", alternative, other)
    yield Measured("", "padding of the encoder's batches", where, budget, "% of tokens", alternative, usual)
    if gpu:
        seconds = each * ESCI_US / 1e3
        yield Measured("embedding_gpu", f"encoder, {ESCI_US} documents", where, seconds, "s")
    if gpu or size == "tiny":
        row, length = "embedding_rate_gpu" if gpu else "", f"{name}, texts of {LENGTH} tokens"
        theirs, product = (
            bfloat16_rate(scale.product, 3, device),
            f"product of {scale.product} × {scale.product}",
        )
        yield Measured(row, "rate of the encoder", length, rate(encoder, 10), "TFLOP/s", product, theirs)


if __name__ == "__main__":
    from_command_line(__doc__, benchmark)
