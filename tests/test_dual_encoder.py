"""The dual encoder: its loss by a plain loop and over two ranks, training, exact resume, search by what it wrote."""

import math
import os
import signal
import socket
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.multiprocessing as mp
from retriever_case import Case, one_cpu_thread, write_case

from catid2.baselines.dense import search_dense
from catid2.baselines.dual_encoder import DualEncoder, build_encoder, in_batch_loss
from catid2.baselines.dual_encoder_training import DualEncoderTraining, Inputs, train_dual_encoder
from catid2.config.dense import DenseConfig
from catid2.config.dual_encoder import DualEncoderConfig
from catid2.embedding.documents import Outputs, embed
from catid2.embedding.encoders import TransformerEncoder
from catid2.embedding.queries import Corpus, embed_queries
from catid2.embedding.queries import Outputs as QueryOutputs
from catid2.runtime.errors import InputError
from catid2.runtime.tables import QUERIES, products_columns, read_json, read_table, write_table
from catid2.training.distributed import Group, process_group

TINY = DualEncoderConfig.model_validate(
    {
        "pretrained": None,
        "small": {
            "hidden_size": 16,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "vocabulary": 400,
        },
        "pooling": "mean",
        "normalize": True,
        "temperature": 0.1,
        "template": "{title}",
        "max_tokens": 12,
        "epochs": 4,
        "batch_size": 16,
        "learning_rate": 0.01,
        "valid_share": 0.25,
        "valid_every": 2,
        "select_by": "recall@10",
    }
)


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    return write_case(tmp_path_factory.mktemp("corpus"))


def train(case: Case, folder: Path, config: DualEncoderConfig = TINY) -> dict[str, bytes]:
    """Train in this process on one thread; return the encoder's weights and its history."""
    with one_cpu_thread():
        inputs = Inputs(case.products, case.queries, case.judgements)
        train_dual_encoder(config, inputs, folder / "checkpoints", folder / "encoder", seed=1)
    return {name: (folder / "encoder" / name).read_bytes() for name in ("model.safetensors", "history.tsv")}


def test_the_loss_is_that_of_a_plain_loop():
    scores = torch.tensor([[1.0, 2, 0, -1], [0.5, 0, 3, 1], [2, 2, 2, 2], [0, 1, 2, 3]], dtype=torch.float64)
    relevant = torch.eye(4, dtype=torch.bool)
    relevant[0, 1] = relevant[2, 0] = relevant[2, 1] = (
        True  # the batch holds more of their relevant documents
    )
    expected = 0.0
    for row in range(4):
        compared = [column for column in range(4) if column == row or not relevant[row, column]]
        total = sum(math.exp(scores[row, column]) for column in compared)
        expected -= math.log(math.exp(scores[row, row]) / total) / 4
    assert in_batch_loss(scores, relevant).item() == pytest.approx(expected, abs=1e-12)
    second_half = in_batch_loss(scores[2:], relevant[2:], first=2)
    halves = (in_batch_loss(scores[:2], relevant[:2]) + second_half) / 2
    assert halves.item() == pytest.approx(expected, abs=1e-12)


def gradients(group: Group) -> dict[str, torch.Tensor]:
    """Return the loss of one batch of 8 pairs, and its gradients: both the means over ranks, as DDP makes them."""
    encoder, _ = build_encoder(TINY, ["red shoe", "blue lamp"], seed=0)
    pairs = np.array([[query, document] for query in range(8) for document in (query, (query + 3) % 8)])
    model = DualEncoder(encoder, TINY, pairs, group).double().eval()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 50, (2, 8, 5), generator=generator)
    mask = torch.ones_like(ids[0])
    mask[::2, 3:] = 0
    own, row = group.shard(8), torch.arange(8)
    loss = model(ids[0, own], mask[own], ids[1, own], mask[own], row[own], row[own])
    loss.backward()
    values = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    values["loss"] = loss.detach()
    if group.world_size > 1:
        for value in values.values():
            torch.distributed.all_reduce(value)
            value /= group.world_size
    return values


