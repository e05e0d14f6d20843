"""DocIDs of new documents: unique, free, near, and the old ones as they were."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from catid2.config.docids import DocidsConfig
from catid2.docids.assign import assign
from catid2.docids.extend import extend
from catid2.quantizer.codes import greedy_codes, squared_distances
from catid2.runtime.errors import InputError

REPAIRS = ("transport", "sinkhorn", "digit")
every_repair = pytest.mark.parametrize("repair", REPAIRS)


def settings(repair: str) -> DocidsConfig:
    return DocidsConfig(repair=repair, sinkhorn_iterations=10)


def documents(rng: np.random.Generator, number: int, distinct: int | None = None) -> np.ndarray:
    latents = rng.standard_normal((distinct or number, 3)).astype(np.float32)
    return latents[rng.integers(0, distinct, number)] if distinct else latents


def books(rng: np.random.Generator, layers: int, size: int) -> np.ndarray:
    scale = 0.5 ** np.arange(layers)[:, None, None]
    return (scale * rng.standard_normal((layers, size, 3))).astype(np.float32)


def names(number: int, letter: str = "p") -> list[str]:
    return [f"{letter}{row:05}" for row in range(number)]


def old_docids(latents: np.ndarray, codebooks: np.ndarray, config: DocidsConfig):
    """Return the DocIDs of a corpus, and how many codes a retriever that learns them knows."""
    codes = assign(latents, codebooks, names(len(latents), "a"), config).codes
    return codes, tuple((codes.max(axis=0) + 1).tolist())


def rows(codes: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, codes.tolist()))


@every_repair
@pytest.mark.parametrize("seed", range(15))
def test_new_docids_are_unique_free_and_known_to_the_retriever_up_to_the_last_one(repair, seed):
    rng = np.random.default_rng(seed)
    layers, size = [(1, 7), (2, 3), (2, 8), (3, 4), (5, 2)][seed % 5]
    codebooks, config = books(rng, layers, size), settings(repair)
    old = documents(rng, int(rng.integers(1, size**layers + 1)), int(rng.integers(1, 20)))
    taken, sizes = old_docids(old, codebooks, config)
    free = int(np.prod(sizes)) - len(taken)
    for number in {free, free // 2, min(free, 1)}:
        new = documents(rng, number, max(1, number // 2))
        codes = extend(new, codebooks, names(number), taken, sizes, config)
        assert codes.shape == (number, taken.shape[1])
        assert codes.dtype == np.int32
        assert len(rows(codes) - rows(taken)) == number
        assert ((codes >= 0) & (codes < sizes)).all()
    with pytest.raises(InputError, match=f"{free + 1} new documents, but only {free} DocIDs are free"):
        extend(documents(rng, free + 1), codebooks, names(free + 1), taken, sizes, config)


@every_repair
def test_the_order_of_the_new_documents_makes_no_difference(repair):
    rng = np.random.default_rng(1)
    codebooks, config = books(rng, 3, 5), settings(repair)
    taken, sizes = old_docids(documents(rng, 60), codebooks, config)
    new, ids, order = documents(rng, 30, distinct=20), names(30), rng.permutation(30)
    codes = extend(new, codebooks, ids, taken, sizes, config)
    shuffled = extend(new[order], codebooks, [ids[row] for row in order], taken, sizes, config)
    assert (shuffled == codes[order]).all()
    assert (extend(new, codebooks, ids, taken[rng.permutation(60)], sizes, config) == codes).all()


@every_repair
def test_additions_follow_each_other_and_what_left_makes_room(repair):
    rng = np.random.default_rng(2)
    codebooks, config = books(rng, 2, 6), settings(repair)
    taken, sizes = old_docids(documents(rng, 30, distinct=12), codebooks, config)
    free = int(np.prod(sizes)) - len(taken)
    first = extend(documents(rng, free // 2), codebooks, names(free // 2), taken, sizes, config)
    both = np.concatenate([taken, first])
    rest = free - len(first)
    second = extend(documents(rng, rest), codebooks, names(rest, "q"), both, sizes, config)
    assert len(rows(np.concatenate([both, second]))) == np.prod(sizes)
    [again] = extend(documents(rng, 1), codebooks, ["r"], np.concatenate([both, second])[1:], sizes, config)
    assert (again == taken[0]).all()


@every_repair
def test_a_document_whose_id_is_free_and_wanted_by_no_other_gets_it(repair):
    rng = np.random.default_rng(3)
    codebooks, config = books(rng, 3, 16), settings(repair)
    taken, sizes = old_docids(documents(rng, 100), codebooks, config)
    new = documents(rng, 80)
    codes = extend(new, codebooks, names(80), taken, sizes, config)
    wanted = greedy_codes(new, [book[:size] for book, size in zip(codebooks, sizes, strict=False)])
    if repair == "digit":
        wanted = np.column_stack([wanted, np.zeros(80, np.int32)])
    wishes = list(map(tuple, wanted.tolist()))
    alone = [wish not in rows(taken) and wishes.count(wish) == 1 for wish in wishes]
    assert 10 < sum(alone) < 70
    assert (codes[alone] == wanted[alone]).all()


@every_repair
def test_without_old_documents_it_is_the_repair_of_a_corpus(repair):
    rng = np.random.default_rng(4)
    codebooks, config = books(rng, 3, 8), settings(repair)
    latents, ids = documents(rng, 200, distinct=150), names(200)
    codes = assign(latents, codebooks, ids, config).codes
    sizes = [8, 8, 8, *(codes.max(axis=0) + 1)[3:].tolist()]
    assert (extend(latents, codebooks, ids, codes[:0], sizes, config) == codes).all()


def test_an_extra_digit_is_the_lowest_free_one_in_the_order_of_product_ids():
    rng = np.random.default_rng(5)
    codebooks, config = books(rng, 2, 4), settings("digit")
    taken, sizes = old_docids(documents(rng, 60), codebooks, config)
    sizes = (*sizes[:2], 40)  # room for all
    taken = taken[rng.random(60) < 0.7]  # others left, with gaps between the digits
    new, ids = documents(rng, 50), names(50)
    order = rng.permutation(50)
    codes = extend(new[order], codebooks, [ids[row] for row in order], taken, sizes, config)
    used = rows(taken)
    for row, greedy in enumerate(greedy_codes(new, codebooks).tolist()):
        expected = next((*greedy, digit) for digit in range(40) if (*greedy, digit) not in used)
        used.add(expected)
        assert tuple(codes[order == row][0]) == expected


@pytest.mark.parametrize("seed", range(10))
def test_where_digits_run_out_documents_go_to_the_nearest_codes_with_room(seed):
    """The oracle tries every way to divide six documents, all nearest to code 0, among three codes of seven digits."""
    rng = np.random.default_rng(seed)
    codebooks = 10 * books(rng, 1, 3)
    new = codebooks[0, 0] + 0.1 * documents(rng, 6)
    taken = np.array([[0, 0], [0, 1], [0, 2], [0, 4], [0, 5], [0, 6], [1, 3]], np.int32)
    codes = extend(new, codebooks, names(6), taken, (3, 7), settings("digit"))
    cost, row = squared_distances(new, codebooks[0]), np.arange(6)
    assert (cost.argmin(axis=1) == 0).all()
    ways = (np.array(way) for way in itertools.product(range(3), repeat=6))
    least = min(cost[row, way].sum() for way in ways if np.count_nonzero(way == 0) <= 1)
    assert cost[row, codes[:, 0]].sum() == pytest.approx(least, rel=1e-12)
    assert rows(codes) & {(0, 3)}


@pytest.mark.parametrize("seed", range(10))
def test_transport_gives_the_free_codes_at_the_least_cost(seed):
    rng = np.random.default_rng(seed)
    codebooks, config = books(rng, 1, 12), settings("transport")
    taken = rng.permutation(12)[:5, None].astype(np.int32)
    new = codebooks[0, taken[:, 0]] + 1e-3 * documents(rng, 5)  # every document wants a taken code
    codes = extend(new, codebooks, names(5), taken, (12,), config)
    cost = squared_distances(new, codebooks[0])
    free = np.setdiff1d(np.arange(12), taken)
    least = cost[:, free][linear_sum_assignment(cost[:, free])].sum()
    assert cost[np.arange(5), codes[:, 0]].sum() == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"repair": "none"}, "docids.repair: 'none' may leave collisions"),
        ({"repair": "sinkhorn_loop"}, "docids.repair: 'sinkhorn_loop' may leave collisions"),
        ({"scheme": {"kind": "category"}}, "docids.scheme: 'category' has no trained model"),
        ({"scheme": {"kind": "residual_kmeans"}}, "docids.scheme: 'residual_kmeans' has no trained model"),
    ],
)
def test_docids_that_cannot_be_extended_are_refused(config, message):
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=message):
        extend(
            documents(rng, 1),
            books(rng, 1, 4),
            ["p"],
            np.zeros((1, 1), np.int32),
            (4,),
            DocidsConfig(**config),
        )
