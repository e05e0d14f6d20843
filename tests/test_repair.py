"""Repairs of DocID collisions: uniqueness always, optimality where it is claimed, and the loop's known flaws."""

import functools
import itertools

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from catid2.docids.repair import extra_digit, sinkhorn, sinkhorn_loop, transport
from catid2.docids.sinkhorn import log_plans
from catid2.quantizer import codes as codes_module
from catid2.quantizer.codes import (
    collisions,
    distortion,
    greedy_codes,
    residuals,
    shared,
    squared_distances,
    tuple_ids,
)
from catid2.runtime.errors import InputError

LOOP = {"epsilon": 0.003, "iterations": 50, "rounds": 20}
both = pytest.mark.parametrize(
    "repair",
    [transport, functools.partial(sinkhorn, epsilon=0.003, iterations=10)],
    ids=["transport", "sinkhorn"],
)


def corpus(
    seed: int, documents: int, layers: int, size: int, dimensions: int = 3, distinct: int | None = None
):
    """Latents (N, d) with `distinct` different rows, and codebooks (L, K, d) that shrink layer by layer."""
    rng = np.random.default_rng(seed)
    latents = rng.standard_normal((documents, dimensions)).astype(np.float32)
    if distinct is not None:
        latents = latents[rng.integers(0, distinct, documents)]
    scale = 0.5 ** np.arange(layers)[:, None, None]
    return latents, (scale * rng.standard_normal((layers, size, dimensions))).astype(np.float32)


@st.composite
def corpora(draw):
    """Any corpus that has enough DocIDs: few or many duplicates, loose or full to the last ID."""
    layers, size = draw(st.sampled_from([(1, 2), (1, 9), (2, 2), (2, 5), (3, 2), (3, 4), (4, 3), (6, 2)]))
    documents = draw(st.one_of(st.just(size**layers), st.integers(1, size**layers)))
    distinct = draw(st.integers(1, documents))
    return corpus(draw(st.integers(0, 2**16)), documents, layers, size, distinct=distinct)


@both
@settings(max_examples=150, deadline=None)
@given(case=corpora())
def test_every_document_gets_an_id_of_its_own(repair, case):
    latents, codebooks = case
    argmin = greedy_codes(latents, codebooks)
    codes, overflowed = repair(latents, codebooks, argmin)
    assert len(np.unique(codes, axis=0)) == len(latents)
    assert codes.min() >= 0
    assert codes.max() < codebooks.shape[1]
    alone = ~shared(argmin)
    assert (codes[alone] == argmin[alone]).all(), "a document alone on its ID moved"
    assert (overflowed == (codes[:, :-1] != argmin[:, :-1]).any(axis=1)).all()


@both
@pytest.mark.parametrize(("size", "layers"), [(2, 8), (256, 2), (16, 3), (40, 1)])
def test_identical_documents_fill_the_whole_id_space(size, layers, repair):
    documents = min(size**layers, 3000)
    latents, codebooks = corpus(0, documents, layers, size, distinct=1)
    codes, _ = repair(latents, codebooks, greedy_codes(latents, codebooks))
    assert collisions(codes).documents == 0
    error = ((latents - sum(codebooks[layer][codes[:, layer]] for layer in range(layers))) ** 2).sum(axis=1)
    assert (np.diff(error) >= -1e-5).all(), "an earlier duplicate got a farther ID than a later one"


@both
def test_one_document_more_than_ids_is_an_error(repair):
    latents, codebooks = corpus(0, 9, layers=3, size=2)
    with pytest.raises(InputError, match="9 documents, but 3 layers of 2 codes make only 8"):
        repair(latents, codebooks, greedy_codes(latents, codebooks))


