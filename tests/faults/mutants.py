"""Change the package's code a little, many times, and count how many of the changes fail a test.

    make mutants                                    # all modules below: many hours
    make mutants MODULES="quantizer.losses search" SAMPLE=40    # at most 40 mutants each

mutmut makes the mutants and runs, for each, the tests that reach the changed function: first those of the file that is
named like the module. What these do not notice meets every test of every file that imports the module and reaches the
function, for mutmut counts a fixture that tests share as reached by the first of them alone. A script that a test
starts runs the code as it is, by its link scripts/catid2. Each module has folders below .mutants/ with a copy of the
project: a run that was stopped resumes if no file has changed, and `mutmut browse` there shows the mutants.
`survivors.diff` lists what no test noticed. Exit code 1 if a module is below its target.
"""

import argparse
import ast
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
# The modules that decide results, and the tests of each: tests/test_NAME*.py.
DECIDE_RESULTS = {
    "quantizer.losses": "losses",
    "quantizer.contrast": "losses",
    "quantizer.blocks": "losses",
    "quantizer.codebooks": "quantizer",
    "quantizer.training": "rqvae",
    "quantizer.step": "rqvae",
    "quantizer.dense": "dense_step",
    "quantizer.codes": "repair",
    "docids.repair": "repair",
    "docids.sinkhorn": "repair",
    "docids.assign": "docids",
    "docids.schemes": "schemes",
    "search.trie": "trie",
    "search.beam": "beam",
    "retriever.t5_scorer": "logits_processor",
    "retriever.t5": "retriever",
    "retriever.light": "light",
    "retriever.light_training": "light",
    "retriever.retrieve": "retrieval",
    "training.examples": "retriever",
    "training.loop": "training_steps",
    "evaluation.recall": "evaluate",
    "evaluation.metrics": "evaluate",
    "evaluation.significance": "significance",
    "evaluation.fusion": "fusion",
    "evaluation.beyond_bm25": "beyond_bm25",
    "corpus.build": "corpus",
    "corpus.tree": "taxonomy",
    "corpus.text": "text",
    "embedding.documents": "embed",
    "runtime.checkpoint": "checkpoint",
    "plan.settings": "config",
}
REPORT = dict.fromkeys(("report.inputs", "report.sections", "report.figures"), "report")
TESTS_OF = DECIDE_RESULTS | REPORT
# Share of mutants that must fail a test.
TARGETS = dict.fromkeys(DECIDE_RESULTS, 0.85) | dict.fromkeys(REPORT, 0.75)
# Wording is not what these tests are for.
WORDING = [r"^\s*log\.\w+\(", r"InputError\(", r"^\s*(what|have|remedy) = "]
# What mutmut/stats.py knows: 0 survived; 5 and 33 no test ran; None, 2 and 34 were not tested. All else was noticed.
NOT_NOTICED = {None, 0, 2, 5, 33, 34}


def main() -> None:
    """Run mutmut on each module and print a table."""
    arguments = parser().parse_args()
    below = False
    print(f"{'module':26}{'mutants':>8}{'noticed':>8}{'share':>7}{'target':>8}")
    for module in arguments.modules or TARGETS:
        folder = ROOT / ".mutants" / module
        others = importers(module)
        own = [path for path in others if path.startswith(f"tests/test_{TESTS_OF.get(module, module)}")]
        codes = run(module, folder, own or others, arguments)
        survivors = unnoticed(codes)
        if survivors:
            codes |= run(module, folder.with_name(f"{module}-all-tests"), others, arguments, survivors)
            survivors = unnoticed(codes)
        noticed = len(codes) - len(survivors)
        share, target = noticed / max(len(codes), 1), TARGETS.get(module, 0.85)
        below |= share < target
        print(f"{module:26}{len(codes):8}{noticed:8}{share:7.0%}{target:8.0%}", flush=True)
        show = [command(folder, "mutmut", "show", name) for name in survivors]
        (folder / "survivors.diff").write_text("\n".join(show))
    sys.exit(below)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "modules", nargs="*", help="modules of catid2, such as quantizer.losses (default: all with a target)"
    )
    parser.add_argument("--sample", type=int, help="at most so many mutants of each module, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="mutants at a time (default: %(default)s)")
    return parser


def unnoticed(codes: dict[str, int | None]) -> list[str]:
    """Return the mutants that no test noticed."""
    return [name for name, code in codes.items() if code in NOT_NOTICED]


def run(
    module: str, folder: Path, tests: list[str], arguments: argparse.Namespace, names: list[str] | None = None
) -> dict[str, int | None]:
    """Test mutants of a module in `folder`: all, a sample, or `names`; return mutmut's exit code of each."""
    sources = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "catid2").rglob("*.py")
        if f"{'.'.join(path.relative_to(ROOT).with_suffix('').parts)}.".startswith(f"catid2.{module}.")
    ]
    if not sources:
        sys.exit(f"error: catid2 has no module {module}")
    prepare(folder, sources, tests)
    mutmut_run = ("mutmut", "run", "--max-children", str(arguments.workers))
    if names is None and arguments.sample is None:
        command(folder, *mutmut_run)
        return results(folder, sources)
    statistics = folder / "mutants" / "mutmut-stats.json"
    if not statistics.exists():
        # mutmut names its mutants and the tests of each before it refuses a name that none has
        subprocess.run([*mutmut_run, "none"], cwd=folder, capture_output=True)
    if not statistics.exists():
        sys.exit(f"error: tests fail without any mutant; `mutmut run` in {folder} says which")
    if names is not None:
        share_fixtures(statistics)
    else:
        known = sorted(results(folder, sources))
        names = random.Random(arguments.seed).sample(known, min(arguments.sample, len(known)))
    codes = results(folder, sources)
    if untested := [name for name in names if codes.get(name) is None]:
        command(folder, *mutmut_run, *untested)
    codes = results(folder, sources)
    return {name: codes[name] for name in names}


