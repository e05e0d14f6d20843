"""Embed the catalogue: the text of every product under a view becomes a row of a float16 matrix.

A transformer processes shards, which are fixed ranges of documents. Each shard is a file, written atomically, so a run
that was killed resumes after its last shard. Ranks do not communicate: each takes every world-size-th shard, and the
first rank joins them. Batches never cross shards, so the rows depend neither on the number of ranks nor on
interruptions.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0

from catid2.corpus.text import DocumentTexts
from catid2.runtime.contents import file_sha256
from catid2.runtime.errors import InputError
from catid2.runtime.progress import Progress
from catid2.runtime.ranks import Ranks, read_ranks
from catid2.runtime.tables import read_embeddings, require_file, write_json
from catid2.runtime.writing import aside_pattern, atomic

if TYPE_CHECKING:
    from catid2.config.embed import ViewConfig

log = logging.getLogger(__name__)

_SHARD = r"shard-\d{9}\.npy"


class Outputs(NamedTuple):
    """Where `embed` writes: the matrix (.npy), its description (.json), and the folder of temporary shards."""

    matrix: Path
    metadata: Path
    checkpoints: Path


COMPILED = 300_000  # documents for which compiling pays: T5-base encodes 280,000 in a minute (H100)


class Batching(NamedTuple):
    """How a transformer's work is divided: tokens per batch (padding included), documents per shard.

    65,536 tokens need a few GB with a base-size encoder in bfloat16. 8,192 documents take seconds on a GPU and minutes
    on a CPU, and are enough to form batches of similar lengths.
    """

    tokens: int = 65_536
    shard: int = 8192


def embed(
    config: ViewConfig, products: Path, outputs: Outputs, seed: int = 0, batching: Batching | None = None
) -> None:
    """Write the (N, d) float16 matrix of a view, row = doc_id, and its description.

    Args:
        config: template and encoder.
        products: corpus/products.parquet.
        outputs: files to write, and the folder for shards, which are removed at the end.
        seed: of the randomised SVD of `tfidf_svd`; a transformer ignores it.
        batching: for a transformer; None for the default.

    Raises:
        InputError: the products, the template or the encoder cannot be used; the folder for shards holds other
            files; a document's vector is not finite in float16.
    """
    texts = DocumentTexts(products, config.template, config.max_characters)
    ranks = read_ranks()
    if config.encoder.kind == "hf":
        _embed_transformer(config, products, texts, outputs, ranks, batching or Batching())
    elif ranks.rank == 0:  # the SVD runs in one process
        _embed_tfidf_svd(config, products, texts, outputs, seed)


def _embed_tfidf_svd(
    config: ViewConfig, products: Path, texts: DocumentTexts, outputs: Outputs, seed: int
) -> None:
    from catid2.embedding.lsa import tfidf_svd  # a GPU node may lack scikit-learn

    lsa = tfidf_svd(texts, config.encoder, seed)

    def blocks() -> Iterator[np.ndarray]:
        first = 0
        for block in lsa.vectors:
            vectors = block.astype(np.float16)
            require_finite(vectors, products, first)
            first += len(vectors)
            yield vectors

    details = {
        "encoder": "tfidf_svd",
        "pooling": None,
        "seed": seed,
        "features": lsa.features,
        "explained_variance": round(lsa.explained_variance, 6),
        "empty_texts": texts.count(""),
        "versions": _versions("numpy", "scikit-learn"),
    }
    _write(config, outputs, blocks(), len(texts), details)


def _embed_transformer(
    config: ViewConfig,
    products: Path,
    texts: DocumentTexts,
    outputs: Outputs,
    ranks: Ranks,
    batching: Batching,
) -> None:
    import torch  # tfidf_svd does not need it

    from catid2.embedding.encoders import TransformerEncoder
    from catid2.runtime.checkpoint import Runs, code_digest
    from catid2.runtime.gpu import compile_blocks

    runs = Runs(outputs.checkpoints, f"{_SHARD}|{aside_pattern(_SHARD)}")
    with _group(ranks) as barrier:
        device = torch.device("cuda", ranks.local) if torch.cuda.is_available() else torch.device("cpu")
        encoder = TransformerEncoder(config.encoder, device, batching.tokens)
        made_with = {
            "identity": encoder.identity,
            "precision": "bfloat16" if device.type == "cuda" else "float32",
            "versions": _versions(
                *("numpy", "tokenizers", "torch", "transformers"),
                *(["sentence-transformers"] if config.encoder.pooling == "modules" else []),
            ),
        }
        fingerprint = _fingerprint(config, products, made_with, batching.shard, code_digest(__file__))
        if ranks.rank == 0:
            runs.begin(fingerprint)
        starts = range(0, len(texts), batching.shard)
        shards = [runs.folder_of(fingerprint) / f"shard-{start:09d}.npy" for start in starts]
        own = list(zip(starts, shards, strict=True))[ranks.rank :: ranks.world_size]
        missing = [(start, shard) for start, shard in own if not shard.exists()]
        if len(missing) < len(own):
            log.info("%d of %d shards are taken from %s", len(own) - len(missing), len(own), runs.folder)
        sizes = [min(batching.shard, len(texts) - start) for start, _ in missing]
        if sum(sizes) >= COMPILED:
            compile_blocks(encoder.model, device)
        with Progress(desc="embed", total=sum(sizes), unit=" documents") as progress:
            for start, shard in missing:
                vectors = encoder.encode(texts[start : start + batching.shard], progress)
                require_finite(vectors, products, start)
                with atomic(shard) as aside:
                    np.save(aside, vectors)
        if device.type == "cuda":
            log.info("peak GPU memory %.1f GiB", torch.cuda.max_memory_allocated(device) / 2**30)
        barrier()
    if ranks.rank == 0:
        details = {
            "encoder": config.encoder.model,
            "pooling": config.encoder.pooling,
            "empty_texts": texts.count(""),
        }
        _write(config, outputs, map(read_embeddings, shards), len(texts), details | made_with)
        runs.remove()


def require_finite(vectors: np.ndarray, products: Path, first: int) -> None:
    """Raise InputError if a vector holds an inf or a NaN; row 0 is document `first`."""
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        what = f"the embedding of doc_id {first + bad[0]} is not finite in float16 ({len(bad)} such rows)"
        raise InputError(products, what, "set encoder.normalize, or use another encoder")


def _write(
    config: ViewConfig, outputs: Outputs, blocks: Iterable[np.ndarray], documents: int, details: dict
) -> None:
    """Join blocks of rows into the matrix and write it with its description, both or neither."""
    with atomic(outputs.matrix, outputs.metadata) as (matrix_aside, metadata_aside):
        blocks = iter(blocks)
        first = next(blocks)
        shape = (documents, first.shape[1])
        # Not memory-mapped: on a full disk a write to a mapped page kills the process without a message.
        with matrix_aside.open("wb") as file:
            descr = dtype_to_descr(np.dtype(np.float16))
            write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
            for block in itertools.chain([first], blocks):
                file.write(np.ascontiguousarray(block))
        size = {"documents": documents, "dims": shape[1]}
        write_json(metadata_aside, size | details | {"view": config.model_dump()})
    log.info("%s: %d documents, %d dimensions, %s", outputs.matrix, *shape, details["encoder"])


def _fingerprint(
    config: ViewConfig, products: Path, made_with: dict[str, Any], shard: int, code: dict[str, str]
) -> dict[str, Any]:
    """Return everything that the rows of a shard depend on; the tokens per batch change only their rounding."""
    settings = config.model_dump(exclude={"encoder": {"model", "revision"}})  # its identity is in `made_with`
    return {
        "config": settings,
        "products": file_sha256(require_file(products)),
        "made with": made_with,
        "shard": shard,
        "code": code,
    }


def _versions(*packages: str) -> dict[str, str]:
    return {package: version(package) for package in packages}


@contextlib.contextmanager
def _group(ranks: Ranks) -> Iterator[Callable[[], None]]:
    """Yield a barrier among the ranks. Gloo is enough on any device, because ranks share only files."""
    if ranks.world_size == 1:
        yield lambda: None
        return
    import torch.distributed

    # A rank may wait for another that is hours behind; the death of a rank still ends the wait at once.
    torch.distributed.init_process_group("gloo", timeout=timedelta(days=2))
    try:
        yield torch.distributed.barrier
    finally:
        torch.distributed.destroy_process_group()
