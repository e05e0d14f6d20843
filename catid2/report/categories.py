"""How the products of each category spread over the codes of one layer (the paper's figure of layers)."""

from typing import NamedTuple

import numpy as np

OTHERS = "all others"


class CategoryShares(NamedTuple):
    """Shares of categories in codes; R rows, one column per code in use."""

    names: list[str]  # the R categories, the largest first; OTHERS at the end if there are more
    codes: np.ndarray  # (C,) the codes in use, sorted by their leading category
    shares: np.ndarray  # (R, C) share of a code's products that lie in the category; a column sums to 1
    purity: float  # share of all products that lie in the leading category of their code
    largest: float  # share of the largest category: the purity of a single code for everything


def category_shares(categories: np.ndarray, codes: np.ndarray, names: list[str], rows: int) -> CategoryShares:
    """Cross-tabulate N products: the categories of one tree level against the codes of one layer.

    Args:
        categories: (N,) int, index into `names`.
        codes: (N,) int ≥ 0.
        names: the categories of the level.
        rows: categories to tell apart; the smaller ones are added up as OTHERS.

    Purity counts every category by itself, also those that are shown added up.
    """
    used, column = np.unique(codes, return_inverse=True)
    counts = np.zeros((len(names), len(used)), dtype=np.int64)
    np.add.at(counts, (categories, column), 1)
    size = counts.sum(axis=1)
    order = np.argsort(-size, kind="stable")
    kept, rest = order[:rows], order[rows:]
    rest = rest[size[rest] > 0]
    table = counts[kept[size[kept] > 0]]
    shown = [names[index] for index in kept if size[index] > 0]
    if len(rest):
        table = np.vstack([table, counts[rest].sum(axis=0)])
        shown.append(OTHERS)
    shares = table / table.sum(axis=0)
    leading = shares.argmax(axis=0)
    by_leading = np.lexsort((used, -shares.max(axis=0), leading))
    return CategoryShares(
        names=shown,
        codes=used[by_leading],
        shares=shares[:, by_leading],
        purity=float(counts.max(axis=0).sum() / len(codes)),
        largest=float(size.max() / len(codes)),
    )
