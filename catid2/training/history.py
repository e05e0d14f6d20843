"""The history of a training run with validation by recall."""

from collections.abc import Iterable, Mapping
from typing import Any

CUTOFFS = (10, 50, 100)  # of validation recall


def history(epochs: Iterable[Mapping[str, Any]], best_step: int | None) -> str:
    """Return history.tsv: a line per epoch; `kept` is 1 for the epoch whose model is kept.

    Args:
        epochs: epoch, step, loss, learning_rate, and recall@k if it was measured.
        best_step: step of the model that is kept.
    """
    names = [f"recall@{k}" for k in CUTOFFS]
    lines = ["\t".join(["epoch", "step", "loss", "learning_rate", *names, "kept"])]
    for row in epochs:
        values = [str(row["epoch"]), str(row["step"]), f"{row['loss']:.6f}", f"{row['learning_rate']:.6e}"]
        recalls = [f"{row[name]:.6f}" if name in row else "" for name in names]
        lines.append("\t".join([*values, *recalls, str(int(row["step"] == best_step))]))
    return "\n".join(lines) + "\n"
