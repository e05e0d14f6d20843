"""Time what a user waits for besides the work itself: imports of the scripts, a rerun with nothing to do, a rule.

    python benchmarks/start_up.py [--size full]

The rerun is that of the demo in this folder, three locales; its results are brought up to date first. "full" also
makes the demo from nothing, in a copy of the project.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measured import Measured, Size, from_command_line, timed

ROOT = Path(__file__).parents[1]
DEMO = ("-m", "snakemake", "--cores", "2", "--quiet", "all", "--configfile", "config/demo.yaml")
ROUNDS: dict[Size, int] = {"tiny": 1, "short": 3, "full": 5}


def benchmark(size: Size, device: str = "cpu") -> list[Measured]:
    """Return the seconds of `--help` of every script, of building the DAG, of a no-op rerun and of the demo."""
    rounds, measured = ROUNDS[size], []
    bare = seconds(["-c", "pass"], rounds)
    measured.append(Measured("", "start", "Python alone", bare, "s"))
    for script in sorted((ROOT / "scripts").glob("*.py")):
        own = seconds([script, "--help"], rounds)
        measured.append(Measured("", "start", f"scripts/{script.name}", own, "s"))
    if size == "tiny":
        return measured
    for config in ("demo", "config"):
        dry = (
            "-m",
            "snakemake",
            "--dry-run",
            "--quiet",
            "all",
            "--forceall",
            "--configfile",
            f"config/{config}.yaml",
        )
        measured.append(
            Measured("", "dry run of everything", f"config/{config}.yaml", seconds(dry, rounds), "s")
        )
    python(DEMO)
    measured.append(
        Measured("no_op", "rerun with nothing to do", "demo, three locales", seconds(DEMO, rounds), "s")
    )
    if size == "full":
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "project"
            left_out = shutil.ignore_patterns("results", "resources", "logs", ".*")
            shutil.copytree(ROOT, copy, ignore=left_out)
            whole = timed(lambda: python(DEMO, copy)).seconds
        measured.append(Measured("demo", "the demo from nothing", "three locales, two cores", whole, "s"))
    return measured


def seconds(arguments: tuple | list, rounds: int) -> float:
    """Return the median seconds of Python with these arguments."""
    return statistics.median(timed(lambda: python(arguments)).seconds for _ in range(rounds))


def python(arguments: tuple | list, folder: Path = ROOT) -> None:
    """Run Python with these arguments."""
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    from_command_line(__doc__, benchmark)
