"""Training the light retriever: query vector → DocID and document vector → DocID, validation, exact resume.

Everything random is drawn from (seed, epoch, step), so the state to resume from is weights, optimiser, the best
weights so far and the rows of the history. One process does it: an epoch of 20,000 documents takes seconds.
"""

from __future__ import annotations

import logging
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from catid2.docids.table import docids_digest, read_docids, require_same_documents
from catid2.embedding.vectors import read_vectors
from catid2.retriever.light import LightRetriever, QueryVectors, build_light, describe
from catid2.retriever.validation import validate
from catid2.runtime.checkpoint import (
    Checkpoints,
    State,
    code_digest,
    fingerprint,
    restore_tensors,
    tensors_of,
)
from catid2.runtime.complete import list_files
from catid2.runtime.errors import InputError
from catid2.runtime.stopping import deferred_stop
from catid2.runtime.tables import write_json
from catid2.runtime.writing import atomic
from catid2.search.trie import Trie
from catid2.training.distributed import Group
from catid2.training.examples import Task, draw, read_train_queries
from catid2.training.history import history

if TYPE_CHECKING:
    from catid2.config.retriever import LightConfig

log = logging.getLogger(__name__)

_BEST = "best."  # before the names of the best weights in a state


class Inputs(NamedTuple):
    """The files that training reads; `embeddings` is VIEW.npy, with the files of catid2.embedding.vectors beside it."""

    products: Path
    queries: Path
    judgements: Path
    docids: Path
    embeddings: Path