def on_a_rank(rank: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    with process_group() as group:
        torch.save(gradients(group), folder / f"rank{rank}.pt")


@pytest.mark.slow
def test_two_ranks_are_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(on_a_rank, (port, tmp_path), nprocs=2)
    alone = gradients(Group())
    assert len(alone) > 10
    for rank in (0, 1):
        together = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        for name, value in alone.items():
            torch.testing.assert_close(together[name], value, rtol=0, atol=1e-6, msg=name)


def test_training_finds_the_documents_that_hold_a_querys_first_word(case, tmp_path):
    config = TINY.model_copy(update={"epochs": 30, "valid_every": 10})
    lines = [line.split(b"\t") for line in train(case, tmp_path, config)["history.tsv"].splitlines()[1:]]
    losses = [float(line[2]) for line in lines]
    recalls = [float(line[4]) for line in lines if line[4]]
    assert losses[-1] < 0.7 * losses[0]
    assert max(recalls) == recalls[[int(line[-1]) for line in lines if line[4]].index(1)]
    assert max(recalls) > 0.35  # of 60 documents at random: 10 / 60

    # What was written is a view: the rules of views encode with it, and search_dense finds as validation did.
    encoder = tmp_path / "encoder"
    view = config.view(str(encoder))
    own = tmp_path / "own.npy"
    embed(view, case.products, Outputs(own, own.with_suffix(".json"), tmp_path / "shards"))
    beside = own.with_name("own_queries.npy")
    corpus = Corpus(own, case.products, case.queries)
    embed_queries("", corpus, QueryOutputs(beside, beside.with_suffix(".json")))
    run = search_dense(DenseConfig(top_k=10), own, case.products, case.queries)
    assert run.num_rows == 20 * 10
    vectors = TransformerEncoder(view.encoder, torch.device("cpu"), 64)
    queries = {row["query_id"]: row["query"] for row in read_table(case.queries, QUERIES).to_pylist()}
    titles = read_table(case.products, {"title": pa.string()}).column("title").to_pylist()
    query_id = run.column("query_id")[0].as_py()
    scores = vectors.encode(titles).astype(float) @ vectors.encode([queries[query_id]])[0].astype(float)
    assert run.column("score")[0].as_py() == pytest.approx(scores.max(), abs=2e-3)
    assert read_json(own.with_suffix(".json"))["pooling"] == "mean"


@pytest.fixture(scope="module")
def expected(case, tmp_path_factory) -> dict[str, bytes]:
    """Return what a training that is left alone ends with."""
    return train(case, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("step", [2, 5])
def test_a_stopped_training_goes_on_to_the_same_bytes(case, expected, tmp_path, monkeypatch, step):
    descend = DualEncoderTraining.descend

    def terminated(training, examples):
        if training.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        descend(training, examples)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr(DualEncoderTraining, "descend", terminated)
        train(case, tmp_path / "stopped")
    assert caught.value.code == 143
    assert list((tmp_path / "stopped" / "checkpoints").glob("*/state.safetensors"))
    assert train(case, tmp_path / "stopped") == expected
    assert not (tmp_path / "stopped" / "checkpoints").exists()


def test_inputs_that_do_not_fit_are_named(case, tmp_path):
    inputs = Inputs(case.products, case.queries, case.judgements)

    def trained(config: DualEncoderConfig = TINY, inputs: Inputs = inputs) -> None:
        train_dual_encoder(config, inputs, tmp_path / "checkpoints", tmp_path / "encoder", seed=0)

    with pytest.raises(
        InputError, match=r"batch_size: 4096, but an epoch has (\d+) examples; set it to \1 or less"
    ):
        trained(TINY.model_copy(update={"batch_size": 4096}))
    with pytest.raises(InputError, match="missing: no such folder"):
        trained(TINY.model_copy(update={"pretrained": str(tmp_path / "missing")}))
    table = read_table(case.products, products_columns(1))
    write_table(tmp_path / "products.parquet", table.slice(0, 30))
    with pytest.raises(
        InputError, match=r"document \d+ is not in .*products.parquet; build the corpus again"
    ):
        trained(inputs=inputs._replace(products=tmp_path / "products.parquet"))
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds files other than those of a trained encoder"):
        trained()
