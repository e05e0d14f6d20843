"""Each loss equals its definition, and that a loop over documents, in value and in gradient."""

import math
from itertools import pairwise

import pytest
import torch
from slow_losses import slow_cscl, slow_disl, slow_hccl, slow_hccl_drawn
from torch import Tensor

from catid2.quantizer.blocks import block_bounds, contrasts
from catid2.quantizer.codebooks import ResidualQuantizer, squared_distances
from catid2.quantizer.contrast import plan_contrast
from catid2.quantizer.losses import (
    cscl,
    disl,
    hccl,
    l_csc,
    l_dis,
    l_hcc,
    l_hcc_drawn,
    l_rq,
    quantisation_loss,
)
from catid2.training.distributed import Group

ALONE = Group()


def tree(documents: int, seed: int, width: int = 3) -> Tensor:
    """Return (B, 3) category ids of a random tree, skewed, with categories and parents of one document."""
    generator = torch.Generator().manual_seed(seed)
    steps = (torch.rand(documents, 3, generator=generator) ** 2 * width).long()
    weights = torch.tensor([[100, 0, 0], [10, 100, 0], [1, 10, 100]])
    return 1000 * torch.tensor([1, 2, 3]) + steps @ weights.T


def parents_of(categories: Tensor, level: int) -> Tensor:
    return categories[:, level - 1] if level else torch.zeros(len(categories), dtype=torch.long)


