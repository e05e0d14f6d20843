"""Training examples (text, document), and the batches of an epoch.

A hash of its text decides whether a query is held out for validation. So the held-out queries do not depend on the
seed, the method or the other queries, and no held-out text is also taught under another id. Texts are compared without
case and white space (`text_key`). The test split is never read.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catid2.corpus.cleaning import text_key
from catid2.corpus.queries import read_judgements, read_queries
from catid2.runtime.errors import InputError
from catid2.runtime.tables import read_strings
from catid2.training.distributed import Group
from catid2.training.tokens import TokenTable, join, tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from catid2.config.retriever import RetrieverConfig

log = logging.getLogger(__name__)

# Examples are sorted by length within this many batches: little padding, and the order stays random enough.
BATCHES_PER_SORT = 50


class TrainQueries(NamedTuple):
    """The train queries and their relevant documents, as pairs sorted by query."""

    texts: list[str]  # (Q,)
    query: np.ndarray  # (P,) row of `texts`
    doc: np.ndarray  # (P,) doc_id
    held_out: np.ndarray  # (Q,) bool: kept for validation
    ids: np.ndarray  # (Q,) query_id

    def texts_where(self, held_out: bool) -> list[str]:
        """Return the texts of the held-out queries, or of the others."""
        return [text for text, out in zip(self.texts, self.held_out, strict=True) if out == held_out]

    def require_documents(self, documents: int, judgements: Path, unknown: str) -> None:
        """Raise InputError if a doc_id is not in 0..`documents` - 1; `unknown` is what the message says of it."""
        outside = self.doc[(self.doc < 0) | (self.doc >= documents)]
        if len(outside):
            raise InputError(judgements, f"document {outside[0]} {unknown}", "build the corpus again")

    def require_validation(self, select_by: str) -> None:
        """Raise InputError if validation is to select the model and no query is held out."""
        if select_by != "last" and not self.held_out.any():
            remedy = 'set a larger valid_share, or select_by "last"'
            raise InputError("valid_share", "no query is held out", remedy)


class Pairs(NamedTuple):
    """Texts of a file and their documents."""

    texts: list[str]  # (P,)
    doc: np.ndarray  # (P,) doc_id


class Task(NamedTuple):
    """Examples of one kind: rows start..end-1 of Examples, each used `weight` times per epoch."""

    start: int
    end: int
    weight: float


class Examples(NamedTuple):
    """Training examples: row `text[i]` of `tokens` → document `doc[i]`."""

    tokens: TokenTable
    text: np.ndarray  # (E,)
    doc: np.ndarray  # (E,)
    tasks: tuple[Task, ...]


class Validation(NamedTuple):
    """Held-out queries that have relevant documents."""

    tokens: TokenTable  # of V queries
    query: np.ndarray  # (P,) row of `tokens`, sorted
    doc: np.ndarray  # (P,) doc_id


def read_train_queries(
    queries: Path, judgements: Path, labels: tuple[str, ...], valid_share: float
) -> TrainQueries:
    """Return the queries of the train split that have a document with one of `labels`.

    Raises:
        InputError: as read_queries and read_judgements; a judgement names an unknown query; or no pairs are left.
    """
    table = read_queries(queries, "train")
    query_ids = table.column("query_id").to_numpy()
    pairs = read_judgements(judgements, "train")
    pairs = pairs.filter(pc.is_in(pairs.column("label"), value_set=pa.array(labels, pa.string())))
    if not len(pairs):
        raise InputError(
            judgements, f"no train judgement has a label of {', '.join(labels)}", "check the corpus"
        )
    judged = pairs.column("query_id").to_numpy()
    row = np.searchsorted(query_ids, judged).clip(max=max(len(query_ids) - 1, 0))
    unknown = judged[query_ids[row] != judged] if len(query_ids) else judged
    if len(unknown):
        raise InputError(
            judgements,
            f"query {unknown[0]} is not among the train queries of {queries}",
            "rebuild the corpus",
        )
    doc = pairs.column("doc_id").to_numpy()
    used, query = np.unique(row, return_inverse=True)
    by_query = np.lexsort([doc, query])
    texts = table.column("query").take(used).to_pylist()
    held_out = np.array([hashed_share(text) < valid_share for text in texts])
    return TrainQueries(texts, query[by_query], doc[by_query], held_out, query_ids[used])


def read_pairs(path: str | Path, product_ids: pa.Array, held_out: Iterable[str]) -> Pairs:
    """Return the pairs of a file with the columns product_id and text.

    Rows whose product is not in the corpus are skipped, as are rows whose text is a held-out query (`text_key`): a
    search log contains these too, and validation would use what was taught. The log has the number of both.

    Args:
        path: parquet file of a pairs task.
        product_ids: (N,) of the corpus, row = doc_id.
        held_out: texts of the held-out queries.

    Raises:
        InputError: the file cannot be used, a row has no text, or no rows are left.
    """
    table = read_strings(path, ("product_id", "text"))
    text, doc = table["text"], pc.index_in(table["product_id"], value_set=product_ids)
    blank = np.asarray(pc.equal(pc.utf8_trim_whitespace(text.fill_null("")), ""))
    if blank.any():
        raise InputError(path, f"row {blank.argmax()} has no text", "leave such rows out")
    keys = {text_key(query) for query in held_out}
    taught = np.array([text_key(asked) not in keys for asked in text.to_pylist()], bool)
    known = np.asarray(pc.is_valid(doc))
    kept = pa.array(known & taught)
    pairs = Pairs(text.filter(kept).to_pylist(), np.asarray(doc.filter(kept)).astype(np.int64))
    if not len(pairs.doc):
        what = (
            "no product of it is in the corpus"
            if doc.null_count == len(doc)
            else "all its texts are held out"
        )
        raise InputError(path, what, "give pairs of this corpus")
    log.info(
        "%s: %d of %d rows are taught, %d are of no product of the corpus, %d of held-out queries",
        path,
        len(pairs.doc),
        len(doc),
        doc.null_count,
        (known & ~taught).sum(),
    )
    return pairs


def hashed_share(text: str) -> float:
    """Return a number in [0, 1) that depends only on the `text_key` of a query's text."""
    digest = hashlib.sha256(text_key(text).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def make_examples(
    config: RetrieverConfig,
    tokenizer: PreTrainedTokenizerBase,
    queries: TrainQueries,
    documents: Sequence[str],
    pairs: Sequence[Pairs] = (),
) -> Examples:
    """Tokenise the training queries, the `documents` (row = doc_id) and the `pairs` of each pairs task.

    Documents without text are skipped.
    """
    files = iter(pairs)
    tables, texts, docs, tasks, n_texts, n_examples = [], [], [], [], 0, 0
    for task in config.tasks:
        if task.source == "query":
            tables.append(tokenize(tokenizer, queries.texts, task.prefix, config.max_query_tokens))
            kept = ~queries.held_out[queries.query]
            text, doc = queries.query[kept], queries.doc[kept]
        elif task.source == "pairs":
            of_file = next(files)
            tables.append(tokenize(tokenizer, of_file.texts, task.prefix, config.max_query_tokens))
            text, doc = np.arange(len(of_file.doc)), of_file.doc
        else:
            tables.append(tokenize(tokenizer, documents, task.prefix, config.max_document_tokens))
            text = doc = np.flatnonzero([bool(document) for document in documents])
        texts.append(text + n_texts)
        docs.append(doc)
        tasks.append(Task(n_examples, n_examples + len(text), task.weight))
        n_texts += len(tables[-1].offsets) - 1
        n_examples += len(text)
    return Examples(join(tables), np.concatenate(texts), np.concatenate(docs), tuple(tasks))


def make_validation(
    config: RetrieverConfig, tokenizer: PreTrainedTokenizerBase, queries: TrainQueries
) -> Validation:
    """Tokenise the held-out queries as `retrieve` tokenises test queries."""
    rows = np.flatnonzero(queries.held_out)
    kept = queries.held_out[queries.query]
    texts = [queries.texts[row] for row in rows]
    tokens = tokenize(tokenizer, texts, config.query_task.prefix, config.max_query_tokens)
    return Validation(tokens, np.searchsorted(rows, queries.query[kept]), queries.doc[kept])


def equal_parts(batch_size: int, ranks: int, microbatch: int | None) -> int:
    """Return the number of equal micro-batches of a step, over all ranks: the fewest of at most `microbatch` examples.

    Raises:
        InputError: the examples cannot be divided equally among the ranks.
    """
    share, rest = divmod(batch_size, ranks)
    if rest:
        raise InputError(
            "batch_size", f"{batch_size} cannot be divided among {ranks} ranks", "set a multiple"
        )
    accumulation = math.ceil(share / (microbatch or share))
    while share % accumulation:
        accumulation += 1
    return ranks * accumulation


class EpochBatches:
    """The batches of each epoch for one rank; they depend only on seed and epoch.

    The examples of a step are the same for any number of ranks and micro-batches.

    Args:
        tasks: the examples.
        lengths: of each example's text, to put texts of similar length into a batch; None for random batches.
        batch_size: examples per step, over all ranks and micro-batches; the remainder of an epoch is skipped.
        microbatch: most examples of a micro-batch (equal_parts).
        seed: of the order.
        group: this process and its peers; a rank's share of a step is every n-th micro-batch.

    Raises:
        InputError: a step has more examples than an epoch, or cannot be divided equally among the ranks.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        lengths: np.ndarray | None,
        batch_size: int,
        microbatch: int | None,
        seed: int,
        group: Group,
    ):
        self.tasks, self.lengths, self.batch_size = tasks, lengths, batch_size
        self.parts = equal_parts(batch_size, group.world_size, microbatch)
        self.seed, self.group = seed, group
        drawn = sum(round(task.weight * (task.end - task.start)) for task in tasks)
        self.steps = drawn // batch_size  # of an epoch
        if not self.steps:
            what = f"{batch_size}, but an epoch has {drawn} examples"
            raise InputError("batch_size", what, f"set it to {drawn} or less")

    def of_epoch(self, epoch: int) -> np.ndarray:
        """Return the examples of an epoch (counted from 0): (steps, micro-batches, examples)."""
        rng = np.random.default_rng([self.seed, epoch])
        rows = rng.permutation(np.concatenate([draw(task, rng) for task in self.tasks]))
        rows = rows[: self.steps * self.batch_size]
        if self.lengths is not None:
            pool = BATCHES_PER_SORT * self.batch_size
            pools = [rows[start : start + pool] for start in range(0, len(rows), pool)]
            rows = np.concatenate([part[np.argsort(self.lengths[part], kind="stable")] for part in pools])
            rows = rng.permutation(rows.reshape(self.steps, self.batch_size))
        # Micro-batch m of n has the examples m, m + n, … of a step, so that all micro-batches have similar lengths.
        parts = rows.reshape(self.steps, -1, self.parts).swapaxes(1, 2)
        return parts[:, self.group.rank :: self.group.world_size]


def draw(task: Task, rng: np.random.Generator) -> np.ndarray:
    """Return each row of a task floor(weight) times, and a random share of them once more."""
    rows = np.arange(task.start, task.end)
    whole = int(task.weight)
    more = round(task.weight * len(rows)) - whole * len(rows)
    return np.concatenate([np.tile(rows, whole), rng.choice(rows, more, replace=False)])
