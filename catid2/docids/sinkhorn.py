"""Distinct codes for the documents under a prefix by entropic transport: what the `sinkhorn` repair adds to POT."""

import numpy as np
from scipy.optimize import linear_sum_assignment


def assign_by_plan(costs: list[np.ndarray], epsilon: float, iterations: int) -> list[np.ndarray]:
    """Return codes (m,) for each group of documents, distinct within the group: its transport plan, rounded.

    Of all assignments of distinct codes the rounding takes the one whose plan entries have the largest product.
    Groups of one size are solved together; a group's plan does not depend on the others.

    Args:
        costs: (m, K) float64 of each group, infinite where a code is taken; at least m codes are free.
        epsilon: as in `log_plans`.
        iterations: as in `log_plans`.
    """
    sizes = np.array([len(cost) for cost in costs])
    codes = [np.empty(0, np.int64)] * len(costs)
    for size in np.unique(sizes):
        groups = np.flatnonzero(sizes == size)
        plans = log_plans(np.stack([costs[group] for group in groups]), epsilon, iterations)
        for group, plan in zip(groups, plans, strict=True):
            codes[group] = linear_sum_assignment(plan, maximize=True)[1]
    return codes


def log_plans(costs: np.ndarray, epsilon: float, iterations: int) -> np.ndarray:
    """Return the logarithms (B, m, K) of the entropic transport plans of B groups, by Sinkhorn's iterations.

    A document has mass 1, a free code has room for 1, and a dummy document fills the remaining room.

    Args:
        costs: (B, m, K) float64, infinite where a code is taken.
        epsilon: entropic regularisation, in units of half the range of a group's finite costs.
        iterations: a fixed number. POT's convergence test looks at the whole batch, so a plan would depend on it.
    """
    # Imported here because POT takes seconds to import. PyTorch's logsumexp is six times as fast as SciPy's.
    import torch
    from ot.batch import solve_batch

    free = np.isfinite(costs)
    ranges = costs.max((1, 2), initial=-np.inf, where=free) - costs.min((1, 2))
    scaled = np.where(free, costs, 0) / (np.where(ranges > 0, ranges, 1) / 2)[:, None, None]
    groups, documents, size = costs.shape
    problem = np.concatenate([scaled, np.zeros((groups, 1, size))], axis=1)
    nothing = np.finfo(np.float64).tiny  # in place of 0, which has no logarithm
    room = np.where(free[:, 0], 1, nothing)
    mass = np.ones((groups, documents + 1))
    mass[:, -1] = np.maximum(free[:, 0].sum(axis=1) - documents, nothing)
    problem, mass, room = (torch.from_numpy(array) for array in (problem, mass, room))
    solution = solve_batch(problem, epsilon, mass, room, max_iter=iterations, tol=-1, grad="detach")
    # From the potentials: small entries of solution.plan underflow to 0, and zeros cannot be ranked.
    u, v = (potential.numpy() for potential in solution.potentials)
    return np.where(free, u[:, :-1, None] + v[:, None, :] - scaled / epsilon, -np.inf)
