"""The order of an epoch: random, or in runs of one category."""

import torch
from torch import Tensor

from catid2.quantizer.batches import RUN, epoch_order


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labels(documents: int) -> Tensor:
    """Return category ids of very different sizes, of which many have one document."""
    return (torch.rand(documents, generator=generator(0)) ** 4 * 50).long() * 7


def slow_order(categories: list[int], draws: torch.Generator) -> list[int]:
    members: dict[int, list[int]] = {}
    for document in torch.randperm(len(categories), generator=draws).tolist():
        members.setdefault(categories[document], []).append(document)
    runs = [
        members[category][start : start + RUN]
        for category in sorted(members)
        for start in range(0, len(members[category]), RUN)
    ]
    place = torch.randperm(len(runs), generator=draws).tolist()  # of each run
    return [document for _, run in sorted(zip(place, runs, strict=True)) for document in run]


def test_runs_of_one_category_equal_a_loop() -> None:
    categories = labels(500)
    for seed in range(3):
        order = epoch_order(categories, "category", generator(seed)).tolist()
        assert order == slow_order(categories.tolist(), generator(seed))
        assert sorted(order) == list(range(500))


def test_random_order_does_not_read_the_categories() -> None:
    expected = torch.randperm(500, generator=generator(4))
    assert torch.equal(epoch_order(labels(500), "random", generator(4)), expected)


def test_documents_meet_their_category_more_often_in_runs() -> None:
    categories = labels(5000)

    def companions(batches: str) -> float:
        order = epoch_order(categories, batches, generator(1))
        own = categories[order].reshape(-1, 25)
        return float((own[:, :, None] == own[:, None]).sum() - len(order))

    assert companions("category") > 1.5 * companions("random")


def test_the_seed_decides_the_runs() -> None:
    orders = [epoch_order(labels(500), "category", generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
