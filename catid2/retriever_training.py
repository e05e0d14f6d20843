"""Training the retriever: Hugging Face's Seq2SeqTrainer around our model, batches, validation and resume.

The Trainer gives the loop, mixed precision, DDP under catid2.launch, schedules and checkpoints. Ours are the
loss (the softmax over the codes of a position), the batches (a function of seed and epoch alone), the validation
(recall by beam search over the whole corpus) and what counts as a checkpoint: only whole ones, of this very run.

Checkpoints are taken at the end of a step: every so many seconds, after each validation, and when TERM or INT asks
the run to stop (catid2.retriever_state says what is in their folder). Training that was stopped or killed
anywhere and is started again ends, on a CPU, with the same bytes as one that never was. It goes on with any
micro-batch (another one changes rounding and dropout), but not with other code or another number of ranks: it
then starts anew. The Trainer reads its own files in a checkpoint without unpickling anything but tensors and
numbers (torch.load with weights_only).
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_model
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Seq2SeqTrainer, Seq2SeqTrainingArguments

from catid2.artifacts import read_json, write_json
from catid2.checkpoint import code_digest, fingerprint
from catid2.distributed import Group, from_first, gather, wait_for_all
from catid2.errors import InputError
from catid2.examples import (
    EpochBatches,
    Examples,
    Validation,
    equal_parts,
    make_examples,
    make_validation,
    read_train_queries,
)
from catid2.retrieval import docids_digest, require_same_documents
from catid2.retriever import DocIDRetriever, build_retriever
from catid2.retriever_boundaries import Boundaries
from catid2.retriever_state import StateFolder, step_of
from catid2.stopping import deferred_stop
from catid2.text import DocumentTexts
from catid2.trie import Trie, read_docids
from catid2.validation import history, validate
from catid2.writing import atomic, require_ownership

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from catid2.config.retriever import RetrieverConfig

log = logging.getLogger(__name__)

VISIBLE_SECONDS = 60.0  # until each node sees what another has written: NFS may cache a folder for so long
LOSSES = "losses.json"  # in a checkpoint: each rank's sum of losses over the epoch's steps so far


class Inputs(NamedTuple):
    """The files that training reads."""

    products: Path
    queries: Path
    judgements: Path
    docids: Path


class Data(NamedTuple):
    """What training runs on."""

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
    microbatch: int | None = None,
    checkpoint_seconds: float = 600.0,
) -> None:
    """Train a retriever and write its folder: model, tokenizer, history.tsv.

    Args:
        config: model, tasks and schedule.
        inputs: corpus and DocIDs.
        checkpoints: folder for the state of the run, new or empty, removed when the output is written.
        output: folder to write; AutoModelForSeq2SeqLM and AutoTokenizer load from it.
        seed: of weights, order and dropout.
        microbatch: most examples that one rank works on at once, to save memory; None: its whole share.
        checkpoint_seconds: a checkpoint is taken at the next step when the last is that old, in seconds.

    Raises:
        InputError: an input cannot be used, or does not fit the others or the config; `checkpoints` holds
            something else, cannot be written or is not the same for all ranks; or the training diverged.
        SystemExit: 143 (TERM) or 130 (INT), when any rank was asked to stop and the state is saved.
    """
    if output.is_dir() and any(output.iterdir()) and not (output / "history.tsv").is_file():
        raise InputError(output, "holds files that are no retriever", "name an empty folder")
    folder = StateFolder(checkpoints)
    require_same_documents(inputs.docids, inputs.products)
    doc_ids, codes = read_docids(inputs.docids)
    sizes = tuple(int(size) for size in codes.max(axis=0) + 1)
    trie = Trie.from_codes(codes, sizes, doc_ids)
    queries = read_train_queries(
        inputs.queries, inputs.judgements, config.query_task.labels, config.valid_share
    )
    documents = _document_texts(config, inputs.products)
    unknown = queries.doc[(queries.doc < 0) | (queries.doc >= len(codes))]
    if len(unknown):
        raise InputError(inputs.judgements, f"document {unknown[0]} has no DocID", "build the corpus again")

    seen = [text for text, held_out in zip(queries.texts, queries.held_out, strict=True) if not held_out]
    retriever, tokenizer = build_retriever(config, sizes, itertools.chain(seen, documents), seed)
    retriever.t5.config.docid_sha256 = docids_digest(inputs.docids)
    data = Data(
        make_examples(config, tokenizer, queries, documents),
        make_validation(config, tokenizer, queries),
        codes.astype(np.int64),
        trie,
    )
    if config.select_by != "last" and not len(data.validation.query):
        raise InputError(
            "valid_share", "no query is held out", 'set a larger valid_share, or select_by "last"'
        )
    arguments = _training_arguments(config, checkpoints, seed)
    trainer = RetrieverTrainer(config, retriever, data, arguments, folder, microbatch)
    trainer.run(run_fingerprint(config, retriever, data, seed, arguments.world_size), checkpoint_seconds)
    if arguments.process_index == 0:
        _write(output, folder.best(trainer.state.best_global_step), tokenizer, trainer.history())
        folder.remove()
    wait_for_all(trainer.group)


def run_fingerprint(
    config: RetrieverConfig, retriever: DocIDRetriever, data: Data, seed: int, ranks: int
) -> str:
    """Return a sha256 of what the result of training depends on: settings, code, ranks, data, first weights."""
    settings = {
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "ranks": ranks,  # they cut batches and dropout differently
        "code": code_digest(__file__),
        "docids": retriever.t5.config.docid_sha256,
    }
    weights = [parameter.detach().cpu().numpy() for parameter in retriever.parameters()]
    examples, validation = data.examples, data.validation
    tokens = [*examples.tokens, *validation.tokens]
    arrays = [examples.text, examples.doc, validation.query, validation.doc, data.codes]
    return fingerprint(settings, *weights, *tokens, *arrays)


def _document_texts(config: RetrieverConfig, products: Path) -> DocumentTexts:
    """Return the text of every document under the document task's template; without that task, of titles."""
    template = next((task.template for task in config.tasks if task.source == "document"), "{title}")
    # Far more characters than so many tokens have: the tokenizer need not read what is cut afterwards.
    return DocumentTexts(products, template, 16 * config.max_document_tokens)


