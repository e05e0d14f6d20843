"""Broken inputs of every script: one line that names the file, the place and the remedy; nothing is written."""

import ast
import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import breakage as b
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from bad_inputs import (
    COMMANDS,
    CORPUS,
    DATASET,
    ESCI_S,
    EXAMPLES,
    METHOD,
    PATHS,
    PRODUCTS,
    VIEW,
    Options,
    command,
    copy_of,
    refused,
    run_script,
    settings,
    state,
)

from catid2.checkpoint import Checkpoints
from workflow import ROOT

PRODUCT_TABLE, QUERIES, JUDGEMENTS, TREE = (
    f"{CORPUS}/{name}.parquet" for name in ("products", "queries", "judgements", "categories")
)
DOCIDS, FIGURES, RUN, RECALL = (
    f"{METHOD}/docids.parquet",
    f"{METHOD}/docids.json",
    f"{METHOD}/run.parquet",
    f"{DATASET}/recall.tsv",
)
RQVAE, RQVAE_CONFIG = f"{METHOD}/rqvae/model.safetensors", f"{METHOD}/rqvae/config.json"
RETRIEVER = f"{METHOD}/retriever"
WEIGHTS, LAYOUT = f"{RETRIEVER}/model.safetensors", f"{RETRIEVER}/config.json"
GOOD = json.dumps({"asin": "A", "locale": "es", "category": ["a", "b", "c"]}).encode()
NAN = float("nan")


NONE: Options = MappingProxyType({})


