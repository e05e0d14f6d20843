"""Search for products by text, with a trained T5 retriever and the DocIDs of its products."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from catid2.docids.table import Docids
from catid2.retriever.retrieve import is_light, require_taught
from catid2.retriever.t5 import load_retriever
from catid2.runtime.errors import InputError
from catid2.search.decode import Search, search
from catid2.search.trie import Trie
from catid2.training.distributed import Group
from catid2.training.tokens import tokenize

BATCH_SIZE = 16  # queries decoded together


class Hit(NamedTuple):
    """A product that was found."""

    doc_id: int  # row of corpus/products.parquet
    product_id: str
    docid: tuple[int, ...]  # (L,) the codes
    score: float  # log p(DocID | query)


class TextSearch:
    """A T5 retriever on one device.

    Args:
        retriever: folder that train_retriever wrote.
        docids: docids.parquet of the same method.
        device: such as "cuda".

    Raises:
        InputError: a file cannot be used, the retriever reads vectors instead of texts, or the files do not belong
            together.
    """

    def __init__(self, retriever: str | Path, docids: str | Path, device: str | torch.device = "cpu"):
        folder = Path(retriever)
        if is_light(folder):
            what = "a light retriever, which reads vectors instead of texts"
            raise InputError(folder, what, "name a retriever of kind t5")
        self.group = Group(device=torch.device(device))
        model, self.tokenizer = load_retriever(folder)
        table = Docids.read(docids)
        require_taught(table, model, folder)
        trie = Trie.from_codes(table.codes, model.sizes, table.doc_ids)
        columns = (table.doc_ids.tolist(), table.product_ids.to_pylist(), map(tuple, table.codes.tolist()))
        self._products = {row[0]: row for row in zip(*columns, strict=True)}
        self.retriever, self.trie = model.to(self.group.device), trie.to(self.group.device)

    def search(self, texts: Sequence[str], k: int = 10, beams: int = 100) -> list[list[Hit]]:
        """Return for each text the best `k` products, best first, or all products if there are fewer.

        Args:
            texts: queries, without the prefix that the retriever was trained with.
            k: products per query.
            beams: DocID prefixes kept at each position; at least `k` are kept.
        """
        settings = self.retriever.t5.config
        queries = tokenize(self.tokenizer, texts, settings.query_prefix, settings.max_query_tokens)
        how = Search(max(beams, k), k, BATCH_SIZE)
        found = search(self.retriever, self.trie, queries, how, self.group)
        return [
            [
                Hit(*self._products[doc_id], score)
                for doc_id, score in zip(row, scores, strict=True)
                if doc_id >= 0
            ]
            for row, scores in zip(found.doc_ids.tolist(), found.scores.tolist(), strict=True)
        ]
