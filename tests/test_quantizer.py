"""Residual quantisation, k-means and the revival of codes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catid2.distributed import Group
from catid2.quantizer import ResidualQuantizer, kmeans, squared_distances


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


def test_without_memory_a_code_moves_to_the_mean_of_its_residuals(z: torch.Tensor) -> None:
    quantizer = fitted(z, decay=1e-6)
    shifted = z + 0.05
    done = quantizer(shifted)
    before = quantizer.codebooks.detach().clone()
    quantizer.follow(done, Group())
    for layer in range(3):
        for code in range(8):
            members = done.residuals[layer][done.codes[:, layer] == code]
            expected = members.mean(0) if len(members) else before[layer, code]
            torch.testing.assert_close(quantizer.codebooks[layer, code], expected, rtol=1e-3, atol=1e-4)


def test_following_keeps_the_right_share_of_the_old_average() -> None:
    quantizer = ResidualQuantizer(1, 2, 1, decay=0.75)
    quantizer.place(0, torch.tensor([0, 1]), torch.tensor([[0.0], [10.0]]), count=4)
    quantizer.follow(quantizer(torch.tensor([[1.0], [1.0], [1.0], [1.0]])), Group())
    # count 0.75·4 + 0.25·4 = 4, sum 0.75·0 + 0.25·4 = 1; the unused code keeps its place
    torch.testing.assert_close(quantizer.codebooks[0], torch.tensor([[0.25], [10.0]]))


def test_an_unused_code_never_becomes_nan_or_drifts() -> None:
    quantizer = ResidualQuantizer(1, 2, 1, decay=0.5)
    quantizer.place(0, torch.tensor([0, 1]), torch.tensor([[1.0], [10.0]]), count=4)
    for _ in range(300):
        quantizer.follow(quantizer(torch.ones(4, 1)), Group())
    torch.testing.assert_close(quantizer.codebooks[0], torch.tensor([[1.0], [10.0]]))


def test_kmeans_finds_separate_clusters() -> None:
    centres = torch.tensor([[0.0, 0], [100, 0], [0, 100], [100, 100]])
    points = centres.repeat(50, 1) + torch.randn(200, 2, generator=seeded())
    found = kmeans(points, 4, seeded())
    assert torch.cdist(found, centres).min(0).values.max() < 1


def test_kmeans_stops_where_no_step_improves(z: torch.Tensor) -> None:
    found = kmeans(z, 6, seeded(), iterations=200)
    nearest = torch.cdist(z, found).argmin(1)
    means = torch.stack([z[nearest == code].mean(0) for code in range(6)])
    torch.testing.assert_close(found, means, rtol=1e-4, atol=1e-4)


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
