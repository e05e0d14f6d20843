"""A tiny corpus in which every setting can show: all text fields, Japanese, three levels of categories, duplicates."""

import functools
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from model_layouts import LAYOUTS, publish
from retriever_case import random_codes, write_docids
from safetensors.torch import save_file

from catid2.config.embed import ViewConfig
from catid2.config.retriever import LightConfig
from catid2.embedding.documents import Outputs, embed
from catid2.embedding.queries import Corpus as Embedded
from catid2.embedding.queries import Outputs as QueryOutputs
from catid2.embedding.queries import embed_queries
from catid2.quantizer.model import RQVAE, Architecture
from catid2.retriever.light import build_light, describe
from catid2.runtime.tables import (
    JUDGEMENTS,
    QUERIES,
    TAGS,
    products_columns,
    read_embeddings,
    write_json,
    write_table,
)

DOCUMENTS, ASKED, DIMS = 120, 80, 12
NOUNS = ("shoe", "lamp", "kettle", "chair", "desk", "rug", "赤い椅子", "青い靴下")
WORDS = ("red", "blue", "wooden", "small", "big", "warm", "cheap", "new", "赤い靴", "niña")
SIZES = (4, 6, 8)  # codes of each position of the DocIDs

# Of all that the stages are run on, written where it is first asked for; it goes with the process.
_TEMPORARY = tempfile.TemporaryDirectory(prefix="effects-")
FOLDER = Path(_TEMPORARY.name)
MODELS = (
    FOLDER / "corpus" / "models"
)  # pretrained ones: mpnet, of sentence-transformers, t5 and a light retriever
PAIRS = FOLDER / "corpus" / "pairs.parquet"


class Corpus(NamedTuple):
    """Files of the corpus; `embeddings` is VIEW.npy with the files next to it."""

    products: Path
    queries: Path
    judgements: Path
    docids: Path
    embeddings: Path
    tags: Path
    rqvae: Path


@functools.cache
def corpus() -> Corpus:
    """Write the corpus, once in a process; nobody changes it."""
    folder = FOLDER / "corpus"
    folder.mkdir()
    names = {name: folder / f"{name}.parquet" for name in Corpus._fields}
    files = Corpus(**names)._replace(embeddings=folder / "view.npy", rqvae=folder / "rqvae")
    rng = np.random.default_rng(3)
    nouns = rng.integers(0, len(NOUNS), DOCUMENTS)
    words = rng.integers(0, len(WORDS), (DOCUMENTS, 8))
    _write_products(files, nouns, words)
    _write_queries(files, nouns, words, rng)
    product_ids = [f"P{row:03d}" for row in range(DOCUMENTS)]
    write_docids(files.docids, random_codes(DOCUMENTS, SIZES), product_ids)
    tags = [[WORDS[word] for word in row[:3]] for row in words]
    write_table(files.tags, pa.table([product_ids, tags], schema=pa.schema(TAGS)))
    asked = [f"{WORDS[row[1]]} {NOUNS[noun]}" for noun, row in zip(nouns, words, strict=True)]
    write_table(PAIRS, pa.table({"product_id": product_ids, "text": asked}))
    encoder = {"kind": "tfidf_svd", "dims": DIMS, "normalize": False}
    view = ViewConfig.model_validate({"template": "{title} {description}", "encoder": encoder})
    embed(view, files.products, Outputs(files.embeddings, folder / "view.json", folder / "shards"))
    beside = QueryOutputs(folder / "view_queries.npy", folder / "view_queries.json")
    embed_queries("", Embedded(files.embeddings, files.products, files.queries), beside)
    _write_rqvae(files.rqvae)
    _write_light(files, MODELS / "light")
    for kind in ("mpnet", "t5"):
        publish(next(layout for layout in LAYOUTS if layout.kind == kind), MODELS / kind)
    return files


def _write_products(files: Corpus, nouns: np.ndarray, words: np.ndarray) -> None:
    texts = [[WORDS[word] for word in row] for row in words]
    many = np.random.default_rng(4).integers(0, 100, (DOCUMENTS, 10))
    names = [NOUNS[noun] for noun in nouns]
    values = {
        "doc_id": range(DOCUMENTS),
        "product_id": [f"P{row:03d}" for row in range(DOCUMENTS)],
        "title": [f"{own[0]} {own[1]} {name}" for own, name in zip(texts, names, strict=True)],
        "brand": [f"brand{word[0]}" for word in words],
        "color": [own[2] for own in texts],
        "bullets": [" ".join(f"word{number}" for number in row) for row in many],
        "description": [f"{own[5]} {own[6]} {own[7]} {name}" for own, name in zip(texts, names, strict=True)],
        "category_1": [("furniture", "clothing")[noun % 2] for noun in nouns],
        "category_2": names,
        "category_3": [f"{own[0]} {name}" for own, name in zip(texts, names, strict=True)],
    }
    tree = {level: [values[f"category_{one}"] for one in range(1, level + 1)] for level in (1, 2, 3)}
    first = 0
    for level, columns in tree.items():
        nodes = sorted(set(zip(*columns, strict=True)))
        values[f"category_id_{level}"] = [first + nodes.index(path) for path in zip(*columns, strict=True)]
        first += len(nodes)
    arrays = {name: pa.array(values[name], kind) for name, kind in products_columns(3).items()}
    write_table(files.products, pa.table(arrays))


def _write_queries(files: Corpus, nouns: np.ndarray, words: np.ndarray, rng: np.random.Generator) -> None:
    source = rng.choice(DOCUMENTS, ASKED, replace=False)
    texts = [f"{WORDS[words[row, 0]]} {NOUNS[nouns[row]]} {number}" for number, row in enumerate(source)]
    splits = ["test" if number % 4 == 0 else "train" for number in range(ASKED)]
    queries = [range(100, 100 + ASKED), texts, splits]
    write_table(files.queries, pa.table(queries, schema=pa.schema(QUERIES)))
    pairs = [
        (100 + number, row, "ESCI"[(number + row) % 4], splits[number], row % 3 > 0)
        for number, own in enumerate(source)
        for row in np.flatnonzero(nouns == nouns[own]).tolist()
    ]
    write_table(
        files.judgements,
        pa.table([list(column) for column in zip(*pairs, strict=True)], schema=pa.schema(JUDGEMENTS)),
    )


def _write_light(files: Corpus, folder: Path) -> None:
    """Write a light retriever of random weights for the view, of the sizes that the table of effects trains."""
    config = LightConfig(kind="light", d_model=16, num_layers=1, num_heads=2, d_ff=16)
    trained_on = {"docid_sha256": "", "vectors_sha256": ""}
    model = build_light(config, SIZES, read_embeddings(files.embeddings), trained_on, seed=9)
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "model.safetensors")
    write_json(folder / "config.json", describe(model))


def _write_rqvae(folder: Path) -> None:
    """Write an RQ-VAE of random weights for the view."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = RQVAE(Architecture(DIMS, 3, 6, 4, (8,), False, "unit", "ema", 0.99)).eval()
        with torch.no_grad():
            model.quantizer.codebooks.copy_(0.3 * torch.randn(3, 6, 4))
    folder.mkdir()
    model.save(folder / "model.safetensors", folder / "config.json", {})