@pytest.mark.parametrize("seed", range(20))
def test_one_layer_is_assigned_at_the_least_cost_of_all_permutations(seed):
    latents, codebooks = corpus(seed, documents=5, layers=1, size=6, distinct=4)
    argmin = greedy_codes(latents, codebooks)
    codes, _ = transport(latents, codebooks, argmin)
    cost = squared_distances(latents, codebooks[0])
    fixed = ~shared(argmin)
    best = min(
        sum(cost[row, code] for row, code in enumerate(choice))
        for choice in itertools.permutations(range(6), 5)
        if all(choice[row] == argmin[row, 0] for row in np.flatnonzero(fixed))
    )
    assert cost[np.arange(5), codes[:, 0]].sum() == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_every_prefix_is_assigned_at_the_least_cost(seed):
    latents, codebooks = corpus(seed, documents=300, layers=3, size=16, distinct=250)
    argmin = greedy_codes(latents, codebooks)
    codes, overflowed = transport(latents, codebooks, argmin)
    if overflowed.any():
        pytest.fail("pick a corpus whose prefixes do not overflow")
    moves = shared(argmin)
    assert moves.sum() > 30
    prefixes = tuple_ids(argmin[:, :-1])
    for prefix in np.unique(prefixes[moves]):
        rows = np.flatnonzero((prefixes == prefix) & moves)
        free = np.setdiff1d(np.arange(16), argmin[(prefixes == prefix) & ~moves, -1])
        cost = squared_distances(residuals(latents[rows], codebooks, argmin[rows, :-1]), codebooks[-1])
        chosen = cost[np.arange(len(rows)), codes[rows, -1]].sum()
        least = cost[:, free][linear_sum_assignment(cost[:, free])].sum()
        assert chosen == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_overflow_into_codes_with_ample_room_is_optimal(seed):
    """With room for all in the nearest other code, cheapest moves first is the optimal transport of POT."""
    rng = np.random.default_rng(seed)
    layers, size = 2, 32
    codebooks = rng.standard_normal((layers, size, 4))
    codebooks[0] *= 10
    # 40 documents near code 0 of 32 places, no other code near its own capacity.
    latents = np.concatenate([np.repeat(codebooks[0, :1], 40, 0), codebooks[0, 1:]])
    latents += rng.standard_normal(latents.shape)
    argmin = greedy_codes(latents, codebooks)
    argmin[:, 1] = 0  # everything collides, so everything may move
    assert (argmin[:40, 0] == 0).all()
    codes, overflowed = transport(latents, codebooks, argmin)
    assert overflowed.sum() == 8
    cost = squared_distances(latents[:40], codebooks[0])
    room = size - np.bincount(argmin[40:, 0], minlength=size)
    least = ot.emd2(
        np.r_[np.ones(40), room.sum() - 40], room.astype(float), np.vstack([cost, np.zeros(size)])
    )
    assert cost[np.arange(40), codes[:40, 0]].sum() == pytest.approx(least, rel=1e-9)


@both
def test_overflow_takes_no_more_documents_than_it_must(repair):
    latents, codebooks = corpus(3, documents=50, layers=2, size=16, distinct=1)
    codes, overflowed = repair(latents, codebooks, greedy_codes(latents, codebooks))
    assert overflowed.sum() == 50 - 16
    assert np.bincount(codes[:, 0]).max() == 16


@both
def test_documents_that_overflow_are_coded_greedily_below_their_new_prefix(repair):
    rng = np.random.default_rng(0)
    codebooks = rng.standard_normal((3, 16, 4)) * np.array([10.0, 1.0, 0.5])[:, None, None]
    latents = codebooks[0, 0] + rng.standard_normal((136, 4))
    # 256 places below the code that all 272 are nearest to; 16 leave, too few to overfill a code of layer 1.
    latents = np.concatenate([latents, latents])  # so that every document collides
    argmin = greedy_codes(latents, codebooks)
    assert (argmin[:, 0] == 0).all()
    codes, _ = repair(latents, codebooks, argmin)
    rows = np.flatnonzero(codes[:, 0] != 0)
    assert len(rows) == 16
    greedy = greedy_codes(latents[rows] - codebooks[0][codes[rows, 0]], codebooks[1:2])
    assert (codes[rows, 1] == greedy[:, 0]).all()


@both
def test_of_documents_that_would_leave_at_equal_cost_the_later_one_does(repair):
    codebooks = np.array([[[0.0, 0, 0], [10, 0, 0]], [[0, 0, 0], [0, 50, 50]]])
    around = np.array([[0.0, 1, 0], [0, -1, 0], [0, 0, 1]])  # alike in all distances, and one too many
    codes, overflowed = repair(around, codebooks, np.zeros((3, 2), np.int32))
    assert codes[:, 0].tolist() == [0, 0, 1]
    assert overflowed.tolist() == [False, False, True]


@both
def test_block_size_does_not_change_ids(repair, monkeypatch):
    latents, codebooks = corpus(5, documents=900, layers=2, size=32, distinct=700)
    argmin = greedy_codes(latents, codebooks)
    codes = repair(latents, codebooks, argmin).codes
    monkeypatch.setattr(codes_module, "BLOCK", 7)
    monkeypatch.setattr("catid2.docids.repair.BLOCK", 7)
    assert (greedy_codes(latents, codebooks) == argmin).all()
    assert (repair(latents, codebooks, argmin).codes == codes).all()


@pytest.mark.parametrize("epsilon", [0.1, 0.3])
@pytest.mark.parametrize("documents", [2, 5])
def test_plans_of_a_batch_are_those_of_pot_for_each_group(epsilon, documents):
    """The oracle sees the free codes alone: five of them in the last group, which five documents fill."""
    rng = np.random.default_rng(0)
    costs = rng.random((3, documents, 8))
    costs[1, :, 2] = costs[2, :, :3] = np.inf
    plans = np.exp(log_plans(costs, epsilon, iterations=1000))
    for cost, plan in zip(costs, plans, strict=True):
        free = np.isfinite(cost[0])
        cost = cost[:, free]
        left = free.sum() - documents
        mass, cost_of_all = np.ones(documents), cost
        if left:
            mass, cost_of_all = np.append(mass, left), np.vstack([cost, np.zeros(free.sum())])
        room, reg = np.ones(free.sum()), epsilon * np.ptp(cost) / 2
        expected = ot.sinkhorn(mass, room, cost_of_all, reg, "sinkhorn_log", stopThr=1e-9)
        np.testing.assert_allclose(plan[:, free], expected[:documents], atol=1e-7)
        assert (plan[:, ~free] == 0).all()


