"""A tiny corpus with DocIDs, and tiny random retrievers, for the tests of retriever and decoding."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors import safe_open
from transformers import MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration

from catid2.config.retriever import RetrieverConfig
from catid2.retriever.t5 import DocIDRetriever, add_docid_tokens
from catid2.retriever.t5_training import Inputs, train_retriever
from catid2.retriever.tokenizer import train_tokenizer
from catid2.runtime.checkpoint import STATE_FILE
from catid2.runtime.tables import (
    JUDGEMENTS,
    QUERIES,
    docids_columns,
    products_columns,
    read_table,
    write_table,
)

WORDS = ("red", "blue", "shoe", "lamp", "kettle", "chair", "desk", "rug", "靴", "椅子")
KINDS = ("t5", "t5-1.1", "mt5")

TINY = RetrieverConfig.model_validate(
    {
        "pretrained": None,
        "small": {
            "d_model": 16,
            "num_heads": 2,
            "d_kv": 8,
            "d_ff": 32,
            "num_layers": 1,
            "num_decoder_layers": 1,
            "vocabulary": 400,
        },
        "epochs": 6,
        "batch_size": 16,
        "learning_rate": 0.01,
        "valid_share": 0.25,
        "valid_beams": 20,
        "valid_every": 2,
        "select_by": "recall@10",
    }
)


class Case(NamedTuple):
    """Files of a tiny corpus."""

    products: Path
    queries: Path
    judgements: Path
    docids: Path


def random_codes(documents: int, sizes: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return distinct random DocIDs, (documents, L) int32, in random order."""
    chosen = np.random.default_rng(seed).choice(int(np.prod(sizes)), documents, replace=False)
    return np.stack(np.unravel_index(chosen, sizes), axis=1).astype(np.int32)


def random_retriever(kind: str, sizes: tuple[int, ...], seed: int = 0) -> DocIDRetriever:
    """Return a random model of one of KINDS: output layer tied (T5), or its own (T5 1.1, mT5)."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(WORDS, 300)
    shape = {
        "vocab_size": len(tokenizer),
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 32,
        "num_layers": 2,
        "num_heads": 2,
        "decoder_start_token_id": 0,
    }
    if kind == "t5":
        model = T5ForConditionalGeneration(T5Config(**shape))
    else:
        if kind == "mt5":
            model = MT5ForConditionalGeneration(MT5Config(**shape))
        else:
            model = T5ForConditionalGeneration(
                T5Config(**shape, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
            )
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) / 4)
    return add_docid_tokens(model, tokenizer, sizes).eval()


def write_case(
    folder: Path, documents: int = 60, queries: int = 40, sizes: tuple[int, ...] = (4, 4, 8)
) -> Case:
    """Write a corpus whose queries are words of titles, half of them in the test split, and its DocIDs."""
    rng = np.random.default_rng(0)
    words = rng.choice(len(WORDS), (documents, 3))
    names = [f"P{row:03d}" for row in range(documents)]
    titles = [" ".join(WORDS[word] for word in row) for row in words]
    columns = products_columns(1)
    values = {
        "doc_id": range(documents),
        "product_id": names,
        "title": titles,
        "category_1": ["all"] * documents,
        "category_id_1": [0] * documents,
    }
    nulls = [None] * documents
    arrays = {name: pa.array(values.get(name, nulls), kind) for name, kind in columns.items()}
    write_table(folder / "products.parquet", pa.table(arrays))

    asked = rng.choice(len(WORDS), (queries, 2))
    splits = ["train" if query % 2 else "test" for query in range(queries)]
    texts = [" ".join(WORDS[word] for word in row) for row in asked]
    _write(folder / "queries.parquet", QUERIES, [range(100, 100 + queries), texts, splits])
    pairs = [
        (100 + query, document, "ESCI"[(query + document) % 4], splits[query], True)
        for query in range(queries)
        for document in range(documents)
        if asked[query, 0] in words[document]
    ]
    _write(folder / "judgements.parquet", JUDGEMENTS, list(zip(*pairs, strict=True)))
    write_docids(folder / "docids.parquet", random_codes(documents, sizes), names)
    return Case(*(folder / f"{name}.parquet" for name in Case._fields))


def write_docids(path: Path, codes: np.ndarray, names: list[str]) -> None:
    """Write docids.parquet."""
    length = codes.shape[1]
    moved = np.zeros(len(codes), dtype=bool)
    _write(path, docids_columns(length, length), [range(len(codes)), names, *codes.T, *codes.T, moved])


def without_text(source: Path, query_id: int, target: Path) -> Path:
    """Write queries.parquet again, with a null for the text of one query."""
    table = read_table(source, QUERIES)
    rows = [row | {"query": None} if row["query_id"] == query_id else row for row in table.to_pylist()]
    write_table(target, pa.Table.from_pylist(rows, table.schema))
    return target


def _write(path: Path, columns: dict[str, pa.DataType], values: list) -> None:
    arrays = [pa.array(column, kind) for column, kind in zip(values, columns.values(), strict=True)]
    write_table(path, pa.table(arrays, names=list(columns)))


@contextlib.contextmanager
def one_cpu_thread() -> Iterator[None]:
    """Compute on the CPU with one thread, as the subprocesses of tests do, while the block runs."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


def train(config: RetrieverConfig, case: Case, folder: Path, **options: float) -> Path:
    """Train in this process; return the retriever's folder."""
    train_retriever(config, Inputs(*case), folder / "checkpoints", folder / "retriever", seed=1, **options)
    return folder / "retriever"


def trained_bytes(config: RetrieverConfig, case: Case, folder: Path, **options: float) -> dict[str, bytes]:
    """Train in this process; return the bytes of the model and of its history."""
    retriever = train(config, case, folder, **options)
    return {name: (retriever / name).read_bytes() for name in ("model.safetensors", "history.tsv")}


def newest_step(checkpoints: Path) -> int:
    """Return after which step the newest state of the only run was saved."""
    (state,) = checkpoints.glob(f"*/{STATE_FILE}")
    with safe_open(state, framework="pt") as file:
        return json.loads(file.metadata()["progress"])["step"]
