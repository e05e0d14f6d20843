"""Residual quantisation, k-means and the revival of codes."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from sklearn.cluster import KMeans

from catid2.quantizer.codebooks import ResidualQuantizer, kmeans, squared_distances
from catid2.training.distributed import Group


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fitted(z: torch.Tensor, layers: int = 3, size: int = 8, **options) -> ResidualQuantizer:
    quantizer = ResidualQuantizer(layers, size, z.shape[1], **options)
    quantizer.initialise(z, len(z) / size, seeded())
    return quantizer


@pytest.fixture
def z() -> torch.Tensor:
    centres = torch.randn(12, 4, generator=seeded(1)) * 3
    return centres.repeat(20, 1) + 0.3 * torch.randn(240, 4, generator=seeded(2))


def test_codes_are_the_nearest_codewords_of_each_residual(z: torch.Tensor) -> None:
    quantizer = fitted(z)
    done = quantizer(z)
    residual = z
    for layer, codebook in enumerate(quantizer.codebooks):
        nearest = torch.cdist(residual.double(), codebook.double()).argmin(1)
        assert torch.equal(done.codes[:, layer], nearest)
        torch.testing.assert_close(done.residuals[layer], residual)
        residual = residual - codebook[nearest]
    torch.testing.assert_close(done.latents + residual, z)


def test_every_layer_lowers_the_error(z: torch.Tensor) -> None:
    done = fitted(z)(z)
    errors = [residual.square().sum().item() for residual in done.residuals]
    errors.append((z - done.latents).square().sum().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * errors[0]


def test_distances_by_one_product_are_distances() -> None:
    points, centres = torch.randn(6, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(squared_distances(points, centres), torch.cdist(points, centres) ** 2)


def test_a_residual_sends_its_whole_gradient_to_the_latent_and_none_to_codebooks(z: torch.Tensor) -> None:
    quantizer = fitted(z, update="gradient")
    z = z.clone().requires_grad_()
    last = quantizer(z).residuals[-1]
    to_z, to_codes = torch.autograd.grad(last.sum(), (z, quantizer.codebooks), allow_unused=True)
    assert torch.equal(to_z, torch.ones_like(z))
    assert to_codes is None


def test_following_keeps_the_right_share_of_the_old_average() -> None:
    quantizer = ResidualQuantizer(1, 2, 1, decay=0.75)
    quantizer.place(0, torch.tensor([0, 1]), torch.tensor([[0.0], [10.0]]), count=4)
    quantizer.follow(quantizer(torch.tensor([[1.0], [1.0], [1.0], [1.0]])), Group())
    # count 0.75·4 + 0.25·4 = 4, sum 0.75·0 + 0.25·4 = 1; the unused code keeps its place
    torch.testing.assert_close(quantizer.codebooks[0], torch.tensor([[0.25], [10.0]]))
    assert not quantizer.codebooks.requires_grad  # the average alone moves them


def test_an_unused_code_never_becomes_nan_or_drifts() -> None:
    quantizer = ResidualQuantizer(1, 2, 1, decay=0.5)
    quantizer.place(0, torch.tensor([0, 1]), torch.tensor([[1.0], [10.0]]), count=4)
    for _ in range(300):
        quantizer.follow(quantizer(torch.ones(4, 1)), Group())
    torch.testing.assert_close(quantizer.codebooks[0], torch.tensor([[1.0], [10.0]]))


@pytest.mark.parametrize(("copies", "iterations"), [(1, 30), (1, 2), (300, 2)])  # 72,000 rows: two chunks
def test_kmeans_is_that_of_scikit_learn_from_the_same_seeds(
    z: torch.Tensor, copies: int, iterations: int
) -> None:
    z = z.repeat(copies, 1)
    seeds = kmeans(z, 6, seeded(), iterations=0)
    expected = KMeans(6, init=seeds.numpy(), n_init=1, max_iter=iterations, tol=0).fit(z.numpy())
    found = kmeans(z, 6, seeded(), iterations)
    torch.testing.assert_close(found, torch.from_numpy(expected.cluster_centers_), rtol=1e-4, atol=1e-4)


def test_a_seed_of_kmeans_is_drawn_by_its_squared_distance_to_those_before() -> None:
    line, generator = torch.tensor([[0.0], [1.0], [3.0]]), seeded()
    drawn = Counter(tuple(kmeans(line, 2, generator, iterations=0).flatten().tolist()) for _ in range(900))
    expected = {  # out of 900: the first is any of the three
        **{(0, 1): 300 * 1 / 10, (0, 3): 300 * 9 / 10},
        **{(1, 0): 300 * 1 / 5, (1, 3): 300 * 4 / 5},
        **{(3, 0): 300 * 9 / 13, (3, 1): 300 * 4 / 13},
    }
    assert drawn.keys() == expected.keys()
    assert chisquare([drawn[pair] for pair in expected], list(expected.values())).pvalue > 0.01


@settings(deadline=None, max_examples=25)
@given(
    points=st.lists(st.sampled_from([0.0, 1.0, 5.0, 1e4]), min_size=1, max_size=12),
    k=st.integers(1, 9),
    seed=st.integers(0, 3),
)
def test_kmeans_is_finite_whatever_repeats(points: list[float], k: int, seed: int) -> None:
    rows = torch.tensor(points).unsqueeze(1)
    found = kmeans(rows, k, seeded(seed))
    assert found.shape == (k, 1)
    assert found.isfinite().all()
    if k >= len(set(points)):  # enough centres for every distinct point
        assert torch.cdist(rows, found).min(1).values.max() < 1e-2


def test_kmeans_repeats_itself_for_a_seed(z: torch.Tensor) -> None:
    assert torch.equal(kmeans(z, 7, seeded(4)), kmeans(z, 7, seeded(4)))
    assert not torch.equal(kmeans(z, 7, seeded(4)), kmeans(z, 7, seeded(5)))


def test_revived_codes_are_used_and_lower_the_error(z: torch.Tensor) -> None:
    quantizer = fitted(z)
    far = torch.full((1, 4), 1e3)
    for layer in range(3):
        quantizer.place(layer, torch.arange(4), far.repeat(4, 1), count=1)
    before = quantizer(z)
    unused = torch.stack([torch.bincount(column, minlength=8) == 0 for column in before.codes.T])
    assert unused.sum() >= 12
    quantizer.revive(z, unused, count=3, generator=seeded())
    after = quantizer(z)
    assert len(after.codes[:, 0].unique()) == 8
    assert (z - after.latents).square().sum() < (z - before.latents).square().sum()


def test_used_codes_stay_when_others_are_revived(z: torch.Tensor) -> None:
    quantizer = fitted(z)
    before = quantizer.codebooks.detach().clone()
    unused = torch.zeros(3, 8, dtype=torch.bool)
    unused[1, 2] = True
    quantizer.revive(z, unused, count=3, generator=seeded())
    moved = (quantizer.codebooks != before).any(-1)
    assert torch.equal(moved, unused)


def test_a_dead_code_moves_to_a_residual_by_its_squared_error() -> None:
    rows, generator = torch.tensor([[0.0], [1.0], [3.0]]), seeded()
    drawn: Counter[float] = Counter()
    for _ in range(400):
        quantizer = ResidualQuantizer(1, 2, 1)
        quantizer.place(0, torch.arange(2), torch.tensor([[0.0], [1e3]]), count=1)
        quantizer.revive(rows, torch.tensor([[False, True]]), count=5, generator=generator)
        drawn[quantizer.codebooks[0, 1].item()] += 1
    assert drawn.keys() == {1, 3}
    assert chisquare([drawn[1], drawn[3]], [40, 360]).pvalue > 0.01
    assert quantizer.counts.tolist() == [[1, 5]]
    assert quantizer.sums[0, 1] == 5 * quantizer.codebooks[0, 1]
