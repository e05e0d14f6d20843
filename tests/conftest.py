"""What several test files share: a run of the whole workflow on a tiny dataset."""

import os
import shutil
from collections.abc import Iterator

import pytest
from filelock import FileLock

from workflow import EFFICIENCY_FIGURE, ROOT, TINY_CONFIG, Project

os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # before Transformers is imported

# The files of tests that last longest, half a minute or more, the longest first.
LONGEST = (
    "test_slurm",
    "test_effects",
    "test_workflow",
    "test_torchrun",
    "test_models_in_workflow",
    "test_pretrained_run",
    "test_kills",
    "test_benchmarks",
    "test_replaced_inputs",
    "test_bad_input",
    "test_pipeline",
    "test_report",
    "test_full_disk",
    "test_anywhere",
    "test_retriever_training",
)
# What `make test` leaves to `make test-all`, besides what needs the run of the workflow and tests marked as slow.
SLOW = frozenset(
    (
        *("test_slurm", "test_kills", "test_full_disk", "test_forgotten_job", "test_stale_worker"),
        *("test_torchrun", "test_stopping", "test_models_in_workflow", "test_pretrained_run"),
        *("test_benchmarks", "test_replaced_inputs", "test_anywhere", "test_retriever_training"),
        "test_retriever_resume",
    )
)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project in which tests/tiny.yaml has been run; only for reading, a test that changes it copies it.

    It is made once, by the first of pytest-xdist's workers that asks for it.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = shared / "tiny_run"
    with FileLock(shared / "tiny_run.lock"):
        if (folder / "finished").exists():
            return Project.at(folder)
        shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
        folder.mkdir()
        project = Project(folder, stub=False)
        shutil.copy(ROOT / "tests" / "tiny.yaml", folder / "config")
        # no target that is made unasked has the times; the figure needs the table
        project.snakemake("all", EFFICIENCY_FIGURE, *TINY_CONFIG)
        (folder / "finished").touch()
    return project


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Compute on the CPU with one thread, which gives the same bytes again."""
    from retriever_case import one_cpu_thread  # it imports PyTorch, which few files need

    with one_cpu_thread():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, or one would run alone at the end, on one core; mark what is slow.

    The mark `pipeline` says why: what needs the run of the workflow.
    """
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
    for item in items:
        if "tiny_run" in getattr(item, "fixturenames", ()):
            item.add_marker("pipeline")
        if item.path.stem in SLOW or item.get_closest_marker("pipeline"):
            item.add_marker("slow")


# --- jobs of the test cluster, in the log of a run that passes too: what a fixture itself prints is captured

_cluster_jobs: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what tests/slurm has recorded of its jobs; with pytest-xdist this runs where the summary is printed."""
    _cluster_jobs.update(
        (name, line) for name, line in report.user_properties if name.endswith("of the test cluster")
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the jobs."""
    if _cluster_jobs:
        terminalreporter.section("jobs of the test cluster")
        for line in _cluster_jobs.values():
            terminalreporter.write_line(line)
