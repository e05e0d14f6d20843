"""What the settings of the retrievers and of the dual encoder change: weights, tokenizers and validation."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch
from effect_corpus import MODELS, PAIRS, SIZES, corpus
from effects import Outputs, Row, Seed, Settings, Table, below, planned, row, shown, stage
from safetensors.numpy import load_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from catid2.baselines.dual_encoder import build_encoder
from catid2.baselines.dual_encoder_training import Inputs as DualInputs
from catid2.baselines.dual_encoder_training import train_dual_encoder
from catid2.config import retriever
from catid2.config.dual_encoder import DualEncoderConfig, SmallBert
from catid2.corpus.text import DocumentTexts
from catid2.retriever.light_training import Inputs as LightInputs
from catid2.retriever.light_training import train_light
from catid2.retriever.t5 import build_retriever
from catid2.retriever.t5_training import Inputs, train_retriever

LIGHT = {
    "kind": "light",
    "d_model": 16,
    "num_layers": 1,
    "num_heads": 2,
    "d_ff": 16,
    "epochs": 2,
    "batch_size": 32,
    "learning_rate": 0.03,
    "valid_share": 0,
    "select_by": "last",
}
SMALL_T5 = {
    "d_model": 16,
    "num_heads": 2,
    "d_kv": 8,
    "d_ff": 16,
    "num_layers": 1,
    "num_decoder_layers": 1,
    "vocabulary": 400,
}
T5 = {
    "pretrained": None,
    "small": SMALL_T5,
    "tasks": [{"source": "query"}, {"source": "document"}],
    "max_query_tokens": 8,
    "max_document_tokens": 12,
    "epochs": 1,
    "batch_size": 64,
    "learning_rate": 0.01,
    "valid_share": 0,
    "select_by": "last",
}
SMALL_BERT = {
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "vocabulary": 400,
}
DUAL = {
    "pretrained": None,
    "small": SMALL_BERT,
    "template": "{title}",
    "max_tokens": 12,
    "epochs": 1,
    "batch_size": 64,
    "learning_rate": 0.01,
    "valid_share": 0,
    "select_by": "last",
}
VALIDATED = {"valid_share": 0.3, "valid_every": 1, "epochs": 2}
# Recall by cutoff, epoch by epoch: each way to choose a checkpoint chooses another. Given where `scripted` is.
SCRIPT = [{best: 0.9 if best == k else 0.1 for best in (10, 50, 100)} for k in (10, 50, 100, None)]
SELECT_BY = ("recall@10", "recall@50", "recall@100", "last")
SCRIPTED = VALIDATED | {"epochs": 4, "scripted": True}


@contextlib.contextmanager
def training(module: str, validation: str, scripted: bool) -> Iterator[None]:
    """Spare what is slow and the same in all runs; script the validation if that is asked for."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch(f"catid2.{module}.code_digest", return_value={}))
        if scripted:
            stack.enter_context(mock.patch(f"catid2.{module}.{validation}", side_effect=SCRIPT))
        yield


@stage(retriever.LightConfig, LIGHT, "scripted")
def light(config: retriever.LightConfig, folder: Path, seed: int, scripted: bool = False) -> Outputs:
    """Train a light retriever."""
    files = corpus()
    inputs = LightInputs(files.products, files.queries, files.judgements, files.docids, files.embeddings)
    with training("retriever.light_training", "LightTraining.validate", scripted):
        train_light(config, inputs, folder / "checkpoints", folder / "retriever", seed)
    return trained(folder / "retriever")


@stage(retriever.RetrieverConfig, T5, "scripted")
def t5(config: retriever.RetrieverConfig, folder: Path, seed: int, scripted: bool = False) -> Outputs:
    """Train a T5."""
    files = corpus()
    inputs = Inputs(files.products, files.queries, files.judgements, files.docids)
    with training("retriever.t5_training", "RetrieverTraining.validate", scripted):
        train_retriever(config, inputs, folder / "checkpoints", folder / "retriever", seed)
    return trained(folder / "retriever")


@stage(DualEncoderConfig, DUAL, "scripted")
def dual_encoder(config: DualEncoderConfig, folder: Path, seed: int, scripted: bool = False) -> Outputs:
    """Train a dual encoder."""
    files = corpus()
    inputs = DualInputs(files.products, files.queries, files.judgements)
    module = "baselines.dual_encoder_training"
    with training(module, "DualEncoderTraining.validate", scripted):
        train_dual_encoder(config, inputs, folder / "checkpoints", folder / "encoder", seed)
    return trained(folder / "encoder")


@stage(retriever.RetrieverConfig, T5)
def untrained_t5(config: retriever.RetrieverConfig, folder: Path, seed: int) -> Outputs:
    """Build a T5 with random weights."""
    model, tokenizer = build_retriever(config, SIZES, titles(), seed)
    return untrained(model.t5, tokenizer)


