"""What the page was made with: versions of the packages, and the commit of the checkout."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "catid2", "torch", "transformers", "numpy", "POT", "pyarrow", "duckdb", "polars",
    "scikit-learn", "bm25s", "ir-measures", "matplotlib", "snakemake",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of those of PACKAGES that are installed where this runs."""
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def commit(folder: str | Path) -> str | None:
    """Return the commit checked out in `folder`, with `-dirty` if files differ from it; None outside git."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git here, as in most containers
        return None
    return found.stdout.strip() or None
