"""Make an index of a trained method: one folder that can be copied anywhere and searched there."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import NamedTuple

from catid2.baselines.bm25 import Bm25Index
from catid2.config.index import IndexSettings
from catid2.corpus.text import DocumentTexts
from catid2.index.card import CARD, figures_of, model_card
from catid2.index.encoder import save_encoder
from catid2.index.folder import (
    BM25,
    DOCIDS,
    PRODUCTS,
    RETRIEVER,
    RQVAE,
    VECTORS,
    write_settings,
)
from catid2.retriever.retrieve import Corpus, load
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_embeddings
from catid2.runtime.writing import atomic
from catid2.training.distributed import CPU

log = logging.getLogger(__name__)


class Parts(NamedTuple):
    """What a method has made: its retriever's folder, and the folder of its RQ-VAE if it has one."""

    retriever: Path
    rqvae: Path | None


def export_index(
    config: IndexSettings, parts: Parts, corpus: Corpus, output: Path, recall: Path | None = None
) -> None:
    """Write the index of a method to the folder `output`.

    Args:
        config: the method's settings.
        parts: its models.
        corpus: its DocIDs, products, queries, and vectors (VIEW.npy).
        output: the folder.
        recall: where recall.tsv is or will be; if it is newer than the retriever, the model card has its figures.

    Raises:
        InputError: a file cannot be used, or the files do not belong together.
    """
    loaded = load(config.retrieve, parts.retriever, corpus, CPU)  # checks that they belong together
    if corpus.embeddings is None:
        raise InputError("--embeddings", "missing", "name the vectors of the documents, VIEW.npy")
    read_embeddings(corpus.embeddings, rows=len(loaded.trie))
    figures: list[dict] = []
    if recall and _is_newer(recall, parts.retriever):
        figures = figures_of(recall, config.dataset, config.method, config.seed)
    with atomic(output) as folder:
        folder.mkdir()
        for source, name in (
            (corpus.products, PRODUCTS),
            (corpus.docids, DOCIDS),
            (corpus.embeddings, VECTORS),
        ):
            shutil.copyfile(source, folder / name)
        shutil.copytree(parts.retriever, folder / RETRIEVER)
        if parts.rqvae:
            shutil.copytree(parts.rqvae, folder / RQVAE, ignore=shutil.ignore_patterns("*.tsv"))
        save_encoder(folder, config.view, corpus.embeddings, corpus.products)
        save_bm25(folder, config)
        (folder / CARD).write_text(model_card(config, loaded.retriever.kind, figures), "utf-8")
        write_settings(folder, config)
    log.info("%s: %d documents", output, len(loaded.trie))


def _is_newer(recall: Path, retriever: Path) -> bool:
    """Return whether there is a recall.tsv made after the retriever: an older one is of another retriever."""
    trained = max(path.stat().st_mtime_ns for path in retriever.iterdir())
    return recall.is_file() and recall.stat().st_mtime_ns > trained


def save_bm25(folder: Path, config: IndexSettings) -> None:
    """Index the products of the index in `folder` for `--with bm25`."""
    texts = DocumentTexts(folder / PRODUCTS, config.bm25.template, config.bm25.max_characters)
    Bm25Index.build(texts, config.bm25).save(folder / BM25)
