"""A small catalogue with a category tree, and the command line of train_rqvae on it."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from catid2.config.rqvae import RqvaeConfig
from catid2.runtime.tables import products_columns, write_table

SMALL = {
    "layers": 3,
    "levels": 2,
    "codebook_size": 8,
    "latent_dim": 6,
    "hidden": (24, 12),
    "batch_size": 64,
    "epochs": 6,
    "warmup_epochs": 2,
    "alpha": 0.1,
    "beta": 0.05,
    "gamma": 0.1,
    "disl_negatives": 20,
    "ema_decay": 0.9,
    "learning_rate": 0.005,
}


class Catalogue(NamedTuple):
    embeddings: np.ndarray  # (N, D) float16
    categories: np.ndarray  # (N, 2) int64


def settings(**overrides: object) -> RqvaeConfig:
    return RqvaeConfig(**{**SMALL, **overrides})


def catalogue(documents: int = 200, dimensions: int = 20, seed: int = 0) -> Catalogue:
    """Return clusters in a tree of 3 × 3 categories; the last category has one document."""
    generator = np.random.default_rng(seed)
    leaf = np.sort(generator.integers(0, 8, documents))
    leaf[-1] = 8
    centres = generator.normal(size=(9, dimensions))
    embeddings = centres[leaf] + 0.5 * generator.normal(size=(documents, dimensions))
    return Catalogue(embeddings.astype(np.float16), np.stack([leaf // 3, 3 + leaf], axis=1))


def write_inputs(folder: Path, case: Catalogue) -> None:
    """Write embeddings.npy and products.parquet."""
    np.save(folder / "embeddings.npy", case.embeddings)
    documents, levels = case.categories.shape
    content = {
        name: pa.array(["text"] * documents, kind) if pa.types.is_string(kind) else pa.nulls(documents, kind)
        for name, kind in products_columns(levels).items()
    }
    content["doc_id"] = pa.array(np.arange(documents), pa.int32())
    for level in range(levels):
        content[f"category_id_{level + 1}"] = pa.array(case.categories[:, level], pa.int32())
    write_table(folder / "products.parquet", pa.table(content))


def arguments(folder: Path, config: RqvaeConfig, output: Path, seed: int = 0) -> list[str]:
    """Return the arguments of scripts/train_rqvae.py for the inputs in `folder`."""
    return [
        *("--config", json.dumps(config.model_dump(mode="json"))),
        *("--seed", str(seed)),
        *("--embeddings", str(folder / "embeddings.npy")),
        *("--products", str(folder / "products.parquet")),
        *("--checkpoints", str(output / "checkpoints")),
        *("--model", str(output / "rqvae" / "model.safetensors")),
        *("--model-config", str(output / "rqvae" / "config.json")),
        *("--history", str(output / "rqvae" / "history.tsv")),
        *("--checkpoint-seconds", "0"),
    ]
