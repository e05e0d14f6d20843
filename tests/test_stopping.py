"""TERM and INT end a training loop where its state can be saved, on every rank."""

import errno
import os
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from retriever_case import TINY, Case, write_case
from rqvae_case import catalogue, settings

from catid2.quantizer.history import format_history
from catid2.quantizer.training import Training, train
from catid2.retriever.t5_training import Inputs, RetrieverTraining, train_retriever
from catid2.runtime.checkpoint import Checkpoints
from catid2.runtime.stopping import SIGNALS, deferred_stop
from catid2.training.distributed import Group, process_group


def send(number: int) -> None:
    os.kill(os.getpid(), number)


# --- one process -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_noted_and_the_program_ends_when_the_loop_says_so(number: int, code: int) -> None:
    with deferred_stop() as stop:
        assert not stop.requested
        send(number)
        send(signal.SIGTERM)  # launchers send one too
        assert stop.requested
        assert stop.cause == signal.Signals(number).name
        with pytest.raises(SystemExit) as caught:
            stop.exit()
    assert caught.value.code == code


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_said_once(number: int, capfd: pytest.CaptureFixture[str]) -> None:
    with deferred_stop():
        send(number)
        send(signal.SIGTERM)
    assert capfd.readouterr().err == f"{signal.Signals(number).name}: saving at the next boundary\n"


def test_a_log_that_cannot_be_written_does_not_keep_it_from_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with deferred_stop() as stop:
        send(signal.SIGTERM)
    assert stop.requested


def test_a_second_int_does_not_wait_for_the_boundary() -> None:
    with pytest.raises(KeyboardInterrupt), deferred_stop() as stop:
        send(signal.SIGINT)
        assert stop.requested
        send(signal.SIGINT)


def test_the_first_signal_decides() -> None:
    with deferred_stop() as stop:
        send(signal.SIGINT)
        send(signal.SIGTERM)
    assert stop.signal == signal.SIGINT


def test_a_rank_that_had_no_signal_ends_as_after_a_term() -> None:
    with deferred_stop() as stop, pytest.raises(SystemExit) as caught:
        stop.exit()
    assert caught.value.code == 143
    assert "another rank" in stop.cause


def test_the_handlers_of_before_come_back_also_after_an_error() -> None:
    handlers = [lambda *_: None for _ in SIGNALS]
    before = [signal.signal(number, handler) for number, handler in zip(SIGNALS, handlers, strict=True)]
    try:
        with pytest.raises(ZeroDivisionError), deferred_stop():
            raise ZeroDivisionError
        assert [signal.getsignal(number) for number in SIGNALS] == handlers
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred_stop() as stop:
            send(signal.SIGINT)
            assert not stop.requested
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


# --- two ranks, of which one is asked to stop ---------------------------------------------------------------


def rqvae_result(group: Group, folder: Path) -> str:
    """Train an RQ-VAE; return its history and the bytes of its weights."""
    state = Checkpoints(folder, {"run": "test"})
    trained = train(*catalogue(), settings(), 0, group, state, checkpoint_seconds=1e9)
    weights = [bytes(tensor.numpy().tobytes()).hex() for tensor in trained.model.state_dict().values()]
    return "\n".join([format_history(trained.history), *weights])


def stopped_rqvae(group: Group, folder: Path) -> tuple[int, str]:
    """Train with a TERM for rank 1 in epoch 4, and again; return the exit code and the result."""
    run_epoch = Training.run_epoch

    def with_term(run: Training, epoch: int) -> dict[str, float]:
        if epoch == 3 and group.rank == 1:
            send(signal.SIGTERM)
        return run_epoch(run, epoch)

    Training.run_epoch = with_term
    try:
        rqvae_result(group, folder)
    except SystemExit as end:
        code = end.code
    Training.run_epoch = run_epoch
    if group.is_first:
        assert len(Checkpoints(folder, {"run": "test"}).load().progress["history"]) == 4
    else:  # on a network file system this node may not see yet what the other one has written
        Checkpoints.load = lambda checkpoints: None
    return code, rqvae_result(group, folder)


def retriever_result(case: Case, group: Group, folder: Path) -> None:
    """Train a retriever."""
    config = TINY.model_copy(update={"epochs": 2, "valid_every": 1})
    places = (folder / "checkpoints", folder / "retriever")
    train_retriever(config, Inputs(*case), *places, seed=1, group=group)


def stopped_retriever(case: Case, group: Group, folder: Path) -> int:
    """Train with a TERM for rank 1 within epoch 2, and again; return the exit code."""
    descend = RetrieverTraining.descend

    def with_term(training: RetrieverTraining, examples: np.ndarray) -> None:
        if training.step == training.batches.steps + 1 and group.rank == 1:
            send(signal.SIGTERM)
        descend(training, examples)

    RetrieverTraining.descend = with_term
    try:
        retriever_result(case, group, folder)
    except SystemExit as end:
        code = end.code
    RetrieverTraining.descend = descend
    assert not (folder / "retriever").exists()
    retriever_result(case, group, folder)
    return code


def _work(rank: int, port: int, case: Case, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"LOCAL_RANK": str(rank), "CUDA_VISIBLE_DEVICES": ""}
    torch.set_num_threads(1)
    with process_group() as group:
        whole = rqvae_result(group, folder / "rqvae whole")
        code, resumed = stopped_rqvae(group, folder / "rqvae stopped")
        same = whole == resumed
        retriever_result(case, group, folder / "whole")
        retriever_code = stopped_retriever(case, group, folder / "stopped")
    torch.save({"codes": [code, retriever_code], "same": same}, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with what two ranks made."""
    folder = tmp_path_factory.mktemp("ranks")
    case = write_case(tmp_path_factory.mktemp("corpus"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(_work, args=(port, case, folder), nprocs=2)
    return folder


def test_all_ranks_stop_when_one_is_asked_to(two_ranks: Path) -> None:
    for rank in range(2):
        assert torch.load(two_ranks / f"{rank}.pt", weights_only=True)["codes"] == [143, 143]


def test_two_ranks_that_were_stopped_end_with_the_bytes_of_two_that_were_not(two_ranks: Path) -> None:
    for rank in range(2):
        assert torch.load(two_ranks / f"{rank}.pt", weights_only=True)["same"]
    for name in ("model.safetensors", "history.tsv"):
        resumed, whole = (two_ranks / run / "retriever" / name for run in ("stopped", "whole"))
        assert resumed.read_bytes() == whole.read_bytes(), name
    assert not (two_ranks / "stopped" / "checkpoints").exists()