def _training_arguments(config: RetrieverConfig, checkpoints: Path, seed: int) -> Seq2SeqTrainingArguments:
    cpu = not torch.cuda.is_available()
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=config.epochs,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule,
        weight_decay=config.weight_decay,
        max_grad_norm=config.clip_norm,
        optim="adamw_torch_fused",
        seed=seed,
        bf16=config.bf16 and not cpu,
        use_cpu=cpu,
        ddp_backend="gloo" if cpu and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None,
        ddp_find_unused_parameters=False,
        eval_strategy="no",  # Boundaries says when
        save_strategy="no",
        save_total_limit=None,  # StateFolder removes old checkpoints, when a newer one is whole
        logging_strategy="epoch",
        logging_nan_inf_filter=False,  # it would hide that the loss is NaN
        report_to="none",
        disable_tqdm=not sys.stderr.isatty(),
    )
    if arguments.n_gpu > 1:
        # One process that sees several GPUs would become nn.DataParallel, for which our batches are not made;
        # several GPUs are used under catid2.launch.
        arguments._n_gpu = 1
    return arguments


class RetrieverTrainer(Seq2SeqTrainer):
    """Seq2SeqTrainer with our loss, batches, validation and checkpoints."""

    def __init__(
        self,
        config: RetrieverConfig,
        retriever: DocIDRetriever,
        data: Data,
        arguments: Seq2SeqTrainingArguments,
        folder: StateFolder,
        microbatch: int | None,
    ):
        ranks = arguments.world_size
        parts = equal_parts(config.batch_size, ranks, microbatch)
        self.config, self.data, self.folder = config, data, folder
        self.batches = EpochBatches(
            data.examples, config.batch_size, parts, arguments.process_index, ranks, arguments.seed
        )
        arguments.per_device_train_batch_size = config.batch_size // parts
        arguments.gradient_accumulation_steps = parts // ranks
        arguments.warmup_steps = math.ceil(config.warmup * config.epochs * self.batches.steps)
        super().__init__(model=retriever, args=arguments)
        self.remove_callback(PrinterCallback)
        self.group = Group(arguments.process_index, ranks, arguments.device)
        # The Trainer's own sum is lost between checkpoint and restart. Summed on the device: no step waits for it.
        self.epoch_loss = torch.zeros(1, dtype=torch.float64, device=arguments.device)

    # --- what the Trainer asks for -------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader:
        """Return a loader of this rank's micro-batches; not prepared by accelerate, which would shard it again.

        The Trainer resumes within an epoch by leaving out the first batches of the batch sampler.
        """
        rows = range(len(self.data.examples.text))
        # A generator of its own: the loader draws a number per epoch, and dropout must not notice.
        generator = torch.Generator()
        return DataLoader(rows, batch_sampler=self.batches, collate_fn=self._collate, generator=generator)

    def _collate(self, rows: list[int]) -> dict[str, torch.Tensor]:
        examples = self.data.examples
        batch = examples.tokens.batch(examples.text[rows], self.model.t5.config.pad_token_id)
        codes = torch.from_numpy(self.data.codes[examples.doc[rows]])
        return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "codes": codes}

    def training_step(self, *arguments: Any, **options: Any) -> torch.Tensor:
        """Do as the Trainer does for a micro-batch, and add its share of the step's loss to the epoch's."""
        loss = super().training_step(*arguments, **options)
        self.epoch_loss += loss
        return loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the loss of a micro-batch; all are of one size, so the mean over them is that over the batch."""
        return model(**inputs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log as the Trainer does, on every rank, unless the training has diverged.

        Raises:
            InputError: the loss or the gradient of the epoch is not finite; the last checkpoint is kept.
        """
        if "loss" in logs:
            logs["loss"] = gather(self.epoch_loss, self.group.world_size, self.group).mean().item()
            logs["loss"] /= self.batches.steps
            self.epoch_loss.zero_()
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs.get(name, 0.0)):
                rate, epoch = self.config.learning_rate, round(self.state.epoch)
                what = f"with {rate:g} the {name} of epoch {epoch} is {logs[name]}"
                raise InputError("learning_rate", what, "lower learning_rate")
        super().log(logs, *args, **kwargs)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return validation recall, log it, and keep the model if it is the best so far."""
        metrics = {f"eval_recall@{k}": value for k, value in self._validate().items()}
        self.log(metrics)
        last = round(self.state.epoch) == self.config.epochs
        value = float(last) if self.config.select_by == "last" else metrics[f"eval_{self.config.select_by}"]
        if value > (self.state.best_metric if self.state.best_metric is not None else -1.0):
            self.state.best_metric, self.state.best_global_step = value, self.state.global_step
            if self.args.should_save:
                with atomic(self.folder.best(self.state.global_step)) as aside:
                    self._save(aside)
        return metrics

    def _validate(self) -> dict[int, float]:
        """Return recall@k over the held-out queries, the same on every rank."""
        self.model.eval()
        held_out = self.data.validation
        pairs = (held_out.query, held_out.doc)
        beams = self.config.valid_beams
        return validate(self.model, self.data.trie, held_out.tokens, pairs, beams, self.group)

    def _save(self, output_dir: str | Path | None = None, state_dict: dict | None = None) -> None:
        """Write the Hugging Face model inside the retriever, which knows how tied weights are saved."""
        if self.args.should_save:
            self.model.t5.save_pretrained(output_dir)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        load_model(self.model.t5, Path(resume_from_checkpoint) / "model.safetensors")
        losses = read_json(Path(resume_from_checkpoint) / LOSSES)
        self.epoch_loss.fill_(losses["epoch"][self.group.rank])

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Read both on the CPU; Transformers 5.17 cannot on several CPU ranks."""
        if checkpoint is not None:
            for part, name in ((self.optimizer, "optimizer.pt"), (self.lr_scheduler, "scheduler.pt")):
                state = torch.load(Path(checkpoint) / name, map_location="cpu", weights_only=True)
                part.load_state_dict(state)

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Read nothing: bfloat16 needs no scaler, so a file of that name is not ours."""

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Save as the Trainer does, and mark the folder when all ranks are done.

        Raises:
            InputError: the folder cannot be written, or the training has diverged and must not replace what is saved.
        """
        require_ownership()  # here, where the peers of a first rank that has lost it wait: they too write nothing more
        step = self.state.global_step
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            what = f"with {self.config.learning_rate:g} weights are not finite after {self.place(step)}"
            raise InputError("learning_rate", what, "lower learning_rate")
        losses = gather(self.epoch_loss, self.group.world_size, self.group).tolist()
        with self.folder.writing(step):
            super()._save_checkpoint(model, trial)
        wait_for_all(self.group)
        if self.args.should_save:
            write_json(self.folder.checkpoint(step) / LOSSES, {"epoch": losses})
            self.folder.seal(step, self.state.best_global_step)

    # --- a run ---------------------------------------------------------------------------------------

    def run(self, own_fingerprint: str, checkpoint_seconds: float) -> None:
        """Train to the end, from the newest whole checkpoint of this run if there is one.

        Raises:
            InputError, SystemExit: as train_retriever.
        """
        newest = self._newest(own_fingerprint)
        if newest and self.group.is_first:
            log.info("resuming after %s from %s", self.place(step_of(newest)), newest)
        # The Trainer seeds all ranks alike, and each would drop the same units. A checkpoint has each rank's state.
        torch.manual_seed(self.args.seed + self.args.process_index)
        with deferred_stop() as stop:
            self.add_callback(Boundaries(self, checkpoint_seconds, stop))
            try:
                self.train(resume_from_checkpoint=str(newest) if newest else None)
            except pickle.UnpicklingError:
                what = "a .pt or .pth file in it holds more than tensors and numbers, and was not loaded"
                raise InputError(newest, what, "remove the folder and run again") from None

    def _newest(self, own_fingerprint: str) -> Path | None:
        """Return the checkpoint that the first rank takes up, when every rank can read it."""
        step = 0
        if self.group.is_first:
            self.folder.claim(own_fingerprint)
            newest = self.folder.newest()
            step = step_of(newest) if newest else 0
        step = int(from_first(str(step).encode(), self.group))
        if not step:
            return None
        seen = torch.tensor([self.folder.sees(step, VISIBLE_SECONDS)], device=self.group.device)
        blind = (~gather(seen, self.group.world_size, self.group)).nonzero().flatten().tolist()
        if blind:
            what = f"not there for rank {', '.join(map(str, blind))}"
            remedy = "keep the checkpoints on a file system that all nodes share"
            raise InputError(self.folder.checkpoint(step), what, remedy)
        return self.folder.checkpoint(step)

    def place(self, step: int) -> str:
        """Return how far training is after `step`, for the log."""
        return f"step {step} (epoch {-(-step // self.batches.steps)} of {self.config.epochs})"

    def history(self) -> str:
        """Return history.tsv of the log (catid2.validation.history)."""
        epochs: dict[int, dict[str, Any]] = {}
        for entry in self.state.log_history:
            number = round(entry["epoch"])
            values = {name.removeprefix("eval_"): value for name, value in entry.items()}
            epochs.setdefault(number, {}).update(values | {"epoch": number})
        return history([row for _, row in sorted(epochs.items())], self.state.best_global_step)


def _write(output: Path, best: Path, tokenizer: PreTrainedTokenizerBase, history: str) -> None:
    """Write the retriever's folder, whole or not at all."""
    with atomic(output) as aside:
        aside.mkdir()
        for file in best.iterdir():
            shutil.copyfile(file, aside / file.name)  # not the mode: safetensors lets only the owner read
        tokenizer.save_pretrained(aside)
        (aside / "history.tsv").write_text(history, encoding="utf-8")
