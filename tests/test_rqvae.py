"""The RQ-VAE as a model, as a folder, as a training run and as a command line."""

import errno
import json
import math
import os
import runpy
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rqvae_case import arguments, catalogue, settings, write_inputs

from catid2.config.base import validate
from catid2.config.rqvae import RqvaeConfig
from catid2.quantizer import step
from catid2.quantizer import training as rqvae_training
from catid2.quantizer.diagnostics import collision_rate, perplexity
from catid2.quantizer.history import dropped_shares, find_problem, format_history, starved_levels
from catid2.quantizer.model import RQVAE, architecture
from catid2.quantizer.training import Trained, train
from catid2.runtime.checkpoint import Checkpoints
from catid2.runtime.errors import InputError
from catid2.training.distributed import Group

SCRIPT = Path(__file__).parents[1] / "scripts" / "train_rqvae.py"
OUTPUTS = ("model.safetensors", "config.json", "history.tsv")


def fit(folder: Path, seed: int = 0, **overrides: object) -> Trained:
    return train(
        *catalogue(), settings(**overrides), seed, Group(), Checkpoints(folder / "state", {"run": "test"})
    )


def run_script(monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *options])
    runpy.run_path(str(SCRIPT), run_name="__main__")


# --- the model -------------------------------------------------------------------------------------------


def test_the_quantiser_is_passed_straight_through() -> None:
    model = RQVAE(architecture(settings(), input_dim=20))
    model.codebooks.data = torch.randn_like(model.codebooks)
    x = torch.randn(5, 20)
    done = model(x)
    torch.testing.assert_close(
        done.reconstruction, model.decode(done.quantized.latents), rtol=1e-4, atol=1e-5
    )
    through = torch.autograd.grad(done.reconstruction.sum(), done.z)[0]
    latents = done.quantized.latents.detach().requires_grad_()
    direct = torch.autograd.grad(model.decode(latents).sum(), latents)[0]
    torch.testing.assert_close(through, direct, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("standardize", ["none", "center"])
def test_a_saved_model_codes_alike_and_is_the_same_file(tmp_path: Path, standardize: str) -> None:
    model = fit(tmp_path, standardize=standardize, layer_norm=True).model
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        model.save(tmp_path / name / "model.safetensors", tmp_path / name / "config.json", {"seed": 0})
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    loaded = RQVAE.load(tmp_path / "a")
    x = torch.from_numpy(catalogue().embeddings)
    assert torch.equal(loaded.codes(x), model.codes(x))
    assert torch.equal(loaded.encode(x), model.encode(x))
    assert loaded.codebooks.shape == (3, 8, 6)


def test_a_folder_that_does_not_fit_is_refused_in_one_line(tmp_path: Path) -> None:
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    with pytest.raises(InputError, match="no such file"):
        RQVAE.load(tmp_path)
    RQVAE(architecture(settings(), input_dim=20)).save(weights, config, {})
    good, content = weights.read_bytes(), json.loads(config.read_text())

    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(InputError, match="sha256"):
        RQVAE.load(tmp_path)
    weights.write_bytes(good)
    config.write_text(json.dumps({**content, "architecture": {**content["architecture"], "layers": 4}}))
    with pytest.raises(
        InputError, match=r"does not match the weights .*size mismatch for quantizer.codebooks"
    ):
        RQVAE.load(tmp_path)
    config.write_text(json.dumps({"layers": 4}))
    with pytest.raises(InputError, match="not the config of an RQ-VAE"):
        RQVAE.load(tmp_path)


# --- settings --------------------------------------------------------------------------------------------


def test_levels_from_layers_on_need_to_be_asked_for() -> None:
    with pytest.raises(InputError, match=r"levels \(4\) must be below layers \(4\)"):
        validate(RqvaeConfig, {"levels": 4}, "config.yaml")
    assert validate(RqvaeConfig, {"levels": 4, "allow_levels_ge_layers": True}, "config.yaml").levels == 4


# --- training --------------------------------------------------------------------------------------------


def test_training_codes_better_than_its_start(tmp_path: Path) -> None:
    history = fit(tmp_path, epochs=40, warmup_epochs=10, mu=0.25, alpha=0, beta=0, gamma=0).history
    assert history[-1]["reconstruction"] < 0.75 * history[10]["reconstruction"]
    assert history[-1]["collision_rate"] < history[10]["collision_rate"]


def test_more_category_weight_puts_more_of_the_category_into_the_first_code(tmp_path: Path) -> None:
    embeddings, categories = catalogue()
    noise = np.random.default_rng(0).normal(size=embeddings.shape)
    blurred = (0.5 * embeddings + noise).astype(np.float16)  # embeddings alone show it poorly

    def purity(beta: float) -> float:
        options = {"epochs": 60, "warmup_epochs": 10, "learning_rate": 0.01, "mu": 0.25, "levels": 1}
        config = settings(**options, alpha=0, beta=beta, gamma=0)
        checkpoints = Checkpoints(tmp_path / str(beta), {"run": "test"})
        model = train(blurred, categories, config, 0, Group(), checkpoints).model
        first = model.codes(torch.from_numpy(blurred))[:, 0].numpy()
        majorities = [np.bincount(categories[first == code, 0]).max() for code in np.unique(first)]
        return sum(majorities) / len(first)

    assert purity(1.0) > purity(0.0) + 0.08


def test_the_history_tells_what_happened(tmp_path: Path) -> None:
    embeddings, _ = catalogue()
    trained = fit(tmp_path)
    rows = trained.history
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["warmup"] for row in rows] == [1, 1, 0, 0, 0, 0]
    assert math.isnan(rows[0]["hccl"])
    last = rows[-1]
    no_figure = {name for name, value in last.items() if math.isnan(value)}
    assert no_figure == {"codebook"}  # an average, not a loss, moves the codebooks
    weighted = last["reconstruction"] + 0.25 * last["commitment"] + 0.1 * last["disl"] + 0.05 * last["hccl"]
    assert last["loss"] == pytest.approx(weighted + 0.1 * last["cscl"])
    codes = trained.model.codes(torch.from_numpy(embeddings)).numpy()
    assert last["collision_rate"] == pytest.approx(collision_rate(codes))
    assert last["perplexity_1"] == pytest.approx(perplexity(codes[:, 1], 8))
    assert last["dropped_2"] >= 1  # the document that is alone in its category
    table = [line.split("\t") for line in format_history(rows).splitlines()]
    assert len(table) == 7
    assert {len(line) for line in table} == {len(last)}