def same_gradients(fast: Tensor, slow: Tensor, inputs: list[Tensor]) -> None:
    """Compare two losses and what they send to each input, which is zero where one of them sends nothing."""
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-12)
    gradients = (
        torch.autograd.grad(loss, inputs, retain_graph=True, materialize_grads=True) for loss in (fast, slow)
    )
    for x, y in zip(*gradients, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("kind", ["cosine", "l2"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("tile_rows", [1, 7, 128])
def test_hccl_equals_its_definition_and_a_loop(level: int, tile_rows: int, kind: str, reduction: str) -> None:
    categories = tree(40, seed=level)
    r = torch.randn(
        40, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True
    )
    labels, parents = categories[:, level], parents_of(categories, level)
    plan = plan_contrast(labels, parents, "all", torch.Generator(), tile_rows)
    losses = slow_hccl(r, labels, parents, kind, 0.7)
    slow = losses.mean() if reduction == "mean" else losses.sum()
    defined = getattr(l_hcc(r, labels, parents, kind, 0.7), reduction)()
    same_gradients(hccl(r, plan, kind, 0.7, reduction, ALONE), defined, [r])
    same_gradients(defined, slow, [r])
    assert (plan.anchors, plan.dropped) == (len(losses), 40 - len(losses))


@pytest.mark.parametrize("kind", ["cosine", "l2"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("tile_rows", [1, 7, 128])
def test_hccl_with_the_anchor_for_a_positive_equals_its_definition_and_a_loop(
    level: int, tile_rows: int, kind: str, reduction: str
) -> None:
    generator = torch.Generator().manual_seed(1)
    categories = tree(40, seed=level)
    r = torch.randn(40, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    labels, parents = categories[:, level], parents_of(categories, level)
    plan = plan_contrast(labels, parents, "one_or_self", generator, tile_rows)
    partners = torch.empty(40, dtype=torch.long)
    partners[plan.order] = plan.order[plan.partners]
    mates = (labels[:, None] == labels).sum(1) - 1
    assert (labels[partners] == labels).all()
    assert torch.equal(partners == torch.arange(40), mates == 0)
    assert (mates == 0).any() == (level > 0)
    slow = getattr(slow_hccl_drawn(r, partners, parents, kind, 0.7), reduction)()
    defined = getattr(l_hcc_drawn(r, partners, parents, kind, 0.7), reduction)()
    same_gradients(hccl(r, plan, kind, 0.7, reduction, ALONE), defined, [r])
    same_gradients(defined, slow, [r])
    assert (plan.anchors, plan.dropped) == (40, 0)


@pytest.mark.parametrize("tile_rows", [1, 3, 8, 50, 1000])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_tiles_hold_every_anchor_once_with_all_that_it_meets(level: int, tile_rows: int) -> None:
    categories = tree(300, seed=level, width=4)
    labels, parents = categories[:, level], parents_of(categories, level)
    plan = plan_contrast(labels, parents, "all", torch.Generator(), tile_rows)
    labels, parents = labels[plan.order], parents[plan.order]
    held = torch.zeros(300, dtype=torch.long)
    for tile in plan.tiles:
        assert length(tile.rows) <= tile_rows
        held[tile.rows] += 1
        for places, of in ((tile.columns, parents), (tile.inner, labels)):
            wanted = torch.isin(parents, parents[tile.rows]) & torch.isin(of, of[tile.rows])
            assert wanted.nonzero().flatten().tolist() == list(range(places.start, places.stop))
        assert tile.pure == (len(labels[tile.rows].unique()) == 1)
        assert tile.mixed == (len(parents[tile.rows].unique()) > 1)
    assert held.max() == 1
    assert held[plan.weights.flatten() > 0].all()


def test_level_one_contrasts_with_every_other_category() -> None:
    categories = torch.tensor([0, 0, 1, 1, 2])
    plan = plan_contrast(categories, torch.zeros(5, dtype=torch.long), "all", torch.Generator())
    assert plan.anchors == 4  # the lone document of category 2 has no positive, but is everyone's negative
    assert [tile.columns for tile in plan.tiles] == [slice(0, 5)]


def test_a_category_name_under_two_parents_is_two_categories() -> None:
    categories, parents = torch.tensor([7, 7, 8, 7, 7, 8, 9]), torch.tensor([0, 0, 0, 1, 1, 1, 1])
    r = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    plan = plan_contrast(categories, parents, "all", torch.Generator())
    halves = [
        slow_hccl(r[part], categories[part], parents[part], "l2", 1.0) for part in (slice(0, 3), slice(3, 7))
    ]
    same_gradients(hccl(r, plan, "l2", 1.0, "sum", ALONE), torch.cat(halves).sum(), [r])


@pytest.mark.parametrize(
    ("total", "negatives"), [(10, None), (10, 3), (10, 9), (10, 50), (4096, 255), (1, 1)]
)
def test_blocks_leave_enough_others(total: int, negatives: int | None) -> None:
    bounds = block_bounds(total, negatives)
    assert (bounds[0], bounds[-1]) == (0, total)
    sizes = [end - start for start, end in pairwise(bounds)]
    assert min(sizes) > min(negatives or total, total - 1)
    assert max(sizes) - min(sizes) <= 1
    if negatives is not None and len(sizes) > 1:
        assert total // (len(sizes) + 1) <= negatives  # no further block would fit


def length(part: slice) -> int:
    return part.stop - part.start


def test_nothing_masked_away_is_built() -> None:
    categories = tree(400, seed=0, width=4)
    plan = plan_contrast(categories[:, 2], categories[:, 1], "all", torch.Generator(), tile_rows=8)
    built = sum(length(tile.rows) * length(tile.columns) for tile in plan.tiles)
    sizes = categories[:, 1].unique(return_counts=True)[1]
    assert built <= 2 * sizes.square().sum() + 8 * 8 * len(plan.tiles)
    assert built < 400 * 400 / 4


def test_one_drawn_positive_is_a_fair_draw_among_all() -> None:
    categories = tree(30, seed=3)
    labels, parents = categories[:, 0], parents_of(categories, 0)
    r = torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(5)
    plan = plan_contrast(labels, parents, "all", generator)
    expected = hccl(r, plan, "cosine", 0.5, "mean", ALONE)
    draws, seen = [], set()
    for _ in range(600):
        plan = plan_contrast(labels, parents, "one", generator)
        weighs = plan.weights.flatten() > 0
        rows, partners = plan.order[weighs], plan.order[plan.partners[weighs]]
        assert (rows != partners).all()
        assert (labels[rows] == labels[partners]).all()
        seen |= set(zip(rows.tolist(), partners.tolist(), strict=True))
        draws.append(hccl(r, plan, "cosine", 0.5, "mean", ALONE))
    same = labels[:, None] == labels
    assert len(seen) == int(same.sum()) - 30
    standard_error = torch.stack(draws).std() / math.sqrt(len(draws))
    assert abs(torch.stack(draws).mean() - expected) < 4 * standard_error


@pytest.mark.parametrize("kind", ["cosine", "l2"])
def test_gradient_of_drawn_positives(kind: str) -> None:
    categories = tree(12, seed=1)
    plan = plan_contrast(
        categories[:, 1], categories[:, 0], "one", torch.Generator().manual_seed(0), tile_rows=4
    )
    r = torch.randn(
        12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    assert torch.autograd.gradcheck(lambda x: hccl(x, plan, kind, 0.6, "sum", ALONE), (r,))


def test_hccl_without_any_anchor_is_zero() -> None:
    r = torch.randn(4, 3, requires_grad=True)
    plan = plan_contrast(torch.arange(4), torch.zeros(4, dtype=torch.long), "all", torch.Generator())
    loss = hccl(r, plan, "cosine", 0.1, "mean", ALONE)
    loss.backward()
    assert loss == 0
    assert (r.grad == 0).all()
    assert plan.dropped == 4


def test_hccl_stays_finite_at_a_tiny_temperature() -> None:
    categories = tree(40, seed=2)
    plan = plan_contrast(categories[:, 0], parents_of(categories, 0), "all", torch.Generator())
    r = torch.randn(40, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = hccl(r, plan, "cosine", 1e-3, "mean", ALONE)
    loss.backward()
    assert loss.isfinite()
    assert r.grad.isfinite().all()


@pytest.mark.parametrize("scaling", ["batch_mean", "literal"])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_cscl_equals_its_definition_and_a_loop(scaling: str, temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    z, codes = (
        torch.randn(n, 3, dtype=torch.float64, generator=generator, requires_grad=True) for n in (9, 6)
    )
    distances = [squared_distances(z, codes), squared_distances(z * 2, codes)]
    slow = slow_cscl(
        [torch.cdist(z, codes) ** 2, torch.cdist(2 * z, codes) ** 2], scaling == "literal", temperature
    )
    defined = l_csc(distances, scaling, temperature)
    same_gradients(cscl(distances, scaling, temperature, ALONE, len(z)), defined, [z, codes])
    same_gradients(defined, slow, [z, codes])


def test_cscl_is_zero_where_all_codes_are_used_alike_and_grows_from_there() -> None:
    even = torch.full((4, 4), 50.0).fill_diagonal_(0)
    uneven = even[[0, 0, 0, 1]]
    assert cscl([even], "literal", 1.0, ALONE, 4) == pytest.approx(0, abs=1e-5)
    assert cscl([uneven], "literal", 1.0, ALONE, 4) > 1


def test_cscl_scaled_by_the_batch_does_not_feel_how_large_distances_are() -> None:
    distances = [torch.rand(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))]
    expected = cscl(distances, "batch_mean", 1.0, ALONE, 6)
    for size in (1e-6, 1e6):
        assert cscl([size * distances[0]], "batch_mean", 1.0, ALONE, 6) == pytest.approx(float(expected))


@pytest.mark.parametrize("kind", ["cosine", "l2"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_disl_equals_its_definition_and_a_loop(kind: str, reduction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    d, back = (
        torch.randn(9, 4, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(2)
    )
    losses = slow_disl(back, d, kind, 0.5)
    slow = losses.mean() if reduction == "mean" else losses.sum()
    defined = getattr(l_dis(back, d, kind, 0.5), reduction)()
    same_gradients(disl(back, d, None, kind, 0.5, reduction, ALONE), defined, [back, d])
    same_gradients(defined, slow, [back, d])


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("kind", ["cosine", "l2"])
@pytest.mark.parametrize("bounds", [(0, 3, 7, 11), (0, 3, 6, 9)])  # blocks of two sizes, and of one
def test_disl_in_blocks_is_disl_of_each_block(bounds: tuple[int, ...], kind: str, batched: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    d, back = (torch.randn(bounds[-1], 4, dtype=torch.float64, generator=generator) for _ in range(2))
    blocks = [slice(*ends) for ends in pairwise(bounds)]
    back.requires_grad_()
    slow = sum(disl(back[b], d[b], None, kind, 0.5, "sum", ALONE) for b in blocks)
    same_gradients(disl(back, d, 2, kind, 0.5, "sum", ALONE, batched), slow, [back])


@pytest.mark.parametrize(("documents", "padded"), [(9, False), (11, True)])
def test_only_blocks_of_different_sizes_are_padded(documents: int, padded: bool) -> None:
    rows = torch.randn(documents, 4)
    (blocks,) = contrasts(rows, rows, 2, ALONE, batched=True)
    assert (blocks.padding is not None) == padded


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_quantisation_loss_equals_its_definition_and_a_loop(reduction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(7, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    x, back = (
        torch.randn(7, 5, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(2)
    )
    quantizer = ResidualQuantizer(2, 4, 3, "gradient").double()
    quantizer.codebooks.data = torch.randn(2, 4, 3, dtype=torch.float64, generator=generator)
    quantized = quantizer(z)
    loss = quantisation_loss(x, back, quantized, reduction, len(z))

    reconstruction = codebook = commitment = 0
    for i in range(len(z)):
        reconstruction = reconstruction + (x[i] - back[i]).square().sum()
        residual = z[i]
        for book in quantizer.codebooks:
            code = book[torch.stack([(residual - e).square().sum() for e in book]).argmin()]
            codebook = codebook + (residual.detach() - code).square().sum()
            commitment = commitment + (residual - code.detach()).square().sum()
            residual = residual - code.detach()
    width, depth = (5, 3) if reduction == "mean" else (1, 1)
    tensors = [x, back, z, quantizer.codebooks]
    same_gradients(loss.reconstruction, reconstruction / (7 * width), tensors)
    same_gradients(loss.codebook, codebook / (7 * depth), tensors)
    same_gradients(loss.commitment, commitment / (7 * depth), tensors)
    if reduction == "sum":
        whole = loss.reconstruction + loss.codebook + 0.25 * loss.commitment
        same_gradients(whole, l_rq(x, back, quantized.residuals, quantized.chosen, 0.25), tensors)


def test_codebooks_that_move_by_average_have_their_loss_without_a_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(7, 3, generator=generator, requires_grad=True)
    terms = []
    for update in ("ema", "gradient"):
        quantizer = ResidualQuantizer(2, 4, 3, update)
        quantizer.codebooks.data = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1))
        terms.append(quantisation_loss(z, z, quantizer(z), "sum", len(z)).codebook)
    assert float(terms[0]) == pytest.approx(float(terms[1]))
    assert not terms[0].requires_grad
    assert terms[1].requires_grad