def test_a_plan_depends_on_neither_its_batch_nor_the_order_of_rows():
    costs = np.random.default_rng(0).random((20, 4, 64))
    costs[::2, :, 5:9] = np.inf
    plans = log_plans(costs, 0.003, iterations=50)
    for part in (slice(0, 1), slice(1, 8), slice(8, 20)):
        assert (log_plans(costs[part], 0.003, iterations=50) == plans[part]).all()
    np.testing.assert_allclose(
        log_plans(costs[::-1, ::-1], 0.003, iterations=50), plans[::-1, ::-1], rtol=1e-9
    )


def test_equal_costs_have_an_even_plan():
    np.testing.assert_allclose(np.exp(log_plans(np.full((1, 2, 4), 3.0), 0.003, iterations=5)), 0.25)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 60), st.integers(1, 20))
def test_extra_digit_numbers_the_documents_of_an_id_in_order(seed, documents, distinct):
    rng = np.random.default_rng(seed)
    argmin = rng.integers(0, 4, (distinct, 3), dtype=np.int32)[rng.integers(0, distinct, documents)]
    codes = extra_digit(argmin)
    assert (codes[:, :-1] == argmin).all()
    assert codes.dtype == np.int32
    counters: dict[tuple, int] = {}
    for row in codes:
        key = tuple(row[:-1])
        assert row[-1] == counters.get(key, 0)
        counters[key] = row[-1] + 1


def test_loop_never_parts_identical_documents():
    latents, codebooks = corpus(0, documents=6, layers=2, size=16, distinct=1)
    argmin = greedy_codes(latents, codebooks)
    assert collisions(sinkhorn_loop(latents, codebooks, argmin, **LOOP)).largest == 6
    assert collisions(transport(latents, codebooks, argmin).codes).documents == 0


def test_loop_collides_with_documents_that_had_an_id_of_their_own():
    """It does not exclude the codes that other documents of the prefix hold; transport does."""
    latents, codebooks = corpus(4, documents=40, layers=1, size=64)
    argmin = greedy_codes(latents, codebooks)
    alone = ~shared(argmin)
    once = sinkhorn_loop(latents, codebooks, argmin, **LOOP | {"rounds": 1})
    assert (shared(once) & alone).any()
    assert not shared(transport(latents, codebooks, argmin).codes).any()


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_a_round_of_the_loop_is_the_entropic_transport_of_pot(epsilon):
    latents, codebooks = corpus(0, documents=24, layers=1, size=6)
    one_id = np.zeros((24, 1), np.int32)
    codes = sinkhorn_loop(latents, codebooks, one_id, epsilon=epsilon, iterations=500, rounds=1)
    cost = squared_distances(latents, codebooks[0])
    middle = (cost.max() + cost.min()) / 2
    plan = ot.sinkhorn(np.ones(24) / 24, np.ones(6) / 6, (cost - middle) / (cost.max() - middle), epsilon)
    assert (codes[:, 0] == plan.argmax(axis=1)).all()
    assert (codes[:, 0] != cost.argmin(axis=1)).any()


@both
def test_a_repair_adds_less_distortion_than_the_loop(repair):
    latents, codebooks = corpus(1, documents=400, layers=2, size=32, dimensions=6, distinct=350)
    argmin = greedy_codes(latents, codebooks)
    loop = sinkhorn_loop(latents, codebooks, argmin, **LOOP)
    ours = repair(latents, codebooks, argmin).codes
    assert collisions(loop).documents > 0
    assert distortion(latents, codebooks, ours) < distortion(latents, codebooks, loop)


def test_greedy_codes_match_a_plain_loop():
    latents, codebooks = corpus(2, documents=40, layers=3, size=7)
    for row, code in zip(latents.astype(float), greedy_codes(latents, codebooks), strict=True):
        for layer in range(3):
            assert ((row - codebooks[layer].astype(float)) ** 2).sum(axis=1).argmin() == code[layer]
            row = row - codebooks[layer][code[layer]]


def test_what_a_layer_leaves_is_not_rounded():
    """In float32 2^24 - 0.75 is 2^24 - 1: as far from one code as from the other, and the lower would be taken."""
    latents = np.array([[2.0**24]], np.float32)
    codebooks = np.array([[[0.75], [-9]], [[2.0**24 - 2], [2.0**24]]], np.float32)
    assert greedy_codes(latents, codebooks).tolist() == [[0, 1]]


def test_tuple_ids_and_collisions_match_counting_tuples():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (60, 4), dtype=np.int32)
    names = [tuple(row) for row in codes.tolist()]
    assert [sorted(set(names))[i] for i in tuple_ids(codes)] == names
    counts = {name: names.count(name) for name in names}
    found = collisions(codes)
    assert found.documents == sum(count for count in counts.values() if count > 1)
    assert found.groups == sum(count > 1 for count in counts.values())
    assert found.largest == max(counts.values())
    assert found.rate == pytest.approx(1 - len(counts) / 60)
