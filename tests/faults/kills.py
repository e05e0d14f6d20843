"""Kill the workflow at random moments and depths, run it again, and compare with a run that nothing disturbed.

    python tests/faults/kills.py --kills 100 --seed 1

Exit code 0 if every run ended with the same files, byte for byte, with no temporary file and without making again what
Snakemake had recorded as complete. See rounds.py for what is killed and records.py for what counts as complete.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rounds import Run, Settings, undisturbed_run

from workflow import ROOT

GPU_RULES = ("embed", "train_rqvae", "train_retriever", "retrieve")


def campaign(
    folder: Path, config: Path, settings: Settings, kills: int, seed: int, checkpoint_seconds: float
) -> list[Run]:
    """Make runs in `folder`, each hit by up to `settings.kills` kills, until `kills` have been sent.

    Every second run saves checkpoints every `checkpoint_seconds`. The folder of a good run is removed.
    """
    undisturbed = undisturbed_run(folder / "undisturbed", config, settings)
    print(f"undisturbed: {undisturbed.seconds:.0f} s, {undisturbed.n_outputs} outputs", flush=True)
    runs: list[Run] = []
    while (sent := sum(len(run.kills) for run in runs)) < kills:
        number = len(runs)
        own = settings._replace(
            kills=min(settings.kills, kills - sent),
            checkpoint_seconds=checkpoint_seconds if number % 2 else None,
        )
        run = Run(folder / f"run{number:02}", config, own, undisturbed, random.Random(f"{seed} {number}"))
        started = time.monotonic()
        run.go()
        runs.append(run)
        report(number, run, time.monotonic() - started)
        if not run.defects:
            shutil.rmtree(run.folder.parent)
    return runs


def report(number: int, run: Run, seconds: float) -> None:
    """Print what was killed in a run, and how it ended."""
    verdict = "identical" if not run.defects else f"{len(run.defects)} DEFECTS, kept in {run.folder.parent}"
    often = run.settings.checkpoint_seconds
    print(
        f"run {number}: {len(run.kills)} kills, {run.starts} starts, {run.unlocks} unlocks, {seconds:.0f} s"
        f"{'' if often is None else f', a checkpoint every {often:g} s'}: {verdict}"
    )
    for kill in run.kills:
        left = f", {kill.orphans} left alive" if kill.orphans else ""
        print(
            f"    driver {kill.start} at {kill.seconds:6.2f} s ({kill.moment}): {kill.depth}, {kill.victim}{left}"
        )
    for defect in run.defects:
        print(f"    DEFECT {defect}")
    sys.stdout.flush()


def summary(runs: list[Run]) -> str:
    """Return the outcome in one line."""
    kills = [kill for run in runs for kill in run.kills]
    depths = Counter(kill.depth for kill in kills)
    counts = ", ".join(f"{depth} {depths[depth]}" for depth in ("driver", "rule", "rank"))
    same = sum(not run.defects for run in runs)
    return (
        f"{len(kills)} kills in {len(runs)} runs ({counts}; orphans left {sum(kill.orphans > 0 for kill in kills)}): "
        f"{same} of {len(runs)} runs ended with identical tables, {sum(run.temporary_files for run in runs)} temporary "
        f"files, {sum(len(run.made_again) for run in runs)} complete outputs made again"
    )


def main() -> None:
    """Parse the command line, make the runs, print the outcome."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="how many in all")
    parser.add_argument("--kills-per-run", type=int, default=10, help="how many before a run may end")
    parser.add_argument("--seed", type=int, default=1, help="of moments, depths and victims")
    parser.add_argument("--configfile", type=Path, default=ROOT / "config" / "demo.yaml")
    parser.add_argument(
        "--folder", type=Path, help="for the runs; must not exist (default: a new temporary one)"
    )
    parser.add_argument("--ranks", type=int, default=1, help="processes of each stage that would run on GPUs")
    parser.add_argument(
        "--tight", action="store_true", help="aim most kills at moments when a file is written"
    )
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=0.5, help="between checkpoints, in every second run"
    )
    arguments = parser.parse_args()
    if arguments.folder is None:
        folder = Path(tempfile.mkdtemp(prefix="catid2-kills-"))
    else:
        folder = arguments.folder.resolve()
        folder.mkdir(parents=True)
    options: tuple[str, ...] = ()
    if arguments.ranks > 1:
        gpus = [f"{rule}:gpu={arguments.ranks}" for rule in GPU_RULES]
        options = ("--resources", f"gpu={arguments.ranks}", "--set-resources", *gpus)
    settings = Settings(options, arguments.kills_per_run, arguments.tight, None)
    runs = campaign(
        folder,
        arguments.configfile.resolve(),
        settings,
        arguments.kills,
        arguments.seed,
        arguments.checkpoint_seconds,
    )
    print(summary(runs))
    if any(run.defects for run in runs):
        print(
            f"to try again: {' '.join(['python', *sys.argv])} (seed {arguments.seed}; what ran is kept in {folder})"
        )
        sys.exit(1)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