class Data(NamedTuple):
    """What training runs on: example i is `source[i]` → document `doc[i]`."""

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
) -> None:
    """Train a light retriever and write its folder: model.safetensors, config.json, history.tsv.

    Of several ranks the first does it all, the others return at once.

    Args:
        config: model, tasks and schedule.
        inputs: corpus, DocIDs and the vectors of a view.
        checkpoints: folder for the state of the run, removed when the output is written.
        output: folder to write.
        seed: of weights, order and dropout.
        checkpoint_seconds: a state is saved after the next step when the last is that old, in seconds.

    Raises:
        InputError: an input cannot be used, or does not fit the others or the config; `checkpoints` holds
            something else; or the training diverged.
        SystemExit: 143 (TERM) or 130 (INT), when asked to stop and the state is saved.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    if output.is_dir() and any(output.iterdir()) and not (output / "history.tsv").is_file():
        raise InputError(output, "holds files that are no retriever", "name an empty folder")
    data = read_data(config, inputs)
    model = build_light(config, data.trie.sizes, data.documents, data.trained_on, seed)
    settings = {"config": config.model_dump(mode="json"), "seed": seed, "code": code_digest(__file__)}
    # The vectors themselves, too: vectors_sha256 covers their description, which does not change with the texts.
    vectors = [data.queries, data.documents, data.held_out.matrix]
    arrays = [*vectors, data.source, data.doc, data.codes, *data.pairs]
    state = Checkpoints(checkpoints, settings | data.trained_on | {"data": fingerprint({}, *arrays)})
    training = Training(config, model, data, seed)
    training.run(state, checkpoint_seconds)
    with atomic(output) as aside:
        aside.mkdir()
        save_file(training.best, aside / "model.safetensors")
        write_json(aside / "config.json", describe(model))
        (aside / "history.tsv").write_text(history(training.rows, training.best_step), encoding="utf-8")
        list_files(aside)
    state.remove()


def read_data(config: LightConfig, inputs: Inputs) -> Data:
    """Return examples and validation queries; errors as train_light."""
    require_same_documents(inputs.docids, inputs.products)
    doc_ids, codes = read_docids(inputs.docids)
    sizes = tuple(int(size) for size in codes.max(axis=0) + 1)
    vectors = read_vectors(inputs.embeddings, inputs.queries, len(codes))
    queries = read_train_queries(inputs.queries, inputs.judgements, config.labels, config.valid_share)
    unknown = queries.doc[(queries.doc < 0) | (queries.doc >= len(codes))]
    if len(unknown):
        raise InputError(inputs.judgements, f"document {unknown[0]} has no DocID", "build the corpus again")
    held_out = queries.held_out[queries.query]  # (P,)
    rows = np.flatnonzero(queries.held_out)
    if config.select_by != "last" and not len(rows):
        raise InputError(
            "valid_share", "no query is held out", 'set a larger valid_share, or select_by "last"'
        )
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
        trie=Trie.from_codes(codes, sizes, doc_ids),
        held_out=QueryVectors(own[rows]),
        pairs=(np.searchsorted(rows, queries.query[held_out]), queries.doc[held_out]),
        trained_on={"docid_sha256": docids_digest(inputs.docids), "vectors_sha256": vectors.sha256},
    )


class Training:
    """Model, optimiser, data and history of one run.

    Attributes:
        step: how many steps have been taken.
        rows: of history.tsv so far.
        best: the weights that validated best, those of `best_step`, with `best_value`; on the CPU.
    """

    def __init__(self, config: LightConfig, model: LightRetriever, data: Data, seed: int):
        self.config, self.data, self.seed = config, data, seed
        self.group = Group(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.group.device)
        vectors = np.concatenate([data.queries, data.documents])
        self.vectors = torch.from_numpy(vectors).to(self.group.device)
        self.codes = torch.from_numpy(data.codes).to(self.group.device)
        drawn = sum(round(task.weight * (task.end - task.start)) for task in data.tasks)
        self.steps = drawn // config.batch_size  # of an epoch; its remainder is left out
        if not self.steps:
            what = f"{config.batch_size}, but an epoch has {drawn} examples"
            raise InputError("batch_size", what, f"set it to {drawn} or less")
        matrices = [weights for weights in self.model.parameters() if weights.ndim == 2]
        others = [weights for weights in self.model.parameters() if weights.ndim != 2]  # biases and scales
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            fused=True,
        )
        self.step = 0
        self.loss = 0.0  # sum over the epoch's steps so far
        self.rows: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}
        self.best_step: int | None = None
        self.best_value = -1.0

    def run(self, checkpoints: Checkpoints, checkpoint_seconds: float) -> None:
        """Train to the end, from the saved state of this run if there is one; errors as train_light."""
        state = checkpoints.load()
        if state is not None:
            self.restore(state)
            log.info("resuming after %s from %s", self.place(), checkpoints.path)
        total, saved_at = self.config.epochs * self.steps, time.monotonic()
        batches = np.empty((0, 0), np.int64)
        with deferred_stop() as stop:
            while self.step < total:
                epoch, step = divmod(self.step, self.steps)
                if not step or not len(batches):
                    batches = self.batches(epoch)
                self.descend(batches[step])
                if step + 1 == self.steps:
                    self.end_epoch(epoch + 1)
                if stop.requested or time.monotonic() - saved_at >= checkpoint_seconds:
                    checkpoints.save(self.state())
                    saved_at = time.monotonic()
                if stop.requested:
                    log.info("stopped by %s after %s, saved; run again to go on", stop.cause, self.place())
                    stop.exit()

    def batches(self, epoch: int) -> np.ndarray:
        """Return the examples of an epoch's steps, (steps, batch_size), a function of seed and epoch alone."""
        rng = np.random.default_rng([self.seed, epoch])
        rows = rng.permutation(np.concatenate([draw(task, rng) for task in self.data.tasks]))
        return rows[: self.steps * self.config.batch_size].reshape(self.steps, -1)

    def descend(self, rows: np.ndarray) -> None:
        """Take one step on the examples `rows` (batch_size,).

        Raises:
            InputError: the loss is not finite; what was saved before is still good.
        """
        torch.manual_seed(_seed(self.seed, self.step))  # of dropout
        self.model.train()
        source, doc = (torch.from_numpy(part[rows]) for part in (self.data.source, self.data.doc))
        vectors = self.vectors[source.to(self.group.device)].float()
        loss = self.model(vectors, self.codes[doc.to(self.group.device)])
        if not loss.isfinite():
            what = f"with {self.config.learning_rate:g} the loss after {self.place()} is {loss.item()}"
            raise InputError("learning_rate", what, "lower learning_rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.learning_rate(self.step)
        self.optimizer.step()
        self.loss += loss.item()
        self.step += 1

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step: a linear rise, then a cosine to zero."""
        total = self.config.epochs * self.steps
        rise = math.ceil(self.config.warmup * total)
        if step < rise:
            return self.config.learning_rate * (step + 1) / rise
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / (total - rise)))

    def end_epoch(self, epoch: int) -> None:
        """Add the row of a finished epoch, validate if it is time, and keep the weights if they are the best."""
        config = self.config
        row = {"epoch": epoch, "step": self.step, "loss": self.loss / self.steps}
        row["learning_rate"] = self.learning_rate(self.step - 1)
        self.loss = 0.0
        last = epoch == config.epochs
        if last or epoch % config.valid_every == 0:
            self.model.eval()
            data = self.data
            found = validate(self.model, data.trie, data.held_out, data.pairs, config.valid_beams, self.group)
            row |= {f"recall@{k}": value for k, value in found.items()}
            value = float(last) if config.select_by == "last" else row[config.select_by]
            if value > self.best_value:
                self.best_value, self.best_step = value, self.step
                self.best = {name: part.cpu().clone() for name, part in self.model.state_dict().items()}
        self.rows.append(row)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch")
        log.info("epoch %d/%d  %s", epoch, config.epochs, shown)

    def state(self) -> State:
        """Return what a run needs to go on."""
        best = {f"{_BEST}{name}": part for name, part in self.best.items()}
        progress = {
            "step": self.step,
            "loss": self.loss,
            "rows": self.rows,
            "best": [self.best_step, self.best_value],
        }
        return State(tensors_of(self.model, self.optimizer) | best, progress)

    def restore(self, state: State) -> None:
        """Take up what `state` returned."""
        best = {name: part for name, part in state.tensors.items() if name.startswith(_BEST)}
        self.best = {name.removeprefix(_BEST): part for name, part in best.items()}
        rest = {name: part for name, part in state.tensors.items() if name not in best}
        restore_tensors(rest, self.model, self.optimizer)
        progress = state.progress
        self.step, self.loss, self.rows = progress["step"], progress["loss"], progress["rows"]
        self.best_step, self.best_value = progress["best"]

    def place(self) -> str:
        """Return how far training is, for the log."""
        return f"step {self.step} (epoch {-(-self.step // self.steps)} of {self.config.epochs})"


def _seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
