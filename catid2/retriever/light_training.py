"""Training of the light retriever on query vector → DocID and document vector → DocID.

catid2.training.loop has the loop, its checkpoints and how it resumes. Training runs in one process: an epoch of 20,000
documents takes seconds.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from catid2.docids.table import Docids
from catid2.embedding.vectors import read_vectors
from catid2.retriever.light import LightRetriever, QueryVectors, build_light, describe
from catid2.retriever.validation import validate
from catid2.runtime.checkpoint import Checkpoints, code_digest, fingerprint
from catid2.runtime.ranks import read_ranks
from catid2.runtime.tables import write_json
from catid2.search.trie import Trie
from catid2.training.distributed import Group
from catid2.training.examples import EpochBatches, Task, TrainQueries, read_train_queries
from catid2.training.loop import Training, require_own_folder

if TYPE_CHECKING:
    from catid2.config.retriever import LightConfig


class Inputs(NamedTuple):
    """The files that training reads; the files next to `embeddings` (VIEW.npy) are as in catid2.embedding.vectors."""

    products: Path
    queries: Path
    judgements: Path
    docids: Path
    embeddings: Path


class Data(NamedTuple):
    """The data of training and validation: example i is `source[i]` → document `doc[i]`."""

    queries: np.ndarray  # (Q, dims) float16: of the train split
    documents: np.ndarray  # (N, dims) float16
    source: np.ndarray  # (E,) row of the vectors of queries and documents, one after the other
    doc: np.ndarray  # (E,)
    tasks: tuple[Task, ...]
    codes: np.ndarray  # (N, L) int64, row = doc_id
    trie: Trie
    held_out: QueryVectors  # for validation
    pairs: tuple[np.ndarray, np.ndarray]  # row of held_out, sorted, and doc_id of each relevant pair
    trained_on: dict[str, str]  # see LightRetriever


def train_light(
    config: LightConfig,
    inputs: Inputs,
    checkpoints: Path,
    output: Path,
    seed: int,
    checkpoint_seconds: float = 600.0,
    queries: TrainQueries | None = None,
) -> None:
    """Train a light retriever and write its folder: model.safetensors, config.json, history.tsv.

    Of several ranks the first trains alone; the others return at once. Arguments and errors are those of
    catid2.retriever.t5_training.train_retriever.
    """
    if read_ranks().rank:
        return
    require_own_folder(output, "retriever")
    data = read_data(config, inputs, queries)
    model = build_light(config, data.trie.sizes, data.documents, data.trained_on, seed)
    settings = {"config": config.model_dump(mode="json", exclude={"pretrained"})}  # the weights count
    settings |= {"seed": seed, "code": code_digest(__file__)}
    # The vectors are included because vectors_sha256 covers only their description, which does not depend on the texts.
    vectors = [data.queries, data.documents, data.held_out.matrix]
    arrays = [*vectors, data.source, data.doc, data.codes, *data.pairs]
    weights = [tensor.numpy() for tensor in model.state_dict().values()]
    settings |= {"data": fingerprint({}, *arrays), "first weights": fingerprint({}, *weights)}
    state = Checkpoints(checkpoints, settings | data.trained_on)
    LightTraining(config, model, data, seed).run(state, checkpoint_seconds, output)


def read_data(config: LightConfig, inputs: Inputs, queries: TrainQueries | None = None) -> Data:
    """Return examples and validation queries; arguments and errors as in train_light."""
    docids = Docids.read(inputs.docids)
    docids.require_documents(inputs.products)
    codes = docids.codes
    vectors = read_vectors(inputs.embeddings, inputs.queries, len(codes))
    if queries is None:
        queries = read_train_queries(inputs.queries, inputs.judgements, config.labels, config.valid_share)
    queries.require_documents(len(codes), inputs.judgements, "has no DocID")
    queries.require_validation(config.select_by)
    held_out = queries.held_out[queries.query]  # (P,)
    rows = np.flatnonzero(queries.held_out)
    own, documents = vectors.of_queries(queries.ids), np.arange(len(codes))
    asked = int((~held_out).sum())
    return Data(
        queries=own,
        documents=vectors.documents,
        source=np.concatenate([queries.query[~held_out], len(own) + documents]),
        doc=np.concatenate([queries.doc[~held_out], documents]),
        tasks=(
            Task(0, asked, config.query_weight),
            Task(asked, asked + len(documents), config.document_weight),
        ),
        codes=codes.astype(np.int64),
        trie=Trie.from_codes(codes, docids.sizes, docids.doc_ids),
        held_out=QueryVectors(own[rows]),
        pairs=(np.searchsorted(rows, queries.query[held_out]), queries.doc[held_out]),
        trained_on={"docid_sha256": docids.digest, "vectors_sha256": vectors.sha256},
    )


class LightTraining(Training):
    """Training of a LightRetriever."""

    def __init__(self, config: LightConfig, model: LightRetriever, data: Data, seed: int):
        group = Group(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        batches = EpochBatches(data.tasks, None, config.batch_size, None, seed, group)
        super().__init__(config, model, batches, seed, group)
        self.data = data
        self.vectors = torch.from_numpy(np.concatenate([data.queries, data.documents])).to(group.device)
        self.codes = torch.from_numpy(data.codes).to(group.device)

    def batch(self, rows: np.ndarray) -> dict[str, Tensor]:
        """Return the vectors and their target DocIDs."""
        source, doc = (torch.from_numpy(part[rows]) for part in (self.data.source, self.data.doc))
        vectors = self.vectors[source.to(self.group.device)].float()
        return {"vectors": vectors, "codes": self.codes[doc.to(self.group.device)]}

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step: a linear rise (above 0 in the first step), then a cosine to 0."""
        total = self.config.epochs * self.batches.steps
        rise = math.ceil(self.config.warmup * total)
        if step < rise:
            return self.config.learning_rate * (step + 1) / rise
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / (total - rise)))

    def validate(self) -> dict[int, float]:
        """Return recall@k over the held-out queries."""
        data = self.data
        return validate(self.model, data.trie, data.held_out, data.pairs, self.config.valid_beams, self.group)

    def write(self, folder: Path) -> None:
        """Write weights and config.json."""
        save_file(self.model.state_dict(), folder / "model.safetensors")
        write_json(folder / "config.json", describe(self.model))
