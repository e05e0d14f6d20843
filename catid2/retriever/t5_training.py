"""Training of the T5 retriever, with validation by beam search.

catid2.training.loop has the loop, its checkpoints and how it resumes.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from catid2.corpus.text import DocumentTexts
from catid2.docids.table import Docids
from catid2.retriever.t5 import DocIDRetriever, build_retriever
from catid2.retriever.validation import validate
from catid2.runtime.checkpoint import Checkpoints, Fingerprint, code_digest, fingerprint
from catid2.runtime.gpu import compile_blocks, uncompiled
from catid2.runtime.tables import read_table
from catid2.search.trie import Trie
from catid2.training.distributed import Group
from catid2.training.examples import (
    EpochBatches,
    Examples,
    Pairs,
    TrainQueries,
    Validation,
    make_examples,
    make_validation,
    read_pairs,
    read_train_queries,
)
from catid2.training.loop import Training, require_own_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from catid2.config.retriever import RetrieverConfig


COMPILED = 5_000  # steps for which compiling pays: it takes a minute, and gains 10 ms and more of a step


class Inputs(NamedTuple):
    """The files that training reads."""

    products: Path
    queries: Path
    judgements: Path
    docids: Path


class Data(NamedTuple):
    """The data of training and validation."""

    examples: Examples
    validation: Validation
    codes: np.ndarray  # (N, L) int64, row = doc_id
    trie: Trie


def train_retriever(
    config: RetrieverConfig,
    inputs: Inputs,
    checkpoints: Path,
    output: Path,
    seed: int,
    checkpoint_seconds: float = 600.0,
    group: Group = Group(),  # noqa: B008 - immutable
    queries: TrainQueries | None = None,
) -> None:
    """Train a retriever and write its folder: model, tokenizer, history.tsv.

    Args:
        config: model, tasks and schedule.
        inputs: corpus and DocIDs.
        checkpoints: folder for the state of the run; removed once the output is written.
        output: folder to write; AutoModelForSeq2SeqLM and AutoTokenizer load from it.
        seed: of weights, order and dropout.
        checkpoint_seconds: least time between two checkpoints within an epoch, in seconds.
        group: this process and its peers; all other arguments are the same on every rank.
        queries: the queries to teach and to hold out; None leaves the choice to the settings. Cross-validation
            passes its own.

    Raises:
        InputError: an input cannot be used, or does not fit the others or the config; `checkpoints` holds other files
            or cannot be written; or the training diverged.
        SystemExit: 143 (TERM) or 130 (INT), after the state is saved, if any rank was asked to stop.
    """
    require_own_folder(output, "retriever")
    docids = Docids.read(inputs.docids)
    docids.require_documents(inputs.products)
    trie = Trie.from_codes(docids.codes, docids.sizes, docids.doc_ids)
    if queries is None:
        labels = config.query_task.labels
        queries = read_train_queries(inputs.queries, inputs.judgements, labels, config.valid_share)
    documents = _document_texts(config, inputs.products)
    queries.require_documents(len(docids.codes), inputs.judgements, "has no DocID")
    texts = itertools.chain(queries.texts_where(held_out=False), documents)
    retriever, tokenizer = build_retriever(config, docids.sizes, texts, seed)
    retriever.t5.config.docid_sha256 = docids.digest
    data = Data(
        make_examples(config, tokenizer, queries, documents, _pairs(config, inputs.products, queries)),
        make_validation(config, tokenizer, queries),
        docids.codes.astype(np.int64),
        trie,
    )
    queries.require_validation(config.select_by)
    saved = Checkpoints(checkpoints, run_fingerprint(config, retriever, data, seed, group.world_size))
    RetrieverTraining(config, retriever, tokenizer, data, seed, group).run(saved, checkpoint_seconds, output)


def run_fingerprint(
    config: RetrieverConfig, retriever: DocIDRetriever, data: Data, seed: int, ranks: int
) -> Fingerprint:
    """Return everything that the result of training depends on: settings, code, ranks, data, initial weights."""
    settings = {
        "config": config.model_dump(mode="json", exclude={"pretrained", "revision"}),  # the weights count
        "seed": seed,
        "ranks": ranks,  # their number changes micro-batches and dropout
        "code": code_digest(__file__),
        "docids": retriever.t5.config.docid_sha256,
    }
    weights = [parameter.detach().cpu().numpy() for parameter in retriever.parameters()]
    examples, validation = data.examples, data.validation
    arrays = [*examples.tokens, *validation.tokens, examples.text, examples.doc]
    arrays += [validation.query, validation.doc, data.codes]
    return settings | {"data": fingerprint({}, *arrays), "first weights": fingerprint({}, *weights)}


def _pairs(config: RetrieverConfig, products: Path, queries: TrainQueries) -> list[Pairs]:
    """Read the files of the pairs tasks."""
    if not config.pairs_files:
        return []
    product_ids = read_table(products, {"product_id": pa.string()})["product_id"].combine_chunks()
    held_out = queries.texts_where(held_out=True)
    return [read_pairs(path, product_ids, held_out) for path in config.pairs_files]


def _document_texts(config: RetrieverConfig, products: Path) -> DocumentTexts:
    """Return the text of every document by the document task's template; without that task, its title."""
    template = next((task.template for task in config.tasks if task.source == "document"), "{title}")
    # Far more characters than fit into the tokens: the tokenizer need not read text that is cut afterwards.
    return DocumentTexts(products, template, 16 * config.max_document_tokens)


class RetrieverTraining(Training):
    """Training of a DocIDRetriever."""

    def __init__(
        self,
        config: RetrieverConfig,
        retriever: DocIDRetriever,
        tokenizer: PreTrainedTokenizerBase,
        data: Data,
        seed: int,
        group: Group,
    ):
        self.data, self.tokenizer = data, tokenizer
        examples, sizes = data.examples, (config.batch_size, config.microbatch)
        lengths = examples.tokens.lengths[examples.text]
        batches = EpochBatches(examples.tasks, lengths, *sizes, seed, group)
        if config.epochs * batches.steps >= COMPILED:
            compile_blocks(retriever.t5, group.device)
        super().__init__(config, retriever, batches, seed, group)

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the texts, padded, and their target DocIDs."""
        examples = self.data.examples
        texts = self.model.batch(examples.tokens, examples.text[rows])
        return texts._asdict() | {"codes": torch.from_numpy(self.data.codes[examples.doc[rows]])}

    def validate(self) -> dict[int, float]:
        """Return recall@k over the held-out queries, the same on every rank."""
        held_out = self.data.validation
        pairs, beams = (held_out.query, held_out.doc), self.config.valid_beams
        # In float32 and without gradients, blocks would be compiled again.
        with uncompiled(self.group.device):
            return validate(self.model, self.data.trie, held_out.tokens, pairs, beams, self.group)

    def write(self, folder: Path) -> None:
        """Write model and tokenizer in the format of Hugging Face."""
        self.model.t5.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
