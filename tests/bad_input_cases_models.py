"""Broken RQ-VAEs, DocIDs and retrievers."""

import hashlib
from pathlib import Path

import breakage as b
import torch
from bad_inputs import (
    DOCIDS,
    EMBEDDINGS,
    LAYOUT,
    PRODUCT_TABLE,
    RETRIEVER,
    RQVAE,
    RQVAE_CONFIG,
    WEIGHTS,
    Case,
)

NAN = float("nan")


def sha(folder: Path) -> None:
    """Write the sha256 of tampered RQ-VAE weights into config.json, so that only the tampering is left."""
    b.key(RQVAE_CONFIG, "model_sha256", hashlib.sha256((folder / RQVAE).read_bytes()).hexdigest())(folder)


def weights(change) -> b.Break:
    """Tamper with the RQ-VAE's weights."""
    return b.all_of(b.tensors(RQVAE, change), sha)


def scaled(name: str, by: float):
    """Return what multiplies one tensor."""
    return lambda tensors: tensors.update({name: tensors[name] * by})


CASES = [
    # --- RQ-VAE
    Case(
        "RQ-VAE cut", "assign_docids", b.cut(RQVAE),
        ("model.safetensors: its sha256 is not the one", "train_rqvae"),
    ),
    Case(
        "RQ-VAE cut, sha right", "assign_docids", b.all_of(b.cut(RQVAE), sha),
        ("does not match the weights", "train_rqvae"),
    ),
    Case(
        "tensor gone", "assign_docids", weights(lambda t: t.pop("mean")),
        ('Missing key(s) in state_dict: "mean"', "train_rqvae"),
    ),
    Case(
        "tensor more", "assign_docids", weights(lambda t: t.update(x=torch.zeros(1))),
        ('Unexpected key(s) in state_dict: "x"',),
    ),
    Case(
        "tensor NaN", "assign_docids", weights(scaled("quantizer.codebooks", NAN)),
        ("a codebook holds NaN",),
    ),
    Case(
        "RQ-VAE config cut", "assign_docids", b.cut(RQVAE_CONFIG),
        ("config.json: not JSON", "make it again"),
    ),
    Case(
        "RQ-VAE config list", "assign_docids", b.content(RQVAE_CONFIG, b"[]"),
        ("config.json: a JSON list",),
    ),
    Case(
        "RQ-VAE K", "assign_docids", b.key(RQVAE_CONFIG, "architecture.codebook_size", 17),
        ("config.json: key 'architecture' does not match the weights", "size mismatch"),
    ),
    Case(
        "RQ-VAE L", "assign_docids", b.key(RQVAE_CONFIG, "architecture.layers", -1),
        ("config.json: key 'architecture'", "train_rqvae"),
    ),
    Case(
        "RQ-VAE width", "assign_docids", b.key(RQVAE_CONFIG, "architecture.hidden", ["w"]),
        ("architecture.hidden.0",),
    ),
    Case(
        "RQ-VAE huge", "assign_docids", b.key(RQVAE_CONFIG, "architecture.latent_dim", 10**9),
        ("config.json: key 'architecture'", "size mismatch"),
    ),
    Case(
        "no architecture", "assign_docids", b.key(RQVAE_CONFIG, "architecture", ...),
        ("'architecture' is missing",),
    ),
    # --- DocIDs
    Case("DocIDs cut", "retrieve", b.cut(DOCIDS), ("docids.parquet: not a complete parquet file",)),
    Case(
        "DocIDs of others", "retrieve", b.value(DOCIDS, "product_id", 0, "Z"),
        ("not the DocIDs of the documents in",),
    ),
    Case(
        "DocID twice", "train_retriever", b.all_of(*(b.values(DOCIDS, f"c_{i}", 0) for i in range(4))),
        ("share [0, 0",),
    ),
    Case(
        "negative code", "train_retriever", b.value(DOCIDS, "c_1", 3, -1),
        ("code -1 at position 1", "codes 0.."),
    ),
    Case(
        "code beyond K", "retrieve", b.value(DOCIDS, "c_0", 3, 99),
        ("docids.parquet: codes per position", "train it again"),
    ),
    Case("code null", "retrieve", b.value(DOCIDS, "c_2", 4, None), ("'c_2', row 4: null",)),
    Case("DocIDs of others in an index", "export_index", b.value(DOCIDS, "product_id", 0, "Z"), ("not the DocIDs of",)),
    Case("vectors of an index cut", "export_index", b.cut(EMBEDDINGS), ("text.npy: not a complete .npy matrix",)),
    Case(
        "vectors of another encoder", "export_index", b.matrix(EMBEDDINGS, lambda m: m[:, ::-1]),
        ("text.npy: not the vectors that its encoder now gives", "run embed again"),
    ),
    Case("position gone", "retrieve", b.without(DOCIDS, "c_1"), ("docids.parquet: column 'c_1' is missing",)),
    Case(
        "no positions", "retrieve", b.table(DOCIDS, lambda t: t.drop_columns([f"c_{i}" for i in range(4)])),
        ("docids.parquet: no columns c_0, c_1, …", "give the docids.parquet of assign_docids"),
    ),
    Case(
        "no DocIDs", "train_retriever", b.all_of(b.empty(DOCIDS), b.empty(PRODUCT_TABLE)),
        ("docids.parquet: no DocIDs", "run assign_docids"),
    ),
    Case(
        "other DocIDs", "retrieve", b.table(DOCIDS, lambda t: t.set_column(2, "c_0", t["c_1"])),
        ("docids.parquet: not the DocIDs that the retriever in", "give the DocIDs that the retriever was trained on"),
    ),
    # --- retriever
    Case(
        "retriever gone", "retrieve", b.gone(RETRIEVER),
        ("retriever: no such folder", "run train_retriever"),
    ),
    Case("weights gone", "retrieve", b.gone(WEIGHTS), ("retriever: model.safetensors is missing", "again")),
    Case("weights cut", "retrieve", b.cut(WEIGHTS), ("retriever: its weights cannot be loaded", "make it again")),
    Case(
        "weights NaN", "retrieve", b.tensors(WEIGHTS, scaled("shared.weight", NAN)),
        ("'shared.weight' holds NaN",),
    ),
    Case("weights of other size", "retrieve", b.key(LAYOUT, "d_ff", 64), ("has the shape", "config.json asks for")),
    Case("layout gone", "retrieve", b.gone(LAYOUT), ("retriever: config.json is missing",)),
    Case("layout cut", "retrieve", b.cut(LAYOUT), ("retriever/config.json: not JSON",)),
    Case(
        "layout key", "retrieve", b.key(LAYOUT, "docid_sizes", ...),
        ("key 'docid_sizes' is missing", "train_retriever"),
    ),
    Case(
        "layout size 0", "retrieve", b.key(LAYOUT, "docid_sizes", [0, 1, 1, 1]),
        ("docid_sizes [0, 1, 1, 1]",),
    ),
    Case("layout beyond", "retrieve", b.key(LAYOUT, "vocab_size", 9), ("DocID tokens beyond vocab_size",)),
    Case("another kind", "retrieve", b.key(LAYOUT, "model_type", "bert"), ("a bert model", "t5 or mt5")),
    Case(
        "tokenizer gone", "retrieve", b.gone(f"{RETRIEVER}/tokenizer.json"),
        ("retriever: tokenizer.json is missing", "remove the folder"),
    ),
    Case("tokenizer cut", "retrieve", b.cut(f"{RETRIEVER}/tokenizer.json"), ("retriever: its tokenizer cannot",)),
    Case(
        "other DocIDs learnt", "retrieve", b.key(LAYOUT, "docid_sha256", "0"),
        ("not the DocIDs that the retriever in",),
    ),
]  # fmt: skip
