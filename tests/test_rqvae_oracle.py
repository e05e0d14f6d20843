"""Training of the RQ-VAE, step by step, against plain PyTorch; and what each setting and seed decides in it."""

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from plain_rqvae import plain_training
from rqvae_case import Catalogue, catalogue, settings
from torch import Tensor

from catid2.quantizer.step import Taken
from catid2.quantizer.training import Training
from catid2.training.distributed import Group

DOCUMENTS, CODES = 50, 8
BATCHES = 3  # of an epoch: 17, 17 and 16 documents
SMALL = {"layers": 4, "levels": 3, "hidden": (12,), "batch_size": 20, "epochs": 4, "warmup_epochs": 0}


def three_levels() -> Catalogue:
    """Return clusters in a tree of three levels."""
    case = catalogue(DOCUMENTS, dimensions=10)
    leaf = case.categories[:, 1] - 3
    return case._replace(categories=np.stack([leaf // 4, 3 + leaf // 2, 8 + leaf], axis=1))


CASE = three_levels()
EMBEDDINGS = torch.from_numpy(CASE.embeddings)


def started(seed: int = 0, dense: bool = False, **options: object) -> Training:
    return Training(*CASE, settings(**SMALL | options), seed, Group(), dense)


def watch(run: Training) -> list[Tensor]:
    """Return a list that fills with the batches that the run trains on."""
    batches: list[Tensor] = []
    take = run.step.take

    def watched(rows: Tensor, *rest: object, **options: object) -> Taken:
        batches.append(documents_of(rows))
        return take(rows, *rest, **options)

    run.step.take = watched
    return batches


def documents_of(rows: Tensor) -> Tensor:
    """Return the documents whose embeddings the rows are."""
    same = (rows[:, None] == EMBEDDINGS).all(2)
    assert (same.sum(1) == 1).all()
    return same.int().argmax(1)


def documents_at(codewords: Tensor, latents: Tensor) -> Tensor:
    """Return the documents on whose latents the codewords lie."""
    distances, documents = (codewords[:, None] - latents).norm(dim=2).min(1)
    assert distances.max() < 1e-3
    return documents


# --- a run against a plain loop --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"hccl_negatives": 7, "disl_negatives": 5, "rise_steps": 4},
        {
            "codebook_update": "gradient",
            "error_reduction": "mean",
            "hccl_hard_negatives": False,
            "hccl_similarity": "cosine",
            "hccl_reduction": "sum",
            "disl_negatives": None,
            "disl_similarity": "l2",
            "disl_reduction": "sum",
            "cscl_scaling": "literal",
            "schedule": "constant",
            "standardize": "unit",
            "layer_norm": True,
        },
        {"alpha": 0, "beta": 0, "gamma": 0, "standardize": "none", "schedule": "constant", "rise_steps": 5},
        {"layers": 1, "allow_levels_ge_layers": True, "alpha": 0},
        {"warmup_epochs": 2},
    ],
    ids=["every-loss", "other-options", "L_rq-alone", "more-levels-than-layers", "warm-up"],
)
@pytest.mark.parametrize("dense", [False, True])
def test_two_epochs_are_those_of_a_plain_loop(options: dict[str, object], dense: bool) -> None:
    weights = {"alpha": 0.3, "beta": 0.7, "gamma": 0.5, "mu": 0.4, "weight_decay": 0.5}
    temperatures = {"hccl_temperature": 1.5, "disl_temperature": 0.4, "cscl_temperature": 0.8}
    # Batches of one size that hold all documents.
    size = {"batch_size": 25} if dense else {}
    still = {"revive_dead_codes": False, "ema_decay": 0.8}
    run = started(dense=dense, **weights | temperatures | still | size | options)
    run.initialise_codebooks(epoch=0)  # the first epoch does so again, with the same result
    plain, batches = deepcopy(run.model), watch(run)
    history = [run.run_epoch(epoch) for epoch in range(2)]
    epochs = [batches[: run.batches], batches[run.batches :]]
    for row, figures in zip(history, plain_training(plain, CASE, run.config, epochs), strict=True):
        assert {name: row[name] for name in figures} == pytest.approx(figures, rel=1e-5)
    expected = dict(plain.named_parameters())
    for name, found in run.model.named_parameters():
        assert torch.allclose(found, expected[name], rtol=1e-4, atol=1e-5), name


def test_a_level_without_a_layer_has_no_figure() -> None:
    row = started(layers=1, allow_levels_ge_layers=True).run_epoch(0)
    assert [math.isnan(row[f"dropped_{level}"]) for level in (1, 2, 3)] == [False, True, True]


@pytest.mark.parametrize(
    ("loss", "reached"),
    [
        ("reconstruction", {"encoder", "decoder"}),  # straight through the codes
        ("commitment", {"encoder"}),
        ("codebook", {"codebooks"}),
        ("disl", {"encoder", "decoder"}),
        ("hccl", {"encoder"}),
        ("cscl", {"encoder", "codebooks"}),
    ],
)
def test_a_loss_reaches_all_of_what_it_is_for_and_nothing_else(loss: str, reached: set[str]) -> None:
    run = started(codebook_update="gradient")
    run.initialise_codebooks(epoch=0)
    batch = torch.arange(40)
    terms, _ = run.step.terms(run.matrix[batch], run.step.plans(run.labels[batch], torch.Generator()))
    run.model.zero_grad()
    terms[loss].backward()
    parts = {
        "encoder": [parameter.grad for parameter in run.model.encoder.parameters()],
        "decoder": [parameter.grad for parameter in run.model.decoder.parameters()],
        "codebooks": [None]
        if run.model.quantizer.codebooks.grad is None
        else run.model.quantizer.codebooks.grad,
    }
    for name, gradients in parts.items():  # of every weight matrix, bias and codebook
        moved = {gradient is not None and bool(gradient.any()) for gradient in gradients}
        assert moved == {name in reached}, name


# --- k-means and revival ---------------------------------------------------------------------------------


def test_after_the_warm_up_codes_lie_on_as_many_documents_as_k_means_may_see() -> None:
    still = {"ema_decay": 1 - 1e-7, "revive_dead_codes": False}  # the epoch does not move them
    run = started(warmup_epochs=1, kmeans_documents=CODES, **still)
    run.run_epoch(0)
    assert not run.model.codebooks.any()
    latents = run.model.encode(EMBEDDINGS)
    run.run_epoch(1)
    seen = documents_at(run.model.codebooks[0], latents)
    assert len(seen.unique()) == CODES  # each of the documents is a cluster
    assert seen.max() >= CODES  # they are drawn from all


@pytest.mark.parametrize(
    ("epochs", "revive", "revived"), [(3, True, True), (3, False, False), (2, True, False)]
)
def test_dead_codes_are_moved_to_documents_but_not_after_the_last_epoch(
    epochs: int, revive: bool, revived: bool
) -> None:
    run = started(epochs=epochs, revive_dead_codes=revive)
    run.initialise_codebooks(epoch=0)
    dead, far = torch.tensor([1, 4]), torch.full((2, 6), 1e3)
    run.model.quantizer.place(0, dead, far, count=1)
    row = run.run_epoch(1)
    assert row["dead_0"] >= 2
    found = run.model.codebooks[0, dead]
    if revived:
        assert len(documents_at(found, run.model.encode(EMBEDDINGS)).unique()) == 2
    else:
        torch.testing.assert_close(found, far)


# --- precision, normalisation, seeds ---------------------------------------------------------------------


def test_bfloat16_is_the_precision_of_encoder_and_decoder_alone() -> None:
    errors = {}
    for precision in ("float32", "bfloat16"):
        run = started(precision=precision, kmeans_documents=CODES)
        run.initialise_codebooks(epoch=0)
        batch = torch.arange(40)
        plans = run.step.plans(run.labels[batch], torch.Generator())
        terms, quantized = run.step.terms(run.matrix[batch], plans)
        for latents in (quantized.residuals[0], run.model.codebooks[0]):  # k-means sees latents of training
            assert torch.equal(latents, latents.bfloat16().float()) == (precision == "bfloat16")
        for residual, codebook, found in zip(
            quantized.residuals, run.model.codebooks, quantized.distances, strict=True
        ):
            exact = (residual.double()[:, None] - codebook.double()).square().sum(2)
            torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
        assert {term.dtype for term in terms.values()} == {torch.float32}
        errors[precision] = started(precision=precision, warmup_epochs=1).run_epoch(0)["reconstruction"]
    assert errors["bfloat16"] == pytest.approx(errors["float32"], rel=0.02)
    assert errors["bfloat16"] != errors["float32"]


@pytest.mark.parametrize("layer_norm", [True, False])
def test_a_normalised_layer_does_not_feel_the_scale_of_its_weights(layer_norm: bool) -> None:
    model = started(hidden=(24, 12), layer_norm=layer_norm).model
    for network, rows, widths in (
        (model.encoder, EMBEDDINGS.float(), [24, 12, 6]),
        (model.decoder, torch.eye(6), [12, 24, 10]),
    ):
        layers = [part for part in network if isinstance(part, torch.nn.Linear)]
        assert [layer.out_features for layer in layers] == widths
        for layer in layers[:-1]:
            before = network(rows)
            for parameter in layer.parameters():
                parameter.data *= 10
            assert torch.allclose(network(rows), before, rtol=0.01, atol=0.01) == layer_norm


def draws(seed: int) -> dict[str, Tensor]:
    """Return everything random in two epochs."""
    run = started(seed, kmeans_documents=CODES, hccl_positives="one")
    weights = torch.cat([parameter.detach().flatten() for parameter in run.model.parameters()])
    run.initialise_codebooks(epoch=0)
    places = documents_at(run.model.codebooks[0], run.model.encode(EMBEDDINGS))
    batches = watch(run)
    for epoch in range(2):
        run.run_epoch(epoch)
    return {
        "first weights": weights,
        "documents of k-means": places,
        "order of epoch 1": torch.cat(batches[:BATCHES]),
        "order of epoch 2": torch.cat(batches[BATCHES:]),
    }


def test_the_seed_and_the_epoch_and_nothing_else_decide_what_is_drawn() -> None:
    torch.manual_seed(1)
    first = draws(seed=0)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again, other = draws(seed=0), draws(seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    for name, drawn in first.items():
        assert torch.equal(drawn, again[name]), name
        assert not torch.equal(drawn, other[name]), name
    orders = first["order of epoch 1"], first["order of epoch 2"]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(DOCUMENTS))
    assert not torch.equal(*orders)
    # Two draws of an epoch share no random numbers either.
    assert set(first["documents of k-means"].tolist()) != set(orders[0][:CODES].tolist())