def share_fixtures(path: Path) -> None:
    """Let all tests of a file reach what one of them reaches, in mutmut's statistics."""
    stats = json.loads(path.read_text())
    by_file: dict[str, list[str]] = {}
    for test in stats["duration_by_test"]:
        by_file.setdefault(test.partition("::")[0], []).append(test)
    reached = stats["tests_by_mangled_function_name"]
    for function, tests in reached.items():
        files = dict.fromkeys(test.partition("::")[0] for test in tests)
        reached[function] = [test for file in files for test in by_file[file]]
    path.write_text(json.dumps(stats))


def prepare(folder: Path, sources: list[str], tests: list[str]) -> None:
    """Copy what git tracks, with mutmut's settings; a copy of the same files stays, with what is known of it."""
    changed = command(ROOT, "git", "stash", "create").strip()  # a commit of the working tree; changes nothing
    tree = command(ROOT, "git", "rev-parse", f"{changed or 'HEAD'}^{{tree}}")
    mark = folder / "tree"
    if mark.exists() and mark.read_text() == tree:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command(ROOT, "git", "archive", "--output", str(folder / "tree.tar"), tree.strip())
    shutil.unpack_archive(folder / "tree.tar", folder, filter="tar")
    (folder / "tree.tar").unlink()
    settings = {
        "source_paths": ["catid2"],
        "only_mutate": sources,
        "also_copy": [path.name for path in folder.iterdir() if path.name != "catid2"],
        "pytest_add_cli_args_test_selection": ["-m", "not pipeline", *tests],
        "do_not_mutate_patterns": WORDING,
        "process_isolation": "forkserver",  # PyTorch's threads do not survive a fork
    }
    with (folder / "pyproject.toml").open("a") as project:
        project.write("\n[tool.mutmut]\n")
        project.writelines(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    mark.write_text(tree)


def importers(module: str) -> list[str]:
    """Return the test files that import a module, themselves or through a helper next to them.

    If none does, those of the modules that import it.
    """
    found: set[str] = set()
    files = {path.stem: imports(path) for path in TESTS.glob("*.py")}
    wanted = f"catid2.{module}"
    while new := {
        name
        for name, imported in files.items()
        if name not in found
        and any(one == wanted or one.startswith(f"{wanted}.") or one in found for one in imported)
    }:
        found |= new
    if not found:
        package = {path.relative_to(ROOT): imports(path) for path in (ROOT / "catid2").rglob("*.py")}
        users = {path for path, imported in package.items() if wanted in imported}
        return sorted(
            {name for path in users for name in importers(".".join(path.with_suffix("").parts[1:]))}
        )
    return sorted(f"tests/{name}.py" for name in found if name.startswith("test_"))


def imports(path: Path) -> set[str]:
    """Return what a file imports, as module names and as names in modules."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def results(folder: Path, sources: list[str]) -> dict[str, int | None]:
    """Return the exit code of each mutant by its name, None if it was not tested."""
    codes: dict[str, int | None] = {}
    for source in sources:
        meta = folder / "mutants" / f"{source}.meta"
        if meta.exists():
            codes |= json.loads(meta.read_text())["exit_code_by_key"]
    return codes


def command(folder: Path, *words: str) -> str:
    """Run a command in a folder; return what it printed."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = [
            line for line in (done.stdout + done.stderr).splitlines() if "Running" not in line
        ]  # its spinner
        sys.exit("\n".join([f"error: {' '.join(words)[:80]} in {folder} failed", *said[-60:]]))
    return done.stdout


if __name__ == "__main__":
    main()