class Case(NamedTuple):
    """One broken input. `says`: the file or setting, the place and the remedy, as they stand in the line."""

    id: str
    script: str
    broken: b.Break
    says: tuple[str, ...]
    options: Options = NONE


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
    # --- ESCI: judgements
    Case(
        "examples gone", "build_corpus", b.gone(EXAMPLES),
        ("examples.parquet: no such file", "correct the path"),
    ),
    Case(
        "examples cut", "build_corpus", b.cut(EXAMPLES),
        ("examples.parquet: not a whole parquet", "download"),
    ),
    Case(
        "examples are text", "build_corpus", b.content(EXAMPLES, b"query,id\n"),
        ("examples.parquet: not a whole",),
    ),
    Case(
        "examples a folder", "build_corpus", b.nothing,
        ("resources: no such file",), {"--examples": "resources"},
    ),
    Case(
        "examples no label", "build_corpus", b.without(EXAMPLES, "esci_label"),
        ("'esci_label' is missing", "it has"),
    ),
    Case(
        "examples renamed", "build_corpus", b.renamed(EXAMPLES, "query_id", "id"),
        ("'query_id' is missing", "id,"),
    ),
    Case(
        "examples id is float", "build_corpus", b.typed(EXAMPLES, "query_id", pa.float64()),
        ("'query_id' is double, not integer", "write it with that type"),
    ),
    Case(
        "examples query null", "build_corpus", b.value(EXAMPLES, "query", 3, None),
        ("'query', row 3: null",),
    ),
    Case(
        "examples id null", "build_corpus", b.value(EXAMPLES, "query_id", 4, None),
        ("'query_id', row 4: null",),
    ),
    Case(
        "examples blank id", "build_corpus", b.value(EXAMPLES, "product_id", 5, " \t"),
        ("'product_id', row 5",),
    ),
    Case(
        "unknown label", "build_corpus", b.value(EXAMPLES, "esci_label", 6, "X"),
        ("row 6: 'X'", "E, S, C, I"),
    ),
    Case(
        "unknown locale", "build_corpus", b.value(EXAMPLES, "product_locale", 2, "de"),
        ("row 2: 'de'", "us, es, jp"),
    ),
    Case(
        "unknown split", "build_corpus", b.value(EXAMPLES, "split", 7, "Test"),
        ("row 7: 'Test'", "train, test"),
    ),
    Case("unknown version", "build_corpus", b.value(EXAMPLES, "small_version", 8, 2), ("row 8: '2'", "0, 1")),
    Case("no rows", "build_corpus", b.empty(EXAMPLES), ("no row of locale 'es'", "it has no rows")),
    Case(
        "other locale", "build_corpus", b.nothing,
        ("no row of locale 'us'", "it has es"), {"--locale": "us"},
    ),
    Case(
        "query with two texts", "build_corpus", b.value(EXAMPLES, "query", 13, "another"),
        ("examples.parquet: query_id", "two values of 'query'", "in row 13", "keep one"),
    ),
    Case(
        "query in both splits", "build_corpus", b.repeated(EXAMPLES, 13, product_id="X", split="train"),
        ("two values of 'split'", "keep one"),
    ),
    Case(
        "pair with two labels", "build_corpus",
        b.repeated(EXAMPLES, 13, esci_label="I"),
        ("two values of 'label': 'C' in row 13, 'I'", "keep one"),
    ),
    # --- ESCI: products
    Case(
        "products cut", "build_corpus", b.cut(PRODUCTS, 0.9),
        ("products.parquet: not a whole parquet", "download"),
    ),
    Case(
        "products no title", "build_corpus", b.without(PRODUCTS, "product_title"),
        ("'product_title' is missing",),
    ),
    Case(
        "product ids are numbers", "build_corpus", b.typed(PRODUCTS, "product_id", pa.int64()),
        ("'product_id' is int64, not string",),
    ),
    Case(
        "product id null", "build_corpus", b.value(PRODUCTS, "product_id", 9, None),
        ("'product_id', row 9: null",),
    ),
    Case(
        "product locale null", "build_corpus", b.value(PRODUCTS, "product_locale", 1, None),
        ("row 1: null",),
    ),
    Case(
        "product with two titles", "build_corpus", b.repeated(PRODUCTS, 2, product_title="another"),
        ("has different content in rows 2 and 400", "keep one"),
    ),
    Case(
        "products of other files", "build_corpus",
        b.table(PRODUCTS, lambda t: t.set_column(0, "product_id", pa.array([f"Z{i}" for i in range(len(t))]))),
        ("examples.parquet: no judgement of locale 'es' is left", "no_product", "belong together"),
    ),
    # --- ESCI-S
    Case(
        "records cut", "extract_categories", b.cut(ESCI_S),
        ("esci.json.zst: cut short at", "download it again"),
    ),
    Case("records empty", "extract_categories", b.content(ESCI_S, b""), ("esci.json.zst: an empty file",)),
    Case(
        "records not zstd", "extract_categories", b.content(ESCI_S, GOOD),
        ("no zstd frame at byte 0", "compress"),
    ),
    Case(
        "records are not JSON", "extract_categories", b.records(ESCI_S, [b"a,b", b"c"]),
        ("no line is a record with a category (2 broken_line)", "asin, locale and category"),
    ),
    Case(
        "records without path", "extract_categories", b.records(ESCI_S, [b'{"asin": "A", "category": "Toys"}']),
        ("esci.json.zst: no line is a record", "1 bad_category"),
    ),
    Case(
        "memory limit", "extract_categories", b.nothing,
        ("--memory-limit", "2GB"), {"--memory-limit": "much"},
    ),
    Case(
        "temp folder", "extract_categories", b.nothing,
        ("--temp-dir none: no such folder",), {"--temp-dir": "none"},
    ),
    Case("paths cut", "build_corpus", b.cut(PATHS), ("category_paths.parquet: not a whole parquet file",)),
    Case(
        "paths of another shape", "build_corpus", b.without(PATHS, "state"),
        ("category_paths.parquet: not a table of category paths", "run extract_categories"),
    ),
    Case(
        "paths: state", "build_corpus", b.value(PATHS, "state", 3, "fine"),
        ("category_paths.parquet: column 'state', row 3: 'fine'", "run extract_categories"),
    ),
    Case(
        "paths: empty", "build_corpus", b.empty(PATHS),
        ("no judgement of locale 'es' is left", "no_esci_s_record"),
    ),
    Case(
        "paths: a null name", "build_corpus", b.value(PATHS, "path", 0, ["a", None, "c", "d"]),
        ("category_paths.parquet: column 'path', row 0", "run extract_categories"),
    ),
    # --- corpus: products
    Case(
        "corpus gone", "embed", b.gone(PRODUCT_TABLE),
        ("corpus/products.parquet: no such file", "run the stage"),
    ),
    Case("corpus cut", "embed", b.cut(PRODUCT_TABLE), ("corpus/products.parquet: not a whole parquet file",)),
    Case(
        "corpus empty", "embed", b.empty(PRODUCT_TABLE),
        ("corpus/products.parquet: no products", "build the corpus"),
    ),
    Case(
        "doc_id repeated", "embed", b.value(PRODUCT_TABLE, "doc_id", 1, 0),
        ("doc_id is not 0..N-1 in order",),
    ),
    Case("no title column", "search_bm25", b.without(PRODUCT_TABLE, "title"), ("column 'title' is missing",)),
    Case(
        "doc_id is int64", "search_bm25", b.typed(PRODUCT_TABLE, "doc_id", pa.int64()),
        ("'doc_id' is int64, not int32",),
    ),
    Case(
        "no category level", "train_rqvae", b.without(PRODUCT_TABLE, "category_id_2"), ("'category_id_2' is missing",)
    ),
    Case(
        "category with two parents", "train_rqvae", b.value(PRODUCT_TABLE, "category_id_1", 0, 999),
        ("corpus/products.parquet: category", "of level 2 has two parents", "make it a tree"),
    ),
    Case("category null", "train_rqvae", b.value(PRODUCT_TABLE, "category_id_3", 5, None), ("row 5: null",)),
    Case(
        "product id twice", "assign_docids", b.values(PRODUCT_TABLE, "product_id", "A"),
        ("'A' occurs twice",),
    ),
    Case(
        "product id null in corpus", "assign_docids", b.value(PRODUCT_TABLE, "product_id", 2, None),
        ("row 2",),
    ),
    # --- corpus: queries and judgements
    Case("queries cut", "search_bm25", b.cut(QUERIES), ("queries.parquet: not a whole parquet file",)),
    Case(
        "query without text", "train_retriever", b.values(QUERIES, "query", None),
        ("has no text (null)", "remove it"),
    ),
    Case("query id twice", "evaluate", b.repeated(QUERIES), ("query_id 1 is there twice",)),
    Case(
        "split of queries", "search_bm25", b.value(QUERIES, "split", 0, "dev"),
        ("'split', row 0: 'dev'", "train, test"),
    ),
    Case(
        "no test query", "search_bm25", b.values(QUERIES, "split", "train"),
        ("queries.parquet: no test quer", "build"),
    ),
    Case("no test query to decode", "retrieve", b.values(QUERIES, "split", "train"), ("no test quer",)),
    Case(
        "no train query", "train_retriever", b.values(QUERIES, "split", "test"),
        ("is not among the train queries",),
    ),
    Case(
        "label of judgements", "evaluate", b.value(JUDGEMENTS, "label", 2, "Q"),
        ("'label', row 2: 'Q'", "E, S, C, I"),
    ),
    Case(
        "pair judged twice", "train_retriever", b.repeated(JUDGEMENTS),
        ("judgements.parquet: row", "is there twice"),
    ),
    Case(
        "judged document unknown", "train_retriever", b.repeated(JUDGEMENTS, 0, doc_id=9999, label="E", split="train"),
        ("judgements.parquet",),
    ),
    Case(
        "no test judgement", "evaluate", b.values(JUDGEMENTS, "split", "train"),
        ("judgements.parquet: no test pair",),
    ),
    Case(
        "nothing seen", "evaluate", b.values(JUDGEMENTS, "seen", False),
        ("protocol seen", "out of evaluate's config"),
    ),
    Case("seen is null", "evaluate", b.value(JUDGEMENTS, "seen", 0, None), ("column 'seen', row 0: null",)),
    # --- embeddings
    Case(
        "embeddings NaN", "train_rqvae", b.matrix(f"{VIEW}.npy", b.at(7, 0, NAN)),
        ("text.npy: row 7", "run embed"),
    ),
    Case(
        "embeddings inf", "assign_docids", b.matrix(f"{VIEW}.npy", b.at(9, 1, np.inf)),
        ("text.npy: row 9",),
    ),
    Case(
        "float32", "train_rqvae", b.matrix(f"{VIEW}.npy", np.float32),
        ("text.npy: float32 of shape", "run embed"),
    ),
    Case("one dimension", "train_rqvae", b.matrix(f"{VIEW}.npy", np.ravel), ("text.npy: float16 of shape",)),
    Case(
        "a row too few", "train_rqvae", b.matrix(f"{VIEW}.npy", lambda m: m[1:]),
        ("rows for", "run embed on this"),
    ),
    Case(
        "no columns", "train_rqvae", b.matrix(f"{VIEW}.npy", lambda m: m[:, :0]),
        ("text.npy: float16 of shape",),
    ),
    Case(
        "other width", "assign_docids", b.matrix(f"{VIEW}.npy", lambda m: m[:, :9]),
        ("9 dimensions", "RQ-VAE takes 32"),
    ),
    Case(
        "embeddings cut", "assign_docids", b.cut(f"{VIEW}.npy"),
        ("text.npy: not a whole .npy matrix", "run embed"),
    ),
    # --- RQ-VAE
    Case(
        "RQ-VAE cut", "assign_docids", b.cut(RQVAE),
        ("model.safetensors: its sha256 is not the one", "train_rqvae"),
    ),
    Case(
        "RQ-VAE cut, sha right", "assign_docids", b.all_of(b.cut(RQVAE), sha),
        ("not a whole safetensors file",),
    ),
    Case(
        "tensor gone", "assign_docids", weights(lambda t: t.pop("mean")),
        ("tensor 'mean': missing", "train_rqvae"),
    ),
    Case(
        "tensor more", "assign_docids", weights(lambda t: t.update(x=torch.zeros(1))),
        ("tensor 'x': not of this",),
    ),
    Case(
        "tensor NaN", "assign_docids", weights(scaled("quantizer.codebooks", NAN)),
        ("'quantizer.codebooks': holds NaN",),
    ),
    Case(
        "tensor in half", "assign_docids", weights(lambda t: t.update(mean=t["mean"].half())),
        ("'mean': torch.float16",),
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
        ("model.safetensors: tensor",),
    ),
    Case(
        "RQ-VAE L", "assign_docids", b.key(RQVAE_CONFIG, "architecture.layers", -1),
        ("no such RQ-VAE", "train_rqvae"),
    ),
    Case(
        "RQ-VAE width", "assign_docids", b.key(RQVAE_CONFIG, "architecture.hidden", ["w"]),
        ("architecture.hidden.0",),
    ),
    Case(
        "RQ-VAE huge", "assign_docids", b.key(RQVAE_CONFIG, "architecture.latent_dim", 10**9),
        ("tensor", "not"),
    ),
    Case(
        "no architecture", "assign_docids", b.key(RQVAE_CONFIG, "architecture", ...),
        ("'architecture' is missing",),
    ),
    Case(
        "config elsewhere", "assign_docids", b.nothing,
        ("not beside the model",), {"--model-config": FIGURES},
    ),
    # --- DocIDs
    Case("DocIDs cut", "retrieve", b.cut(DOCIDS), ("docids.parquet: not a whole parquet file",)),
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
    Case("position gone", "retrieve", b.without(DOCIDS, "c_1"), ("docids.parquet: column 'c_1' is missing",)),
    Case("no positions", "retrieve", b.content(DOCIDS, b""), ("docids.parquet: not a whole parquet file",)),
    Case(
        "other DocIDs", "retrieve", b.table(DOCIDS, lambda t: t.set_column(2, "c_0", t["c_1"])),
        ("docids.parquet",),
    ),
    # --- retriever
    Case(
        "retriever gone", "retrieve", b.gone(RETRIEVER),
        ("retriever: no such folder", "run train_retriever"),
    ),
    Case("weights gone", "retrieve", b.gone(WEIGHTS), ("retriever: cannot be loaded", "model.safetensors")),
    Case("weights cut", "retrieve", b.cut(WEIGHTS), ("retriever: cannot be loaded", "give a folder")),
    Case(
        "weights NaN", "retrieve", b.tensors(WEIGHTS, scaled("shared.weight", NAN)),
        ("'shared.weight' holds NaN",),
    ),
    Case("weights of other size", "retrieve", b.key(LAYOUT, "d_ff", 64), ("retriever: cannot be loaded",)),
    Case("layout gone", "retrieve", b.gone(LAYOUT), ("retriever/config.json: no such file",)),
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
    Case("tokenizer gone", "retrieve", b.gone(f"{RETRIEVER}/tokenizer.json"), ("retriever", "tokenizer")),
    Case("tokenizer cut", "retrieve", b.cut(f"{RETRIEVER}/tokenizer.json"), ("retriever: cannot be loaded",)),
    Case(
        "other DocIDs learnt", "retrieve", b.key(LAYOUT, "docid_sha256", "0"),
        ("not the DocIDs that the retriever in",),
    ),
    # --- runs
    Case("run cut", "evaluate", b.cut(RUN), ("run.parquet: not a whole parquet file",)),
    Case("run empty", "evaluate", b.empty(RUN), ("run.parquet: no row", "search again")),
    Case(
        "run doc", "evaluate", b.value(RUN, "doc_id", 5, 9999),
        ("row 5", "doc_id outside", "search this corpus again"),
    ),
    Case(
        "run query", "evaluate", b.value(RUN, "query_id", 5, -3),
        ("row 5 (query_id -3", "not a test query"),
    ),
    Case("run twice", "evaluate", b.repeated(RUN), ("listed twice for the query",)),
    Case("run rank gap", "evaluate", b.value(RUN, "rank", 0, 700), ("row 0", "ranks are not 1..n")),
    Case("run NaN", "evaluate", b.value(RUN, "score", 2, NAN), ("row 2", "the score is not finite")),
    Case("run null", "evaluate", b.value(RUN, "score", 3, None), ("'score', row 3: null",)),
    Case(
        "--run malformed", "evaluate", b.nothing,
        ("--run: 'catid2' is not METHOD:SEED:PATH",), {"--run": ["catid2"]},
    ),
    Case(
        "--run twice", "evaluate", b.nothing,
        ("given twice", "once"), {"--run": [f"a:0:{RUN}", f"a:0:{RUN}"]},
    ),
    Case(
        "--note of none", "evaluate", b.nothing,
        ("no run of a method 'x'", "the methods are"), {"--note": ["x=y"]},
    ),
    # --- the report
    Case("recall cut", "plot_recall", b.cut(RECALL, 0.9), ("recall.tsv: cut short", "run evaluate")),
    Case("recall empty", "plot_recall", b.content(RECALL, b"\n"), ("recall.tsv: not a table",)),
    Case(
        "recall column", "plot_recall", b.replaced(RECALL, "recall@10_low", "low"),
        ("'recall@10_low' is missing",),
    ),
    Case(
        "recall above 1", "plot_recall", b.replaced(RECALL, "catid2\t0\tseen\tES\t", "catid2\t0\tseen\tES\tx"),
        ("recall.tsv",),
    ),
    Case("recall bytes", "plot_recall", b.content(RECALL, b"\xff\xfe\x00\n"), ("recall.tsv: not a table",)),
    Case(
        "recall of others", "report_locales", b.without_lines(RECALL, "bm25"),
        ("no row of method 'bm25'", "evaluate"),
    ),
    Case("stats cut", "report_locales", b.cut(f"{CORPUS}/stats.json"), ("stats.json: not JSON",)),
    Case(
        "stats a list", "report_locales", b.content(f"{CORPUS}/stats.json", b"[1]"),
        ("stats.json: a JSON list",),
    ),
    Case(
        "stats a number", "report_locales", b.key(f"{CORPUS}/stats.json", "documents", ...),
        ("key 'documents' is missing",),
    ),
    Case(
        "figures key", "plot_layers", b.key(FIGURES, "after.collisions", {}),
        ("'after.collisions.rate' is missing",),
    ),
    Case(
        "figures type", "plot_layers", b.key(FIGURES, "moved_share", "all"),
        ("'moved_share': all is not a number",),
    ),
    Case(
        "figures ragged", "plot_layers", b.key(FIGURES, "before.category_nmi.codes", [[1], [1, 2]]),
        ("a table of numbers",),
    ),
    Case(
        "tree cycle", "plot_layers", b.value(TREE, "parent", 0, 0),
        ("categories.parquet: column 'parent', row 0: 0",),
    ),
    Case(
        "tree orphan", "plot_layers", b.value(TREE, "parent", -1, 9999),
        ("categories.parquet: column 'parent'", "one level above"),
    ),
    Case(
        "tree level", "plot_layers", b.value(TREE, "level", 0, 2),
        ("categories.parquet: column 'parent', row 0",),
    ),
    Case(
        "tree node twice", "plot_layers", b.value(TREE, "node", 1, 0),
        ("column 'node', row 1: 0", "in order"),
    ),
    Case(
        "tree of others", "plot_layers", b.values(PRODUCT_TABLE, "category_id_2", 0),
        ("row 0: 0 is no node of level 2",),
    ),
    Case(
        "DocIDs too few", "plot_layers", b.rows(DOCIDS, lambda row: row["doc_id"]),
        ("DocIDs for", "on this corpus"),
    ),
    Case("history cut", "report_locales", b.cut(f"{METHOD}/rqvae/history.tsv"), ("history.tsv: cut short",)),
    Case(
        "history words", "report_locales", b.content(f"{METHOD}/rqvae/history.tsv", b"epoch\treconstruction\n1\tx\n"),
        ("history.tsv",),
    ),
    Case(
        "view key", "report_locales", b.key(f"{VIEW}.json", "view", {}),
        ("text.json: key 'view.template' is missing",),
    ),
    Case(
        "level", "plot_layers", b.nothing,
        ("category_level 7, but the tree has 3",), settings("plot_layers", category_level=7),
    ),
    Case(
        "--docids", "plot_layers", b.nothing,
        ("--docids: 'x' is not NAME:PARQUET:JSON",), {"--docids": ["x"]},
    ),
    Case(
        "cutoff", "report_locales", b.nothing,
        ("cutoff 7", "name one of"), settings("report_locales", cutoff=7),
    ),
    # --- options
    Case("config no JSON", "embed", b.nothing, ("--config: not JSON", "one JSON object"), {"--config": "{"}),
    Case("config a list", "search_bm25", b.nothing, ("--config", "valid"), {"--config": "[]"}),
    Case("config deep", "evaluate", b.nothing, ("--config: not JSON",), {"--config": "[" * 100_000}),
    Case(
        "config key", "train_rqvae", b.nothing,
        ("unknown key 'epoch'", "did you mean 'epochs'"), settings("train_rqvae", epoch=1),
    ),
    Case(
        "epochs", "train_retriever", b.nothing,
        ("key 'epochs'", "greater than or equal to 1"), settings("train_retriever", epochs=0),
    ),
    Case(
        "H and L", "train_rqvae", b.nothing,
        ("levels (4) must be below layers (4)",), settings("train_rqvae", levels=4),
    ),
    Case(
        "template", "embed", b.nothing,
        ("unknown template field 'name'", "allowed"), settings("embed", template="{name}"),
    ),
    Case(
        "no such level", "embed", b.nothing,
        ("no {category_9}", "the products have"), settings("embed", template="{category_9}"),
    ),
    Case("seed", "train_rqvae", b.nothing, ("--seed", "give 0 or more"), {"--seed": "-1"}),
    Case("seed of retriever", "train_retriever", b.nothing, ("--seed", "give 0 or more"), {"--seed": "-1"}),
    Case("seed of simulation", "simulate_esci", b.nothing, ("--seed", "give 0 or more"), {"--seed": "-1"}),
    Case("batch size", "retrieve", b.nothing, ("--batch-size", "give 1 or more"), {"--batch-size": "0"}),
    Case("seconds", "train_rqvae", b.nothing, ("--checkpoint-seconds",), {"--checkpoint-seconds": "nan"}),
    Case(
        "batch too large", "train_retriever", b.nothing,
        ("batch_size",), settings("train_retriever", batch_size=10**7),
    ),
    Case(
        "too many dims", "embed", b.nothing,
        ("dims",), settings("embed", encoder={"kind": "tfidf_svd", "dims": 10**6}),
    ),
    Case(
        "no such encoder", "embed", b.nothing,
        ("resources/tiny", "give a folder"), settings("embed", encoder={"kind": "hf", "model": "resources/tiny"}),
    ),
    Case(
        "no embeddings", "retrieve", b.nothing,
        ("rank_below_level", "--embeddings"), settings("retrieve", rank_below_level=2),
    ),
    Case(
        "a view without queries", "retrieve", b.nothing, ("text.json: a tfidf_svd view does not encode queries",),
        settings("retrieve", rank_below_level=2) | {"--embeddings": f"{VIEW}.npy"},
    ),
    Case(
        "no address", "fetch_esci_s", b.nothing,
        ("--config", "esci_s.url"), {"--config": '{"esci_s": {"url": "ftp://x"}}'},
    ),
    Case(
        "no checksum", "fetch_esci", b.nothing,
        ("--config", "sha256"), {"--config": '{"examples": {"url": "http://x", "sha256": "1"}}'},
    ),
    # --- outputs and checkpoints
    Case(
        "retriever over others", "train_retriever", b.nothing,
        ("corpus: holds files that are no retriever",), {"--output": CORPUS},
    ),
    Case("output is a folder", "search_bm25", b.nothing, ("corpus: is a folder",), {"--output": CORPUS}),
    Case(
        "output below a file", "search_bm25", b.nothing,
        ("cannot be written", "name another place"), {"--output": f"{RECALL}/x"},
    ),
    Case(
        "model below a file", "train_rqvae", b.nothing,
        ("cannot be written", "name another place"), {"--model": f"{RECALL}/x"},
    ),
    Case(
        "one path twice", "evaluate", b.nothing,
        ("named for two outputs", "its own"), {"--output": "a", "--per-query": "a"},
    ),
    Case("checkpoints a file", "train_rqvae", b.nothing, ("recall.tsv",), {"--checkpoints": RECALL}),
    Case("retriever state a file", "train_retriever", b.nothing, ("recall.tsv",), {"--checkpoints": RECALL}),
    Case(
        "foreign files", "train_rqvae", b.nothing,
        ("corpus: holds files that are not checkpoints",), {"--checkpoints": CORPUS},
    ),
    Case(
        "foreign state", "train_retriever", b.nothing,
        ("corpus: holds files that are not checkpoints",), {"--checkpoints": CORPUS},
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.id.replace(" ", "-") for case in CASES])
def test_is_refused_in_one_line(case, tiny_run, tmp_path):
    line = refused(case.script, copy_of(tiny_run.folder, tmp_path), case.broken, case.options)
    missing = [said for said in case.says if said not in line]
    assert not missing, line
    assert line.count("\n") == 0
    assert ";" in line  # what is wrong; what to do


