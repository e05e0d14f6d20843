"""Tables for people and programs: TSV below comment lines (`# `) that explain the columns."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from catid2.runtime.writing import atomic


def write_tsv(
    path: str | Path,
    header: Iterable[str],
    table: pl.DataFrame,
    significant: int | None = None,
    decimals: int | None = None,
) -> None:
    """Write a table below the lines of `header`, atomically.

    Args:
        path: of the file.
        header: lines without `# `.
        significant: floats are rounded to this many digits; None for no rounding.
        decimals: floats are written with this many decimals; None for as many as they have.
    """
    if significant is not None:
        table = table.with_columns(pl.col(pl.Float64).round_sig_figs(significant))
    with atomic(path) as aside:
        lines = "".join(f"# {line}\n" for line in header)
        aside.write_text(lines + table.write_csv(separator="\t", float_precision=decimals), encoding="utf-8")
