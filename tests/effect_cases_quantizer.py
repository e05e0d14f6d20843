"""What the settings of the RQ-VAE change, on 200 documents in a tree of 3 × 3 categories."""

import functools
from pathlib import Path

from effects import Outputs, Row, Seed, Table, planned, row, stage
from rqvae_case import SMALL, catalogue

from catid2.config.rqvae import RqvaeConfig
from catid2.quantizer.training import train
from catid2.runtime.checkpoint import Checkpoints
from catid2.training.distributed import Group

TINY = SMALL | {"epochs": 4, "warmup_epochs": 2, "hidden": [24], "batch_size": 50, "on_collapse": "report"}
documents = functools.cache(catalogue)


@stage(RqvaeConfig, TINY)
def rqvae(config: RqvaeConfig, folder: Path, seed: int) -> Outputs:
    """Train an RQ-VAE."""
    case = documents()
    model, history = train(*case, config, seed, Group(), Checkpoints(folder / "checkpoints", {}))
    weights = {name: weights.numpy() for name, weights in model.state_dict().items()}
    warmup = [row for row in history if row["warmup"]]
    return {
        "codebooks": weights["quantizer.codebooks"],
        "sizes": {name: part.shape for name, part in weights.items()},
        "encoder": [part.tolist() for name, part in weights.items() if name.startswith("encoder")],
        "warm-up": [(row["lr"], row["loss"]) for row in warmup],
        "epochs": len(history),
        "warm-up epochs": len(warmup),
        "rates": [row["lr"] for row in history],
        "logged": [row["loss"] for row in history],
    }


def loss(key: str, *values: object, **given: object) -> Row:
    """Return the row of a setting of the losses on codes: the warm-up, which has no codes, does not depend on it."""
    return row(key, *values, differs="codebooks, encoder", same="warm-up, sizes, rates", **given)


COLLAPSED = {"collapse_perplexity": 0.99, "collapse_grace_epochs": 0, "on_collapse": "stop"}

TABLES = [
    Table(
        RqvaeConfig,
        [
            row("layers", 3, 4, differs="sizes, codebooks", same="warm-up"),
            row("codebook_size", 8, 9, differs="sizes, codebooks", same="warm-up"),
            row("latent_dim", 6, 7, differs="sizes, warm-up"),
            row("hidden", [24], [24, 12], differs="sizes, warm-up"),
            row("layer_norm", False, True, differs="sizes, warm-up"),
            row("standardize", "none", "unit", "center", differs="warm-up, codebooks", same="sizes"),
            loss("alpha", 0, 0.1, 0.2),
            loss("beta", 0, 0.1, 0.2),
            loss("gamma", 0, 0.1, 0.2),
            loss("mu", 0, 0.25, 0.5),
            row("error_reduction", "sum", "mean", differs="warm-up, codebooks", same="sizes, rates"),
            loss("levels", 1, 2),
            row("allow_levels_ge_layers", True, False, differs="error", layers=2),
            loss("hccl_positives", "all", "one", "one_or_self"),
            loss("hccl_hard_negatives", True, False),
            loss("hccl_similarity", "cosine", "l2"),
            loss("hccl_temperature", 1.0, 0.5),
            loss("hccl_negatives", 10, None),
            loss("hccl_reduction", "mean", "sum"),
            loss("disl_negatives", 10, None),
            loss("disl_similarity", "cosine", "l2"),
            loss("disl_temperature", 0.1, 0.2),
            loss("disl_reduction", "mean", "sum"),
            loss("cscl_scaling", "batch_mean", "literal"),
            loss("cscl_temperature", 1.0, 0.5),
            loss("codebook_update", "ema", "gradient"),
            loss("ema_decay", 0.9, 0.5),
            row("warmup_epochs", 1, 2, differs="warm-up epochs, codebooks", same="rates, epochs"),
            loss("kmeans_documents", 200, 40),
            row(
                "revive_dead_codes", True, False, differs="codebooks", same="warm-up, rates", codebook_size=40
            ),
            row("epochs", 4, 5, differs="epochs, codebooks", same="warm-up", schedule="constant"),
            row("batch_size", 50, 40, differs="warm-up, codebooks", same="sizes, epochs"),
            row("batches", "random", "category", differs="warm-up, codebooks", same="sizes, epochs, rates"),
            row("learning_rate", 0.005, 0.01, differs="rates, warm-up, codebooks", same="sizes, epochs"),
            row("schedule", "constant", "cosine", differs="rates, codebooks", same="sizes, epochs"),
            row("rise_steps", 0, 6, differs="rates, warm-up, codebooks", same="sizes, epochs"),
            row("weight_decay", 0.0, 0.5, differs="encoder, codebooks", same="rates, sizes"),
            row("precision", "float32", "bfloat16", differs="warm-up, codebooks", same="rates, sizes"),
            planned("align_to", "train_rqvae dataset=second method=changed seed=7", "own/docids.parquet"),
            row("collapse_perplexity", 0.99, 0.0, differs="error", **COLLAPSED),
            row("collapse_grace_epochs", 0, 9, differs="error", **COLLAPSED),
            row("on_collapse", "stop", "report", differs="error", **COLLAPSED),
        ],
        rqvae,
    )
]

SEEDS = [Seed("RQ-VAE", rqvae, differs="codebooks", script="train_rqvae")]