def test_cases_are_many_and_of_every_script():
    assert len({case.id for case in CASES}) == len(CASES) >= 60
    assert (
        {case.script for case in CASES}
        == set(COMMANDS)
        == {path.stem for path in (ROOT / "scripts").glob("*.py")}
    )


# --- beyond the table -------------------------------------------------------------------------------


def test_dirty_records_are_counted_and_the_others_stay(tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path)
    deep = b"[" * 10_000 + b'"x"' + b"]" * 10_000
    dirty = {
        "no_category": [
            b'{"asin": "B1"}',
            b'{"asin": "B2", "category": null}',
            b'{"asin": "B3", "category": ["", " \\t", null]}',
            b'{"asin": "B4", "reviews": "' + b"x" * 50_000_000 + b'"}',
            b'{"asin": "B5", "x": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
        ],
        "bad_category": [
            b'{"asin": "C1", "category": "Toys > Dolls"}',
            b'{"asin": "C2", "category": 7}',
            b'{"asin": "C3", "category": [["a"], ["b"]]}',
            b'{"asin": "C4", "category": {"a": "b"}}',
            b'{"asin": "C5", "category": ' + deep + b"}",
        ],
        "no_asin": [
            b'{"category": ["a"]}',
            b'{"asin": 5, "category": ["a"]}',
            b'{"asin": " ", "category": ["a"]}',
        ],
        "broken_line": [
            b"[1, 2]",
            b"7",
            b"a,b",
            b'{"asin": "D1", "category": ["a"]',
            b'{"asin": "D2", "category": ["\xff\xfe"]}',
            b'{"asin": "D3", "category": ["a\x00b"]}',
            b"\x00\x00",
            b"[" * 100_000,
        ],
        "usable": [
            b'{"asin": "E1", "locale": "es", "category": ["A", "B", "A"]}',  # a name may come again: a node is a path
            b'{"asin": "E2", "category": ["A", "", "C"]}',  # no locale, a blank name
            b'{"asin": "E3", "locale": 3, "category": ["Z", "B", "C"]}',  # B has two parents: two nodes
        ],
    }
    lines = [line for lines in dirty.values() for line in lines]
    b.records(ESCI_S, lines)(folder)
    assert run_script("extract_categories", folder).code == 0
    table = pq.read_table(folder / PATHS).to_pylist()
    assert len(table) == len(lines)
    for name, expected in dirty.items():
        assert sum(row["state"] == name for row in table) == len(expected), name
    paths = {row["asin"]: row["path"] for row in table if row["state"] == "usable"}
    assert paths == {"E1": ["A", "B", "A"], "E2": ["A", "C"], "E3": ["Z", "B", "C"]}