@stage(DualEncoderConfig, DUAL)
def untrained_bert(config: DualEncoderConfig, folder: Path, seed: int) -> Outputs:
    """Build an encoder with random weights."""
    return untrained(*build_encoder(config, titles(), seed))


def titles() -> DocumentTexts:
    """Return what tokenizers of small models are trained on."""
    return DocumentTexts(corpus().products, "{title} {bullets}", 4000)


def untrained(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Outputs:
    """Return what a model is like, and what it makes of a text in training: heads and dropout show there alone."""
    torch.manual_seed(0)
    texts = tokenizer(["red shoe"], return_tensors="pt", return_token_type_ids=False)
    encoder = model.get_encoder() if model.config.is_encoder_decoder else model
    return {
        "sizes": {name: tuple(part.shape) for name, part in model.state_dict().items()},
        "states": encoder.train()(**texts).last_hidden_state.detach().numpy(),
        "vocabulary": sorted(tokenizer.get_vocab()),
    }


def trained(folder: Path) -> Outputs:
    """Return what training has left in its folder."""
    header, *lines = (folder / "history.tsv").read_text().splitlines()
    rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    weights = load_file(folder / "model.safetensors")
    tokenizer = folder / "tokenizer.json"
    return {
        "weights": {name: part.tolist() for name, part in weights.items()},
        "sizes": {name: part.shape for name, part in weights.items()},
        "config": (folder / "config.json").read_text(),
        "tokenizer": tokenizer.read_bytes() if tokenizer.exists() else b"",
        "epochs": len(rows),
        "steps": [row["step"] for row in rows],
        "rates": [row["learning_rate"] for row in rows],
        "losses": [row["loss"] for row in rows],
        "validation": [[value for name, value in row.items() if "recall" in name] for row in rows],
        "kept": [row["step"] for row in rows if row["kept"] == "1"],
    }


SCHEDULES = ("cosine", "linear", "constant_with_warmup")


def rows(
    learning_rate: float, weight_decay: float, warmup: float, clip_norm: float, valid: Settings
) -> list[Row]:
    """Return the rows of what all three trainings have, given the tiny defaults and what a validation takes."""
    return [
        row("learning_rate", learning_rate, 2 * learning_rate, differs="rates, weights", same="sizes, steps"),
        row("warmup", warmup, 0.7, differs="rates, weights", same="sizes, steps", epochs=2),
        row("weight_decay", weight_decay, 0.5, differs="weights", same="sizes, rates"),
        row("clip_norm", clip_norm, 0.01, differs="weights", same="sizes, rates"),
        row("epochs", 1, 2, differs="epochs, weights", same="sizes"),
        row("batch_size", 64, 32, differs="steps, weights", same="sizes, epochs"),
        row("valid_share", 0.3, 0.1, differs="validation", same="epochs", **valid),
        row("valid_every", 1, 2, differs="validation", same="weights, losses", **valid),
        row("select_by", *SELECT_BY, differs="kept, weights", same="validation, losses", **SCRIPTED),
    ]


TABLES = [
    Table(
        retriever.LightConfig,
        [
            *rows(0.03, 0.01, 0.05, 1.0, VALIDATED | {"valid_beams": 20}),
            row("labels", ["E", "S"], ["E"], differs="losses, weights", same="sizes"),
            row("valid_beams", 20, 2, differs="validation", same="weights, losses", **VALIDATED),
            row("pretrained", None, str(MODELS / "light"), differs="weights", same="sizes, rates"),
            row("d_model", 16, 24, differs="sizes"),
            row("num_layers", 1, 2, differs="sizes"),
            row("num_heads", 2, 4, differs="weights", same="sizes, rates"),
            row("d_ff", 16, 24, differs="sizes"),
            row("query_tokens", 1, 2, differs="sizes"),
            row("dropout_rate", 0.1, 0.3, differs="weights", same="sizes, rates"),
            row("query_weight", 1.0, 0.5, differs="losses, weights", same="sizes"),
            row("document_weight", 1.0, 0.5, differs="losses, weights", same="sizes"),
        ],
        light,
    ),
    Table(
        retriever.RetrieverConfig,
        [
            *rows(0.01, 0.0, 0.01, 1.0, VALIDATED | {"valid_beams": 20}),
            row("schedule", *SCHEDULES, differs="rates, weights", same="sizes, steps", epochs=2),
            row("valid_beams", 20, 2, differs="validation", same="weights, losses", **VALIDATED),
            row("pretrained", None, str(MODELS / "t5"), differs="sizes, tokenizer"),
            planned("revision", "fetch_model model=some/t5@of728", "of728"),
            row("small", SMALL_T5, SMALL_T5 | {"d_ff": 24}, differs="sizes", same="tokenizer"),
            row(
                "tasks", T5["tasks"], T5["tasks"][:1], differs="losses, weights", same="epochs", batch_size=32
            ),
            row("max_query_tokens", 8, 3, differs="weights, config", same="sizes, steps"),
            row("max_document_tokens", 12, 3, differs="weights", same="sizes, steps"),
            row("microbatch", None, 16, differs="weights", same="sizes, steps, rates"),
            shown("bf16", "tests/test_effects.py::test_reduced_precision_is_of_a_gpu_alone"),
        ],
        t5,
    ),
    Table(
        retriever.SmallT5,
        [
            row("d_model", 16, 24, differs="sizes", same="vocabulary"),
            row("num_heads", 2, 4, differs="sizes", same="vocabulary"),
            row("d_kv", 8, 4, differs="sizes", same="vocabulary"),
            row("d_ff", 16, 24, differs="sizes", same="vocabulary"),
            row("num_layers", 1, 2, differs="sizes", same="vocabulary"),
            row("num_decoder_layers", 1, 2, differs="sizes", same="vocabulary"),
            row("dropout_rate", 0.1, 0.5, differs="states", same="sizes, vocabulary"),
            row("vocabulary", 400, 350, differs="sizes, vocabulary"),
        ],
        untrained_t5,
        below("small"),
    ),
    Table(
        retriever.QueryTask,
        [
            row("prefix", "", "red ", differs="weights, config", same="sizes, steps"),
            row("labels", ["E", "S"], ["E"], differs="losses, weights", same="sizes"),
            row("weight", 1.0, 0.5, differs="losses, weights", same="sizes"),
        ],
        t5,
        lambda changes: {"tasks": [{"source": "query"} | changes, {"source": "document"}]},
    ),
    Table(
        retriever.DocumentTask,
        [
            row("prefix", "", "red ", differs="weights", same="sizes, steps, config"),
            row("template", "{title}", "{title} {color}", differs="weights", same="steps"),
            row("weight", 1.0, 0.5, differs="losses, weights", same="sizes"),
        ],
        t5,
        lambda changes: {"tasks": [{"source": "query"}, {"source": "document"} | changes]},
    ),
    Table(
        retriever.PairsTask,
        [
            planned("path", "train_retriever dataset=second method=changed seed=7", "own/pairs.parquet"),
            row("prefix", "", "red ", differs="weights", same="sizes, steps, config"),
            row("weight", 1.0, 0.5, differs="losses, weights", same="sizes"),
        ],
        t5,
        lambda changes: {"tasks": [{"source": "query"}, {"source": "pairs", "path": str(PAIRS)} | changes]},
    ),
    Table(
        DualEncoderConfig,
        [
            *rows(0.01, 0.0, 0.05, 2.0, VALIDATED),
            row("schedule", *SCHEDULES, differs="rates, weights", same="sizes, steps", epochs=2),
            row("labels", ["E", "S"], ["E"], differs="losses, weights", same="sizes"),
            row("pretrained", None, str(MODELS / "mpnet"), differs="sizes, tokenizer"),
            planned("revision", "fetch_model model=some/bert@of732", "of732"),
            row(
                "small", SMALL_BERT, SMALL_BERT | {"intermediate_size": 24}, differs="sizes", same="tokenizer"
            ),
            row("pooling", "mean", "cls", differs="weights", same="sizes, rates"),
            row("normalize", False, True, differs="weights", same="sizes, rates"),
            row("temperature", 1.0, 0.1, differs="weights", same="sizes, rates"),
            row("template", "{title}", "{title} {color}", differs="weights", same="steps"),
            row("max_characters", 4000, 8, differs="weights, tokenizer", same="steps"),
            row("max_tokens", 12, 3, differs="sizes, weights", same="steps"),
            shown("bf16", "tests/test_effects.py::test_reduced_precision_is_of_a_gpu_alone"),
        ],
        dual_encoder,
    ),
    Table(
        SmallBert,
        [
            row("hidden_size", 16, 24, differs="sizes", same="vocabulary"),
            row("num_attention_heads", 2, 4, differs="states", same="sizes, vocabulary"),
            row("intermediate_size", 16, 24, differs="sizes", same="vocabulary"),
            row("num_hidden_layers", 1, 2, differs="sizes", same="vocabulary"),
            row("hidden_dropout_prob", 0.1, 0.5, differs="states", same="sizes, vocabulary"),
            row("vocabulary", 400, 350, differs="sizes, vocabulary"),
        ],
        untrained_bert,
        below("small"),
    ),
]

SEEDS = [
    Seed("light retriever", light, differs="weights", script="train_retriever"),
    Seed("T5", t5, differs="weights", script="train_retriever"),
    Seed("dual encoder", dual_encoder, differs="weights", script="train_dual_encoder"),
]
