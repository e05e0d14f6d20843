"""A tiny light retriever, and a tiny corpus whose queries and documents have vectors."""

from pathlib import Path

import numpy as np
import torch
from retriever_case import Case, write_case

from catid2.config.embed import ViewConfig
from catid2.config.retriever import LightConfig
from catid2.embedding.documents import Outputs, embed
from catid2.embedding.queries import Corpus, embed_queries
from catid2.embedding.queries import Outputs as QueryOutputs
from catid2.retriever.light import LightRetriever, build_light
from catid2.retriever.light_training import Inputs, train_light

DIMS = 6
SMALL = LightConfig(
    kind="light",
    d_model=16,
    num_heads=2,
    d_ff=32,
    epochs=4,
    batch_size=16,
    learning_rate=0.01,
    valid_share=0.25,
    valid_beams=20,
    valid_every=2,
    select_by="recall@10",
)


def random_light(sizes: tuple[int, ...], query_tokens: int = 1, seed: int = 0) -> LightRetriever:
    """Return an untrained model, in eval mode."""
    config = SMALL.model_copy(update={"query_tokens": query_tokens})
    documents = np.random.default_rng(seed).standard_normal((30, DIMS)).astype(np.float16)
    return build_light(config, sizes, documents, {"docid_sha256": "d", "vectors_sha256": "v"}, seed).eval()


def random_vectors(queries: int, seed: int = 1) -> torch.Tensor:
    """Return vectors of queries, (queries, DIMS)."""
    return torch.randn((queries, DIMS), generator=torch.Generator().manual_seed(seed))


def write_light_case(folder: Path) -> Inputs:
    """Write a tiny corpus with DocIDs, and the vectors of its titles and queries."""
    case: Case = write_case(folder)
    return Inputs(*case, embed_case(case, folder))


def embed_case(case: Case, folder: Path) -> Path:
    """Write the vectors of a corpus's titles and queries into `folder`; return the matrix of the documents."""
    folder.mkdir(exist_ok=True)
    matrix = folder / "view.npy"
    encoder = {"kind": "tfidf_svd", "dims": DIMS}
    view = ViewConfig.model_validate({"template": "{title}", "encoder": encoder})
    embed(view, case.products, Outputs(matrix, folder / "view.json", folder / "shards"))
    beside = QueryOutputs(folder / "view_queries.npy", folder / "view_queries.json")
    embed_queries("", Corpus(matrix, case.products, case.queries), beside)
    return matrix


def train(config: LightConfig, inputs: Inputs, folder: Path, **options: float) -> Path:
    """Train in this process; return the retriever's folder."""
    train_light(config, inputs, folder / "checkpoints", folder / "retriever", seed=1, **options)
    return folder / "retriever"


def trained_bytes(config: LightConfig, inputs: Inputs, folder: Path, **options: float) -> dict[str, bytes]:
    """Train in this process; return the bytes of the folder."""
    retriever = train(config, inputs, folder, **options)
    return {path.name: path.read_bytes() for path in retriever.iterdir()}