@pytest.mark.parametrize(
    ("script", "path"),
    [("train_rqvae", f"{VIEW}.npy"), ("retrieve", f"{RETRIEVER}/pytorch_model.bin")],
)
def test_a_planted_pickle_is_not_loaded(script, path, tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path / "run")
    trace = tmp_path / "loaded"
    if path.endswith(".npy"):
        array = np.array([b.Planted(str(trace))], dtype=object)
        (folder / path).unlink()
        np.save(folder / path, array, allow_pickle=True)
        line = refused(script, folder, b.nothing)
        assert "text.npy: not a whole .npy matrix" in line
    else:
        planted = pickle.dumps({"shared.weight": b.Planted(str(trace))})
        line = refused(script, folder, b.all_of(b.gone(WEIGHTS), b.content(path, planted)))
        assert "retriever: cannot be loaded" in line
    assert not trace.exists()


def test_a_planted_pickle_beside_whole_weights_is_not_looked_at(tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path / "run")
    b.content(f"{RETRIEVER}/pytorch_model.bin", pickle.dumps(b.Planted(str(tmp_path / "loaded"))))(folder)
    assert run_script("retrieve", folder).code == 0
    assert not (tmp_path / "loaded").exists()


def test_a_state_of_other_settings_starts_anew_with_the_same_result(tiny_run, tmp_path, caplog):
    folder = copy_of(tiny_run.folder, tmp_path)
    short = settings("train_rqvae", epochs=3, warmup_epochs=1)
    other = settings("train_rqvae", epochs=3, warmup_epochs=1, alpha=0.5)
    assert run_script("train_rqvae", folder, short).code == 0
    weights = (folder / RQVAE).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "remove", lambda self: None)  # as if killed just before its end
        assert run_script("train_rqvae", folder, other).code == 0
    assert (folder / RQVAE).read_bytes() != weights
    assert list((folder / "state" / "rqvae").iterdir())
    with caplog.at_level("INFO"):
        assert run_script("train_rqvae", folder, short).code == 0
    assert "starting anew" in caplog.text
    assert (folder / RQVAE).read_bytes() == weights


