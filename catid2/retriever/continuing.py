"""Training that starts from a trained retriever, after the catalogue has changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from catid2.runtime.errors import InputError


def continued_sizes(old: Sequence[int], wanted: Sequence[int], folder: Path) -> tuple[int, ...]:
    """Return how many codes each position of a retriever has that starts from the one in `folder`; (L,).

    The last position may grow, because an extra digit counts as far as the products of the day need it. Its codes come
    last in all tables, so the old ones keep their rows.

    Args:
        old: the codes of each position that the retriever in `folder` knows; (L,).
        wanted: those of the DocIDs to be taught.
        folder: of the old retriever, for messages.

    Raises:
        InputError: another number of positions, or a position before the last has more codes than the old retriever's.
    """
    shorter = [known < needed for known, needed in zip(old[:-1], wanted[:-1], strict=False)]
    if len(old) != len(wanted) or any(shorter):
        what = f"knows {list(old)} codes per position, the DocIDs have {list(wanted)}"
        raise InputError(folder, what, "train from other weights, or make DocIDs of these sizes")
    return (*old[:-1], max(old[-1], wanted[-1]))