def recorded_batches(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Return a list that gets the rows of each batch of the trainings to come."""
    seen: list[torch.Tensor] = []
    batches_of = rqvae_training.Training.batches_of

    def recorded(run: rqvae_training.Training, epoch: int) -> tuple[torch.Tensor, ...]:
        batches = batches_of(run, epoch)
        seen.extend(batches)
        return batches

    monkeypatch.setattr(rqvae_training.Training, "batches_of", recorded)
    return seen


@pytest.mark.parametrize("batches", ["random", "category"])
def test_the_share_of_documents_that_drop_out_equals_a_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: str
) -> None:
    seen = recorded_batches(monkeypatch)
    config = settings(batches=batches, batch_size=11, epochs=4)
    case = catalogue()
    row = train(*case, config, 0, Group(), Checkpoints(tmp_path, {"run": "test"})).history[-1]

    dropped = [0, 0]
    for batch in seen[-math.ceil(200 / 11) :]:
        paths = [tuple(path) for path in case.categories[batch].tolist()]
        for place, path in enumerate(paths):
            others = paths[:place] + paths[place + 1 :]
            for level in (0, 1):
                family = [other for other in others if other[:level] == path[:level]]
                mates = sum(other[level] == path[level] for other in family)
                dropped[level] += not 0 < mates < len(family)
    assert 0 < dropped[0] < dropped[1] < 200
    assert dropped_shares(row, 200) == [dropped[0] / 200, dropped[1] / 200]


def test_zero_weights_are_the_plain_rq_vae_and_compute_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("computed although its weight is zero")

    for name in ("disl", "hccl", "cscl", "plan_contrast"):
        monkeypatch.setattr(step, name, fail)
    row = fit(tmp_path, alpha=0, beta=0, gamma=0).history[-1]
    assert row["loss"] == pytest.approx(row["reconstruction"] + 0.25 * row["commitment"])
    assert all(math.isnan(row[name]) for name in ("disl", "hccl", "cscl", "gradient_cscl", "dropped_1"))
    assert dropped_shares(row, 200) == []


def test_an_epoch_holds_every_document_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = recorded_batches(monkeypatch)
    fit(tmp_path, epochs=3, batch_size=60)
    assert [len(batch) for batch in seen] == [50, 50, 50, 50] * 3
    assert torch.equal(torch.cat(seen[-4:]).sort().values, torch.arange(200))


# --- stopping --------------------------------------------------------------------------------------------


def test_a_collapsed_layer_stops_the_run_and_names_the_last_good_state(tmp_path: Path) -> None:
    overrides = {"epochs": 12, "collapse_perplexity": 0.95, "collapse_grace_epochs": 3}
    with pytest.raises(InputError, match=r"epoch 6: layer \d has collapsed") as caught:
        fit(tmp_path, **overrides)
    saved = Checkpoints(tmp_path / "state", {"run": "test"})
    assert f"the last good checkpoint is of epoch 3, {saved.path}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(saved.load().progress["history"]) == 3


def test_a_collapse_can_be_reported_instead(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    overrides = {"collapse_perplexity": 0.95, "collapse_grace_epochs": 0, "on_collapse": "report"}
    assert len(fit(tmp_path, **overrides).history) == 6
    assert "has collapsed" in caplog.text


def test_a_collapse_that_is_reported_is_kept_in_the_checkpoints(tmp_path: Path) -> None:
    config = settings(collapse_perplexity=0.95, collapse_grace_epochs=0, on_collapse="report")
    checkpoints = Checkpoints(tmp_path / "state", {"run": "test"})
    train(*catalogue(), config, 0, Group(), checkpoints, checkpoint_seconds=0)
    assert len(checkpoints.load().progress["history"]) == 6


def test_a_loss_that_is_no_number_always_stops(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a finite number"):
        fit(tmp_path, learning_rate=1e30, layer_norm=False, on_collapse="report")


@pytest.mark.parametrize(
    ("documents", "different", "what", "size"),
    [
        (7, 7, "8 codes a layer for 7 documents; set it to 2 or less", 2),
        (60, 60, "80 codes a layer for 60 documents; set it to 15 or less", 15),
        (
            60,
            30,
            "50 codes a layer for 60 documents that have 30 different embeddings; set it to 7 or less",
            7,
        ),
        (
            60,
            1,
            "8 codes a layer for 60 documents that have 1 different embeddings; check the template",
            None,
        ),
    ],
)
def test_more_codes_than_points_are_refused_before_training_with_a_size_that_trains(
    tmp_path: Path, documents: int, different: int, what: str, size: int | None
) -> None:
    case = catalogue(documents)
    case = case._replace(embeddings=case.embeddings[np.arange(documents) % different])
    checkpoints = Checkpoints(tmp_path / "state", {"run": "test"})

    def trained(codes: int) -> Trained:
        config = settings(codebook_size=codes, layers=4, epochs=25, beta=0.3, gamma=0.3)
        return train(*case, config, 0, Group(), checkpoints, 0)

    with pytest.raises(InputError, match=rf"^rqvae\.codebook_size: {what}"):
        trained(int(what.split()[0]))
    assert not checkpoints.path.exists()
    if size:
        assert len(trained(size).history) == 25


@pytest.mark.parametrize(("documents", "counted"), [(8, 8), (40, 32)])  # 8 codes; 32 embeddings are ample
def test_as_many_codes_as_embeddings_are_allowed(documents: int, counted: int) -> None:
    run = rqvae_training.Training(*catalogue(documents), settings(), 0, Group())
    assert run.points == counted


def test_a_collapse_for_want_of_points_names_the_codebook_size() -> None:
    row = {"epoch": 99, "loss": 1.0} | {f"perplexity_{layer}": 1.0 for layer in range(3)}
    config = settings(codebook_size=64)
    assert find_problem(row, config, 256).remedy.startswith("lower beta or gamma, or")
    assert find_problem(row, config, 200).remedy.startswith("set rqvae.codebook_size to 50 or less, or")
    plain = settings(codebook_size=64, beta=0, gamma=0)
    assert find_problem(row, plain, 256).remedy.startswith("lower codebook_size, or")


def test_levels_that_teach_nothing_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = catalogue()
    one_node = np.zeros(len(case.categories), np.int64)
    lone = np.arange(1, len(case.categories) + 1)
    expected = {
        "tree": (case.categories, []),
        "starved": (
            np.stack([one_node, lone], axis=1),
            [
                "100% of the documents drop out of HCCL at level 1 of the category tree, which has one node; build",
                "100% of the documents drop out of HCCL at level 2 of the category tree; raise rqvae.batch_size, or "
                "lower rqvae.levels",
            ],
        ),
    }
    for name, (categories, warnings) in expected.items():
        folder = tmp_path / name
        folder.mkdir()
        write_inputs(folder, case._replace(categories=categories))
        run_script(monkeypatch, *arguments(folder, settings(), folder))
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
        assert len(lines) == len(warnings)
        for line, warning in zip(lines, warnings, strict=True):
            assert line.startswith(f"warning: {folder / 'products.parquet'}: {warning}")
    folder = tmp_path / "starved"
    run_script(monkeypatch, *arguments(folder, settings(beta=0), folder / "without"))
    assert "warning: " not in capsys.readouterr().err


def test_more_than_half_of_the_documents_are_warned_of_with_what_helps() -> None:
    tree = np.arange(600).reshape(200, 3) // 9
    shares = [0.5, 0.51, 0.52]
    second, third = starved_levels(shares, settings(), tree)
    assert second.text == "51% of the documents drop out of HCCL at level 2 of the category tree"
    assert third.text == "52% of the documents drop out of HCCL at level 3 of the category tree"
    assert second.remedy == "raise rqvae.batch_size, or lower rqvae.levels"
    assert third.remedy == f"set rqvae.batches: category, {second.remedy}"
    by_category = starved_levels(shares, settings(batches="category"), tree)
    assert [problem.remedy for problem in by_category] == [
        f"set rqvae.batches: random, {second.remedy}",
        second.remedy,
    ]


# --- the command line ------------------------------------------------------------------------------------


@pytest.mark.parametrize("overrides", [{}, {"batches": "category", "hccl_positives": "one_or_self"}])
def test_it_goes_on_after_the_last_epoch_saved(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    overrides: dict[str, str],
) -> None:
    write_inputs(tmp_path, catalogue())
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run_script(monkeypatch, *arguments(tmp_path, settings(**overrides), whole))
    run_epoch = rqvae_training.Training.run_epoch

    def stop_at_the_fifth(run: rqvae_training.Training, epoch: int) -> dict[str, float]:
        if epoch == 4:
            raise KeyboardInterrupt
        return run_epoch(run, epoch)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(rqvae_training.Training, "run_epoch", stop_at_the_fifth)
        run_script(patch, *arguments(tmp_path, settings(**overrides), stopped))
    caplog.set_level("INFO")
    run_script(monkeypatch, *arguments(tmp_path, settings(**overrides), stopped))
    assert "resuming after epoch 4" in caplog.text
    for name in OUTPUTS:
        assert (stopped / "rqvae" / name).read_bytes() == (whole / "rqvae" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("number", "code", "epoch"),
    [(signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 6)],
    ids=["TERM in the warm-up", "INT in the last epoch"],
)
def test_stopped_it_saves_and_goes_on_to_the_same_bytes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    code: int,
    epoch: int,
) -> None:
    write_inputs(tmp_path, catalogue())
    seldom = ("--checkpoint-seconds", "1e9")
    run_script(monkeypatch, *arguments(tmp_path, settings(), tmp_path / "whole"), *seldom)
    caplog.set_level("INFO")
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
        signal_in_epoch(patch, number, epoch)
        run_script(patch, *arguments(tmp_path, settings(), tmp_path / "stopped"), *seldom)
    assert caught.value.code == code
    name = signal.Signals(number).name
    assert f"stopped by {name} after epoch {epoch} of 6, checkpoint saved; run again" in caplog.text
    assert not (tmp_path / "stopped" / "rqvae" / OUTPUTS[0]).exists()
    run_script(monkeypatch, *arguments(tmp_path, settings(), tmp_path / "stopped"), *seldom)
    assert f"resuming after epoch {epoch} of 6 from {tmp_path / 'stopped'}" in caplog.text
    for name in OUTPUTS:
        whole, resumed = (tmp_path / run / "rqvae" / name for run in ("whole", "stopped"))
        assert resumed.read_bytes() == whole.read_bytes(), name


def test_a_checkpoint_that_cannot_be_written_at_the_end_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_inputs(tmp_path, catalogue())
    monkeypatch.setattr("catid2.runtime.checkpoint.save_file", full)
    signal_in_epoch(monkeypatch, signal.SIGTERM, 2)
    with pytest.raises(SystemExit) as caught:
        run_script(monkeypatch, *arguments(tmp_path, settings(), tmp_path), "--checkpoint-seconds", "1e9")
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert "state.safetensors: cannot be written (No space left on device); make room" in error
    assert error.count("\n") == 1


def signal_in_epoch(patch: pytest.MonkeyPatch, number: int, epoch: int) -> None:
    """Let the process get a signal in the course of an epoch, counted from 1."""
    run_epoch = rqvae_training.Training.run_epoch

    def signalled(run: rqvae_training.Training, index: int) -> dict[str, float]:
        if index == epoch - 1:
            os.kill(os.getpid(), number)
        return run_epoch(run, index)

    patch.setattr(rqvae_training.Training, "run_epoch", signalled)


def test_the_config_beside_the_weights_says_what_made_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inputs(tmp_path, catalogue())
    run_script(monkeypatch, *arguments(tmp_path, settings(), tmp_path / "out", seed=3))
    content = json.loads((tmp_path / "out/rqvae/config.json").read_text())
    assert RqvaeConfig(**content["config"]) == settings()
    assert (content["seed"], content["n_docs"], content["n_categories"]) == (3, 200, [3, 9])
    same = fit(tmp_path / "same", seed=3)
    assert content["hccl_dropped"] == dropped_shares(same.history[-1], 200)
    assert content["architecture"]["input_dim"] == 20
    codebooks = RQVAE.load(tmp_path / "out/rqvae").codebooks
    assert torch.equal(codebooks, same.model.codebooks)
    assert not torch.equal(codebooks, fit(tmp_path / "other", seed=0).model.codebooks)


@pytest.mark.parametrize(
    ("option", "value"), [("--seed", "-1"), ("--checkpoint-seconds", "-1"), ("--checkpoint-seconds", "nan")]
)
def test_numbers_out_of_range_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: str,
) -> None:
    with pytest.raises(SystemExit) as caught:
        run_script(monkeypatch, *arguments(tmp_path, settings(), tmp_path / "out"), option, value)
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {option}: ")
    assert error.count("\n") == 1


def test_a_state_that_other_code_made_is_not_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_inputs(tmp_path, catalogue())
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Checkpoints, "remove", interrupt)
        run_script(patch, *arguments(tmp_path, settings(), tmp_path / "out"))
    caplog.set_level("INFO")
    monkeypatch.setattr("catid2.runtime.checkpoint.code_digest", lambda module: {"torch": "0.0"})
    run_script(monkeypatch, *arguments(tmp_path, settings(), tmp_path / "out"))
    assert 'code.torch: "' in caplog.text
    assert "starting from scratch" in caplog.text
    assert "resuming" not in caplog.text


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("nan", "row 17: a value is not finite"),
        ("rows", "199 rows for 200 documents"),
        ("parents", "category 7 of level 2 has two parents"),
        ("missing", "no such file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: str,
    message: str,
) -> None:
    case = catalogue()
    if damage == "nan":
        case.embeddings[17, 3] = np.nan
    if damage == "parents":
        case.categories[np.flatnonzero(case.categories[:, 1] == 7)[0], 0] = 0
    write_inputs(tmp_path, case._replace(embeddings=case.embeddings[1:]) if damage == "rows" else case)
    if damage == "missing":
        (tmp_path / "embeddings.npy").unlink()
    with pytest.raises(SystemExit) as caught:
        run_script(monkeypatch, *arguments(tmp_path, settings(), tmp_path / "out"))
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