def test_symlinked_outputs_are_replaced_and_what_they_name_stays(tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path)
    kept, output = folder / "kept", folder / "run.parquet"
    kept.write_text("mine")
    output.symlink_to(kept)
    assert run_script("search_bm25", folder, {"--output": str(output)}).code == 0
    assert kept.read_text() == "mine"
    assert not output.is_symlink()


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.id in ("unknown label", "RQ-VAE cut", "run NaN", "no address")]
)
def test_a_process_of_its_own_says_the_same(case, tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path)
    case.broken(folder)
    before = state(folder)
    here = run_script(case.script, folder, case.options)
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / f"{case.script}.py", *command(case.script, case.options)],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1:] == here.errors
    assert (done.stdout, "Traceback" in done.stderr) == ("", False)
    assert state(folder) == before


def test_unbroken_inputs_are_taken(tiny_run, tmp_path):
    folder = copy_of(tiny_run.folder, tmp_path)
    names = state(folder).keys()
    for script in sorted(COMMANDS.keys() - {"fetch_esci", "fetch_esci_s", "train_retriever", "train_rqvae"}):
        done = run_script(script, folder)
        assert (done.code, done.errors) == (0, []), script
    assert state(folder).keys() == names


UNSAFE = {
    "load": ("pickle", "torch", "joblib", "dill", "yaml"),
    "loads": ("pickle", "dill", "marshal"),
    "read_pickle": ("pd", "pandas"),
    "unsafe_load": ("yaml",),
    "full_load": ("yaml",),
}


def test_nothing_that_could_run_a_file_is_called():
    found = []
    for path in [*(ROOT / "catid2").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                found += [(path.name, name) for name in names & {"dill", "joblib", "marshal", "shelve"}]
            if not isinstance(node, ast.Call):
                continue
            function, options = node.func, {word.arg: ast.unparse(word.value) for word in node.keywords}
            if isinstance(function, ast.Name) and function.id in ("eval", "exec", "compile"):
                found.append((path.name, function.id))
            unsafe = UNSAFE.get(function.attr, ()) if isinstance(function, ast.Attribute) else ()
            if unsafe and ast.unparse(function.value) in unsafe and options.get("weights_only") != "True":
                found.append((path.name, ast.unparse(function)))
            for option in ("allow_pickle", "trust_remote_code"):
                if options.get(option, "False") != "False":
                    found.append((path.name, ast.unparse(node)))
    assert found == []
