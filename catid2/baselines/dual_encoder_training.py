"""Training of the dual encoder on pairs of train queries and relevant documents, with validation by exact search.

catid2.training.loop has the loop, its checkpoints and how it resumes. There are no micro-batches, because the documents
of a step are each other's negatives.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from catid2.baselines.dual_encoder import DualEncoder, build_encoder
from catid2.corpus.text import DocumentTexts
from catid2.embedding.encoders import token_batches
from catid2.runtime.checkpoint import Checkpoints, Fingerprint, code_digest, fingerprint
from catid2.runtime.progress import Progress
from catid2.search.exact_search import nearest
from catid2.search.rankings import recall
from catid2.training.distributed import Group, gather
from catid2.training.examples import EpochBatches, Examples, Task, TrainQueries, read_train_queries
from catid2.training.history import CUTOFFS
from catid2.training.loop import Training, require_own_folder
from catid2.training.tokens import TokenTable, tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from catid2.config.dual_encoder import DualEncoderConfig

BATCH_TOKENS = 16_384  # of texts encoded at once in validation, padding included


class Inputs(NamedTuple):
    """The files that training reads."""

    products: Path
    queries: Path
    judgements: Path


class Data(NamedTuple):
    """The data of training and validation."""

    queries: TrainQueries
    query_tokens: TokenTable  # of all train queries
    document_tokens: TokenTable  # row = doc_id
    examples: Examples  # text: doc_id, doc: row of the query; sorted by length of the document


def train_dual_encoder(
    config: DualEncoderConfig,
    inputs: Inputs,
    checkpoints: Path,
    output: Path,
    seed: int,
    checkpoint_seconds: float = 600.0,
    group: Group = Group(),  # noqa: B008 - immutable
) -> None:
    """Train a dual encoder and write its folder: model, tokenizer, history.tsv.

    AutoModel and AutoTokenizer load from the folder, as does a view of kind `hf`. Arguments and errors are those of
    catid2.retriever.t5_training.train_retriever.
    """
    require_own_folder(output, "encoder")
    queries = read_train_queries(inputs.queries, inputs.judgements, config.labels, config.valid_share)
    documents = DocumentTexts(inputs.products, config.template, config.max_characters)
    queries.require_documents(len(documents), inputs.judgements, f"is not in {inputs.products}")
    queries.require_validation(config.select_by)
    texts = itertools.chain(queries.texts_where(held_out=False), documents)
    encoder, tokenizer = build_encoder(config, texts, seed)
    data = make_data(config, tokenizer, queries, documents)
    saved = Checkpoints(checkpoints, run_fingerprint(config, encoder, data, seed, group.world_size))
    DualEncoderTraining(config, encoder, tokenizer, data, seed, group).run(saved, checkpoint_seconds, output)


def make_data(
    config: DualEncoderConfig,
    tokenizer: PreTrainedTokenizerBase,
    queries: TrainQueries,
    documents: Sequence[str],
) -> Data:
    """Tokenise queries and `documents` (row = doc_id), and make the pairs of the queries that are not held out."""
    query_tokens = tokenize(tokenizer, queries.texts, "", config.max_tokens)
    document_tokens = tokenize(tokenizer, documents, "", config.max_tokens)
    # A text without tokens has no vector.
    kept = ~queries.held_out[queries.query] & (document_tokens.lengths[queries.doc] > 0)
    kept &= query_tokens.lengths[queries.query] > 0
    query, doc = queries.query[kept], queries.doc[kept]
    return Data(
        queries,
        query_tokens,
        document_tokens,
        Examples(document_tokens, doc, query, (Task(0, len(doc), 1.0),)),
    )


def run_fingerprint(
    config: DualEncoderConfig, encoder: PreTrainedModel, data: Data, seed: int, ranks: int
) -> Fingerprint:
    """Return everything that the result of training depends on: settings, code, ranks, data, initial weights."""
    settings = {
        "config": config.model_dump(mode="json", exclude={"pretrained", "revision"}),  # the weights count
        "seed": seed,
        "ranks": ranks,  # their number changes dropout
        "code": code_digest(__file__),
    }
    weights = [parameter.detach().cpu().numpy() for parameter in encoder.parameters()]
    arrays = [*data.query_tokens, *data.document_tokens, data.examples.text, data.examples.doc]
    arrays += [data.queries.query, data.queries.doc, data.queries.held_out]
    return settings | {"data": fingerprint({}, *arrays), "first weights": fingerprint({}, *weights)}


class DualEncoderTraining(Training):
    """Training of a DualEncoder."""

    def __init__(
        self,
        config: DualEncoderConfig,
        encoder: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        data: Data,
        seed: int,
        group: Group,
    ):
        self.data, self.tokenizer = data, tokenizer
        examples = data.examples
        lengths = examples.tokens.lengths[examples.text]
        batches = EpochBatches(examples.tasks, lengths, config.batch_size, None, seed, group)
        pairs = np.stack([data.queries.query, data.queries.doc], axis=1).astype(np.int64)
        super().__init__(config, DualEncoder(encoder, config, pairs, group), batches, seed, group)

    def batch(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the padded tokens, and the numbers, of pairs of a query and a document."""
        doc, query = self.data.examples.text[rows], self.data.examples.doc[rows]
        queries = self.data.query_tokens.batch(query, self._padding)
        documents = self.data.document_tokens.batch(doc, self._padding)
        return {
            "query_ids": queries.input_ids,
            "query_mask": queries.attention_mask,
            "document_ids": documents.input_ids,
            "document_mask": documents.attention_mask,
            "query": torch.from_numpy(query.astype(np.int64)),
            "document": torch.from_numpy(doc.astype(np.int64)),
        }

    @property
    def _padding(self) -> int:
        return self.model.encoder.config.pad_token_id or 0  # masked, so any will do

    def validate(self) -> dict[int, float]:
        """Return recall@k over the held-out queries, searched among all documents; the same on every rank."""
        queries = self.data.queries
        rows = np.flatnonzero(queries.held_out)
        if not len(rows):
            return {}
        kept = queries.held_out[queries.query]
        documents = self._encode(
            self.data.document_tokens, np.arange(len(self.data.document_tokens.offsets) - 1)
        )
        own = self._encode(self.data.query_tokens, rows)[self.group.shard(len(rows))]
        found = torch.from_numpy(nearest(own, documents, max(CUTOFFS), self.group.device).doc_ids)
        doc_ids = gather(found.to(self.group.device), len(rows), self.group).cpu().numpy()
        query, doc = np.searchsorted(rows, queries.query[kept]), queries.doc[kept]
        return {k: recall(doc_ids, query, doc, k) for k in CUTOFFS}

    def _encode(self, tokens: TokenTable, rows: np.ndarray) -> np.ndarray:
        """Return the vectors (n, d) float16 of the texts `rows` (n,), ascending; each rank encodes a share.

        A text without tokens gets the zero vector, as in catid2.embedding.encoders.
        """
        by_length = rows[np.argsort(tokens.lengths[rows], kind="stable")]
        # Every rank gets long and short texts alike.
        order = np.concatenate(
            [by_length[rank :: self.group.world_size] for rank in range(self.group.world_size)]
        )
        own = order[self.group.shard(len(order))]
        vectors = torch.zeros(
            len(own), self.model.encoder.config.hidden_size, dtype=torch.float16, device=self.group.device
        )
        cuda = self.group.device.type == "cuda"
        with (
            torch.inference_mode(),
            torch.autocast(self.group.device.type, torch.bfloat16, enabled=cuda),
            Progress(desc="embed", total=len(own), unit=" texts") as progress,
        ):
            for batch in token_batches(tokens.lengths[own], BATCH_TOKENS):
                progress.update(len(batch))
                batch = batch[tokens.lengths[own[batch]] > 0]
                if len(batch):
                    texts = tokens.batch(own[batch], self._padding).to(self.group.device)
                    vectors[batch] = self.model.vectors(texts).half()
        return gather(vectors, len(order), self.group).cpu().numpy()[np.argsort(order)]

    def write(self, folder: Path) -> None:
        """Write encoder and tokenizer in the format of Hugging Face."""
        self.model.encoder.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
